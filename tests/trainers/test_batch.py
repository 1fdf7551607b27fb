"""Batches of runs: which runs there are, failures, what is left to do, several processes."""

from __future__ import annotations

from concurrent.futures import Future

import numpy as np
import pytest
from trainer_runs import SMALL, read_json, small_data

from asym_keras.training import History
from trainers import mnist, simulated
from trainers.common import batch, cli, environment, experiment

TINY = ("--width", "10", "--steps", "20", "--records", "2", "--ntg-examples", "0")
TINY += ("--solver", "descent", "--quiet")  # which takes less time to trace than the flow
PAIRS = ("--pairs", "1:0.4,0:0.4", "--seeds", "2")


@pytest.fixture(autouse=True)
def no_figures(monkeypatch):
    monkeypatch.setattr("asym_keras.plotting.learning_curves", lambda folder, **_: [])


def folders(parent):
    return sorted(path.name for path in parent.iterdir())


@pytest.mark.slow
def test_a_failing_run_does_not_stop_the_others(tmp_path, monkeypatch, capsys):
    train = experiment.train

    def failing(config, *rest, **options):
        if (config.gamma, config.seed) == (1.0, 1):
            raise RuntimeError("the risk is NaN")
        return train(config, *rest, **options)

    argv = [*TINY, *PAIRS, "--out-dir", str(tmp_path / "batch")]
    monkeypatch.setattr(experiment, "train", failing)
    with pytest.raises(SystemExit) as exit_:
        simulated.main(argv)
    assert exit_.value.code == 1
    printed = capsys.readouterr()
    assert "1 of 4 runs failed" in printed.err
    assert "simulated-paper-g1-a0.4-m10-descent-s1: RuntimeError: the risk is NaN" in printed.err
    assert printed.out.count("simulated-paper-g") == 3  # the summary names those that are done
    finished = {path.parent.name for path in tmp_path.glob("batch/*/metrics.json")}
    assert len(finished) == 3

    monkeypatch.setattr(experiment, "train", train)
    times = {p: p.stat().st_mtime_ns for p in tmp_path.glob("batch/*/metrics.json")}
    assert len(simulated.main([*argv, "--resume"])) == 4
    assert {p: p.stat().st_mtime_ns for p in times} == times


def test_the_error_of_a_single_run_is_its_own(tmp_path, monkeypatch, capsys):
    def failing(*_, **__):
        raise ValueError("told by the run")

    monkeypatch.setattr(experiment, "train", failing)
    with pytest.raises(SystemExit):
        simulated.main([*TINY, "--out-dir", str(tmp_path / "run")])
    assert capsys.readouterr().err.endswith("error: told by the run\n")


def test_pruning_curve_of_a_run(tmp_path):
    folder = tmp_path / "run"
    argv = [*SMALL, "--data", small_data(tmp_path / "d.npz"), "--out-dir", str(folder)]
    (metrics,) = mnist.main(argv)
    curve = History.from_csv(folder / "pruning.csv")
    assert list(curve[0]) == [
        *("pruned", "kept", "train_risk", "test_risk", "train_accuracy", "test_accuracy")
    ]
    np.testing.assert_array_equal(curve.column("pruned"), np.arange(21))
    for name in ("train_risk", "test_risk", "train_accuracy", "test_accuracy"):
        assert curve[0][name] == pytest.approx(metrics[name], rel=1e-5)
    assert curve[-1]["train_risk"] == pytest.approx(1 / 3)  # one-hot targets against zero
    before = (folder / "metrics.json").stat().st_mtime_ns

    # A curve that is asked for later is added to the finished run.
    mnist.main([*argv, "--resume", "--refit"])
    refitted = History.from_csv(folder / "pruning.csv")
    assert list(refitted[0])[6:] == [f"{name}_refit" for name in list(curve[0])[2:]]
    np.testing.assert_allclose(refitted.column("train_risk"), curve.column("train_risk"))
    assert (folder / "metrics.json").stat().st_mtime_ns == before
    # And stays where it is not asked for again.
    mnist.main([*argv, "--resume"])
    assert len(History.from_csv(folder / "pruning.csv")[0]) == 10


@pytest.mark.parametrize("jobs", ["1", "2"])
def test_device_is_chosen_once_and_before_data_are_loaded(tmp_path, monkeypatch, jobs):
    """Data may come through TensorFlow, which lets its devices be chosen only before it runs."""
    calls = []

    def prepare(choice):
        calls.append(choice)
        return "the device"

    def several(function, items, count):
        for place, item in enumerate(items):  # each in its process; here in this one
            batch._prepare_once.cache_clear()
            future = Future()
            future.set_result(function(item))
            yield place, future

    load = simulated.Config.load
    monkeypatch.setattr(environment, "prepare_device", prepare)
    monkeypatch.setattr(batch, "in_processes", several)
    monkeypatch.setattr(
        simulated.Config, "load", lambda self: (calls.append("load"), load(self))[1]
    )
    flags = [*TINY, "--seeds", "2", "--device", "cpu", "--jobs", jobs]
    simulated.main([*flags, "--out-dir", str(tmp_path)])
    assert calls == ["cpu", "load"] * (1 if jobs == "1" else 3)
    for folder in folders(tmp_path):
        assert read_json(tmp_path / folder / "config.json")["device"] == "the device"


def test_transfer_needs_data_for_it(tmp_path, capsys):
    with pytest.raises(SystemExit):
        simulated.main([*TINY, "--transfer", "--out-dir", str(tmp_path / "run")])
    assert "a part for transfer" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_simulated_data_follow_the_protocol():
    parse = {"module": "m", "description": None}
    for protocol, noise in (("paper", "noise 1,"), ("authors", "noise 0.1,")):
        config = cli.parse_config(simulated.Config, ["--protocol", protocol], **parse)
        assert noise in config.load().source
    flags = ["--noise", "0.5", "--data-seed", "3", "--examples", "7", "--input-dim", "4"]
    dataset = cli.parse_config(simulated.Config, flags, **parse).load()
    assert "noise 0.5, seed 3" in dataset.source
    assert dataset.x_train.shape == dataset.x_test.shape == (7, 4)


def test_simulated_ntg_is_of_the_protocols_examples():
    for protocol, count in (("paper", 500), ("authors", 700)):
        assert simulated.Config(protocol=protocol).ntg_count(700) == count
    assert simulated.Config(protocol="authors", ntg_examples="3").ntg_count(700) == 3


@pytest.mark.parametrize(
    "flags", [["--noise", "-1"], ["--data-seed", "-1"], ["--examples", "0"], ["--jobs", "0"]]
)
def test_bad_flags(flags, capsys):
    with pytest.raises(SystemExit) as exit_:
        simulated.main(flags)
    assert exit_.value.code == 2
    assert flags[0] in capsys.readouterr().err


@pytest.mark.slow
def test_processes_give_what_one_gives(tmp_path):
    flags = ["--width", "10", "--steps", "20", "--records", "4", "--quiet", *PAIRS]
    one = simulated.main([*flags, "--out-dir", str(tmp_path / "one")])
    two = simulated.main([*flags, "--out-dir", str(tmp_path / "two"), "--jobs", "2"])
    assert folders(tmp_path / "one") == folders(tmp_path / "two")
    for a, b in zip(one, two, strict=True):
        assert a["train_risk"] == pytest.approx(b["train_risk"], rel=1e-5)
        assert (a["gamma"], a["seed"]) == (b["gamma"], b["seed"])
    config = read_json(tmp_path / "two" / folders(tmp_path / "two")[0] / "config.json")
    assert int(config["threads"]) >= 1
