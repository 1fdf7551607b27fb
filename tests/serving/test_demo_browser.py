"""The demo page in a browser: strokes, pixels, answers, and what it says of a dead server."""

from __future__ import annotations

import re

import numpy as np
import pytest
from aiohttp import web
from fake_tf_serving import FakeServing, free_port, running, scores, write_model
from scipy import ndimage

from asym_keras.datasets import load_mnist
from serving.demo.app import make_app
from serving.demo.settings import Settings

pytest.importorskip("playwright", reason="no Playwright: pip install playwright")

from browser import NAMES, open_browser
from demo_page import THREE, draw, on_page

pytestmark = pytest.mark.slow

SIGNS = {20: 1, 50: -1, 100: 1}
ONE_LINE = [(40, 60), (90, 240), (240, 200)]


@pytest.fixture(scope="module")
def browser():
    with open_browser() as context:
        if context is None:
            pytest.skip(f"no Chromium: none of {', '.join(NAMES)} is on PATH")
        yield context


@pytest.fixture
def page(browser):
    """A page that must raise no script error and ask no other host."""
    page = browser.new_page()
    faults, hosts = [], set()
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("request", lambda request: hosts.add(re.match(r"\w+:/*([\w.]*)", request.url)[1]))
    page.set_default_timeout(10_000)
    yield page
    page.close()
    assert faults == []
    assert hosts <= {"127.0.0.1"}


@pytest.fixture
def serving():
    return FakeServing(**{f"mnist_k{kept}": sign for kept, sign in SIGNS.items()})


@pytest.fixture
def models(tmp_path):
    for kept in SIGNS:
        write_model(tmp_path, f"mnist_k{kept}", kept=kept)
    return tmp_path


def demo_app(server, models):
    return make_app(Settings(server=server, models=(), models_dir=models))


@pytest.fixture
def demo(page, serving, models):
    """The page, opened, with the answer of a model server behind it."""
    with running(serving.app()) as server, running(demo_app(server, models)) as url:
        page.goto(url)
        page.locator("article").nth(2).wait_for()
        yield page


def settle(page):
    """Waits until all models have answered the last drawing; returns the page's verdict."""
    page.locator("#verdict:not(:empty)").wait_for()
    text = None
    while text != (text := page.locator("#models").inner_text()):
        page.wait_for_timeout(150)
    return page.locator("#verdict").inner_text()


def alpha(page, canvas):
    """A canvas's ink, uint8 `(side, side)`."""
    read = """(canvas) => {
        const { width, height } = canvas;
        const { data } = canvas.getContext("2d").getImageData(0, 0, width, height);
        return Array.from(data.filter((_, i) => i % 4 === 3));
    }"""
    values = np.array(page.locator(canvas).evaluate(read), np.uint8)
    return values.reshape(2 * (round(len(values) ** 0.5),))


def mnist_form(ink):
    """The slow way, from integrals of the ink: uint8 `(28, 28)`, before rounding."""
    rows, columns = np.nonzero(ink)
    ink = ink[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1].astype(float)
    scale = max(ink.shape) / 20
    for axis, size in enumerate(ink.shape):
        edges = np.minimum(np.arange(np.ceil(size / scale - 1e-9) + 1) * scale, size)
        total = np.insert(np.cumsum(ink, axis), 0, 0, axis)

        def at_edges(line, edges=edges):
            return np.diff(np.interp(edges, np.arange(len(line)), line)) / scale

        ink = np.apply_along_axis(at_edges, axis, total)
    centre = np.array(ndimage.center_of_mass(ink))
    down, right = np.clip(14 - np.floor(centre + 0.5), 0, 28 - np.array(ink.shape)).astype(int)
    form = np.zeros((28, 28))
    form[down : down + ink.shape[0], right : right + ink.shape[1]] = ink
    return form


@pytest.mark.parametrize(
    "stroke", [THREE, ONE_LINE, [(20, 20), (70, 24)], [(200, 100), (201, 100)]]
)
def test_strokes_become_pixels_as_in_mnist(demo, serving, stroke):
    draw(demo, stroke)
    settle(demo)
    drawing = serving.drawing("mnist_k20").reshape(28, 28)
    expected = mnist_form(alpha(demo, "#pad"))
    assert expected.max() > 100
    np.testing.assert_allclose(drawing, expected, atol=0.5 + 1e-6)
    np.testing.assert_array_equal(alpha(demo, "#preview"), drawing)
    for kept in SIGNS:
        np.testing.assert_array_equal(serving.drawing(f"mnist_k{kept}"), drawing.ravel())


def test_images_of_mnist_keep_every_pixel(demo):
    images = (load_mnist().x_test[:100] * 255).round().astype(int)
    script = """async (images) => {
        const { mnistPixels } = await import("/static/preprocess.js");
        const large = (image) => Array.from({ length: 252 * 252 },
            (_, i) => image[28 * Math.floor(i / 252 / 9) + Math.floor((i % 252) / 9)]);
        return images.map((image) => Array.from(mnistPixels(large(image), 252, 252)));
    }"""
    np.testing.assert_array_equal(demo.evaluate(script, images.tolist()), images)


def test_answers_stand_beside_the_models(demo, serving):
    draw(demo, THREE)
    verdict = settle(demo)
    tops = []
    for card, (kept, sign) in zip(demo.locator("article").all(), SIGNS.items(), strict=True):
        expected = scores(serving.drawing(f"mnist_k{kept}"), sign=sign)
        tops.append(str(expected.argmax()))
        shown = [text.replace("−", "-") for text in card.locator("td.value").all_inner_texts()]
        np.testing.assert_allclose(np.array(shown, float), expected, atol=0.005 + 1e-9)
        assert card.locator("h3").inner_text() == f"{kept} of 2000 nodes"
        assert card.locator(".top").inner_text() == tops[-1]
        assert card.locator("tr.best th").all_inner_texts() == [tops[-1]]
        assert re.fullmatch(r"\d+\.\d ms", card.locator(".time").inner_text())
        assert card.locator(".name").inner_text() == f"mnist_k{kept}"
        facts = f"{kept + 1} kB · test accuracy 82.0 %"
        assert card.locator(".facts").inner_text() == facts
    assert len(set(tops)) == 2  # one model answers the opposite of the others
    assert verdict == f"They differ: {', '.join(tops)}."


def test_bars_go_from_zero_to_the_score_whatever_its_sign(demo, serving):
    values = [-2.0, 0.5, 3.0, 0.0, -0.25, 1.0, 1.0, -0.001, 1.0, 6.0]
    # A signature of one output: TF Serving leaves its name out.
    serving.instead = lambda: web.json_response({"predictions": [values]})
    draw(demo, THREE)
    assert settle(demo) == "All say 9."
    card = demo.locator("article").first
    assert card.locator("td.value").all_inner_texts() == (
        "−2.00 0.50 3.00 0.00 −0.25 1.00 1.00 0.00 1.00 6.00".split()
    )
    demo.wait_for_timeout(300)  # the bars move there
    for value, row in zip(values, card.locator("tr").all(), strict=True):
        track = row.locator(".track").bounding_box()
        bar = row.locator(".bar").evaluate("(bar) => bar.getBoundingClientRect().toJSON()")
        left = (bar["left"] - track["x"]) / track["width"]
        assert left == pytest.approx((min(value, 0) + 2) / 8, abs=0.01)
        assert bar["width"] / track["width"] == pytest.approx(abs(value) / 8, abs=0.01)


def test_a_finger_draws_too(demo, serving, browser):
    touch = browser.new_cdp_session(demo)
    kinds = ("touchStart", "touchMove", "touchMove")
    for kind, (x, y) in zip(kinds, on_page(demo, ONE_LINE), strict=True):
        touch.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": [{"x": x, "y": y}]})
    touch.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
    settle(demo)
    ink = alpha(demo, "#pad")
    for x, y in [*ONE_LINE, (65, 150), (165, 220)]:
        assert ink[y, x] == 255
    assert ink[20, 200] == 0


def test_keys_are_enough(demo, serving):
    demo.keyboard.press("Tab")
    assert demo.evaluate("document.activeElement.id") == "clear"
    for _ in range(8):
        demo.keyboard.press("Tab")
    assert demo.evaluate("document.activeElement.ariaLabel") == "Sample 7"
    demo.keyboard.press("Enter")
    settle(demo)
    assert serving.drawing("mnist_k20").sum() > 0
    for clear in (lambda: demo.keyboard.press("Escape"), lambda: demo.locator("#clear").press(" ")):
        demo.locator("#samples button").first.click()
        settle(demo)
        clear()
        demo.locator("#hint").wait_for()
        assert alpha(demo, "#pad").max() == alpha(demo, "#preview").max() == 0
        assert set(demo.locator(".top").all_inner_texts()) == {"–"}
        assert demo.locator("td.value:not(:empty)").count() == 0
        assert demo.locator("#verdict").inner_text() == ""


def test_page_says_how_to_start_a_model_server_and_goes_on_when_there_is_one(page, serving, models):
    port = free_port()
    with running(demo_app(f"http://127.0.0.1:{port}", models)) as url:
        page.goto(url)
        page.locator("#problem").wait_for()
        command = f"python -m serving.serve --models {models} --preview"
        assert page.locator("#problem-start").inner_text() == command
        assert f"127.0.0.1:{port}" in page.locator("#problem-text").inner_text()
        draw(page, THREE)
        for _ in range(2):  # and again after a model server that has died
            with running(serving.app(), port):
                page.locator("#problem").wait_for(state="hidden")
                assert settle(page).startswith("They differ")
            draw(page, ONE_LINE)
            page.locator("#problem").wait_for()


def test_one_model_that_fails_says_so_and_the_others_answer(demo, serving):
    del serving.signs["mnist_k50"]
    draw(demo, THREE)
    assert settle(demo).startswith("All say")
    fault = demo.locator("article[data-name=mnist_k50] .fault")
    assert fault.inner_text() == "Servable not found for request: Latest(mnist_k50)"
    serving.signs["mnist_k50"] = -1
    fault.wait_for(state="hidden")
    assert settle(demo).startswith("They differ")


def test_page_fits_a_phone_and_follows_the_system_in_light_and_dark(demo, tmp_path):
    draw(demo, THREE)
    settle(demo)
    colours = set()
    for scheme in ("light", "dark"):
        demo.emulate_media(color_scheme=scheme)
        colours.add(demo.evaluate("getComputedStyle(document.body).backgroundColor"))
        demo.screenshot(path=tmp_path / f"{scheme}.png", full_page=True)
    assert len(colours) == 2
    demo.set_viewport_size({"width": 320, "height": 640})
    assert demo.evaluate("document.documentElement.scrollWidth") <= 320
