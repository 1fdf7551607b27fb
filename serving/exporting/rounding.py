"""How far an answer in float32 may be from the exact one: the bound for a check of a SavedModel.

A fixed share of the largest output would be too narrow where large terms cancel, as in networks
that were trained long, and too wide elsewhere. So each number gets an error bound of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np

from serving.exporting.folding import Chain

UNIT = 2.0**-24  # relative rounding error of float32
# Rounding error of float16: relative, and absolute for its smallest numbers.
_HALF_UNIT, _HALF_SMALLEST = 2.0**-11, 2.0**-25
_FUNCTION = 8.0  # an activation's own error, in units
_TINY = 1e-36  # allowed in addition, since some kernels take the smallest float32 for zero
_DRAWS = 3


def _sum(terms: int) -> float:
    """Error of a sum of that many products, relative to the sum of their absolute values.

    Rounding errors have either sign, so they grow as the root of their number (Higham and Mary,
    2019, SIAM J. Sci. Comput. 41(5), Theorem 2.4, there with a factor for the probability). The
    constant covers the rounding of the products and of their factors.
    """
    return (4.0 + np.sqrt(terms)) * UNIT


def chain_errors(chain: Chain, x: np.ndarray, *, half: bool) -> tuple[np.ndarray, np.ndarray]:
    """How much rounding may change the outputs and the features of a folded network.

    Each step adds its own error to that of the step before, which it passes on:
    `e(z) = u |x - c| |K|`, `e(h) = max |sigma(z +- e(z)) - sigma(z)|`,
    `e(f) = e(h) |R| + u |h| |R|`.

    Args:
        chain: the network.
        x: raw values (n, d).
        half: whether the two matrices are float16.

    Returns:
        Arrays (n, K) and (n, k), float64.
    """
    moved = np.abs(x.astype("float64") - chain.centre)
    kernel, readout = np.abs(chain.kernel), np.abs(chain.readout)
    z = (x - chain.centre) @ chain.kernel + chain.shift
    of_z = _sum(len(kernel)) * (moved @ kernel + np.abs(chain.shift))
    if half:
        of_z += moved @ _rounded(kernel)
    h = _activation(chain, z)
    signs = np.random.default_rng(0).choice([-1.0, 1.0], z.shape)
    shifted = [_activation(chain, z + sign * of_z) for sign in (1.0, -1.0, signs, -signs)]
    of_h = np.max([np.abs(other - h) for other in shifted], axis=0)
    of_h += _FUNCTION * UNIT * (np.abs(h) + np.minimum(np.abs(z), 1.0))
    total = np.abs(h) @ readout + np.abs(chain.bias)
    outputs = of_h @ readout + _sum(len(readout)) * total
    if half:
        outputs += np.abs(h) @ _rounded(readout)
    return outputs + _TINY, chain.roots * (of_h + 2.0 * UNIT * np.abs(h)) + _TINY


def _rounded(matrix: np.ndarray) -> np.ndarray:
    """Errors of float16 numbers whose columns are scaled by their largest entries."""
    return _HALF_UNIT * matrix + _HALF_SMALLEST * matrix.max(axis=0)


def _activation(chain: Chain, z: np.ndarray) -> np.ndarray:
    return np.asarray(keras.ops.convert_to_numpy(chain.activation(keras.ops.convert_to_tensor(z))))


def model_errors(function: Callable, variables: Sequence[Any]) -> list[float]:
    """How much rounding may change each output of any Keras model.

    A rounding error in a product has the same effect as slightly different weights. So the model is
    asked again a few times, with weights that are off by some units.

    Args:
        function: calls the model on fixed inputs and returns a structure of tensors.
        variables: the model's. They are not changed.

    Returns:
        The largest change of each output, in Keras's flat order; 0 for an output that is no float.
    """
    generator = np.random.default_rng(0)
    floats = [v for v in variables if keras.backend.is_float_dtype(v.dtype)]
    exact = _numbers(function())
    largest = [0.0] * len(exact)
    for _ in range(_DRAWS):
        mapping = [(variable, _off(variable, generator)) for variable in floats]
        with keras.StatelessScope(state_mapping=mapping):
            answers = _numbers(function())
        changes = [_largest(b - a) for a, b in zip(exact, answers, strict=True)]
        largest = [max(pair) for pair in zip(largest, changes, strict=True)]
    return largest


def _off(variable: Any, generator: np.random.Generator) -> Any:
    values = keras.ops.convert_to_numpy(variable).astype("float64")
    values = values * (1.0 + _FUNCTION * UNIT * generator.uniform(-1.0, 1.0, values.shape))
    return keras.ops.convert_to_tensor(values.astype("float32"), variable.dtype)


def _numbers(outputs: Any) -> list[np.ndarray]:
    arrays = [np.asarray(keras.ops.convert_to_numpy(t)) for t in keras.tree.flatten(outputs)]
    return [a.astype("float64") if a.dtype.kind == "f" else np.zeros(()) for a in arrays]


def _largest(array: np.ndarray) -> float:
    return float(np.abs(array[np.isfinite(array)]).max(initial=0.0))
