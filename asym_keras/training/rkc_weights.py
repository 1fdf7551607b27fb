"""Combinations of the stages of an RKC2 step that stiff parts of a solution do not swell.

The usual error estimate, `(12 (Y_0 - Y_s) + 6 h (F_0 + F_s)) / 15`, multiplies what a stiff
component is out of balance by half of h times its rate: by thousands, where a step has a hundred
stages. The step is then bound by an error that is not there, for the method damps such components.
Hermite's interpolant has the same fault. Combinations of all stages do as well for what is smooth,
and can leave out what is stiff.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import numpy as np

from asym_keras.training.rkc import RKC2

# The weights of the stages are made of so many polynomials along a step. Stiff parts are looked at
# for RATES rates, or more, from FASTEST_SMOOTH / h to the end of the stability interval.
SHAPES, RATES, FASTEST_SMOOTH = 6, 200, 2.0


@functools.lru_cache(maxsize=1024)
def error_weights(method: RKC2, stages: int) -> np.ndarray:
    """Weights v of an estimate of the error, `sum_j v_j Y_j + h (v_{s+1} F_0 + v_{s+2} F_s)`.

    Its term of order three is that of the method's error; lower orders vanish.

    Returns:
        float64 (stages + 3,).
    """
    last = _taylor(method, stages)[-1, 3]
    return _least_stiff(method, stages, [0.0, 0.0, 0.0, 1.0 / 6.0 - last], np.linspace)


@functools.lru_cache(maxsize=1024)
def middle_weights(method: RKC2, stages: int) -> np.ndarray:
    """The same for the solution in the middle of a step, to the third order.

    Here moderate rates count as much as high ones, though there are far more of those.
    """
    return _least_stiff(method, stages, [1.0, 1.0 / 2.0, 1.0 / 8.0, 1.0 / 48.0], np.geomspace)


def _least_stiff(method: RKC2, stages: int, target: list[float], spaced) -> np.ndarray:
    """Weights with the Taylor coefficients `target` for `y' = z y / h`, and least for stiff z.

    The combination is a polynomial in z. Its first four coefficients are given; least squares make
    its mean square over stiff z, `spaced` so, as small as these allow.
    """
    taylor = _taylor(method, stages)
    times = taylor[:, 1]
    lengths = np.gradient(times)
    lengths[[0, -1]] /= 2
    shapes = np.polynomial.legendre.legvander(2 * times - 1, min(SHAPES, stages) - 1)
    shapes *= lengths[:, None]
    longest = method.largest_step(stages, 1.0)
    # Along the rates the stages oscillate as many times as there are stages.
    rates = max(RATES, 4 * stages)
    z = -spaced(min(FASTEST_SMOOTH, longest / 2), longest, rates)
    growth = _growth(method, stages, np.ones_like(z), lambda y: y * z)
    # Each row is an unknown: its polynomial at the stiff z, and its Taylor coefficients.
    stiff = np.vstack([shapes.T @ growth, z, z * growth[-1]])
    smooth = np.vstack([shapes.T @ taylor, _times_z(np.eye(4)[0]), _times_z(taylor[-1])])
    scale = np.abs(stiff).max(axis=1)
    stiff, smooth = stiff / scale[:, None], smooth / scale[:, None]
    system = np.block([[stiff @ stiff.T / rates, smooth], [smooth.T, np.zeros((4, 4))]])
    right = np.concatenate([np.zeros(len(scale)), target])
    found = np.linalg.lstsq(system, right, rcond=1e-14)[0][: len(scale)] / scale
    return np.concatenate([shapes @ found[:-2], found[-2:]])


def _growth(method: RKC2, stages: int, one: np.ndarray, times_z: Callable) -> np.ndarray:
    """The stages for `y' = z y / h`, y(0) = `one`: (stages + 1, *one.shape)."""
    table = method.coefficients(stages)
    found = [one, one + table[0, 3] * times_z(one)]
    for c in table[1:]:
        slope = c[3] * found[-1] + c[4] * one
        found.append(c[0] * one + c[1] * found[-1] + c[2] * found[-2] + times_z(slope))
    return np.array(found)


def _taylor(method: RKC2, stages: int) -> np.ndarray:
    """Coefficients of orders 0 to 3 in z of the stages: (stages + 1, 4)."""
    return _growth(method, stages, np.eye(4)[0], _times_z)


def _times_z(polynomial: np.ndarray) -> np.ndarray:
    return np.concatenate([[0.0], polynomial[:-1]])
