"""TensorFlow's start without the notices that it writes each time; errors stay."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

# Lets pass what is no notice. A process of its own: if the import aborts, what it said is not lost.
_FILTER = r"""
import re, signal, sys
signal.signal(signal.SIGINT, signal.SIG_IGN)
notice = re.compile(sys.argv[1].encode())
for line in sys.stdin.buffer:
    if not notice.match(line):
        sys.stderr.buffer.write(line)
        sys.stderr.buffer.flush()
"""
# By TF_CPP_MIN_LOG_LEVEL, which hides notes from 1 on and warnings from 2 on.
_NOTICES = {"1": ["I0000 "], "2": ["[IW]0000 "]}
_HEAD = "WARNING: All log messages before absl::InitializeLog"
# What the search for GPUs says on a machine without the driver for any, where nothing has failed.
_NO_GPU = "E0000 .*failed call to cuInit"
# Of Linux; of Windows Subsystem for Linux; of Jetson.
_DRIVERS = tuple(map(Path, ("/proc/driver/nvidia", "/dev/dxg", "/dev/nvhost-gpu")))


def import_tensorflow() -> None:
    """Imports TensorFlow for a command, without its notices on oneDNN, CUDA and the processor.

    It also lets it look for GPUs, of which it would tell later.

    `TF_CPP_MIN_LOG_LEVEL`, which is set here unless it is set, hides those of later on; the ones
    of the import are written before TensorFlow heeds it. Where it is set to 0, nothing is hidden.
    """
    level = os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    if "tensorflow" in sys.modules or level == "0":
        import tensorflow

        return
    with _without_notices(level):
        import tensorflow

        tensorflow.config.list_physical_devices("GPU")


@contextlib.contextmanager
def _without_notices(level: str) -> Iterator[None]:
    """Sends standard error, of C++ too, through the filter for as long as the block lasts."""
    silent = [] if any(driver.exists() for driver in _DRIVERS) else [_NO_GPU]
    notices = "|".join([_HEAD, *_NOTICES.get(level, _NOTICES["2"]), *silent])
    command = [sys.executable, "-IS", "-c", _FILTER, notices]
    try:
        real = os.dup(2)
        reader = subprocess.Popen(command, stdin=subprocess.PIPE, stderr=real)
    except OSError:  # no standard error, or no room for a process
        yield
        return
    assert reader.stdin is not None
    sys.stderr.flush()
    os.dup2(reader.stdin.fileno(), 2)
    reader.stdin.close()
    try:
        yield
    finally:
        sys.stderr.flush()
        os.dup2(real, 2)
        os.close(real)
        with contextlib.suppress(subprocess.TimeoutExpired):
            reader.wait(2.0)  # longer only if somebody else has kept the pipe
