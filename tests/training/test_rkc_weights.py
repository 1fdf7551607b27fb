"""What is made of all stages and left alone by what is stiff, on `y' = z y / h`."""

from __future__ import annotations

import numpy as np
import pytest

from asym_keras.training.rkc import DAMPED, USUAL
from asym_keras.training.rkc_weights import error_weights, middle_weights

STAGES = [2, 3, 4, 7, 20, 100, 1000]


def stages_of(method, stages, z):
    """All stages for `y' = z y`, h = 1, from the recurrence alone."""
    table = method.coefficients(stages)
    found = [np.ones_like(z), 1 + table[0, 3] * z]
    for c in table[1:]:
        new = c[0] + c[1] * found[-1] + c[2] * found[-2] + c[3] * z * found[-1] + c[4] * z
        found.append(new)
    return np.array(found)


def estimate(method, stages, z, weights=error_weights):
    y, v = stages_of(method, stages, z), weights(method, stages)
    return v[:-2] @ y + v[-2] * z + v[-1] * z * y[-1]


@pytest.mark.parametrize("method", [USUAL, DAMPED], ids=["usual", "damped"])
@pytest.mark.parametrize("stages", STAGES)
def test_it_is_the_error_of_a_smooth_solution(method, stages):
    z = np.array([-1e-2, -2e-2, 1e-2])
    error = np.exp(z) - stages_of(method, stages, z)[-1]
    np.testing.assert_allclose(estimate(method, stages, z), error, rtol=0.05)


@pytest.mark.parametrize("method", [USUAL, DAMPED], ids=["usual", "damped"])
@pytest.mark.parametrize("stages", STAGES)
def test_what_is_stiff_does_not_swell_it(method, stages):
    z = -np.linspace(1.0, method.largest_step(stages, 1.0), 2000)
    last = stages_of(method, stages, z)[-1]
    usual = (12 * (1 - last) + 6 * z * (1 + last)) / 15
    size = np.sqrt(np.mean(estimate(method, stages, z) ** 2))
    assert size < (1.2 if method is USUAL else 0.2)
    assert stages == 2 or size < 0.4 * np.sqrt(np.mean(usual**2))


@pytest.mark.parametrize("stages", STAGES[1:])
def test_a_jump_of_the_slope_within_the_step_shows(stages):
    table, v = DAMPED.coefficients(stages), error_weights(DAMPED, stages)
    times = np.gradient(stages_of(DAMPED, stages, np.array([-1e-7, 1e-7])), 2e-7, axis=1)[:, 0]
    seen = []
    for jump in np.linspace(0.05, 0.95, 19):
        slope = (times > jump).astype(float)
        y = [0.0, table[0, 3] * slope[0]]
        for j, c in enumerate(table[1:], 1):
            y.append(c[1] * y[-1] + c[2] * y[-2] + c[3] * slope[j] + c[4] * slope[0])
        seen.append(abs(v[:-2] @ y + v[-2] * slope[0] + v[-1] * slope[-1]))
    assert 0.1 < np.sqrt(np.mean(np.square(seen))) < 1.0


@pytest.mark.parametrize("stages", STAGES)
def test_the_middle_is_that_of_a_smooth_solution(stages):
    z = np.array([-1e-2, -2e-2, 1e-2])
    middle = estimate(DAMPED, stages, z, middle_weights)
    np.testing.assert_allclose(middle, np.exp(z / 2), rtol=0, atol=1e-8)


@pytest.mark.parametrize("stages", STAGES)
def test_what_is_stiff_does_not_swell_the_middle(stages):
    z = -np.linspace(1.0, DAMPED.largest_step(stages, 1.0), 2000)
    middle = estimate(DAMPED, stages, z, middle_weights)
    last = stages_of(DAMPED, stages, z)[-1]
    hermite = (1 + last) / 2 + z * (1 - last) / 8
    assert np.abs(middle).max() < 0.7
    assert stages < 8 or np.abs(hermite).max() > 1.0
