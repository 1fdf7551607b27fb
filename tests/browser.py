"""Headless Chromium, for the tests of the demo page and of the documentation site."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from playwright.sync_api import BrowserContext, Playwright, sync_playwright

# Nothing that Chromium does by itself is wanted: no updates, no first-run pages, no QUIC.
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
NAMES = ("chromium", "chromium-browser", "google-chrome")


def chromium_file(playwright: Playwright) -> str | None:
    """What ASYM_KERAS_CHROMIUM names, a Chromium of the system, or else Playwright's own."""
    named = os.environ.get("ASYM_KERAS_CHROMIUM")
    for name in [named] if named else NAMES:
        if path := shutil.which(name):
            return path
    own = playwright.chromium.executable_path
    return own if Path(own).is_file() else None


@contextlib.contextmanager
def open_browser(**options) -> Iterator[BrowserContext | None]:
    """Headless Chromium with a profile of its own; None where there is no Chromium."""
    with sync_playwright() as playwright, tempfile.TemporaryDirectory() as profile:
        path = chromium_file(playwright)
        if path is None:
            yield None
            return
        # A persistent context is Playwright's way to name the profile's folder.
        with playwright.chromium.launch_persistent_context(
            profile,
            executable_path=path,
            headless=True,
            args=FLAGS,
            **{"viewport": {"width": 1180, "height": 760}, **options},
        ) as context:
            yield context
