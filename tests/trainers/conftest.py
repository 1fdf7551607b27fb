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


@pytest.fixture(scope="module", autouse=True)
def no_xla():
    """Small runs take less time than XLA needs to compile them; tests/training are about XLA."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("asym_keras.compilation.JIT_LIMIT", 0)
        yield
