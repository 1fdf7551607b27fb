"""The simulated regression task of Section 6.1: unit inputs, a sum of sines, noise."""

from __future__ import annotations

from typing import Any

import numpy as np

from asym_keras.datasets.dataset import Dataset


def load_simulated(
    *,
    examples: int = 100,
    test_examples: int = 100,
    input_dim: int = 50,
    noise: float = 1.0,
    seed: int = 0,
) -> Dataset:
    """Inputs uniform on the unit sphere, `y = (5 / d) sum_j sin(pi x_j) + noise * N(0, 1)`.

    Each part has a stream of random numbers of its own, in which an example is d + 1 numbers
    in a row: the first N of more examples are those of `examples=N`.

    Args:
        examples: training examples n. test_examples: test examples.
        input_dim: d.
        noise: standard deviation of the noise: 1 in the text, 0.1 in the published figures.
        seed: int; the same seed gives the same data on every machine.

    Returns:
        A `Dataset` for regression, one target.

    Raises:
        ValueError: A count below 1, a noise that is negative or not finite, a negative seed.
    """
    counts = {"examples": examples, "test_examples": test_examples, "input_dim": input_dim}
    check_counts("load_simulated", seed=seed, **counts)
    if not 0.0 <= noise < float("inf"):
        raise ValueError(
            f"load_simulated: expected noise to be a number of at least 0, received {noise}; "
            "pass the standard deviation of the noise"
        )
    arrays: dict[str, Any] = {}
    sizes = {"train": examples, "test": test_examples}
    streams = np.random.SeedSequence(seed).spawn(len(sizes))
    for (part, count), stream in zip(sizes.items(), streams, strict=True):
        numbers = np.random.default_rng(stream).standard_normal((count, input_dim + 1))
        x = numbers[:, :-1] / np.linalg.norm(numbers[:, :-1], axis=1, keepdims=True)
        y = 5.0 / input_dim * np.sin(np.pi * x).sum(axis=1) + noise * numbers[:, -1]
        arrays[f"x_{part}"] = x.astype(np.float32)
        arrays[f"y_{part}"] = y.astype(np.float32)[:, None]
    source = f"generated: sines on the unit sphere, noise {noise:g}, seed {seed}"
    return Dataset(name="simulated", source=source, **arrays)


def check_counts(function: str, *, seed: int, **counts: int) -> None:
    """ValueError that names the argument unless all counts are at least 1 and the seed 0."""
    for name, value, least in [*((k, v, 1) for k, v in counts.items()), ("seed", seed, 0)]:
        if value < least:
            raise ValueError(
                f"{function}: expected {name} to be at least {least}, received {value}; raise it"
            )
