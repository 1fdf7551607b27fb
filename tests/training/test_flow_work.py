"""How many steps and gradients the flow takes: a change of the controller shows here."""

from __future__ import annotations

import pytest
from crossed import some_slow
from problems import relu_problem, tanh_problem

from asym_keras.training import GradientFlow, Objective

# (problem, gamma, tolerance, end) -> accepted steps, rejected ones, gradients. Along kinks runs are
# sensitive to the last bit after some time: there the end is near.
WORK = {
    ("tanh", 0.0, 1e-2, 3000.0): (26, 0, 167),
    ("tanh", 0.0, 1e-3, 3000.0): (42, 0, 222),
    ("tanh", 0.0, 1e-4, 3000.0): (79, 1, 339),
    ("relu", 1.0, 1e-2, 30.0): (32, 2, 165),
}


TANH, *OTHERS, RELU = WORK


@pytest.mark.parametrize("case", some_slow([RELU], [TANH, *OTHERS]))
def test_steps_and_gradients_are_as_many_as_they_were(case):
    name, gamma, tolerance, end = case
    problem = tanh_problem() if name == "tanh" else relu_problem(gamma=gamma)
    run = GradientFlow(tolerance, tolerance).start(Objective(*problem))
    while run.time < end:
        run.advance(end, end)
    counters = run.counters()
    steps, rejected, gradients = WORK[case]
    assert counters["solver_steps"] == pytest.approx(steps, rel=0.1, abs=1)
    assert counters["rejected_steps"] == pytest.approx(rejected, rel=0.1, abs=1)
    assert counters["gradients"] == pytest.approx(gradients, rel=0.1)
