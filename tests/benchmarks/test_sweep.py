"""The parts of the sweep benchmark that need no sweep: the overhead, disagreements, flags."""

from __future__ import annotations

import pytest

from benchmarks.sweep import __main__ as sweep

FOUND = {"0.5, 0.1": 0.8, "0.5, 0.9": 0.85}


def measured(workers, *, searching=100.0, training=90.0, found=None):
    return sweep.Sweep(workers, 110.0, searching, training, 5.0, 0.0, found or FOUND)


def test_overhead_is_what_the_workers_do_not_train():
    assert sweep.overhead(measured(1)) == pytest.approx(0.1)
    assert sweep.overhead(measured(2, searching=50.0)) == pytest.approx(0.1)
    row = sweep.table([measured(1)]).splitlines()[1].split()
    assert row == ["1", "110.0", "100.0", "90.0", "5.0", "10.0%", "18.2%", "0.0%"]


def test_sweeps_that_found_something_else_are_told():
    assert sweep.disagreements(measured(1), measured(2)) == []
    other = measured(2, found={"0.5, 0.1": 0.803, "0.5, 0.2": 0.85})
    faults = sweep.disagreements(measured(1), other)
    assert [fault.split(":")[0] for fault in faults] == ["0.5, 0.1", "0.5, 0.2", "0.5, 0.9"]
    assert "None by two" in faults[2]


def test_an_odd_number_of_trials_is_refused(capsys):
    with pytest.raises(SystemExit):
        sweep.parse(["--trials", "3"])
    assert "expected an even number, received 3" in capsys.readouterr().err
