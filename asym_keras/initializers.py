"""Initialisers drawn in NumPy: one seed, the same weights on every backend and precision."""

from __future__ import annotations

import random
from typing import Any

import keras
import numpy as np

BLOCK = 2**20  # numbers drawn at once


class _NumpyInitializer(keras.initializers.Initializer):
    """Draws in float64 with NumPy and casts, so float32 weights are float64 weights rounded.

    Args:
        seed: int. None: one is drawn from Python's generator, which
            `keras.utils.set_random_seed` seeds, as Keras's own initialisers do.
    """

    def __init__(self, *, seed: int | None = None):
        self._init_seed = seed
        self.seed = random.randint(1, 10**9) if seed is None else seed

    def __call__(self, shape: tuple, dtype: Any = None) -> Any:
        dtype = keras.backend.standardize_dtype(dtype or keras.config.floatx())
        generator = np.random.default_rng(self.seed)
        # NumPy has no bfloat16.
        values = np.empty(shape, dtype if dtype in ("float32", "float16") else "float64")
        flat = values.reshape(-1)
        # One stream of numbers, block by block: a wide kernel in float64 is twice its own size.
        for first in range(0, flat.size, BLOCK):
            block = flat[first : first + BLOCK]
            block[:] = self._draw(generator, block.shape)
        return keras.ops.convert_to_tensor(values, dtype=dtype)

    def _draw(self, generator: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
        raise NotImplementedError

    def get_config(self) -> dict:
        return {"seed": self._init_seed}


@keras.saving.register_keras_serializable(package="asym_keras")
class Normal(_NumpyInitializer):
    """Independent `N(0, stddev^2)` entries, Eq. (8) for `stddev=1`.

    Args:
        stddev: float, standard deviation.
        seed: int or None, see the module.
    """

    def __init__(self, stddev: float = 1.0, *, seed: int | None = None):
        super().__init__(seed=seed)
        self.stddev = float(stddev)

    def _draw(self, generator: np.random.Generator, shape: tuple) -> np.ndarray:
        return self.stddev * generator.standard_normal(shape)

    def get_config(self) -> dict:
        return {"stddev": self.stddev, **super().get_config()}


@keras.saving.register_keras_serializable(package="asym_keras")
class Rademacher(_NumpyInitializer):
    """Independent signs, -1 or +1 with probability one half each, Eq. (3)."""

    def _draw(self, generator: np.random.Generator, shape: tuple) -> np.ndarray:
        return 2.0 * generator.integers(0, 2, shape) - 1.0


def with_seed(initializer: keras.initializers.Initializer, seed: int) -> Any:
    """Returns `initializer` seeded by `seed`, unless it has a seed of its own or needs none."""
    if not hasattr(initializer, "get_config"):  # a function of (shape, dtype)
        return initializer
    config = initializer.get_config()
    if "seed" not in config or config["seed"] is not None:
        return initializer
    return initializer.__class__.from_config({**config, "seed": seed})
