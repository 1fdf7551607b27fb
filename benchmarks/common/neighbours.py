"""How much of the machine other programs use meanwhile, since they spoil timings.

Threads that wait for each other by spinning suffer most: with one core in two taken, PyTorch's
time per step was seen to grow twentyfold. Known on Linux only; elsewhere the share is NaN.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

from benchmarks.common import machine

QUIET = 0.1  # largest share of all cores that others may use while we measure
_SAMPLE_SECONDS = 0.5
_IDLE = (3, 4)  # fields of /proc/stat: idle, waiting for disks


class Watch:
    """Share of the cores that other programs have used since this object was made.

    Ours are this process and those of its children that have ended.
    """

    def __init__(self) -> None:
        self._busy, self._own, self._wall = _busy_seconds(), _own_seconds(), time.monotonic()

    def share(self) -> float:
        """In [0, 1]; NaN where the system does not tell."""
        wall = time.monotonic() - self._wall
        others = (_busy_seconds() - self._busy) - (_own_seconds() - self._own)
        share = others / (wall * machine.cores())
        return share if share != share else min(1.0, max(0.0, share))


def wait_until_quiet(seconds: float) -> bool:
    """Waits until others leave the machine alone, or so long; returns whether they do."""
    end = time.monotonic() + seconds
    while True:
        watch = Watch()
        time.sleep(_SAMPLE_SECONDS)
        share = watch.share()
        if not share > QUIET:  # NaN counts as quiet: there is nothing to wait for
            return True
        if time.monotonic() >= end:
            return False


def _busy_seconds() -> float:
    """Seconds that all cores together were busy since the system started."""
    try:
        fields = Path("/proc/stat").read_text(encoding="ascii").splitlines()[0].split()[1:9]
    except OSError:
        return float("nan")
    ticks = sum(int(field) for i, field in enumerate(fields) if i not in _IDLE)
    return ticks / os.sysconf("SC_CLK_TCK")


def _own_seconds() -> float:
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system
