"""Proposition C.1: the smallest NTG eigenvalue before training."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import numpy.typing as npt

from asym_keras.checks import Float64Array, check_examples
from asym_keras.theory.assumptions import NORM_SLACK
from asym_keras.theory.checks import theorem_activation


@dataclasses.dataclass(frozen=True)
class InitialEigenvalueBound:
    """Proposition C.1: the smallest NTG eigenvalue of a wide network before training.

    At a width of at least `required_width`, `eig_min(Theta_m(X; W_0)) > gamma kappa_n / 2` with
    probability at least 1 - delta, whatever the asymmetrical part of the scalings.

    Args:
        examples, input_dim: n and d.
        kappa_n: Eq. (10), smallest eigenvalue of the mean NTG, at least 0.
        gamma: symmetric share, in [0, 1]. delta: probability of failure, in (0, 1).

    Raises:
        ValueError: An argument lies outside its range.
    """

    examples: int
    input_dim: int
    kappa_n: float
    gamma: float
    delta: float

    def __post_init__(self) -> None:
        check_setting(self)

    @classmethod
    def from_data(
        cls, x: npt.ArrayLike, *, gamma: float, delta: float, activation: Any = "relu"
    ) -> InitialEigenvalueBound:
        """The bound for inputs `x` (n, d); raises as `GlobalConvergence.from_data`."""
        theorem_activation(activation)
        return cls(**inputs_setting(check_examples(x), activation), gamma=gamma, delta=delta)

    @property
    def required_width(self) -> float:
        """`8 n log(n / delta) / (kappa_n d)`; inf if gamma or kappa_n is 0."""
        if not self.gamma:
            return math.inf
        return chernoff_width(self.examples, self.input_dim, self.kappa_n, self.delta)

    @property
    def min_eigenvalue(self) -> float:
        """`gamma kappa_n / 2`."""
        return self.gamma * self.kappa_n / 2.0

    def applies(self, width: int) -> bool:
        """Whether the proposition speaks of networks of this width."""
        return width >= self.required_width


def inputs_setting(x: Float64Array, activation: Any) -> dict[str, Any]:
    """n, d and kappa_n; ValueError for inputs of norm above 1."""
    from asym_keras.ntg.limiting import kappa_n  # loads TensorFlow

    n, d = x.shape
    largest = float(np.linalg.norm(x, axis=1).max())
    if largest > 1.0 + NORM_SLACK:
        raise ValueError(
            f"x: expected inputs of norm at most 1, Assumption 2.1(a), received {largest:.6g}; "
            f"divide every input by {largest:.9g}"
        )
    kappa = float(kappa_n(x, activation=activation))
    round_off = n * np.finfo(np.float64).eps * largest**2 / d  # eps times a bound on the trace
    return {"examples": n, "input_dim": d, "kappa_n": kappa if kappa > round_off else 0.0}


@np.errstate(divide="ignore", over="ignore")
def chernoff_width(n: float, d: float, kappa: float, failure: float) -> float:
    """`8 n log(n / failure) / (kappa_n d)`: Appendix C's Chernoff bound, solved for m."""
    return float(8 * n * math.log(n / failure) / (np.float64(kappa) * d))


def check_setting(bound: Any) -> None:
    """ValueError where one of the five numbers of Proposition C.1 lies outside its range."""
    check_field(bound, "examples", bound.examples >= 1, "at least 1")
    check_field(bound, "input_dim", bound.input_dim >= 1, "at least 1")
    check_field(bound, "kappa_n", 0.0 <= bound.kappa_n < math.inf, "a number of at least 0")
    check_field(bound, "gamma", 0.0 <= bound.gamma <= 1.0, "a number in [0, 1]")
    check_field(bound, "delta", 0.0 < bound.delta < 1.0, "a number in (0, 1)")


def check_field(bound: Any, name: str, good: bool, expected: str) -> None:
    """ValueError that names the field unless it is `good`."""
    if not good:  # comparisons with NaN are false
        raise ValueError(
            f"{type(bound).__name__}: expected {name} to be {expected}, "
            f"received {getattr(bound, name)}; repair that argument"
        )
