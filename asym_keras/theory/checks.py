"""The clock of the theorems, and the checks of arguments that the theorems share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from asym_keras.checks import Float64Array

if TYPE_CHECKING:
    from asym_keras.ntg.activation import Activation

RADIUS = 8.0  # of the quadrature, in standard deviations
FINE = 1.0 / 16.0  # its step in one dimension: exact to round-off up to deviations of 2 for tanh


def paper_time(t: npt.ArrayLike, examples: int, outputs: int = 1) -> Float64Array:
    """Time in the paper's clock, `2 t / (n K)`, for the time t of a run.

    Our risk is the mean of squares over the n K entries, Eq. (5) is half their sum: the paper's
    gradient is n K / 2 times ours, and its clock slower by that factor.

    Args:
        t: a run's time, a number or an array.
        examples: n. outputs: K; the theorems have K = 1.

    Returns:
        float64 of the shape of `t`.

    Raises:
        ValueError: `examples` or `outputs` below 1.
    """
    if examples < 1 or outputs < 1:
        raise ValueError(
            "paper_time: expected at least one example and one output, "
            f"received examples={examples}, outputs={outputs}; pass the shape of the targets"
        )
    return 2.0 / (examples * outputs) * np.asarray(t, dtype=np.float64)


def check_targets(y: npt.ArrayLike, examples: int) -> Float64Array:
    """`y` as float64 (n, K); ValueError unless it holds finite targets of `examples` examples."""
    array = np.asarray(y, dtype=np.float64)
    if array.ndim not in (1, 2) or len(array) != examples or not array.size:
        raise ValueError(
            f"y: expected shape ({examples},) or ({examples}, K), received {array.shape}; "
            "pass one target per row of x"
        )
    if not np.isfinite(array).all():
        row = int(np.argwhere(~np.isfinite(array))[0, 0])
        raise ValueError(
            f"y: expected finite numbers, received {array[row]} in row {row}; "
            "repair or drop that row"
        )
    return array.reshape(examples, -1)


def check_scalings(scalings: npt.ArrayLike) -> Float64Array:
    """`scalings` as float64 (m,); ValueError unless they are nonnegative and sum to 1."""
    array = np.asarray(scalings, dtype=np.float64)
    if array.ndim != 1 or not array.size or not np.all(array >= 0.0):  # false for NaN too
        raise ValueError(
            "scalings: expected a nonempty vector (m,) of nonnegative numbers, received shape "
            f"{array.shape}; pass node_scalings(...) or the layer's scalings"
        )
    if not abs(array.sum() - 1.0) <= 1e-5:  # room for float32
        raise ValueError(
            f"scalings: expected the sum 1 of Eq. (1), received the sum {array.sum():.8g}; "
            "the theorems are on whole networks, not on pruned ones"
        )
    return array


def theorem_activation(activation: Any, *, smooth: bool = False) -> Activation:
    """Description of an activation of Assumption 2.2, of its clause (b) alone where `smooth`.

    Raises:
        ValueError: The activation breaks the assumption; the message says how.
    """
    from asym_keras.ntg.describe import describe_activation  # loads TensorFlow

    described = describe_activation(activation)
    if described.violation is not None:
        raise ValueError(
            "activation: expected one of Assumption 2.2, ReLU or an analytic function with "
            f"|sigma'| <= 1, received {described.name}: {described.violation} Use one that keeps "
            "it, or an `Activation` of your own that says so"
        )
    if smooth and described.assumption != "smooth":
        raise ValueError(
            "activation: expected a smooth one, Assumption 2.2(b), received "
            f"{described.name}, whose second derivative is zero but for the kink; use tanh or "
            "softplus"
        )
    return described


def normal_rule(step: float, dims: int = 1) -> tuple[Float64Array, Float64Array]:
    """Trapezoidal rule for standard normals, `E[g(z)] = sum_p weight_p g(point_p)`.

    A grid of width `step`, cut off at the radius where the density is `exp(-32)` of its peak.
    For a function without poles within a of the real line the error falls as
    `exp(-2 pi a / step)`: tanh, which has some, needs far fewer points than by Gauss-Hermite.

    Returns:
        Points (dims, p) and weights (p,).
    """
    reach = int(RADIUS / step)
    axis = step * np.arange(-reach, reach + 1)
    points = np.stack(np.meshgrid(*[axis] * dims, indexing="ij")).reshape(dims, -1)
    squares = np.sum(points**2, axis=0)
    inside = squares <= RADIUS**2
    weights = np.exp(-squares[inside] / 2.0)
    return points[:, inside], weights / weights.sum()
