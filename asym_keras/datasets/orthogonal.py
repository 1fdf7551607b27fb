"""Orthonormal inputs with small targets: where the convergence theorems are within reach."""

from __future__ import annotations

from typing import Any

import numpy as np

from asym_keras.datasets.dataset import Dataset
from asym_keras.datasets.simulated import check_counts, check_spread, generated


def load_orthogonal(
    *, examples: int = 2, input_dim: int = 1000, bound: float = 0.01, seed: int = 0
) -> Dataset:
    """Rows of a random orthogonal matrix, targets uniform on [-bound, bound].

    Orthonormal inputs make the mean NTG nearly 1/d times the identity, the largest kappa_n that
    n inputs of norm 1 can have. With the default sizes, tanh, gamma = 1 and delta = 0.1,
    Theorem 4.2 asks for no more than about 3,500 nodes. The targets do not depend on the
    inputs: there is nothing to generalise, and the test part is there for the form.

    Args:
        examples: n, of the training and of the test part, each orthonormal; at most `input_dim`.
        input_dim: d.
        bound: C, largest absolute target allowed.
        seed: int; the same seed gives the same data, up to the rounding of a QR decomposition.

    Returns:
        A `Dataset` for regression, one target.

    Raises:
        ValueError: A count below 1, more examples than dimensions, a bound that is negative or
            not finite, a negative seed.
    """
    check_counts("load_orthogonal", seed=seed, examples=examples, input_dim=input_dim)
    if examples > input_dim:
        raise ValueError(
            f"load_orthogonal: expected at most input_dim = {input_dim} examples, received "
            f"{examples}; lower examples or raise input_dim"
        )
    check_spread("load_orthogonal", "bound", bound, "the largest absolute target")
    arrays: dict[str, Any] = {}
    for part, stream in zip(("train", "test"), np.random.SeedSequence(seed).spawn(2), strict=True):
        generator = np.random.default_rng(stream)
        q, r = np.linalg.qr(generator.standard_normal((input_dim, examples)))
        # With these signs the rows are uniform over all orthonormal ones, whatever the LAPACK.
        arrays[f"x_{part}"] = (q * np.sign(np.diagonal(r))).T.astype(np.float32)
        arrays[f"y_{part}"] = generator.uniform(-bound, bound, (examples, 1)).astype(np.float32)
    source = f"generated: orthonormal inputs, targets within {bound:g}, seed {seed}"
    return generated("orthogonal", source, arrays)
