"""`--resume` with larger `--steps`: a finished run goes on from its end."""

from __future__ import annotations

import numpy as np
import pytest

import asym_keras as ak
from trainers import simulated
from trainers.common.cli import parse_config
from trainers.common.curves import PRUNING
from trainers.common.experiments import Experiment
from trainers.common.folder import RunFolder

SMALL = (
    *("--width", "8", "--examples", "10", "--input-dim", "3", "--records", "4", "--quiet"),
    *("--solver", "descent", "--learning-rate", "0.1", "--ntg-examples", "0"),
)


def train(folder, steps, *flags):
    [metrics] = simulated.main([*SMALL, "--steps", str(steps), "--out-dir", str(folder), *flags])
    return metrics


def parse(*argv):
    return parse_config(simulated.Config, [*SMALL, *argv], module="m", description=None)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A run to 20 steps that went on to 30, and what its folder said in between."""
    path = tmp_path_factory.mktemp("runs") / "run"
    train(path, 20)
    longer = parse("--steps", "30", "--resume", "--out-dir", str(path))
    between = {
        "behind": RunFolder(path).is_behind(longer),
        "steps": ak.load_run(path).history.column("step").tolist(),
        "pruning": (path / PRUNING).read_bytes(),
    }
    train(path, 30, "--resume")
    return path, between


@pytest.mark.slow
def test_run_that_went_on_equals_one_that_never_stopped(folder, tmp_path):
    path, between = folder
    train(tmp_path / "whole", 30)
    ours, whole = ak.load_run(path), ak.load_run(tmp_path / "whole")
    for one, other in zip(
        ours.load_model().get_weights(), whole.load_model().get_weights(), strict=True
    ):
        np.testing.assert_array_equal(one, other)
    last = {name: ours.history[-1][name] for name in ("step", "train_risk", "weight_change")}
    assert last == {name: whole.history[-1][name] for name in last}
    assert ours.history.column("step").tolist() == [*between["steps"], 30.0]
    assert (path / PRUNING).read_bytes() == (tmp_path / "whole" / PRUNING).read_bytes()
    assert (path / PRUNING).read_bytes() != between["pruning"]
    assert ours.config["steps"] == 30
    assert ours.metrics["step"] == 30


@pytest.mark.slow
def test_command_says_from_where_to_where_it_goes_on(tmp_path, caplog):
    train(tmp_path / "run", 5)
    with caplog.at_level("INFO", logger="trainers"):
        train(tmp_path / "run", 7, "--resume")
    assert f"{tmp_path / 'run'}: goes on from steps 5 to 7" in caplog.messages


@pytest.mark.slow
def test_figures_and_the_zoo_do_not_lengthen_the_runs_that_they_find(folder):
    path, between = folder
    assert between["behind"]
    asked = parse("--steps", "40", "--resume", "--out-dir", str(path))
    with pytest.raises(ValueError, match=r"steps \(30 there, 40 here\)"):
        Experiment("simulated", asked, ("metrics.json",)).missing()


def test_fewer_steps_and_other_settings_are_still_refused(folder):
    path = RunFolder(folder[0])
    for flags in (["--steps", "29"], ["--steps", "40", "--seed", "1"]):
        with pytest.raises(ValueError, match="expected the settings of the run"):
            path.check(parse("--resume", *flags))
    longer = parse("--resume", "--steps", "40")
    path.check(longer)
    with pytest.raises(ValueError, match=r"steps \(30 there, 40 here\)"):
        path.check(longer, may_grow=False)


@pytest.mark.slow
def test_without_a_checkpoint_the_run_can_not_go_on(tmp_path, capsys):
    import shutil

    train(tmp_path / "run", 20)
    shutil.rmtree(tmp_path / "run" / "checkpoint")
    with pytest.raises(SystemExit):
        train(tmp_path / "run", 30, "--resume")
    assert "expected the checkpoint of the run" in capsys.readouterr().err
    assert ak.load_run(tmp_path / "run").metrics["step"] == 20


@pytest.mark.slow
def test_records_are_log_spaced_on_request(tmp_path):
    train(tmp_path / "run", 1000, "--record-spacing", "log")
    assert ak.load_run(tmp_path / "run").history.column("step").tolist() == [0, 1, 32, 1000]
