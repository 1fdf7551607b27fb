"""Ends a program when its launcher, the process that started it, ends in any way.

    python tether.py [COMMAND...]

A launcher that is killed can't end its program. So a third process, the watcher, waits for the end
of the launcher: the watcher's standard input is a pipe whose other end only the launcher holds, and
which closes when the launcher ends. The watcher then runs COMMAND, if given, and ends the program.
COMMAND is for a container, which does not end with the program that started it.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence

_GRACE = 15.0  # seconds in which the program has to end after SIGTERM
_POLL = 0.05
_DONE = "done"


@contextlib.contextmanager
def tied(stop: Sequence[str] = ()) -> Iterator[Callable[[int], None]]:
    """Yields a function that takes a process id; that process will not outlive this one.

    The block itself has to end the process: after the block nothing is watched any more.

    Args:
        stop: command that the watcher runs before it ends the process.
    """
    watcher = subprocess.Popen(
        [sys.executable, "-IS", __file__, *stop],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,  # a signal to the launcher's group must not end the watcher
        text=True,
    )
    assert watcher.stdin is not None
    told = watcher.stdin

    def tell(text: object) -> None:
        with contextlib.suppress(OSError):  # somebody killed the watcher
            print(text, file=told, flush=True)

    try:
        yield tell
    finally:
        tell(_DONE)
        with contextlib.suppress(OSError):
            told.close()
        watcher.wait()


def watch(stop: Sequence[str]) -> None:
    """Waits for the end of the launcher, then ends the process whose id it has sent, if any."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    lines = [line.strip() for line in sys.stdin]
    if not lines or _DONE in lines:
        return
    if stop:
        with contextlib.suppress(OSError, subprocess.TimeoutExpired):
            subprocess.run(stop, capture_output=True, timeout=2 * _GRACE, check=False)
    pid, end = int(lines[-1]), time.monotonic() + _GRACE
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGTERM)
        while time.monotonic() < end:
            time.sleep(_POLL)
            os.kill(pid, 0)
        os.kill(pid, signal.SIGKILL)


if __name__ == "__main__":
    watch(sys.argv[1:])
