"""The documentation site as built by `make docs`, opened from disk in headless Chromium."""

from __future__ import annotations

import pytest
from docs_pages import ROOT

pytest.importorskip("playwright", reason="no Playwright: pip install playwright")

from browser import NAMES, open_browser

SITE = ROOT / "site" / "index.html"


@pytest.fixture
def start_page():
    if not SITE.is_file():
        pytest.skip(f"no {SITE}: make docs")
    with open_browser() as context:
        if context is None:
            pytest.skip(f"none of {', '.join(NAMES)} on PATH")
        page = context.new_page()
        page.goto(SITE.as_uri())
        yield page


@pytest.mark.drill
def test_start_page_shows_what_it_is_and_its_picture(start_page, tmp_path):
    assert "asym_keras" in start_page.locator("h1").first.inner_text()
    pictures = start_page.locator("article img")
    assert pictures.count() > 0
    for picture in pictures.all():
        assert picture.evaluate("image => image.complete && image.naturalWidth > 0")
    start_page.screenshot(path=tmp_path / "start.png")


@pytest.mark.drill
def test_search_finds_a_functions_reference_without_a_server(start_page, tmp_path):
    start_page.locator("input.md-search__input").click()
    start_page.keyboard.type("pruning_curve")
    found = start_page.locator(".md-search-result__item a").first
    found.wait_for()
    start_page.screenshot(path=tmp_path / "search.png")
    found.click()
    start_page.wait_for_load_state()
    assert start_page.url.startswith("file://")
    assert "/reference/pruning.html" in start_page.url
    assert "pruning_curve" in start_page.locator("article").inner_text()
