"""KerasTuner in a sweep, with trials that are a formula: proposals, failures, interruptions."""

from __future__ import annotations

import csv
import json

import keras
import pytest

from trainers import sweep
from trainers.common import cli
from trainers.common.config import PAIRS
from trainers.sweep import results as sweep_results
from trainers.sweep import trial as sweep_trial
from trainers.sweep.folder import SweepFolder

MEASURE = "val_risk_pruned_refit"
SAME = 0.009  # a hundredth, less the rounding to four digits


@pytest.fixture(autouse=True)
def extra(monkeypatch):
    pytest.importorskip("keras_tuner")
    # It collects garbage after each trial, which takes longer than all else here.
    monkeypatch.setattr(keras.utils, "clear_session", lambda: None)


def parse(*argv):
    return cli.parse_config(sweep.Config, argv, module=sweep.MODULE, description=None)


class Formula:
    """Stands for training: a bowl over the plane. Notes its calls; raises what it is told to."""

    def __init__(self):
        self.calls, self.faults = [], {}

    def __call__(self, trials, trial, config):
        self.calls.append((trial, config.gamma, config.alpha))
        if trial in self.faults:
            raise self.faults[trial]
        risk = 1.0 + (config.gamma - 0.3) ** 2 + (config.alpha - 0.5) ** 2
        return "completed", {MEASURE: risk, "val_risk_pruned": 2 * risk}, None


@pytest.fixture
def formula(monkeypatch):
    made = Formula()
    monkeypatch.setattr(sweep_trial.Trials, "_train", lambda *args: made(*args))
    monkeypatch.setattr(sweep_results, "write", best_of)
    return made


def best_of(config, folder):
    """The record of the best trial: there are no networks to ask the test rows for."""
    return sweep_results.best_record(config, folder.records())


@pytest.fixture
def run(tmp_path):
    def call(*flags, tuner="random", trials=6):
        given = ("--trials", str(trials), "--tuner", tuner, *flags)
        fixed = ("--task", "energy", "--device", "cpu", "--quiet", "--out-dir", str(tmp_path / "s"))
        return sweep.main([*fixed, *given])

    return call


def rows(tmp_path):
    with open(tmp_path / "s" / "trials.csv", newline="") as file:
        return list(csv.DictReader(file))


def test_best_is_the_best_of_all_trials(formula, run, tmp_path):
    best = run()
    table = rows(tmp_path)
    assert [row["trial"] for row in table] == list("012345")
    least = min(table, key=lambda row: float(row[MEASURE]))
    assert best["trial"] == least["trial"]
    assert all(float(row["objective"]) == float(row[MEASURE]) for row in table)
    for row, (_, gamma, alpha) in zip(table, formula.calls, strict=True):
        assert (float(row["gamma"]), float(row["alpha"])) == (gamma, alpha)


def test_two_searches_with_one_seed_are_equal(formula, run):
    run(trials=3)
    run("--overwrite", trials=3)
    assert formula.calls[:3] == formula.calls[3:]
    run("--overwrite", "--seed", "1", trials=3)
    assert not {*formula.calls[:3]} & {*formula.calls[6:]}


def test_an_interrupted_sweep_goes_on_with_the_same_trial(formula, run, tmp_path, capsys):
    formula.faults = {"2": KeyboardInterrupt()}
    with pytest.raises(SystemExit) as caught:
        run()
    assert caught.value.code == 130
    assert "--resume" in capsys.readouterr().err
    assert [row["trial"] for row in rows(tmp_path)] == ["0", "1"]
    with pytest.raises(SystemExit):
        run()  # not in silence
    formula.faults = {}
    run("--resume", trials=8)
    assert [trial for trial, _, _ in formula.calls] == list("0122") + list("34567")
    assert formula.calls[2] == formula.calls[3]
    assert len(rows(tmp_path)) == 8


def test_the_first_trial_is_found_again_too(formula, run):
    formula.faults = {"0": KeyboardInterrupt()}
    with pytest.raises(SystemExit):
        run(trials=2)
    formula.faults = {}
    run("--resume", trials=2)
    assert formula.calls[0] == formula.calls[1]
    assert [trial for trial, _, _ in formula.calls] == list("001")


def test_a_trial_that_ended_before_its_process_could_tell_is_not_run_again(formula, run, tmp_path):
    formula.faults = {"1": KeyboardInterrupt()}
    with pytest.raises(SystemExit):
        run(trials=3)
    record = {"trial": "1", "status": "completed", "metrics": {MEASURE: 0.5}, "error": None}
    values = {"gamma": 0.1, "alpha": 0.2, "width": 5, "steps": 6}
    SweepFolder(tmp_path / "s").write_record(
        {**record, "values": values, "seconds": 1.0, "overhead_seconds": 0.5}
    )
    best = run("--resume", trials=3)
    assert [trial for trial, _, _ in formula.calls] == list("012")
    assert best["trial"] == "1"


def test_a_trial_that_ended_as_its_chief_died_is_not_begun_again(formula, run, tmp_path):
    run(trials=2)
    [path] = (tmp_path / "s" / "tuner").glob("**/oracle.json")
    state = json.loads(path.read_text())
    state["ongoing_trials"] = {"tuner0": "1"}  # as KerasTuner saves it before it is taken off
    path.write_text(json.dumps(state))
    run("--resume", trials=3)
    state = json.loads(path.read_text())
    assert state["end_order"] == list("012")
    assert state["ongoing_trials"] in ({}, {"tuner0": "2"})


def test_a_failing_trial_is_recorded_and_the_sweep_goes_on(formula, run, tmp_path):
    formula.faults = {"1": ValueError("no step small enough\nsecond line")}
    best = run("--max-failures", "2", trials=4)
    table = rows(tmp_path)
    assert [row["status"] for row in table] == ["completed", "failed", "completed", "completed"]
    assert table[1]["error"] == "ValueError: no step small enough"
    assert best["trial"] != "1"


def test_failures_in_a_row_end_the_sweep_with_their_reasons(formula, run, tmp_path, capsys):
    formula.faults = {str(i): OSError(f"disk {i} full") for i in range(1, 6)}
    with pytest.raises(SystemExit) as caught:
        run("--max-failures", "2", trials=9)
    assert caught.value.code == 1
    assert len(rows(tmp_path)) == 3
    message = capsys.readouterr().err
    assert "trial 1: OSError: disk 1 full" in message
    assert "trial 2: OSError: disk 2 full" in message
    assert "Go on with --resume and --max-failures 4 once the reason is gone" in message
    formula.faults = {}
    run("--max-failures", "4", "--resume", trials=9)
    assert len(rows(tmp_path)) == 9


def test_no_trial_begins_after_the_time(formula, run, capsys):
    with pytest.raises(SystemExit):
        run("--max-time", "1e-9")
    assert formula.calls == []
    assert "none has ended" in capsys.readouterr().err


def test_the_protocols_pairs_come_first(formula, run):
    run("--paper-first", "--protocol", "authors", trials=5)
    pairs = [(gamma, alpha) for _, gamma, alpha in formula.calls]
    assert pairs[:4] == list(PAIRS["authors"])
    assert pairs[4] not in pairs[:4]


def apart(calls):
    """Distances of all pairs of points, in the scaled plane; gamma = 1 is one point."""
    places = [(g, 0.5 if g == 1 else (a - 0.05) / 0.9) for _, g, a in calls]
    return [
        max(abs(x - y) for x, y in zip(p, q, strict=True))
        for i, p in enumerate(places)
        for q in places[:i]
    ]


@pytest.mark.parametrize("gamma", [0.0, 1.0])
def test_no_point_is_tried_twice(gamma, formula, run, monkeypatch):
    alphas = iter([0.05, 0.05, 0.051, 0.7, 0.052, 0.05])

    def corner(self, trial_id):
        return {"status": "RUNNING", "values": {"gamma": gamma, "alpha": next(alphas)}}

    monkeypatch.setattr("keras_tuner.oracles.BayesianOptimizationOracle.populate_space", corner)
    run(tuner="bayesian")
    assert len(formula.calls) == 6
    assert min(apart(formula.calls)) > SAME
    assert sum(g == gamma for _, g, _ in formula.calls) == (1 if gamma == 1 else 2)


def test_a_space_without_new_points_ends_the_sweep(formula, run):
    run("--gammas", "0.5:0.5", "--alphas", "0.4:0.4", trials=3)
    assert [call[1:] for call in formula.calls] == [(0.5, 0.4)]


def test_width_and_time_are_searched_on_request(formula, run, tmp_path):
    run("--widths", "200:400", "--times", "10:1000", trials=4)
    for name, low, high in (("width", 200, 400), ("steps", 10, 1000)):
        values = [int(row[name]) for row in rows(tmp_path)]
        assert len({*values}) > 1
        assert all(low <= value <= high for value in values)


@pytest.mark.slow
def test_bayesian_search_finds_the_bowl(formula, run):
    best = run("--keep", "10", tuner="bayesian", trials=16)
    assert best["metrics"][MEASURE] < 1.003
    assert min(apart(formula.calls)) > SAME


def tuner_of(folder, *flags, role="alone"):
    from trainers.sweep.tuner import RunTuner

    config = parse("--task", "energy", "--tuner", "random", "--out-dir", str(folder.path), *flags)
    folder.open(config, "")
    return RunTuner(config, folder, role)


def begun(folder):
    """A chief that has given a trial to each of two workers."""
    tuner = tuner_of(folder, "--workers", "2", role="chief")
    tuner.save()
    return {name: tuner.oracle.create_trial(name) for name in ("worker0", "worker1")}


def test_a_restarted_chief_leaves_trials_with_their_workers(tmp_path):
    folder = SweepFolder(tmp_path / "s")
    trials = begun(folder)
    oracle = tuner_of(folder, "--workers", "2", "--resume", role="chief").oracle
    # Worker 1 still runs its trial, and ends it; worker 0 died, and comes back.
    oracle.update_trial(trials["worker1"].trial_id, {MEASURE: 1.0})
    trials["worker1"].status = "COMPLETED"
    oracle.end_trial(trials["worker1"])
    assert oracle.create_trial("worker1").trial_id == "02"
    assert oracle.create_trial("worker0").trial_id == trials["worker0"].trial_id


def test_trials_of_workers_that_are_no_more_go_to_others(tmp_path):
    folder = SweepFolder(tmp_path / "s")
    begun(folder)
    oracle = tuner_of(folder, "--workers", "1", "--resume", role="chief").oracle
    assert oracle.create_trial("worker0").trial_id == "00"
    assert oracle.create_trial("worker7").trial_id == "01"
    assert oracle.create_trial("worker8").trial_id == "02"


def test_a_trial_that_is_in_no_list_is_run(tmp_path):
    folder = SweepFolder(tmp_path / "s")
    begun(folder)
    path = folder.path / "tuner" / "oracle.json"
    state = json.loads(path.read_text())
    del state["ongoing_trials"]["worker1"]  # killed between the two files
    path.write_text(json.dumps(state))
    oracle = tuner_of(folder, "--workers", "2", "--resume", role="chief").oracle
    given = [oracle.create_trial(name).trial_id for name in ("worker0", "worker1")]
    assert given == ["00", "01"]


def test_a_lost_chief_is_no_failure_of_the_trial(formula, run, monkeypatch, tmp_path, capsys):
    import grpc

    class Lost(grpc.RpcError):
        def code(self):
            return grpc.StatusCode.UNAVAILABLE

    def update_trial(self, trial_id, metrics, step=0):
        raise Lost

    monkeypatch.setenv("KERASTUNER_ORACLE_IP", "127.0.0.1")
    monkeypatch.setenv("KERASTUNER_ORACLE_PORT", "1")
    monkeypatch.setattr("trainers.sweep.crew.role", lambda config: "alone")
    monkeypatch.setattr("keras_tuner.src.distribute.utils.has_chief_oracle", lambda: False)
    with monkeypatch.context() as patch:
        patch.setattr("keras_tuner.Oracle.update_trial", update_trial)
        with pytest.raises(SystemExit) as caught:
            run(trials=2)
    assert caught.value.code == 1
    assert "expected the chief at 127.0.0.1:1 to answer, received UNAVAILABLE" in (
        capsys.readouterr().err
    )
    best = run("--resume", trials=2)
    assert [trial for trial, _, _ in formula.calls] == ["0", "1"]
    assert best is not None
