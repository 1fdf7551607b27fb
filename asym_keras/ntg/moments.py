"""Gaussian moments `E[phi(z) phi(z')]` of slopes, exact or by Hermite expansion. Float64.

`z = x . w / sqrt(d)` and `z' = x' . w / sqrt(d)` with w ~ N(0, stddev^2 I_d) are jointly normal,
with standard deviations `r = stddev ||x|| / sqrt(d)` and the cosine of x and x' as correlation.
"""

from __future__ import annotations

import numpy as np

from asym_keras.checks import Float64Array
from asym_keras.ntg.activation import Activation, Elementwise

FIRST_TERMS, MAX_TERMS = 64, 4096
# Largest share of E[phi^2] that may be left out, and norm of the coefficients' error.
RELATIVE_TAIL, RELATIVE_ERROR = 1e-13, 1e-12
REACH = 20.0  # of the quadrature: the weight exp(-z^2 / 4) is 4e-44 there
TILE = 2**15  # entries at once: few enough for the cache
# Beyond this cosine, arccos more than doubles the rounding errors of its argument.
STEEP_COSINE = 0.9


def slope_moment(
    activation: Activation, x: Float64Array, x2: Float64Array, stddev: float, power: int = 1
) -> Float64Array:
    """`E[phi(z_i) phi(z'_k)]`, `phi = sigma'**power`, for all pairs of rows of `x` and `x2`.

    Piecewise linear sigma with slopes (a, b): `A^2 + A (B - A) + (B - A)^2 k_0`, where
    `A = a**power`, `B = b**power` and `k_0 = (pi - angle) / (2 pi)`. Every other sigma: the sum
    `sum_k c_k(r) c_k(r') cos^k` (Mehler), `c_k` as in `hermite_coefficients`. Cut off, it is
    positive semi-definite for `x2 = x`, and a lower bound in the Loewner order: what is left
    out is positive semi-definite, with a diagonal of at most 1e-13 of that of the matrix.

    A zero row has no angle; it gets some finite value, which then meets the factor `x . x' = 0`.

    Args:
        activation: sigma.
        x, x2: (n, d) and (n2, d).
        stddev: of the entries of w.
        power: at least 1.

    Returns:
        float64 (n, n2). Time O(terms n n2), memory O(n n2 + terms (n + n2)).

    Raises:
        ValueError: The expansion does not converge.
    """
    rows, rows2 = _unit_rows(x), _unit_rows(x2)
    if activation.side_slopes is not None:
        below, above = (slope**power for slope in activation.side_slopes)
        both = 0.5 - angles(rows, rows2) / (2.0 * np.pi)  # probability of z > 0 and z' > 0
        return below**2 + below * (above - below) + (above - below) ** 2 * both
    norms = np.concatenate([np.linalg.norm(array, axis=1) for array in (x, x2)])
    spreads, place = np.unique(norms * (stddev / x.shape[1] ** 0.5), return_inverse=True)
    coefficients = hermite_coefficients(
        lambda z: activation.slope(z) ** power, spreads, name=f"sigma' of {activation.name}"
    )
    left, right = place.reshape(-1)[: len(x)], place.reshape(-1)[len(x) :]
    return _hermite_sum(coefficients[:, left], coefficients[:, right], rows, rows2)


def angles(rows: Float64Array, rows2: Float64Array) -> Float64Array:
    """Angles between unit vectors (n, d) and (n2, d), to a few units of rounding: (n, n2).

    Where the vectors are nearly parallel, `arccos` would lose half of the digits; there,
    `2 arctan2(|u - v|, |u + v|)` takes its place, and is 0 for equal vectors.
    """
    cosines = rows @ rows2.T
    near = np.flatnonzero(np.abs(cosines) > STEEP_COSINE)
    result = np.arccos(np.clip(cosines, -1.0, 1.0, out=cosines), out=cosines)
    size = max(1, TILE // rows.shape[1])
    for start in range(0, near.size, size):
        pairs = near[start : start + size]
        i, k = np.divmod(pairs, len(rows2))
        apart = np.linalg.norm(rows[i] - rows2[k], axis=1)
        together = np.linalg.norm(rows[i] + rows2[k], axis=1)
        result.flat[pairs] = 2.0 * np.arctan2(apart, together)
    return result


def hermite_coefficients(phi: Elementwise, spreads: Float64Array, *, name: str) -> Float64Array:
    """`c_k(r) = E[phi(r z) he_k(z)]`, z ~ N(0, 1), `he_k` the normalised Hermite polynomials.

    The integrand is `phi(r z) exp(-z^2 / 4)` times the Hermite function of degree k: neither
    factor overflows, and the trapezoidal rule on the line converges exponentially for analytic
    phi. The number of terms is doubled until, for every r, what is left of `E[phi(r z)^2]`
    (Parseval) is below 1e-13 of it, and two interleaved rules agree on the coefficients.

    Args:
        phi: elementwise function of float64 arrays.
        spreads: r, shape (u,), nonnegative.
        name: of phi, for the message.

    Returns:
        float64 (terms, u).

    Raises:
        ValueError: 4,096 terms do not do: phi has a kink or jump, or poles near the real line.
    """
    terms = FIRST_TERMS
    while terms <= MAX_TERMS:
        # The Hermite functions used have frequencies up to sqrt(terms); the rule, four times that.
        step = np.pi / (2.0 * (terms**0.5 + 4.0))
        nodes = step * np.arange(-int(REACH / step), int(REACH / step) + 1)
        coefficients, square = _project(phi, spreads, nodes, step, terms)
        rest = square - np.cumsum(coefficients**2, axis=0)
        small = np.all(rest <= RELATIVE_TAIL * square, axis=1)
        if small.any():
            # A rule too coarse for phi may satisfy Parseval, but not at other nodes as well.
            between, _ = _project(phi, spreads, nodes + step / 2.0, step, terms)
            errors = np.linalg.norm(coefficients - between, axis=0)
            if np.all(errors <= RELATIVE_ERROR * square**0.5):
                return 0.5 * (coefficients + between)[: int(np.argmax(small)) + 1]
        terms *= 2
    worst = int(np.argmax(rest[-1] / np.maximum(square, np.finfo(np.float64).tiny)))
    raise ValueError(
        f"{name}: expected a function whose Hermite expansion converges within {MAX_TERMS:,} "
        f"terms, received one that keeps {rest[-1, worst] / square[worst]:.1e} of its mean square "
        f"beyond them, for preactivations of standard deviation {spreads[worst]:.3g}; use an "
        "analytic activation or one that is linear on both sides of 0, or scale the inputs down"
    )


def _project(phi, spreads, nodes, step, terms) -> tuple[Float64Array, Float64Array]:
    """Coefficients (terms, u) and `E[phi(r z)^2]` (u,) by the trapezoidal rule."""
    functions = _hermite_functions(terms, nodes)
    values = functions[0] * phi(np.outer(spreads, nodes))  # the first: the root of the density
    return functions @ (step * values.T), step * np.sum(values**2, axis=1)


def _hermite_functions(terms: int, nodes: Float64Array) -> Float64Array:
    """`he_k(z)` times the root of the normal density, k < terms: shape (terms, nodes)."""
    functions = np.empty((terms, nodes.size))
    functions[0] = np.exp(-0.25 * nodes**2) / (2.0 * np.pi) ** 0.25
    functions[1] = nodes * functions[0]
    for k in range(2, terms):
        functions[k] = nodes * functions[k - 1] - (k - 1) ** 0.5 * functions[k - 2]
        functions[k] /= k**0.5
    return functions


def _hermite_sum(left, right, rows, rows2) -> Float64Array:
    """`sum_k left[k, i] right[k, j] cosine_ij**k` by Horner's rule, in tiles of rows."""
    cosines = rows @ rows2.T
    np.clip(cosines, -1.0, 1.0, out=cosines)
    result = np.zeros_like(cosines)
    size = max(1, TILE // len(rows2))
    product = np.empty((size, len(rows2)))
    for start in range(0, len(rows), size):
        tile = slice(start, start + size)
        cosine, total = cosines[tile], result[tile]
        term = product[: len(cosine)]
        for a, b in zip(left[::-1, tile], right[::-1], strict=True):
            total *= cosine
            total += np.multiply(a[:, np.newaxis], b, out=term)
    return result


def _unit_rows(x: Float64Array) -> Float64Array:
    norms = np.linalg.norm(x, axis=1, keepdims=True)
    return x / np.where(norms > 0.0, norms, 1.0)
