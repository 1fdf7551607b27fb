"""Node scalings: the fixed shares lambda_j of the hidden nodes, Eq. (1) and (4).

A law gives nonnegative weights `w_j`, j = 1..m; `mix_scalings` turns any weights into
scalings that sum to 1. Every array here is float64. Take `sqrt(lambda_j)` before a cast to a
smaller type: at small alpha the scalings underflow in float32, their roots much later.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from asym_keras.checks import Float64Array, check_count, check_gamma, check_open_unit, check_weights


def node_scalings(width: int, gamma: float, alpha: float) -> Float64Array:
    """Scalings of the paper's experiments: Eq. (1) with the Zipf law of Eq. (4).

    `lambda_j = gamma / m + (1 - gamma) * w_j / sum_k w_k`, `w_j = j**(-1 / alpha)`, j = 1..m.

    Args:
        width: Hidden nodes m, at least 1.
        gamma: Symmetric share, in [0, 1]. 1 is the NTK case, `lambda_j = 1 / m`.
        alpha: Exponent, in (0, 1); smaller is more asymmetrical. Checked, but without
            effect, at gamma = 1.

    Returns:
        float64 `(width,)`, not increasing, with sum 1.

    Raises:
        TypeError: An argument is not a number.
        ValueError: An argument lies outside its range.

    Example:
        >>> asym_keras.node_scalings(2, 0.5, 0.5)  # w = 1, 1/4
        array([0.65, 0.35])
    """
    return mix_scalings(zipf_weights(width, alpha), gamma)


def mix_scalings(weights: npt.ArrayLike, gamma: float) -> Float64Array:
    """Eq. (1) for any law: `lambda_j = gamma / m + (1 - gamma) * w_j / sum_k w_k`.

    The paper has weights that do not increase with j; that is not required here.

    Args:
        weights: Nonnegative finite numbers `(m,)`, not all zero, of any scale.
        gamma: Symmetric share, in [0, 1]. At 0 a node of weight 0 is dead.

    Returns:
        float64 `(m,)`, with sum 1.

    Raises:
        TypeError: The weights are not real numbers, or gamma is not a number.
        ValueError: The weights are not a nonempty vector, hold a negative or non-finite entry
            or only zeros; or gamma lies outside [0, 1].
    """
    weights, gamma = check_weights(weights), check_gamma(gamma)
    return gamma / weights.size + (1.0 - gamma) * _normalise(weights)


def zipf_weights(width: int, alpha: float) -> Float64Array:
    """Zipf law, Eq. (4) up to its constant: `w_j = j**(-1 / alpha)`, j = 1..width.

    Args:
        width: Hidden nodes m, at least 1.
        alpha: In (0, 1). Where `j**(-1 / alpha)` underflows (from j = 1,723 at alpha = 0.01),
            the weight is 0.

    Returns:
        float64 `(width,)`, not normalised: the first entry is 1.

    Raises:
        TypeError: An argument is not a number.
        ValueError: An argument lies outside its range.
    """
    width, alpha = check_count(width, "width"), check_open_unit(alpha, "alpha")
    with np.errstate(under="ignore"):
        return np.arange(1, width + 1, dtype=np.float64) ** (-1.0 / alpha)


def geometric_weights(width: int, ratio: float) -> Float64Array:
    """Geometric law: `w_j = ratio**(j - 1)`, j = 1..width.

    Args:
        width: Hidden nodes m, at least 1.
        ratio: Share of a node's weight that the next one has, in (0, 1).

    Returns:
        float64 `(width,)`, not normalised: the first entry is 1.

    Raises:
        TypeError: An argument is not a number.
        ValueError: An argument lies outside its range.

    Example:
        >>> weights = asym_keras.scaling.geometric_weights(3, 0.5)
        >>> asym_keras.scaling.mix_scalings(weights, gamma=0.0).round(3)
        array([0.571, 0.286, 0.143])
    """
    width, ratio = check_count(width, "width"), check_open_unit(ratio, "ratio")
    with np.errstate(under="ignore"):
        return ratio ** np.arange(width, dtype=np.float64)


def finite_weights(width: int, nodes: int) -> Float64Array:
    """Finite law of Section 2.1: `w_j = 1 / K` for j <= K and 0 after, K = `nodes`.

    With gamma = 0 the network is one of width K.

    Args:
        width: Hidden nodes m, at least 1.
        nodes: Nodes K that share the weight, 1 <= K <= width.

    Returns:
        float64 `(width,)`, with sum 1.

    Raises:
        TypeError: An argument is not a number.
        ValueError: An argument lies outside its range.

    Example:
        >>> asym_keras.scaling.finite_weights(4, nodes=2)
        array([0.5, 0.5, 0. , 0. ])
    """
    width, nodes = check_count(width, "width"), check_count(nodes, "nodes")
    if nodes > width:
        raise ValueError(
            f"nodes: expected at most width = {width}, received {nodes}; lower nodes or raise width"
        )
    weights = np.zeros(width, dtype=np.float64)
    weights[:nodes] = 1.0 / nodes
    return weights


def concentration(weights: npt.ArrayLike) -> float:
    """Sum of the squared normalised weights, in [1 / m, 1]; 1 when one node has everything.

    By Eq. (12) the variance of the limiting NTG is proportional to
    `(1 - gamma)**2 * concentration(weights)`: the distance from the kernel regime.

    Args:
        weights: Nonnegative finite numbers `(m,)`, not all zero, of any scale.

    Raises:
        TypeError: The weights are not real numbers.
        ValueError: They are not a nonempty vector, hold a negative or non-finite entry, or
            only zeros.
    """
    return float(np.sum(_normalise(check_weights(weights)) ** 2))


def zipf_concentration(alpha: float) -> float:
    """Infinite-width concentration of the Zipf law: `zeta(2 / alpha) / zeta(1 / alpha)**2`.

    The curve of Figure 5. Needs SciPy.

    Args:
        alpha: In (0, 1). The value falls from 1 at alpha -> 0 to 0 at alpha -> 1.

    Raises:
        TypeError: alpha is not a number.
        ValueError: alpha lies outside (0, 1).
    """
    alpha = check_open_unit(alpha, "alpha")
    from scipy.special import zeta  # here: whoever only wants scalings need not wait for SciPy

    return float(zeta(2.0 / alpha) / zeta(1.0 / alpha) ** 2)


def _normalise(weights: Float64Array) -> Float64Array:
    """Divides by the sum; by the largest first, so that no sum overflows or underflows."""
    with np.errstate(under="ignore"):
        weights = weights / weights.max()
        return weights / weights.sum()
