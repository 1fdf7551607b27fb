"""benchmarks.flow_accuracy on runs of a few steps."""

from __future__ import annotations

import math

import pytest

from benchmarks.flow_accuracy import __main__ as flow_accuracy
from benchmarks.flow_accuracy import reference
from benchmarks.flow_accuracy.reference import CASES, Case

SHORT = [Case("simulated", gamma, 0.4, 0, 40.0) for gamma in (0.0, 1.0)]


@pytest.fixture
def short(tmp_path, monkeypatch):
    monkeypatch.setattr(reference, "FILE", tmp_path / "reference.json")
    monkeypatch.setattr(flow_accuracy, "CASES", SHORT)


@pytest.mark.slow
def test_descent_is_kept_and_the_flow_compared_with_it(short, capsys):
    assert flow_accuracy.main(["--reference"]) == 0
    kept = reference.read()
    assert kept.keys() == {"simulated 0 0.4 0", "simulated 1 0.4 0"}
    assert all(0 <= case["chatter"] < 0.1 for case in kept.values())
    flow_accuracy.main(["--reference"])  # nothing is computed again
    assert reference.read() == kept
    capsys.readouterr()
    assert flow_accuracy.main([]) == 0
    [first, second] = capsys.readouterr().out.splitlines()[1:]
    assert first.split()[:4] == ["simulated", "0", "0.4", "0"]
    assert "%" in second


@pytest.mark.slow
def test_a_flow_that_ends_elsewhere_fails(short, capsys, monkeypatch):
    monkeypatch.setattr(flow_accuracy, "CASES", SHORT[1:])
    flow_accuracy.main(["--reference"])
    known = reference.read()
    wrong = {name: {**case, "test_risk": 1.1 * case["test_risk"]} for name, case in known.items()}
    monkeypatch.setattr(reference, "read", lambda: wrong)
    assert flow_accuracy.main([]) == 1


def test_a_run_without_a_reference_is_shown_and_fails_nothing(short):
    cells, difference = flow_accuracy.compare(SHORT[0], rounding=0.0)
    assert math.isnan(difference)
    assert cells[5:7] == ["", ""]


def test_bad_rounding_is_refused(capsys):
    with pytest.raises(SystemExit):
        flow_accuracy.main(["--rounding", "-1"])
    assert "--rounding: expected at least 0, received -1.0" in capsys.readouterr().err


def test_cases_have_names_of_their_own():
    assert len({case.name for case in CASES}) == len(CASES) == 42
