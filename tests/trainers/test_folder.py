"""Run folders: never overwritten unasked, and every obstacle told before training."""

from __future__ import annotations

import collections
import dataclasses
import importlib.util
import types
from pathlib import Path

import pytest
from trainer_runs import SMALL, parse, read_json, small_data, write_run

from asym_keras.datasets import load_npz
from asym_keras.extras import install_command
from trainers import mnist
from trainers.common import batch, experiment, folder
from trainers.common.folder import RunFolder


def fingerprint(data):
    return load_npz(data).fingerprint()


@pytest.fixture
def data(tmp_path):
    return small_data(tmp_path / "small.npz")


@pytest.fixture
def no_training(monkeypatch):
    monkeypatch.setattr("asym_keras.training.train", lambda *a, **k: pytest.fail("trained"))


@pytest.fixture
def no_loading(monkeypatch):
    monkeypatch.setattr(mnist.Config, "load", lambda self: pytest.fail("loaded"))


def error_of(capsys, *argv):
    with pytest.raises(SystemExit) as caught:
        mnist.main([*SMALL, *map(str, argv)])
    assert caught.value.code == 1
    message = capsys.readouterr().err
    assert message.startswith("error: ")
    return message


def content(folder):
    return {path.name: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.usefixtures("no_loading")
def test_run_that_is_there_is_refused_and_kept(tmp_path, capsys):
    write_run(tmp_path / "run", metrics={"test_risk": 1})
    before = content(tmp_path)
    message = error_of(capsys, "--out-dir", tmp_path / "run")
    assert f"received {tmp_path / 'run'}, where a run is" in message
    assert "--resume, --overwrite or another --out-dir" in message
    assert content(tmp_path) == before


def own_files(folder):
    (folder / "thesis.tex").write_text("years of work")


def other_program(folder):
    (folder / "config.json").write_text('{"model_type": "bert"}')


def damaged(folder):
    (folder / "config.json").write_text('{"config": ')


def a_list(folder):
    (folder / "config.json").write_text("[1, 2]")


@pytest.mark.usefixtures("no_loading")
@pytest.mark.parametrize("make", [own_files, other_program, damaged, a_list])
@pytest.mark.parametrize("flag", ["--quiet", "--overwrite", "--resume"])
def test_folder_that_is_no_run_is_refused_whatever_the_flags(make, flag, tmp_path, capsys):
    folder = tmp_path / "mine"
    folder.mkdir()
    make(folder)
    before = content(folder)
    message = error_of(capsys, "--out-dir", folder, flag)
    assert "where something that is no run is. Use another --out-dir" in message
    assert content(folder) == before


@pytest.mark.usefixtures("no_loading")
def test_file_in_place_of_the_folder_is_refused(tmp_path, capsys):
    (tmp_path / "run").write_text("mine")
    assert "something that is no run" in error_of(capsys, "--out-dir", tmp_path / "run")


@pytest.mark.parametrize("flags", [[], ["--resume"], ["--overwrite"]])
@pytest.mark.parametrize("exists", [True, False])
def test_new_or_empty_folder_is_fine(tmp_path, exists, flags):
    folder = tmp_path / "deep" / "run"
    if exists:
        folder.mkdir(parents=True)
    run = write_run(folder, *flags, "--width", "9")
    assert run.read("config.json")["config"]["width"] == 9
    assert (folder / "figures").is_dir()
    assert not run.finished(parse(), None)


def test_overwrite_replaces_the_whole_run(tmp_path):
    run = write_run(tmp_path / "run", "--width", "9", metrics={}, old={})
    there = run.read("config.json")["dataset"]["fingerprint"]
    assert run.finished(parse(), types.SimpleNamespace(fingerprint=lambda: there))
    write_run(tmp_path / "run", "--width", "11", "--overwrite")
    assert run.read("config.json")["config"]["width"] == 11
    assert sorted(content(tmp_path / "run")) == ["config.json"]


def test_resume_keeps_the_run_and_its_configuration(tmp_path):
    write_run(tmp_path / "run", "--width", "9", history={})
    before = content(tmp_path / "run")
    write_run(tmp_path / "run", "--width", "9", "--resume", "--quiet", "--debug")
    assert content(tmp_path / "run") == before


@pytest.mark.usefixtures("no_loading")
def test_resume_with_other_settings_lists_them(tmp_path, capsys):
    write_run(tmp_path / "run", *SMALL, "--seed", "3")
    message = error_of(capsys, "--out-dir", tmp_path / "run", "--resume", "--alpha", "0.7")
    assert "--resume: expected the settings of the run" in message
    assert "alpha (0.4 there, 0.7 here), seed (3 there, 0 here). Repeat its flags" in message
    assert "width" not in message


@pytest.mark.usefixtures("no_training")
@pytest.mark.parametrize("files", [{}, {"metrics": {"seed": 0}}], ids=["begun", "finished"])
def test_resume_with_other_data_is_refused(tmp_path, data, capsys, files):
    flags = ["--data", data, "--out-dir", str(tmp_path / "run")]
    write_run(tmp_path / "run", *SMALL, *flags, fingerprint="0123", **files)
    message = error_of(capsys, *flags, "--resume")
    assert "expected the data of the run in" in message
    assert "(fingerprint 0123), received others" in message


@pytest.mark.usefixtures("no_training")
def test_resume_of_a_finished_run_returns_its_metrics(tmp_path, data, capsys):
    flags = ["--data", data, "--out-dir", str(tmp_path / "run")]
    metrics = {"gamma": 0.0, "test_risk": 0.125, "seed": 0}
    write_run(tmp_path / "run", *SMALL, *flags, metrics=metrics, fingerprint=fingerprint(data))
    (tmp_path / "run" / "pruning.csv").write_text("pruned,kept,train_risk,test_risk\n")
    before = content(tmp_path / "run")
    assert mnist.main([*SMALL, *flags, "--resume"]) == [metrics]
    assert "test_risk  0.125" in capsys.readouterr().out
    assert content(tmp_path / "run") == before


@pytest.mark.usefixtures("no_training")
def test_folder_that_cannot_be_made_is_told(tmp_path, data, capsys):
    (tmp_path / "file").touch()
    message = error_of(capsys, "--data", data, "--out-dir", tmp_path / "file" / "run")
    assert "expected an output folder that can be written" in message
    assert "(Not a directory); choose another --out-dir" in message
    assert str(tmp_path / "file" / "run") in message


@pytest.mark.usefixtures("no_training")
def test_full_disk_is_told_before_training(tmp_path, data, capsys, monkeypatch):
    usage = collections.namedtuple("usage", "total used free")(10**9, 10**9, 2**19)
    monkeypatch.setattr(folder.shutil, "disk_usage", lambda path: usage)
    message = error_of(capsys, "--data", data, "--out-dir", tmp_path / "run")
    assert "expected 1 MiB of free space for the run's checkpoint and model" in message
    assert "received 0 MiB. Make room, or choose another --out-dir" in message


@pytest.mark.usefixtures("no_loading")
def test_missing_tensorboard_names_the_extra(tmp_path, capsys, monkeypatch):
    find = importlib.util.find_spec
    absent = lambda name, *rest: None if name == "tensorboard" else find(name, *rest)  # noqa: E731
    monkeypatch.setattr(batch.importlib.util, "find_spec", absent)
    message = error_of(capsys, "--tensorboard", "--out-dir", tmp_path / "run")
    assert install_command("tensorboard") in message
    assert not (tmp_path / "run").exists()


def test_damaged_checkpoint_is_told(tmp_path, data, capsys):
    flags = ["--data", data, "--out-dir", str(tmp_path / "run")]
    run = write_run(tmp_path / "run", *SMALL, *flags, fingerprint=fingerprint(data))
    run.checkpoint.mkdir()
    (run.checkpoint / "state.npz").write_bytes(b"PK\x03\x04 half of a check")
    message = error_of(capsys, *flags, "--resume")
    assert f"Expected {run.checkpoint / 'state.npz'} to be a whole checkpoint" in message


def test_default_folder_tells_task_and_settings(tmp_path, monkeypatch):
    config = parse("--gamma", "0.5", "--width", "100", "--seed", "2", "--solver", "descent")
    assert batch.run_paths(config) == [Path("runs/mnist-paper-g0.5-a0.4-m100-descent-s2")]
    config = dataclasses.replace(config, out_dir=str(tmp_path))
    assert batch.run_paths(config) == [tmp_path]
    config = dataclasses.replace(config, seeds=1)
    assert batch.run_paths(config)[0].parent == tmp_path
    monkeypatch.chdir(tmp_path)
    small_data("my.npz")
    assert parse("--data", "my.npz").task() == "my"


def run_with_stub(monkeypatch, *argv):
    """The runs that would be made: configuration and folder of each."""
    runs = []

    def stub(config, dataset, folder, facts, workers):
        runs.append((config, folder.path))
        return {"gamma": config.gamma, "alpha": config.alpha, "seed": config.seed}

    monkeypatch.setattr(experiment, "run", stub)
    return mnist.main([*SMALL, *map(str, argv)]), runs


def test_all_pairs_and_seeds_have_a_folder_each(tmp_path, data, monkeypatch, capsys):
    flags = ["--data", data, "--pairs", "all", "--seeds", "2", "--out-dir", tmp_path / "all"]
    rows, runs = run_with_stub(monkeypatch, *flags)
    pairs = ["g1-a0.4", "g0.5-a0.7", "g0.5-a0.5", "g0-a0.4"]
    assert [path for _, path in runs] == [
        tmp_path / "all" / f"small-paper-{pair}-m20-flow-s{seed}"
        for pair in pairs
        for seed in (0, 1)
    ]
    assert [(r["gamma"], r["alpha"], r["seed"]) for r in rows] == [
        (c.gamma, c.alpha, c.seed) for c, _ in runs
    ]
    shown = capsys.readouterr().out.splitlines()
    assert len(shown) == 1 + 8 + 8  # a table and the folders


@pytest.mark.usefixtures("no_loading")
def test_all_folders_are_checked_before_the_first_run(tmp_path, data, capsys):
    write_run(tmp_path / "small-paper-g0-a0.4-m20-flow-s2")
    message = error_of(capsys, "--data", data, "--seeds", "3", "--out-dir", tmp_path)
    assert "m20-flow-s2, where a run is" in message


def test_json_that_is_damaged_is_named(tmp_path):
    run = write_run(tmp_path / "run", metrics={"a": 1.5})
    assert run.read("metrics.json") == {"a": 1.5} == read_json(run.path / "metrics.json")
    (run.path / "metrics.json").write_text('{"a"')
    with pytest.raises(ValueError, match=r"expected JSON in .*metrics\.json, received"):
        RunFolder(run.path).read("metrics.json")
