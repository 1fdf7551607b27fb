"""What the programs of the NTG benchmark share: arguments, clock and memory. NumPy only."""

from __future__ import annotations

import argparse
import json
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

ENOUGH_SECONDS = 2.0  # no further call is measured after so long
MOST_CALLS = 20
LONG_SECONDS = 60.0  # of such a first call, compiling is a small part: it counts
NORM_EPSILON = 1e-3  # of the batch normalisation, Keras's own
_FROZEN = ("sqrt_scalings", "readout", "moving_mean", "moving_variance")
_LINUX = Path("/proc/self")


def parse(description: str | None) -> argparse.Namespace:
    """Arguments of every program."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--input", type=Path, required=True, help="npz that the benchmark wrote")
    parser.add_argument("--network", required=True, choices=("shallow", "mlp", "cnn"))
    parser.add_argument("--method", required=True, help="how the matrix is computed")
    parser.add_argument("--ntg", type=Path, required=True, help="npy to write the matrix to")
    parser.add_argument("--threads", type=int, default=1, help="threads, where they can be set")
    return parser.parse_args()


def load(path: Path) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """The examples, and the weights by name: `<layer>.<weight>`."""
    with np.load(path) as arrays:
        weights = dict(arrays)
    return weights.pop("x"), weights


def is_trained(name: str) -> bool:
    """Whether the NTG is with respect to this weight too."""
    return name.partition(".")[2] not in _FROZEN


def measure(
    arguments: argparse.Namespace,
    ntg: Callable[[np.ndarray], np.ndarray],
    x: np.ndarray,
    *,
    version: str,
    device: str,
    compiled: bool,
    prepare_products: Callable[[], Callable[[], object]] | None = None,
) -> None:
    """Measures time and memory, writes the matrix, prints the numbers as JSON.

    Args:
        arguments: of `parse`.
        ntg: computes the matrix of such examples, and waits.
        x: the examples.
        version, device: of the framework.
        compiled: whether the first call compiles, and so does not count unless it is long.
        prepare_products: returns something to be timed in the same process.
    """
    _limit_memory()
    ntg(x[:2])  # starts threads and loads code: no part of what the method needs
    before = _restart_peak()
    first = _seconds(lambda: np.save(arguments.ntg, ntg(x)))
    calls = [] if compiled and first < LONG_SECONDS else [first]
    while not calls or (len(calls) < MOST_CALLS and sum(calls) < ENOUGH_SECONDS):
        calls.append(_seconds(lambda: ntg(x)))
    peak = _peak() - before
    seconds: dict[str, list[float]] = {"seconds": calls, "product_seconds": []}
    if prepare_products:
        products = prepare_products()
        for _ in range(len(calls)):
            seconds["product_seconds"].append(_seconds(products))
            calls.append(_seconds(lambda: ntg(x)))
    print(json.dumps({"version": version, "device": device, "peak_bytes": peak, **seconds}))


def _seconds(function: Callable[[], object]) -> float:
    began = time.perf_counter()
    function()
    return time.perf_counter() - began


def _limit_memory() -> None:
    """To what is free: an allocation that fails says so, a process killed for memory does not."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    except OSError:
        return
    free = 1024 * next(int(line.split()[1]) for line in lines if line.startswith("MemAvailable"))
    resource.setrlimit(resource.RLIMIT_DATA, (free, resource.getrlimit(resource.RLIMIT_DATA)[1]))


def _restart_peak() -> int:
    """Bytes held now, from where `_peak` counts; where it cannot restart, the most until now."""
    try:
        (_LINUX / "clear_refs").write_text("5", encoding="ascii")
    except OSError:
        pass
    return _peak()


def _peak() -> int:
    """Most bytes that this process has held.

    `ru_maxrss` of a child starts, on Linux, at what its parent held.
    """
    try:
        lines = (_LINUX / "status").read_text(encoding="ascii").splitlines()
        return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))
    except OSError:
        most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return most if sys.platform == "darwin" else 1024 * most
