"""Checks of arguments that many modules share."""

from __future__ import annotations

import math
import numbers
from typing import TypeGuard

import numpy as np
import numpy.typing as npt

Float64Array = npt.NDArray[np.float64]


def is_whole(value: object, least: float = -math.inf, most: float = math.inf) -> TypeGuard[int]:
    """Whether `value` is an integer from `least` to `most`, of Python or NumPy; bools are none."""
    if not isinstance(value, (int, np.integer)) or isinstance(value, bool):
        return False
    return bool(least <= value <= most)


def check_weights(weights: npt.ArrayLike) -> Float64Array:
    """`weights` as float64 (m,), if they are nonnegative finite numbers, not all zero."""
    array = np.asarray(weights)
    if array.dtype.kind not in "fiu":
        raise TypeError(
            f"weights: expected real numbers, received dtype {array.dtype}; "
            "pass a list or array of floats"
        )
    if array.ndim != 1 or array.size == 0:
        raise ValueError(
            f"weights: expected a nonempty vector (m,), received shape {array.shape}; "
            "pass one weight per hidden node"
        )
    array = array.astype(np.float64)
    bad = np.flatnonzero(~(np.isfinite(array) & (array >= 0.0)))
    if bad.size:
        raise ValueError(
            f"weights: expected finite nonnegative numbers, received {array[bad[0]]} "
            f"at index {bad[0]}; repair that weight"
        )
    if not array.any():
        raise ValueError(
            "weights: expected at least one positive weight, received only zeros; "
            "give some node a weight above 0"
        )
    return array


def check_real(value: object, name: str, expected: str) -> float:
    """`value` as a float; TypeError, which says what was `expected`, if it is no number."""
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, numbers.Real):
        raise TypeError(
            f"{name}: expected {expected}, received {value!r} of type {type(value).__name__}; "
            "pass a number"
        )
    return float(value)


def check_gamma(gamma: object) -> float:
    """`gamma` as a float in [0, 1]."""
    value = check_real(gamma, "gamma", "a number in [0, 1]")
    if not 0.0 <= value <= 1.0:  # false for NaN too
        raise ValueError(
            f"gamma: expected a number in [0, 1], received {gamma}; "
            "use 1 for symmetric scalings and 0 for purely asymmetrical ones"
        )
    return value


def check_open_unit(number: object, name: str) -> float:
    """`number` as a float in (0, 1)."""
    value = check_real(number, name, "a number in (0, 1)")
    if not 0.0 < value < 1.0:
        raise ValueError(
            f"{name}: expected a number in (0, 1), both ends excluded, received {number}; "
            f"choose {name} between them"
        )
    return value


def check_count(count: object, name: str) -> int:
    """`count` as an int of at least 1."""
    check_real(count, name, "an int of at least 1")
    if not is_whole(count, 1):
        raise ValueError(
            f"{name}: expected an int of at least 1, received {count!r}; pass 1, 2, 3, ..."
        )
    return int(count)


def check_positive(value: object, name: str) -> float:
    """`value` as a positive finite float."""
    number = check_real(value, name, "a positive number")
    if not 0.0 < number < math.inf:  # false for NaN too
        raise ValueError(
            f"{name}: expected a positive finite number, received {value}; pass one above 0"
        )
    return number


def check_examples(x: npt.ArrayLike, name: str = "x", dimension: int | None = None) -> Float64Array:
    """`x` as float64 (n, d) of finite numbers, at least one; d is `dimension`, if that is given."""
    array = np.asarray(x)
    if array.dtype.kind not in "fiu":
        raise TypeError(
            f"{name}: expected real numbers, received dtype {array.dtype}; pass an array of floats"
        )
    columns = "d" if dimension is None else str(dimension)
    wrong = dimension is not None and array.shape[1:] != (dimension,)
    if array.ndim != 2 or array.size == 0 or wrong:
        raise ValueError(
            f"{name}: expected examples of shape (n, {columns}), none of the two 0, received "
            f"shape {array.shape}; pass one example per row, images flattened"
        )
    array = array.astype(np.float64)
    if not np.isfinite(array).all():
        row = int(np.argwhere(~np.isfinite(array))[0, 0])
        raise ValueError(
            f"{name}: expected finite numbers, received {array[row]} in row {row}; "
            "repair or drop that row"
        )
    return array
