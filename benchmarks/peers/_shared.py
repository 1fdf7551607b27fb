"""What the peers share: their arguments, their clock and what they print. NumPy only."""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np


def parse(description: str) -> argparse.Namespace:
    """Arguments of every peer."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--input", type=Path, required=True, help="npz that the benchmark wrote")
    parser.add_argument("--steps", type=int, required=True, help="steps in one measurement")
    parser.add_argument("--repeats", type=int, default=3, help="measurements (default: 3)")
    parser.add_argument("--check-steps", type=int, default=4, help="steps before --weights")
    parser.add_argument("--weights", type=Path, help="npy to write the kernel (d, m) to")
    parser.add_argument("--threads", type=int, default=1, help="threads, where they can be set")
    return parser.parse_args()


def load(path: Path) -> dict[str, np.ndarray]:
    """The arrays of the input: x, y, x_unit, kernel, sqrt_scalings, readout, learning_rate."""
    with np.load(path) as arrays:
        return dict(arrays)


def measure(
    arguments: argparse.Namespace,
    *,
    version: str,
    device: str,
    train: Callable[[int], np.ndarray],
    products: Callable[[int], object],
) -> None:
    """Checks, warms up, measures, and prints the times as JSON.

    Args:
        arguments: of `parse`.
        version, device: of the framework.
        train: takes so many steps on from where it is, waits for them, returns the kernel.
        products: computes the two bare products so many times, and waits.
    """
    kernel = train(arguments.check_steps)
    if arguments.weights:
        np.save(arguments.weights, kernel)
    seconds: dict[str, list[float]] = {"step_seconds": [], "product_seconds": []}
    train(arguments.steps)
    products(arguments.steps)
    for _ in range(arguments.repeats):
        for name, function in zip(seconds, (train, products), strict=True):
            began = time.perf_counter()
            function(arguments.steps)
            seconds[name].append((time.perf_counter() - began) / arguments.steps)
    print(json.dumps({"version": version, "device": device, **seconds}))
