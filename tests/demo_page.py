"""The demo page in headless Chromium: for its tests, and for the picture in the docs.

python tests/demo_page.py http://127.0.0.1:8600 docs/demo.png
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from browser import NAMES, open_browser
from playwright.sync_api import Page

PAPER = 280  # side of the canvas
THREE = [(92, 66), (140, 46), (186, 70), (176, 118), (130, 136), (186, 148), (198, 196), (146, 236),
         (84, 214)]  # fmt: skip


def on_page(page: Page, points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Points of the paper, 280 x 280, as points of the window."""
    box = page.locator("#pad").bounding_box()
    assert box is not None
    scale = box["width"] / PAPER
    return [(box["x"] + scale * x, box["y"] + scale * y) for x, y in points]


def draw(page: Page, points: Sequence[tuple[float, float]]) -> None:
    """One stroke with the mouse."""
    first, *others = on_page(page, points)
    page.mouse.move(*first)
    page.mouse.down()
    for point in others:
        page.mouse.move(*point, steps=8)
    page.mouse.up()


def main(url: str, file: str) -> None:
    """Saves what the page at `url` shows for its sample of a three."""
    viewport = {"width": 1180, "height": 640}
    with open_browser(device_scale_factor=1.5, viewport=viewport) as browser:
        if browser is None:
            sys.exit(f"expected one of {', '.join(NAMES)} on PATH, received none.")
        page = browser.new_page()
        page.goto(url)
        page.locator("article").first.wait_for()
        for _ in range(5):  # the first answers are slower than the others
            page.get_by_label("Sample 3").click()
            page.wait_for_timeout(300)
        page.locator("#verdict:not(:empty)").wait_for()
        page.screenshot(path=file, full_page=True, animations="disabled")


if __name__ == "__main__":
    main(*sys.argv[1:])
