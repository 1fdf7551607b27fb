"""Memory that a refit of readouts takes, and the widest one that fits."""

from __future__ import annotations

import bisect
from typing import Any

import numpy as np

from asym_keras.pruning.ending import Ending
from asym_keras.pruning.logistic import MEMORY, require_probabilities
from asym_keras.pruning.refit import TILE_COLUMNS, TILE_ROWS

# What a refit may take. A square matrix of 10,000 features or examples is 0.8 GB in float64.
REFIT_BYTES = 6 * 2**30


def refit_bytes(
    train: int, test: int = 0, *, widest: int, dtype: Any = "float32", outputs: int | None = None
) -> int:
    """Bytes that refits up to `widest` nodes hold at most, beside model and data.

    The features of all examples, `(train + test) k`, in their dtype; square matrices in float64
    of `s = min(train, k)`: of features while there are fewer than examples (the Gram matrix, its
    Cholesky factor, a copy), else of examples (eigenvectors and their squares, workspace); and
    tiles in float64. A refit by cross-entropy holds no squares, but the vectors of L-BFGS, each as
    large as the readout.

    Args:
        train: training examples, n.
        test: further examples whose features are kept.
        widest: nodes of the widest refit, k.
        dtype: of the features.
        outputs: K of a refit by cross-entropy; None: by ridge regression.

    Returns:
        int, bytes.

    Example:
        >>> round(asym_keras.pruning.refit_bytes(5000, 5000, widest=2000) / 1e6)
        224
    """
    features = (train + test) * widest * np.dtype(dtype).itemsize
    if outputs is not None:
        vectors = (2 * MEMORY + 12) * (widest + 1) * outputs + 4 * MEMORY**2
        return features + 8 * (vectors + 3 * TILE_ROWS * (widest + 2 * outputs))
    if widest < train:
        squares, tiles = 3 * widest**2, 3 * TILE_ROWS * widest
    else:
        squares, tiles = 4 * train**2, 2 * TILE_COLUMNS * train
    return features + 8 * (squares + tiles)


def widest_refit(
    train: int,
    test: int = 0,
    *,
    width: int,
    dtype: Any = "float32",
    limit: int | None = None,
    outputs: int | None = None,
) -> int:
    """The most nodes, up to `width`, whose refit takes no more than `limit` bytes.

    Args:
        train, test, dtype, outputs: as for `refit_bytes`.
        width: nodes of the network, m.
        limit: bytes; None: `REFIT_BYTES`.

    Returns:
        int, 0 to `width`.

    Example:
        >>> asym_keras.pruning.widest_refit(5000, 5000, width=2000)
        2000
    """
    limit = REFIT_BYTES if limit is None else limit

    def size(widest: int) -> int:
        return refit_bytes(train, test, widest=widest, dtype=dtype, outputs=outputs)

    return bisect.bisect_right(range(1, width + 1), limit, key=size)


def require_refit(ending: Ending, targets: np.ndarray, nodes: int, by: str, test: int = 0) -> None:
    """Refuses what a refit by `fit_readouts` could not take.

    Args:
        ending: end of the model. by: one of its `regression`.
        targets: float64 (n, K).
        nodes: of the widest refit; there may be several features of each.
        test: as for `refit_bytes`.

    Raises:
        ValueError: Targets that are no probabilities, for cross-entropy; more than `REFIT_BYTES`:
            says how many nodes would fit.
    """
    if by != "ridge":
        require_probabilities(targets, by)
    widest = int(ending.arranged(np.arange(ending.layer.units))[1][nodes])
    outputs = None if by == "ridge" else targets.shape[1]
    options = {"dtype": ending.layer.compute_dtype, "outputs": outputs}
    size = refit_bytes(len(targets), test, widest=widest, **options)
    if size > REFIT_BYTES:
        most = widest_refit(len(targets), test, width=widest, **options)
        raise ValueError(
            f"Expected refits that take up to {REFIT_BYTES / 1e9:.1f} GB, received {nodes} nodes "
            f"({widest} features) and {len(targets) + test} examples, which take "
            f"{size / 1e9:.1f} GB. Refit at most {most * nodes // widest} nodes (refit_widest= or "
            "pruned= of pruning_curve, keep= of prune), or fewer examples."
        )
