"""Times of the bare products of a network in NumPy on one core; run in a process of its own.

Threads that wait for one another take twenty times as long on a machine that is not quiet, and
TensorFlow in the same process brings its own: neither says what the products cost.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path

_SECONDS = 0.3
_ONE_THREAD = {name: "1" for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")}


def floors(
    dim: int, widths: Iterable[int], outputs: int, rows: Iterable[int]
) -> dict[tuple[int, int], float]:
    """Seconds by (nodes, rows): `x W`, ReLU, and the readout, at best."""
    shapes = [(r, dim, width, outputs) for width in widths for r in rows]
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.serving.floor", json.dumps(shapes)],
        cwd=Path(__file__).resolve().parents[2],
        env={**os.environ, **_ONE_THREAD},
        stdout=subprocess.PIPE,
        check=True,
        text=True,
    )
    seconds = json.loads(done.stdout)
    return {(width, r): s for (r, _, width, _), s in zip(shapes, seconds, strict=True)}


def best_seconds(rows: int, dim: int, width: int, outputs: int) -> float:
    """Of one such product, on as many cores as this process uses."""
    import numpy as np

    rng = np.random.default_rng(0)
    x, kernel, readout = (
        rng.normal(size=shape).astype(np.float32)
        for shape in ((rows, dim), (dim, width), (width, outputs))
    )
    best, end = float("inf"), time.perf_counter() + _SECONDS
    while (start := time.perf_counter()) < end:
        np.maximum(x @ kernel, 0.0) @ readout
        best = min(best, time.perf_counter() - start)
    return best


if __name__ == "__main__":
    print(json.dumps([best_seconds(*shape) for shape in json.loads(sys.argv[1])]))
