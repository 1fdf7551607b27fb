"""The peak of memory that training a shallow network takes, stated before it begins."""

from __future__ import annotations

from typing import Any

import numpy as np

from asym_keras.evaluator import TILE_BYTES

# TensorFlow, Keras and SciPy, loaded and with their first functions compiled.
PROCESS_BYTES = 850 * 10**6
# Measured at widths 20,000 to 100,000 (docs/long_widths.md): arrays as large as the weights, and
# activations by `evaluator.TILE_BYTES`. What TensorFlow's allocator leaves unused is counted in.
WEIGHT_COPIES = {"flow": 20.0, "descent": 7.0}
TILE_SHARE = 1.2


def peak_bytes(
    examples: int,
    input_dim: int,
    width: int,
    outputs: int = 1,
    *,
    dtype: Any = "float32",
    solver: str = "flow",
) -> int:
    """Bytes that a process at most holds while it trains a shallow network, full batch, on a CPU.

    `P + 2 n (d + K) b + 1.2 min(T, 4 n m b) + c d m b` with b bytes a number: the process P, data
    as given and as tensors, activations of a tile of examples (T, `evaluator.TILE_BYTES`), and c
    arrays as large as the weights: their initial and present values, the model's own, the
    gradient, its sum over tiles, and for a flow slopes, stages and the power iteration's
    direction. It does not depend on the length of the run.

    Args:
        examples: n, training and test examples.
        input_dim: d.
        width: hidden nodes, m.
        outputs: K.
        dtype: of weights and data.
        solver: `"flow"` (`GradientFlow`) or `"descent"` (`GradientDescent`).

    Returns:
        int, bytes. Within a quarter of what is measured for weights of 30 MB and more, if the
        examples fill a tile of activations; more than what is measured if they do not.

    Raises:
        ValueError: Another solver.

    Example:
        >>> asym_keras.training.peak_bytes(5000, 784, 2000, 10) < 2e9
        True
    """
    if solver not in WEIGHT_COPIES:
        raise ValueError(
            f"peak_bytes: expected solver to be one of {sorted(WEIGHT_COPIES)}, received "
            f"{solver!r}."
        )
    number = np.dtype(dtype).itemsize
    data = 2 * examples * (input_dim + outputs) * number
    activations = TILE_SHARE * min(TILE_BYTES, 4 * examples * width * number)
    weights = WEIGHT_COPIES[solver] * input_dim * width * number
    return int(PROCESS_BYTES + data + activations + weights)
