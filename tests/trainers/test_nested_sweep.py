"""Sweeps of nested networks: flags, trials, and what they leave."""

from __future__ import annotations

import contextlib
import csv

import keras
import pytest

import asym_keras as ak
from trainers import nested, sweep
from trainers.common import cli
from trainers.sweep.folder import SweepFolder


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--keep", "20"], "--keep: expected it without --nested"),
        (["--rates", "0.1:0.01"], "--rates: expected LOW:HIGH with LOW at most HIGH"),
    ],
)
def test_bad_flags_of_nested_sweeps(flags, message, capsys):
    with pytest.raises(SystemExit):
        sweep.main(["--task", "mnist", "--nested", *flags])
    assert message in capsys.readouterr().err


def test_a_sweep_may_propose_any_alpha_at_gamma_1(tmp_path):
    """It has no effect there; the command that `best.json` prints must not be refused."""
    from trainers.sweep import nested as nested_sweep

    config = sweep.Config(nested="4")
    trials = nested_sweep.NestedTrials(config, SweepFolder(tmp_path))
    values = {"gamma": 0.99999, "alpha": 0.3, "learning_rate": 0.01}
    one = trials.config({**values, "weights_gamma": 0.5, "weights_alpha": 0.5}, tmp_path)
    assert (one.gamma, one.alpha) == (1.0, 0.4)
    words = nested_sweep.run_command(one).split()[3:]
    assert cli.parse_config(nested.Config, words, module="m", description=None).gamma == 1.0


@pytest.mark.parametrize("error", [None, ValueError("out of memory")])
def test_a_trial_of_a_nested_sweep_leaves_nothing_in_memory(error, tmp_path, monkeypatch):
    from trainers.nested import training
    from trainers.sweep.nested import NestedTrials

    done = []

    def run(*_, **__):
        done.append("trained")
        if error:
            raise error
        return {"total_seconds": 1.0, "widths": {"4": {"accuracy": 0.5, "risk": 1.0}}}

    monkeypatch.setattr(training, "run", run)
    monkeypatch.setattr(keras.utils, "clear_session", lambda: done.append("cleared"))
    monkeypatch.setattr(nested.Config, "load", lambda self: None)
    config = sweep.Config(nested="4", out_dir=str(tmp_path / "s"))
    folder = SweepFolder(config.path())
    folder.open(config, "")
    trials = NestedTrials(config, folder)
    monkeypatch.setattr(NestedTrials, "_device", "cpu")
    values = {"gamma": 0.5, "alpha": 0.4, "learning_rate": 0.01}
    values |= {"weights_gamma": 0.5, "weights_alpha": 0.5}
    with contextlib.nullcontext() if error is None else pytest.raises(ValueError, match="memory"):
        trials.run("0", values)
    assert done == ["trained", "cleared"]


@pytest.mark.slow
def test_sweep_judges_by_the_mean_over_widths(tmp_path):
    pytest.importorskip("keras_tuner")
    flags = ["--task", "mnist", "--nested", "4,16", "--epochs", "1", "--trials", "2"]
    best = sweep.main([*flags, "--tuner", "random", "--out-dir", str(tmp_path / "s"), "--quiet"])
    found = best["validation"]
    mean = (found["val_accuracy_4"] + found["val_accuracy_16"]) / 2
    assert best["value"] == found["val_accuracy_mean"] == pytest.approx(mean)
    with open(tmp_path / "s" / "trials.csv", newline="") as file:
        trials = list(csv.DictReader(file))
    assert best["value"] == max(float(row["objective"]) for row in trials)
    one = ak.load_run(best["folder"])
    assert one.config["weights"] == f"{best['weights_gamma']:g}:{best['weights_alpha']:g}"
    assert set(best["test"]) == {"4", "16"}
