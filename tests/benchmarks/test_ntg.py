"""The parts of the NTG benchmark that measure nothing: fits, counts, targets, agreement."""

from __future__ import annotations

import math

import numpy as np
import pytest

from benchmarks.common.report import exponent
from benchmarks.ntg import cases, contenders, report, results, scaling


def result(name="mlp", *, ours=1.0, tape=30.0, peer=4.0, peak=0, products=(), **of_ours):
    """A case of a 1 MB matrix and a 2 MB tile, one call for each contender."""
    method = "closed_form" if name.startswith("shallow") else "structured"
    outcomes = [
        results.Outcome(
            "ours",
            method,
            seconds=[2 * ours, ours],
            peaks=[peak],
            others=[0.0],
            product_seconds=list(products),
            **of_ours,
        ),
        results.Outcome(
            "tf.GradientTape", "tape.jacobian", seconds=[tape], peaks=[0], others=[0.0]
        ),
        results.Outcome("torch.func", "jacobian", seconds=[peer], peaks=[0], others=[0.0]),
    ]
    return results.CaseResult(name, "", 1_000_000, 2_000_000, outcomes)


def verdicts(one) -> dict[str, str]:
    lines = report.targets([one]).splitlines()[2:]
    return {line.split("  ")[0]: line.split("  ")[-1].strip() for line in lines}


@pytest.mark.parametrize("power", [-1.0, 0.5, 2.0])
def test_exponent_is_that_of_a_power_law(power):
    sizes = np.array([3.0, 10.0, 40.0, 50.0])
    assert exponent(sizes, 7 * sizes**power) == pytest.approx(power, rel=1e-12)


def test_exponent_is_the_slope_of_least_squares():
    # Logarithms (0, 1, 2) and (0, 0, 3): the slope by hand is (2*3 - 0*3) / 2 * 1/2 = 3/2.
    assert exponent(np.exp([0, 1, 2]), np.exp([0, 0, 3])) == pytest.approx(1.5)


@pytest.mark.parametrize(("sizes", "seconds"), [((5,), (1.0,)), ((5, 5), (1.0, 2.0)), ((1, 2), ())])
def test_exponent_of_too_few_points_is_nan(sizes, seconds):
    assert math.isnan(exponent(sizes, seconds))


def test_counted_exponents_at_the_limits():
    closed, full = (
        lambda n, m, d, k=k: scaling.operations(k, n, m, d) for k in ("structured", "jacobian")
    )
    assert closed(2, 3, 5) == 2 * (2 * 3 * 5 + 4 * (3 + 5))
    assert full(2, 3, 5) == 2 * 4 * 3 * 5


@pytest.mark.parametrize("name", cases.CASES)
def test_weights_of_a_case_are_those_of_its_network(name):
    case = cases.CASES[name]
    model = cases.network(case.kind, case.input_shape, case.width)
    assert sum(w.numpy().size for w in model.trainable_variables) == case.weights
    assert model.trainable_variables[0].shape[-1] == case.width


def test_full_gradients_are_skipped_where_they_take_minutes():
    skipped = {
        (contender.method, name)
        for contender in contenders.CONTENDERS
        for name, case in cases.CASES.items()
        if contender.why_not(case)
    }
    assert skipped == {(c.method, "shallow-5000") for c in contenders.CONTENDERS if c.full}


def test_missing_interpreter_tells_how_to_make_it():
    peer = next(c for c in contenders.CONTENDERS if c.framework == "neural-tangents")
    outcome = contenders.start(peer, cases.CASES["cnn"], "no/such/python")
    assert "requirements-neural-tangents.txt" in outcome.missing
    assert not outcome.failed


def test_targets_of_speed_are_met_at_the_limit_and_missed_below():
    met = verdicts(result(tape=20.0, peer=3.0))
    assert met["mlp: structured beside tf.GradientTape tape.jacobian"] == "met"
    assert met["mlp: ours beside torch.func jacobian"] == "met"
    missed = verdicts(result(tape=19.9, peer=2.9))
    assert missed["mlp: structured beside tf.GradientTape tape.jacobian"] == "MISSED"
    assert missed["mlp: ours beside torch.func jacobian"] == "MISSED"
    assert missed["mlp: structured beside ours jacobian"] == "not measured"


@pytest.mark.parametrize(("ours", "verdict"), [(1.9, "met"), (2.1, "MISSED")])
def test_target_of_the_closed_form(ours, verdict):
    seen = verdicts(result("shallow-5000", ours=ours, products=[3.0, 1.35]))
    assert seen["shallow-5000: closed form"] == verdict
    # 1.9 / 1.35 = 1.41, 2.1 / 1.35 = 1.56
    assert seen["shallow-5000: closed form over the bare products"] == verdict


@pytest.mark.parametrize(("peak", "verdict"), [(3_500_000, "met"), (3_500_001, "MISSED")])
def test_target_of_memory_is_one_and_a_half_results_and_a_tile(peak, verdict):
    assert verdicts(result(peak=peak))["mlp: memory of structured"] == verdict


def test_table_shows_ratio_memory_and_reason():
    one = result(peak=6_000_000)
    one.outcomes[1].missing = "no memory"
    text = report.outcome_table([one])
    ours, tape, peer, reason = text.splitlines()[2:]
    assert ours.split()[3:9] == ["1", "1", "x", "2", "-", "6"]
    assert "2.00" in ours
    assert "4 x" in peer
    assert "-" in tape
    assert reason == "mlp tf.GradientTape tape.jacobian: not measured: no memory"


@pytest.mark.parametrize(("off", "faults"), [(1e-4, 0), (1.1e-4, 1), (math.nan, 1), (None, 0)])
def test_disagreement_is_a_fault(off, faults):
    one = result()
    one.outcomes[2].difference = off
    assert len(report.disagreements([one])) == faults


def test_failure_of_ours_is_a_fault_and_a_missing_peer_is_not():
    assert report.disagreements([result(missing="out of memory", failed=True)])
    one = result()
    one.outcomes[2].missing, one.outcomes[2].failed = "out of memory", True
    assert not report.disagreements([one])
