"""An estimate of RKC2's error that stiff parts of a solution do not swell.

The usual one, `(12 (Y_0 - Y_s) + 6 h (F_0 + F_s)) / 15`, multiplies what a stiff component is out
of balance by half of h times its rate: by thousands, where a step has a hundred stages. The step
is then bound by an error that is not there, for the method damps such components. Here the
estimate is a combination of all stages that measures the same term of order three of a smooth
solution, and of what is stiff as little as can be.
"""

from __future__ import annotations

import functools

import numpy as np

from asym_keras.training.rkc import RKC2

# Shapes along a step that the weights of the stages are made of, and rates at which what is stiff
# is looked at: from FASTEST_SMOOTH / h to the end of the stability interval.
SHAPES, RATES, FASTEST_SMOOTH = 6, 200, 2.0


@functools.lru_cache(maxsize=1024)
def error_weights(method: RKC2, stages: int) -> np.ndarray:
    """Weights of an error estimate `sum_j v_j Y_j + h (v_{s+1} F_0 + v_{s+2} F_s)`.

    Least squares: for `y' = z y / h` the estimate is a polynomial in z, whose terms of orders 0, 1
    and 2 vanish, whose term of order three is that of the method's error, and whose mean square
    over stiff z is as small as these allow.

    Returns:
        float64 (stages + 3,).
    """
    taylor = _taylor(method, stages)
    times = taylor[:, 1]
    lengths = np.gradient(times) if stages > 2 else np.ones(3)
    lengths[[0, -1]] /= 2
    shapes = np.polynomial.legendre.legvander(2 * times - 1, min(SHAPES, stages) - 1)
    shapes *= lengths[:, None]
    longest = method.largest_step(stages, 1.0)
    z = -np.linspace(min(FASTEST_SMOOTH, longest / 2), longest, RATES)
    growth = _growth(method, stages, z)
    # Each column of `unknowns` is one: its polynomial at the stiff z, and its Taylor coefficients.
    stiff = np.vstack([shapes.T @ growth, z, z * growth[-1]])
    smooth = np.vstack([shapes.T @ taylor, _times_z(np.eye(4)[0]), _times_z(taylor[-1])])
    target = np.array([0.0, 0.0, 0.0, 1.0 / 6.0 - taylor[-1, 3]])
    scale = np.abs(stiff).max(axis=1)
    stiff, smooth = stiff / scale[:, None], smooth / scale[:, None]
    zero = np.zeros((4, 4))
    system = np.block([[stiff @ stiff.T / RATES, smooth], [smooth.T, zero]])
    right = np.concatenate([np.zeros(len(scale)), target])
    found = np.linalg.lstsq(system, right, rcond=1e-14)[0][: len(scale)] / scale
    return np.concatenate([shapes @ found[:-2], found[-2:]])


def _growth(method: RKC2, stages: int, z: np.ndarray) -> np.ndarray:
    """The stages for `y' = z y / h`, y(0) = 1: (stages + 1, *z.shape)."""
    table = method.coefficients(stages)
    found = [np.ones_like(z), 1 + table[0, 3] * z]
    for c in table[1:]:
        found.append(c[0] + c[1] * found[-1] + c[2] * found[-2] + (c[3] * found[-1] + c[4]) * z)
    return np.array(found)


def _taylor(method: RKC2, stages: int) -> np.ndarray:
    """Coefficients of orders 0 to 3 in z of the stages: (stages + 1, 4)."""
    table, one = method.coefficients(stages), np.eye(4)[0]
    found = [one, one + table[0, 3] * _times_z(one)]
    for c in table[1:]:
        slope = c[3] * found[-1] + c[4] * one
        found.append(c[0] * one + c[1] * found[-1] + c[2] * found[-2] + _times_z(slope))
    return np.array(found)


def _times_z(polynomial: np.ndarray) -> np.ndarray:
    return np.concatenate([[0.0], polynomial[:-1]])
