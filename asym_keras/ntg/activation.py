"""Activations with exact derivatives, and what Assumption 2.2 says of each. NumPy float64."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable

import numpy as np
from scipy.special import erf, expit, ndtr

from asym_keras.checks import Float64Array

Elementwise = Callable[[Float64Array], Float64Array]
Derivatives = tuple[Elementwise, Elementwise, Elementwise]  # sigma, sigma', sigma''


@dataclasses.dataclass(frozen=True)
class Activation:
    """An activation sigma, its derivatives and its standing under Assumption 2.2.

    The three functions are elementwise, float64 array -> float64 array of the same shape. At a
    kink `slope` is the derivative from the left, as in TensorFlow, and `curvature` is 0.

    Args:
        name: of the activation.
        function, slope, curvature: sigma, sigma' and sigma''.
        assumption: `"relu"`, Assumption 2.2(a), `"smooth"`, Assumption 2.2(b), or None.
        violation: None, or a sentence that says which clause of Assumption 2.2 is broken, or
            cannot be checked.
        slope_bound: supremum of |sigma'|; inf where there is none.
        curvature_bound: M, supremum of |sigma''|; inf where sigma'' is not a bounded function.
        side_slopes: (slope below 0, slope above 0) of a function that is linear on both sides
            of 0; None for every other.
    """

    name: str
    function: Elementwise
    slope: Elementwise
    curvature: Elementwise
    assumption: str | None
    violation: str | None
    slope_bound: float
    curvature_bound: float
    side_slopes: tuple[float, float] | None = None


def piecewise_linear(name: str, below: float, above: float) -> Activation:
    """`sigma(z) = above * z` for z > 0, `below * z` for z <= 0.

    (0, 1) is ReLU; equal slopes make a polynomial; anything else has a kink and is not ReLU.
    """
    relu = (below, above) == (0.0, 1.0)
    steepest = max(abs(below), abs(above))
    if relu:
        violation = None
    elif below == above:
        violation = f"{name} is a polynomial, which Assumption 2.2(b) excludes"
    else:
        violation = (
            f"{name} has a kink at 0 with slopes {below:g} and {above:g}: it is not the ReLU of "
            "Assumption 2.2(a), nor analytic as 2.2(b) asks"
        )
    return Activation(
        name=name,
        function=lambda z: np.where(z > 0.0, above, below) * z,
        slope=lambda z: np.where(z > 0.0, above, below),
        curvature=np.zeros_like,
        assumption="relu" if relu else None,
        violation=violation and violation + excess(steepest) + ".",
        slope_bound=steepest,
        curvature_bound=0.0 if below == above else math.inf,
        side_slopes=(below, above),
    )


def excess(bound: float) -> str:
    """What to add to a sentence if |sigma'| exceeds the bound of Assumption 2.2(b)."""
    if bound == math.inf:
        return "; |sigma'| has no bound, and 2.2(b) asks for at most 1"
    # What exceeds 1 by less is rounding.
    if bound <= 1.0 + 1e-9:
        return ""
    return f"; |sigma'| reaches {bound:.4f}, above the bound 1 by {bound - 1.0:.4f}"


def _analytic(name: str, functions: Derivatives, bounds: tuple[float, float]) -> Activation:
    """An analytic sigma: sigma, sigma' and sigma'', and the suprema of the latter two."""
    steepest = bounds[0]
    if steepest <= 1.0:
        return Activation(name, *functions, "smooth", None, *bounds)
    violation = (
        f"|sigma'| of {name} reaches {steepest:.4f}, above the bound 1 of Assumption 2.2(b) "
        f"by {steepest - 1.0:.4f}."
    )
    return Activation(name, *functions, None, violation, *bounds)


def _logistic_slope(z: Float64Array) -> Float64Array:
    """Two factors instead of `s (1 - s)`: relative accuracy where s rounds to 1."""
    return expit(z) * expit(-z)


def _sech2(z: Float64Array) -> Float64Array:
    """`1 - tanh(z)**2` without the cancellation."""
    return 4.0 * _logistic_slope(2.0 * z)


def _erf_slope(z: Float64Array) -> Float64Array:
    return 2.0 / math.sqrt(math.pi) * np.exp(-z * z)


def _normal_density(z: Float64Array) -> Float64Array:
    return np.exp(-0.5 * z * z) / math.sqrt(2.0 * math.pi)


# Activations with explicit formulas, by name.
KNOWN = {
    known.name: known
    for known in (
        piecewise_linear("relu", 0.0, 1.0),
        piecewise_linear("leaky_relu", 0.2, 1.0),
        piecewise_linear("linear", 1.0, 1.0),
        _analytic(
            "tanh",
            (np.tanh, _sech2, lambda z: -2.0 * np.tanh(z) * _sech2(z)),
            (1.0, 4.0 / (3.0 * math.sqrt(3.0))),
        ),
        _analytic(
            "softplus", (lambda z: np.logaddexp(0.0, z), expit, _logistic_slope), (1.0, 0.25)
        ),
        _analytic(
            "sigmoid",
            (expit, _logistic_slope, lambda z: -_logistic_slope(z) * np.tanh(0.5 * z)),
            (0.25, 1.0 / (6.0 * math.sqrt(3.0))),
        ),
        _analytic(
            "erf",
            (erf, _erf_slope, lambda z: -2.0 * z * _erf_slope(z)),
            (2.0 / math.sqrt(math.pi), math.sqrt(8.0 / (math.pi * math.e))),  # at 0, 1 / sqrt 2
        ),
        # sigma'' is (2 - z^2) times the normal density: |sigma'| peaks at sqrt 2, |sigma''| at 0.
        _analytic(
            "gelu",
            (
                lambda z: z * ndtr(z),
                lambda z: ndtr(z) + z * _normal_density(z),
                lambda z: (2.0 - z * z) * _normal_density(z),
            ),
            (
                0.5 * (1.0 + math.erf(1.0)) + math.exp(-1.0) / math.sqrt(math.pi),
                math.sqrt(2.0 / math.pi),
            ),
        ),
        _analytic(
            "silu",
            (
                lambda z: z * expit(z),
                lambda z: expit(z) * (1.0 + z * expit(-z)),
                lambda z: _logistic_slope(z) * (2.0 - z * np.tanh(0.5 * z)),
            ),
            (1.0998393201288668, 0.5),  # at 2.39936, the root of z tanh(z / 2) = 2, and at 0
        ),
    )
}
