"""RKC2's coefficients, against what defines them: order conditions and the stability polynomial."""

from __future__ import annotations

import numpy as np
import pytest

from asym_keras.training.rkc import DAMPED, USUAL

pytestmark = pytest.mark.parametrize("method", [USUAL, DAMPED], ids=["usual", "damped"])


def step(method, slope, y, h, stages):
    """One RKC2 step for `y' = slope(t, y)` from t = 0, written from the recurrence alone."""
    table = method.coefficients(stages)
    f0 = slope(y)
    before, last = y, y + table[0, 3] * h * f0
    for c in table[1:]:
        before, last = (
            last,
            c[0] * y + c[1] * last + c[2] * before + c[3] * h * slope(last) + c[4] * h * f0,
        )
    return last


def stability(method, z, stages):
    return step(method, lambda y: z * y, np.ones_like(z), 1.0, stages)


@pytest.mark.parametrize("stages", [2, 3, 5, 20, 200])
def test_step_is_exact_for_linear_growth(method, stages):
    end = step(method, lambda y: np.ones(()), np.zeros(()), 0.7, stages)
    assert end == pytest.approx(0.7, rel=1e-12)


@pytest.mark.parametrize("stages", [2, 3, 5, 20, 100])
def test_stability_polynomial_agrees_with_exp_to_second_order(method, stages):
    h = 1e-3
    error = abs(stability(method, np.array([-h, h]), stages) - np.exp([-h, h]))
    assert (error < 0.2 * h**3).all()  # the term in h^3 of exp is h^3 / 6


@pytest.mark.parametrize("stages", [2, 3, 5, 20, 100, 500])
def test_stable_on_the_whole_interval_and_not_far_beyond(method, stages):
    beta = method.largest_step(stages, 1.0)
    values = abs(stability(method, -np.linspace(1e-3 * beta, beta, 20_001), stages))
    assert values.max() < 1.0 + 1e-9
    if method is USUAL:  # strong damping leaves room
        assert abs(stability(method, np.array([-1.3 * beta]), stages)) > 1.0


@pytest.mark.parametrize("radius", [1e-3, 1.0, 1e4])
def test_stages_for_is_the_smallest_that_is_stable(method, radius):
    for step_size in np.geomspace(1.0, 1e6, 50) / radius:
        stages = method.stages_for(step_size, radius)
        assert method.largest_step(stages, radius) >= step_size * (1 - 1e-12)
        assert stages == 2 or method.largest_step(stages - 1, radius) < step_size


def test_order_is_two_on_a_nonlinear_problem(method):
    exact = np.tan(0.5)  # y' = 1 + y^2

    def error(steps):
        y = np.zeros(())
        for _ in range(steps):
            y = step(method, lambda y: 1 + y**2, y, 0.5 / steps, 4)
        return abs(y - exact)

    assert error(20) / error(40) == pytest.approx(4.0, rel=0.1)


def test_damping_leaves_little_of_what_is_stiff(method):
    stages = 30
    z = -np.linspace(5.0, method.largest_step(stages, 1.0), 1000)
    left = np.sqrt(np.mean(stability(method, z, stages) ** 2))
    assert left == pytest.approx(0.68 if method is USUAL else 0.23, abs=0.01)
