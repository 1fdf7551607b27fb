"""What all tests of the trainers share."""

from __future__ import annotations

import signal

import pytest


@pytest.fixture(autouse=True)
def keep_signal_handler():
    """A trainer's `main` takes SIGTERM for Ctrl-C: only as long as a test lasts."""
    handler = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, handler)
