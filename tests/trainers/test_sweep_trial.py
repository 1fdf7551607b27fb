"""Trials that train: ordinary run folders, measured on validation rows and never on test rows."""

from __future__ import annotations

import csv
import dataclasses
from pathlib import Path

import numpy as np
import pytest
from crossed import some_slow
from trainer_runs import read_json

import asym_keras as ak
from asym_keras import datasets
from asym_keras.pruning import prune
from asym_keras.runs import load_run
from trainers import mnist, sweep
from trainers.common import cli
from trainers.common.config import PAIRS, HeldOut, settings_of
from trainers.common.folder import RunFolder
from trainers.common.reload import reload_config, reload_data
from trainers.common.tasks import TASKS
from trainers.sweep import trial as sweep_trial
from trainers.sweep.curves import envelope
from trainers.sweep.folder import SweepFolder
from trainers.sweep.pictures import _limits
from trainers.sweep.validation import Validation

pytestmark = pytest.mark.slow  # its sweep takes ten seconds; test_sweep_tuner has quick ones

KEEP, WIDTH = 3, 12
FLAGS = ("--task", "mnist", "--keep", str(KEEP), "--width", str(WIDTH), "--steps", "20")
FLAGS += ("--records", "4", "--tuner", "random", "--trials", "2", "--device", "cpu", "--pareto")
FLAGS += ("--paper-first",)


def parse(*argv):
    return cli.parse_config(sweep.Config, argv, module=sweep.MODULE, description=None)


@pytest.fixture(scope="module")
def swept(tmp_path_factory):
    """A sweep of two trials: its folder and `best.json`."""
    pytest.importorskip("keras_tuner")
    path = tmp_path_factory.mktemp("sweep") / "s"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("asym_keras.plotting.learning_curves", lambda folder, **_: [])
        best = sweep.main([*FLAGS, "--out-dir", str(path)])
    return path, best


@pytest.fixture(scope="module")
def data():
    return datasets.load_mnist()


def accuracy(model, x, labels):
    return float(np.mean(np.argmax(model.predict(x, verbose=0), axis=1) == labels))


def held_out(data):
    part = data.transfer
    return np.concatenate([part.x_train, part.x_test]), np.concatenate(
        [part.labels_train, part.labels_test]
    )


def test_best_is_a_normal_run_folder(swept, data):
    path, best = swept
    run = load_run(best["folder"])
    assert Path(best["folder"]).parent == path / "trials"
    assert run.finished
    assert run.task == "mnist"
    assert reload_data(run).fingerprint() == data.fingerprint()
    assert type(reload_config(run)) is mnist.Config
    assert len(run.pruning) > 5
    assert "test_accuracy" in run.history[-1]  # what `serving.package` takes for classes
    model = run.load_model()
    assert run.metrics["test_accuracy"] == pytest.approx(
        accuracy(model, data.x_test, data.labels_test), abs=2e-4
    )


def test_its_command_makes_the_same_run(swept):
    _, best = swept
    run = load_run(best["folder"])
    words = run.facts["command"].split()
    assert words[:3] == ["python", "-m", "trainers.mnist"]
    config = cli.parse_config(mnist.Config, words[3:], module=mnist.MODULE, description=None)
    theirs = {**run.config, "resume": False, "quiet": False}
    assert settings_of(config) == theirs
    assert (config.gamma, config.alpha) == (best["gamma"], best["alpha"])


@pytest.mark.parametrize("refit", some_slow([True], [False]))
def test_numbers_are_those_of_the_pruned_network(refit, swept, data):
    _, best = swept
    model = load_run(best["folder"]).load_model()
    rows = (data.x_train, data.y_train) if refit else None
    small = prune(model, KEEP, refit=rows, regression="cross_entropy", penalty="auto")
    end = "_refit" if refit else ""
    for part, (x, labels) in {
        "val": held_out(data),
        "test": (data.x_test, data.labels_test),
    }.items():
        numbers = best["validation" if part == "val" else "test"]
        ours = numbers[f"{part}_accuracy_pruned{end}"]
        assert ours == pytest.approx(accuracy(small, x, labels), abs=2e-4)
    assert best["value"] == best["validation"]["val_accuracy_pruned_refit"]


def test_the_papers_pairs_stand_beside_the_best(swept, data):
    path, best = swept
    pairs = best["paper_pairs"]
    assert [(p["gamma"], p["alpha"]) for p in pairs] == list(PAIRS["paper"][:2])
    for pair in pairs:
        model = load_run(path / "trials" / pair["trial"]).load_model()
        rows = (data.x_train, data.y_train)
        small = prune(model, KEEP, refit=rows, regression="cross_entropy", penalty="auto")
        ours = pair["test"]["test_accuracy_pruned_refit"]
        assert ours == pytest.approx(accuracy(small, data.x_test, data.labels_test), abs=2e-4)
        if pair["trial"] == best["trial"]:
            assert pair["test"] == best["test"]


def test_no_trial_looks_at_the_test_rows(swept):
    path, best = swept
    for trial in "01":
        run = load_run(path / "trials" / trial)
        for name in ("test_risk", "test_accuracy"):
            assert np.isnan(run.history.column(name)).all()
        assert ("test_accuracy" in run.metrics) == (trial == best["trial"])
        assert (run.path / "pruning.csv").is_file() == (trial == best["trial"])
        measured = np.isfinite(run.history.column("val_accuracy_pruned_refit"))
        assert measured.tolist() == [False, False, True, False]
        record = read_json(path / "trials" / f"{trial}.json")
        assert 0 < record["overhead_seconds"] < record["seconds"]


def test_tables_and_pictures(swept):
    path, best = swept
    with open(path / "trials.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["status"] for row in rows] == ["completed", "completed"]
    values = [float(row["val_accuracy_pruned_refit"]) for row in rows]
    assert max(values) == best["value"]
    assert best["trial"] == str(int(np.argmax(values)))
    with open(path / "pareto.csv", newline="") as file:
        pareto = list(csv.DictReader(file))
    assert [row["kept"] for row in pareto] == sorted({row["kept"] for row in pareto}, key=int)
    best_at_keep = [float(r["value"]) for r in pareto if int(r["kept"]) <= KEEP]
    assert max(best_at_keep) == best["value"]
    for name in ("plane", "pruning", "pareto"):
        assert (path / "figures" / f"{name}.png").read_bytes()[:4] == b"\x89PNG"
    assert not list(path.glob("trials/*/checkpoint"))


@pytest.mark.slow
def test_a_finished_sweep_that_is_resumed_trains_nothing(swept, monkeypatch):
    path, best = swept
    monkeypatch.setattr("trainers.common.experiment.train", None)
    assert sweep.main([*FLAGS, "--out-dir", str(path), "--resume"]) == best


def test_envelope_by_hand():
    points = [(5, 0.2), (5, 0.3), (10, 0.3), (10, 0.1), (20, 0.9), (50, 0.8)]
    rows = [{"kept": kept, "value": value} for kept, value in points]
    best = [(r["kept"], r["value"]) for r in envelope(rows, larger_is_better=True)]
    assert best == [(5, 0.3), (20, 0.9)]
    least = [(r["kept"], r["value"]) for r in envelope(rows, larger_is_better=False)]
    assert least == [(5, 0.2), (10, 0.1)]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_look_equals_the_curve(dtype):
    flags = ("--task", "simulated", "--dtype", dtype, "--keep", "8", "--width", "30")
    config = sweep_trial.trial_config(parse(*flags), {"gamma": 0.5, "alpha": 0.4}, Path("x"))
    config = dataclasses.replace(config, examples=20, input_dim=4)
    data = config.load()
    rows = HeldOut(data.x_test, data.y_test, None, "")
    model = ak.shallow_network(4, width=30, gamma=0.5, alpha=0.4, seed=0, dtype=dtype)
    validation = Validation(data, rows, config, 8)
    look, curve = validation.of(model), validation.curve(model)
    assert [row["kept"] for row in curve] == [5, 8, 10, 20]
    tolerance = 1e-4 if dtype == "float32" else 1e-9
    assert look == pytest.approx({k: v for k, v in curve[1].items() if k != "kept"}, rel=tolerance)
    small = prune(model, 8)
    risk = np.mean((small.predict(data.x_test.astype(dtype), verbose=0) - data.y_test) ** 2)
    assert look["val_risk_pruned"] == pytest.approx(risk, rel=tolerance)
    assert look["val_risk_pruned"] != pytest.approx(look["val_risk_pruned_refit"], rel=1e-3)


@pytest.mark.parametrize("task", [t for t in TASKS if t != "cifar10"])
def test_trials_are_the_tasks_own_runs(task):
    values = {"gamma": 0.123456, "alpha": 0.5, "steps": 70}
    config = sweep_trial.trial_config(
        parse("--task", task, "--times", "50:90", "--width", "300"), values, Path("folder")
    )
    assert config.task() == task
    assert (config.gamma, config.steps, config.width) == (0.1235, 70, 300)
    assert (config.ntg_count(10), config.resume, config.out_dir) == (0, True, "folder")


def test_an_old_folder_of_another_proposal_gives_way(tmp_path, monkeypatch):
    pytest.importorskip("keras_tuner")
    folder = SweepFolder(tmp_path / "s")
    config = parse("--task", "simulated", "--keep", "2", "--width", "4", "--steps", "3")
    folder.open(config, "")
    (folder.run_path("0") / "figures").mkdir(parents=True)

    def train(config, dataset, run: RunFolder, facts):
        run.open(config, {**facts, "dataset": {"fingerprint": "0"}})
        raise ValueError("that is enough")

    monkeypatch.setattr("trainers.common.experiment.train", train)
    trials = sweep_trial.Trials(config, folder)
    for gamma in (0.25, 0.75):
        with pytest.raises(ValueError, match="that is enough"):
            trials.run("0", {"gamma": gamma, "alpha": 0.5})
        assert read_json(folder.run_path("0") / "config.json")["config"]["gamma"] == gamma
    record = folder.record("0")
    assert (record["status"], record["error"]) == ("failed", "ValueError: that is enough")


def test_trials_of_cifar10_leave_a_tenth_of_the_rows_to_choose_by(tmp_path):
    generator = np.random.default_rng(0)
    arrays = {f"x_{p}": generator.normal(size=(n, 5)) for p, n in (("train", 43), ("test", 12))}
    labels = {f"y_{p}": np.arange(n) % 10 for p, n in (("train", 43), ("test", 12))}
    np.savez(tmp_path / "f.npz", **{k: v.astype("float16") for k, v in arrays.items()}, **labels)
    flags = ("--task", "cifar10", "--features", str(tmp_path / "f.npz"), "--steps", "60")
    config = sweep_trial.trial_config(parse(*flags), {"gamma": 0.5, "alpha": 0.4}, Path("x"))
    assert (config.train_examples, config.steps, config.solver) == (39, 60, "descent")
    data = config.load()
    rows = config.held_out(data)
    assert (len(data.x_train), len(rows.x)) == (39, 4)
    assert parse(*flags).measure() == "val_accuracy_pruned_refit"


def test_one_network_that_learns_nothing_does_not_spoil_the_colours():
    accuracies = [0.1, *np.linspace(0.8, 0.9, 40)]
    limits, open_end = _limits(accuracies, larger_is_better=True)
    assert 0.8 <= limits["vmin"] < 0.81
    assert limits["vmax"] == 0.9
    assert open_end == "min"
    limits, open_end = _limits([1 - a for a in accuracies], larger_is_better=False)
    assert limits["vmin"] == pytest.approx(0.1)
    assert 0.19 < limits["vmax"] <= 0.2
    assert open_end == "max"
    assert _limits([0.5], larger_is_better=True)[1] == "neither"
