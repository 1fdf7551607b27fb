"""The NTG of the shallow network at initialisation: mean, variance and infinite-width limit.

Everything is NumPy float64. The entries of W are drawn from N(0, stddev^2): `stddev=1` is the
paper's Eq. (8), `stddev=2**0.5` the `authors` protocol. `activation` is what
`describe_activation` takes. Slopes at most 1 are not needed for any formula here.
"""

from __future__ import annotations

import bisect
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.special import zeta

from asym_keras.checks import (
    Float64Array,
    check_examples,
    check_gamma,
    check_open_unit,
    check_positive,
    check_weights,
)
from asym_keras.ntg.activation import Activation
from asym_keras.ntg.describe import describe_activation
from asym_keras.ntg.moments import slope_moment
from asym_keras.ntg.spectrum import minimum_eigenvalue
from asym_keras.scaling import zipf_concentration

MAX_NODES = 10_000_000  # that sample_limiting_ntg draws
TILE = 2**20  # numbers it holds at once


def mean_ntg(
    x: npt.ArrayLike,
    x2: npt.ArrayLike | None = None,
    *,
    activation: Any = "relu",
    stddev: float = 1.0,
) -> Float64Array:
    """Mean NTG at initialisation, Eq. (9): `(1/d) x . x' E[sigma'(z) sigma'(z')]`.

    It depends on neither width nor scalings, as long as these sum to 1, and is the limit of
    the NTG for gamma = 1. Piecewise linear activations have a closed form. The others are
    expanded in Hermite polynomials until less than 1e-13 of each diagonal entry is missing;
    the result is then positive semi-definite (up to rounding) and a lower bound in the Loewner
    order. Time O(terms n n2), some tens of terms for inputs of norm sqrt(d).

    Args:
        x: examples (n, d). x2: examples (n2, d), for the cross matrix. None: `x`.
        activation: sigma.
        stddev: of the initial weights.

    Returns:
        float64 (n, n2).

    Raises:
        TypeError: Inputs that are not real numbers.
        ValueError: Inputs that are not two-dimensional, empty or not finite, a stddev that is
            not positive, or an activation whose expansion does not converge within 4,096
            terms (one with kinks beside 0, for example).

    Example:
        >>> asym_keras.ntg.mean_ntg([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
        array([[0.25  , 0.    , 0.1875],
               [0.    , 0.25  , 0.1875],
               [0.1875, 0.1875, 0.5   ]])
    """
    x = check_examples(x, "x")
    x2 = x if x2 is None else check_examples(x2, "x2", dimension=x.shape[1])
    moment = slope_moment(describe_activation(activation), x, x2, check_positive(stddev, "stddev"))
    return moment * _inner_products(x, x2)


def kappa_n(x: npt.ArrayLike, *, activation: Any = "relu", stddev: float = 1.0) -> float:
    """Minimum eigenvalue of the mean NTG, Eq. (10), in float64.

    Positive under Assumptions 2.1 to 2.3 (Proposition 3.1); 0, up to rounding, where two rows of
    `x` are equal, or one is zero. Values below 1e-15 times the largest eigenvalue are rounding.

    Args:
        x: examples (n, d).
        activation, stddev: of `mean_ntg`, with its errors.
    """
    return minimum_eigenvalue(mean_ntg(x, activation=activation, stddev=stddev))


def ntg_variance_constant(
    x: npt.ArrayLike, *, activation: Any = "relu", stddev: float = 1.0
) -> float:
    """`C_0(X)` of Eq. (12): `sum_ik (x_i . x_k / d)^2 Var(sigma'(z_i) sigma'(z_k))`.

    The total variance, over all entries, of the NTG of a single node of scaling 1.

    Args:
        x: examples (n, d).
        activation, stddev: of `mean_ntg`, with its errors.
    """
    x, stddev = check_examples(x, "x"), check_positive(stddev, "stddev")
    return _mean_and_constant(x, describe_activation(activation), stddev)[1]


def ntg_variance(
    x: npt.ArrayLike, scalings: npt.ArrayLike, *, activation: Any = "relu", stddev: float = 1.0
) -> float:
    """`E ||Theta_m - E Theta_m||_F^2` at width m: `C_0(X) sum_j lambda_j^2`.

    By Eq. (7) the NTG at initialisation is `sum_j lambda_j T_j` with independent and identically
    distributed matrices `T_j`, of mean `Theta*` and total variance `C_0(X)`; the variance of a
    sum of independent terms is the sum of their variances. Nothing is asymptotic here. For
    scalings of sum 1 the mean is `Theta*`.

    Args:
        x: examples (n, d).
        scalings: lambda (m,), nonnegative: `asym_keras.node_scalings`, for example.
        activation, stddev: of `mean_ntg`, with its errors.

    Raises:
        TypeError: Scalings that are not real numbers.
        ValueError: Scalings that are negative, not finite, all zero or no vector.
    """
    squares = float(np.sum(check_weights(scalings) ** 2))
    return squares * ntg_variance_constant(x, activation=activation, stddev=stddev)


def limiting_ntg_variance(
    x: npt.ArrayLike, *, gamma: float, alpha: float, activation: Any = "relu", stddev: float = 1.0
) -> float:
    """`E ||Theta_inf - Theta*||_F^2` of Eq. (12) for Zipf weights, Eq. (4).

    `C_0(X) (1 - gamma)^2 zeta(2 / alpha) / zeta(1 / alpha)^2`: the limit of `ntg_variance`.

    Args:
        x: examples (n, d).
        gamma: in [0, 1]. alpha: in (0, 1).
        activation, stddev: of `mean_ntg`, with its errors.
    """
    concentration = (1.0 - check_gamma(gamma)) ** 2 * zipf_concentration(alpha)
    return concentration * ntg_variance_constant(x, activation=activation, stddev=stddev)


def sample_limiting_ntg(
    x: npt.ArrayLike,
    *,
    gamma: float,
    alpha: float,
    activation: Any = "relu",
    stddev: float = 1.0,
    seed: int | None = None,
    tolerance: float = 1e-3,
) -> Float64Array:
    """A draw of the random limiting NTG, Eq. (11), for Zipf weights, Eq. (4).

    The first J terms of the series are drawn; the others, of total weight
    `sum_{j > J} lambda~_j`, are replaced by their mean, so that the mean of the draw is exact. J
    is the smallest number with a root mean square error, in the Frobenius norm, of
    `(1 - gamma) (C_0(X) sum_{j > J} lambda~_j^2)^(1/2) <= tolerance ||Theta*||_F`.
    At a tolerance of 1e-3 that is a few thousand terms at most, for alpha near 0.9: nearer to 1,
    single terms weigh too little to be drawn, and nearer to 0, a few carry everything.

    Args:
        x: examples (n, d).
        gamma: in [0, 1]; at 1 the limit is the mean.
        alpha: in (0, 1).
        activation, stddev: of `mean_ntg`, with its errors.
        seed: int. The same seed with a smaller tolerance goes on with the same nodes.
            None: drawn anew.
        tolerance: positive.

    Returns:
        float64 (n, n), positive semi-definite up to rounding.

    Raises:
        ValueError: More than ten million terms are needed, or an argument out of its range.
    """
    x = check_examples(x, "x")
    activation, stddev = describe_activation(activation), check_positive(stddev, "stddev")
    gamma, alpha = check_gamma(gamma), check_open_unit(alpha, "alpha")
    mean, constant = _mean_and_constant(x, activation, stddev)
    budget = check_positive(tolerance, "tolerance") * float(np.linalg.norm(mean))
    nodes = _count_drawn(1.0 / alpha, (1.0 - gamma) * constant**0.5, budget)
    drawn, mass = _sum_of_nodes(x, nodes, 1.0 / alpha, activation, stddev, seed)
    return (gamma + (1.0 - gamma) * (1.0 - mass)) * mean + (1.0 - gamma) * drawn


def _mean_and_constant(x, activation: Activation, stddev: float) -> tuple[Float64Array, float]:
    """The mean NTG and `C_0(X)`: the same moments serve both."""
    products = _inner_products(x, x)
    moment = slope_moment(activation, x, x, stddev)
    variance = slope_moment(activation, x, x, stddev, power=2) - moment**2
    # Rounding alone makes a variance negative.
    return moment * products, float(np.sum(products**2 * np.maximum(variance, 0.0)))


def _count_drawn(exponent: float, spread: float, budget: float) -> int:
    """Smallest J with `spread (sum_{j > J} lambda~_j^2)^(1/2) <= budget`, by bisection."""

    def error(nodes: int) -> float:
        return spread * float(zeta(2.0 * exponent, nodes + 1.0)) ** 0.5 / float(zeta(exponent))

    if error(MAX_NODES) > budget:
        raise ValueError(
            f"sample_limiting_ntg: expected a tolerance that {MAX_NODES:,} nodes can meet, "
            f"received one that allows an error of {budget:.1e}, while theirs is "
            f"{error(MAX_NODES):.1e}; raise the tolerance"
        )
    return bisect.bisect_left(range(MAX_NODES), True, key=lambda nodes: error(nodes) <= budget)


def _sum_of_nodes(
    x, nodes: int, exponent: float, activation: Activation, stddev: float, seed: int | None
) -> tuple[Float64Array, float]:
    """The first terms of Eq. (11), and their weight `sum_{j <= J} lambda~_j`."""
    generator = np.random.default_rng(seed)
    total, mass = np.zeros((len(x), len(x))), 0.0
    size = max(1, TILE // sum(x.shape))
    for first in range(1, nodes + 1, size):
        index = np.arange(first, min(first + size, nodes + 1), dtype=np.float64)
        weights = index**-exponent / zeta(exponent)
        w = stddev * generator.standard_normal((index.size, x.shape[1]))
        slopes = activation.slope(x @ w.T / x.shape[1] ** 0.5) * np.sqrt(weights)
        total += slopes @ slopes.T
        mass += float(np.sum(weights))
    return total * _inner_products(x, x), mass


def _inner_products(x: Float64Array, x2: Float64Array) -> Float64Array:
    return x @ x2.T / x.shape[1]
