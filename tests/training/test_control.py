"""Step and stage choice, by hand."""

from __future__ import annotations

import dataclasses
import math

import pytest

from asym_keras.training.control import (
    Control,
    after_change,
    after_estimate,
    after_rejection,
    after_step,
    early_strictness,
    error_of,
    plan,
    rounding_after,
)
from asym_keras.training.rkc import DAMPED, USUAL

ACCURATE = Control(pair_step=1.0, radius=0.1)  # bound by the error
STIFF = Control(pair_step=100.0, radius=10.0)  # bound by stability


def stable_step(control, stages):
    """The longest step that is stable with a margin of 5 % on the radius."""
    return USUAL.stability * (stages**2 - 1) / (1.05 * control.radius)


def test_the_pair_is_taken_where_the_error_bounds_the_step():
    assert plan(ACCURATE, 100.0, 1000) == (1.0, 0)


def test_as_many_stages_as_stability_asks_for_are_taken_where_the_step_is_stiff():
    step, stages = plan(STIFF, 1e4, 1000)
    assert step == pytest.approx(100 / 2.7)
    assert stable_step(STIFF, stages - 1) < step <= stable_step(STIFF, stages)


def test_a_method_that_is_damped_more_takes_more_stages_for_the_same_step():
    (step, stages), (usual_step, usual_stages) = (
        plan(STIFF, 1e4, 1000, method) for method in (DAMPED, USUAL)
    )
    assert step == usual_step
    assert stages == DAMPED.stages_for(step, 1.05 * STIFF.radius) > usual_stages


def test_a_pair_that_goes_farther_a_gradient_is_taken_at_its_stable_step():
    # Two stages reach .02 a gradient here, and the pair, cut to its stability, .73 / 3.
    step, stages = plan(Control(pair_step=1.0, radius=3.0), 100.0, 1000)
    assert (step, stages) == (pytest.approx(2.3 / (1.05 * 3.0)), 0)


def test_stages_are_limited_and_the_step_with_them():
    step, stages = plan(dataclasses.replace(STIFF, pair_step=1e6), 1e6, 20)
    assert stages == 20
    assert step == pytest.approx(stable_step(STIFF, 20))


@pytest.mark.parametrize("radius", [0.3, 1.0, 7.1, 123.4])
def test_the_longest_step_of_so_many_stages_needs_no_more(radius):
    control = Control(pair_step=1e30, radius=radius)
    for stages in range(2, 1001):
        assert plan(control, 1e30, stages)[1] in (0, stages)


@pytest.mark.parametrize("left", [0.01, 1.0, 1.1])
def test_the_last_step_of_the_pair_ends_at_the_end(left):
    assert plan(ACCURATE, left, 1000) == (left, 0)


def test_the_last_step_is_stretched_by_a_tenth_at_most():
    assert plan(ACCURATE, 1.0 / 0.9 - 1e-9, 1000)[0] == 1.0 / 0.9 - 1e-9
    assert plan(ACCURATE, 1.0 / 0.9 + 1e-9, 1000) == (1.0, 0)


def test_a_stretched_step_gets_the_stages_that_it_needs():
    step, stages = plan(STIFF, 40.0, 1000)
    assert step == 40.0
    assert stages == USUAL.stages_for(40.0, 1.05 * STIFF.radius) > plan(STIFF, 1e4, 1000)[1]


def test_a_last_step_that_would_need_too_many_stages_is_two():
    most = 20
    control = dataclasses.replace(STIFF, pair_step=1e6)
    longest = USUAL.largest_step(most, 1.05 * control.radius)
    step, stages = plan(control, 1.05 * longest, most)
    assert step == 1.05 * longest / 2
    assert stages < most
    assert plan(control, step, most) == (step, stages)


def test_a_step_grows_with_the_cube_root_of_its_error():
    after = after_step(ACCURATE, 1.0, 0, 1e-3)
    assert after.pair_step == pytest.approx(0.8 * 10)
    assert after.previous == (1.0, 1e-3, False)
    assert after.since_estimate == 1


def test_growth_is_bounded():
    assert after_step(ACCURATE, 1.0, 0, 0.0).pair_step == 10.0


def test_a_step_shrinks_when_its_error_is_near_the_tolerance():
    assert after_step(ACCURATE, 1.0, 0, 1.0).pair_step == pytest.approx(0.8)


def test_a_step_by_stages_counts_as_a_longer_one_of_the_pair():
    assert after_step(STIFF, 1.0, 5, 1.0).pair_step == pytest.approx(2.7 * 0.8)


def test_an_error_that_grows_is_foreseen():
    before = dataclasses.replace(ACCURATE, previous=(1.0, 0.1, False))
    after = after_step(before, 1.0, 0, 0.2)
    assert after.pair_step == pytest.approx(0.8 * 0.2 ** (-1 / 3) * 0.5 ** (1 / 3))
    # An error that falls is not: the step would grow too far.
    assert after_step(before, 1.0, 0, 0.05).pair_step == pytest.approx(0.8 * 0.05 ** (-1 / 3))
    # The error of another method says nothing.
    other = dataclasses.replace(before, previous=(1.0, 0.1, True))
    assert after_step(other, 1.0, 0, 0.2).pair_step == pytest.approx(0.8 * 0.2 ** (-1 / 3))


def test_a_step_does_not_grow_right_after_a_rejection():
    rejected = after_rejection(ACCURATE, 0.0, 1.0, 0, 8.0)
    assert rejected.pair_step == pytest.approx(0.4)
    assert (rejected.repeated, rejected.previous, rejected.rejected) == (True, None, 1)
    after = after_step(rejected, 0.4, 0, 1e-3)
    assert after.pair_step == pytest.approx(0.4)
    assert not after.repeated
    assert after_step(after, 0.4, 0, 1e-3).pair_step > 0.4


@pytest.mark.parametrize("error", [math.inf, 1e9])
def test_a_rejected_step_shrinks_to_a_tenth_at_most(error):
    assert after_rejection(ACCURATE, 0.0, 1.0, 0, error).pair_step == pytest.approx(0.1)


def test_the_radius_is_estimated_anew_after_a_step_when_it_is_due():
    after = after_step(ACCURATE, 1.0, 0, 0.1)
    assert after.estimate_is_due
    rare = dataclasses.replace(ACCURATE, interval=3)
    for due in (False, False, True):
        rare = after_step(rare, 1.0, 0, 0.1)
        assert rare.estimate_is_due == due
    assert not after_estimate(rare, 0.1).estimate_is_due
    # After a rejection what is known of the radius is doubted.
    assert after_step(after_rejection(rare, 0.0, 1.0, 0, 2.0), 1.0, 0, 0.1).estimate_is_due


def test_estimates_are_rarer_while_the_radius_stays_put():
    control, intervals = Control(pair_step=1.0, radius=1.0), []
    for _ in range(5):
        control = after_estimate(control, control.radius)
        intervals.append(control.interval)
    assert intervals == [2, 4, 5, 5, 5]
    assert after_estimate(control, 1.2).interval == 1
    assert after_estimate(control, 0.8).interval == 1


def test_the_radius_rises_at_once_and_falls_by_a_tenth_at_most():
    control = Control(pair_step=1.0, radius=1.0)
    assert after_estimate(control, 5.0).radius == 5.0
    assert after_estimate(control, 0.95).radius == 0.95
    assert after_estimate(control, 0.1).radius == 0.9


def test_the_radius_counts_twice_where_the_risk_rises():
    # .001 of the root of rtol = .01 of a risk of 2: 2e-4.
    control = Control(pair_step=1.0, radius=3.0)
    assert after_change(control, 1e-4, 2.0, 4.0, 1e-2) == control
    assert after_change(control, -1.0, 2.0, 4.0, 1e-2) == control
    assert after_change(control, -math.inf, 2.0, 4.0, 1e-2) == control  # the first step
    assert after_change(control, 3e-4, 2.0, 4.0, 1e-2).radius == 6.0
    assert after_change(control, 3e-4, -2.0, 4.0, 1e-2).radius == 6.0


@pytest.mark.parametrize("radius", [math.nan, math.inf])
def test_an_estimate_that_is_not_finite_leaves_the_radius(radius):
    assert after_estimate(Control(pair_step=1.0, radius=2.0), radius).radius == 2.0


def test_a_radius_of_zero_allows_any_step():
    control = after_estimate(Control(pair_step=1.0), 0.0)
    assert plan(control, 1e6, 1000) == (1.0, 0)


def test_rejections_count_as_stuck_at_one_place_only():
    control, time = ACCURATE, 0.0
    for k in range(1, 1000):  # each step is rejected once, on the way to a far end
        time = 1e-3 * 1.02**k
        control = after_rejection(control, time, 1.0, 0, 2.0)
        assert not control.is_stuck
    for _ in range(200):  # and here it creeps
        time *= 1 + 1e-9
        control = after_rejection(control, time, 1.0, 0, 2.0)
    assert control.is_stuck


def test_an_error_counts_by_what_it_does_to_nodes_or_to_the_risk():
    # A third of rtol = .01 of a risk of 2: .006.
    assert error_of(0.5, 0.0012, 2.0, 4.0, 1e-2) == 0.5
    assert error_of(0.1, 0.0012, 2.0, 4.0, 1e-2) == pytest.approx(0.2)
    assert error_of(0.1, -0.012, 2.0, 4.0, 1e-2) == pytest.approx(2.0)
    assert error_of(0.1, 0.012, -2.0, 4.0, 1e-2) == pytest.approx(2.0)  # a loss of other signs


def test_of_a_risk_that_is_nothing_the_first_one_is_the_scale():
    assert error_of(0.0, 3e-12, 0.0, 4.0, 1e-2) == pytest.approx(3e-12 / (3e-3 * 4e-9))
    assert error_of(0.3, 0.0, 0.0, 0.0, 1e-2) == 0.3


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_change_of_the_risk_that_is_not_finite_is_no_step(bad):
    assert error_of(0.1, bad, 2.0, 4.0, 1e-2) == math.inf
    assert error_of(math.inf, 0.0, 2.0, 4.0, 1e-2) == math.inf


def test_errors_count_more_in_the_first_steps():
    assert early_strictness(0) == 11.0
    assert early_strictness(15) == pytest.approx(1 + 10 / math.e)
    assert early_strictness(1000) == pytest.approx(1.0)


def test_rounding_is_lowered_where_it_would_bias_the_risk():
    # .003 of the root of rtol = .01 of a risk of 2: 6e-4.
    assert rounding_after(2e-3, 2.0005, 2.0, 4.0, 1e-2) == 2e-3
    assert rounding_after(2e-3, 2.0012, 2.0, 4.0, 1e-2) == pytest.approx(0.35 * 2e-3)
    assert rounding_after(2e-3, 1.9988, 2.0, 4.0, 1e-2) == pytest.approx(0.35 * 2e-3)
    assert rounding_after(2e-3, 2.0012, 2.0, 4.0, 1e-4) == pytest.approx(0.1 * 2e-3)  # at most


def test_rounding_does_not_rise_again_and_has_an_end():
    assert rounding_after(2e-3, 2.0, 2.0, 4.0, 1e-2) == 2e-3
    assert rounding_after(4e-6, 3.0, 2.0, 4.0, 1e-2) == 3e-6
    assert rounding_after(1e-6, 3.0, 2.0, 4.0, 1e-2) == 1e-6
    assert rounding_after(2e-3, math.nan, 2.0, 4.0, 1e-2) == 2e-3
    assert rounding_after(2e-3, 1e-12, 0.0, 0.0, 1e-2) == pytest.approx(2e-4)
