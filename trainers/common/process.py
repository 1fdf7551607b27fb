"""What every process of the trainers does first: logging, and SIGTERM as Ctrl-C."""

from __future__ import annotations

import logging
import os
import signal
import sys


def prepare_process() -> None:
    """Logging to stderr, little of it from TensorFlow; SIGTERM acts as Ctrl-C does."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    for name in ("absl", "tensorflow"):
        logging.getLogger(name).setLevel(logging.WARNING)
    signal.signal(signal.SIGTERM, _as_keyboard_interrupt)


def _as_keyboard_interrupt(signum, frame):
    raise KeyboardInterrupt
