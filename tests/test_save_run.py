"""A run of the library as a run folder: written, read, compared, drawn, exported."""

from __future__ import annotations

import functools
import subprocess
import sys

import keras
import numpy as np
import pytest

import asym_keras as ak
from asym_keras.training import GradientDescent, History, RiskProbe, WeightChange, train

GENERATOR = np.random.default_rng(0)
X = GENERATOR.normal(size=(20, 4)).astype("float32")
LABELS = (X[:, 0] > 0).astype("int64") + (X[:, 1] > 0)
DATA = ak.datasets.from_arrays(X, LABELS, X[:8], LABELS[:8], name="corners")
METHOD = GradientDescent(0.5)


@functools.cache
def trained(seed=0, scalings=None):
    options = {"gamma": 0.5, "alpha": 0.7, "seed": seed, "scalings": scalings}
    model = ak.shallow_network(4, 3, width=12, **options)
    probes = [
        RiskProbe("test", DATA.x_test, DATA.y_test, labels=DATA.labels_test),
        WeightChange(),
    ]
    options = {"method": METHOD, "end_time": 5.0, "probes": probes, "progress": False}
    return model, train(model, DATA.x_train, DATA.y_train, **options)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two seeds of one setting."""
    path = tmp_path_factory.mktemp("runs")
    for seed in (0, 1):
        model, history = trained(seed)
        curve = ak.pruning.pruning_curve(model, DATA.x_train, DATA.y_train, X[:8], DATA.y_test)
        facts = {"method": METHOD, "note": "a first try"}
        ak.save_run(path / f"s{seed}", model, history, data=DATA, pruning=curve, **facts)
    return path


def test_run_is_read_as_it_was(folder):
    model, history = trained()
    run = ak.load_run(folder / "s0")
    assert (run.task, run.label, run.finished) == ("corners", "gamma = 0.5, alpha = 0.7", True)
    assert [row["train_risk"] for row in run.history.rows] == [
        row["train_risk"] for row in history.rows
    ]
    np.testing.assert_array_equal(
        run.nodes["node_weight_change"], np.stack(history.arrays["node_weight_change"])
    )
    np.testing.assert_array_equal(run.load_model()(X), model(X))
    assert run.config["method"] == {
        "name": "GradientDescent",
        **{"learning_rate": 0.5, "batch_size": None, "seed": 0, "jit_compile": "auto"},
    }
    settings = {k: run.config[k] for k in ("gamma", "alpha", "width", "seed", "dtype", "protocol")}
    assert settings == {
        **{"gamma": 0.5, "alpha": 0.7, "width": 12, "seed": 0, "dtype": "float32"},
        "protocol": "paper",
    }
    assert run.width == 12


@pytest.mark.slow
def test_saved_runs_are_compared_and_drawn(folder, tmp_path, capsys):
    from trainers import compare

    figure = tmp_path / "runs.png"
    assert compare.main([str(folder), "--figure", str(figure)]) == 0
    told = capsys.readouterr().out
    assert "over seeds" in told
    assert "0,1" in told
    assert figure.stat().st_size > 1000
    ak.plotting.learning_curves(folder / "s0")
    assert (folder / "s0" / "figures" / "learning_curves.png").is_file()


def test_saved_run_is_packaged_with_the_numbers_of_its_data(folder):
    from serving.package import package

    packaged = package(folder / "s0", keep=5, refit=True)
    assert packaged.card["task"] == "classification"
    assert packaged.card["commands"][0] == "asym_keras.save_run"
    risk = np.mean((ak.load_run(folder / "s0").load_model()(X[:8]) - DATA.y_test) ** 2)
    assert packaged.card["metrics"]["full"]["test_risk"] == pytest.approx(risk, rel=1e-5)
    assert packaged.model(X[:8]).shape == (8, 3)


@pytest.mark.slow
def test_saved_run_is_exported(folder, tmp_path):
    from serving import export

    [version] = export.main([str(folder / "s0"), "--keep", "5", "--to", str(tmp_path)])
    assert (version / "saved_model.pb").is_file()


def test_arrays_alone_leave_a_fingerprint_and_no_data(tmp_path):
    model, history = trained()
    run = ak.save_run(tmp_path / "a", model, history, data=(X, LABELS), task="mine")
    other = ak.save_run(tmp_path / "b", model, history, data=(X + 1, LABELS), task="mine")
    assert run.task == "mine"
    assert run.facts["dataset"]["fingerprint"] != other.facts["dataset"]["fingerprint"]
    assert not (run.path / "data.npz").exists()
    from serving.package import package

    with pytest.raises(ValueError, match=r"it was saved without.*datasets\.from_arrays"):
        package(run, keep=5)


def test_network_without_node_scalings_is_compared_by_its_label(tmp_path, capsys):
    from trainers import compare

    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
    options = {"method": METHOD, "end_time": 2.0, "progress": False}
    history = train(model, DATA.x_train, DATA.y_train, **options)
    run = ak.save_run(tmp_path / "dense", model, history, data=DATA, label="plain", seed=4)
    assert (run.label, run.pair) == ("plain", (None, None, "zipf"))
    assert compare.main([str(run.path)]) == 0
    assert "dense" in capsys.readouterr().out


def test_a_law_of_ones_own_is_told_apart(tmp_path):
    weights = ak.scaling.geometric_weights(12, 0.5)
    model, history = trained(scalings=tuple(ak.scaling.mix_scalings(weights, 0.5)))
    run = ak.save_run(tmp_path / "a", model, history, data=DATA)
    assert run.config["law"].startswith("scalings ")
    assert run.label == f"gamma = 0.5, law = {run.config['law']}"
    named = ak.save_run(tmp_path / "b", model, history, data=DATA, law="geometric")
    assert named.config["law"] == "geometric"


def test_what_can_not_be_a_run_is_refused_and_leaves_nothing(tmp_path):
    model, history = trained()
    short = History([{"step": 0, "time": 0.0, "gradients": 1}])
    for of, facts, message in (
        (short, {}, "none named train_risk"),
        (History(), {}, "received no record"),
        ({"loss": [1.0]}, {}, "received dict"),
        (history, {"gamma": 0.1}, r"expected gamma = 0\.5, that of the model, received 0\.1"),
        (history, {"protocol": "mine"}, "expected protocol to be one of paper, authors"),
        (history, {"x": object()}, "expected x as JSON holds it"),
        (history, {"data": [X]}, "datasets.from_arrays makes a Dataset"),
    ):
        with pytest.raises(ValueError, match=message):
            ak.save_run(tmp_path / "run", model, of, **{"data": DATA, **facts})
    assert list(tmp_path.iterdir()) == []


def test_numbers_of_a_training_by_hand_are_taken(tmp_path):
    model, _ = trained()
    history = History([{"step": 1, "time": 0.5, "train_risk": np.float32(0.25)}])
    run = ak.save_run(tmp_path / "run", model, history, data=DATA)
    assert run.metrics["train_risk"] == 0.25


@pytest.mark.slow
def test_a_nested_model_is_loaded_where_nothing_else_of_the_package_is(tmp_path):
    stack = [keras.layers.Dense(6, "relu"), keras.layers.Dense(3)]
    model = ak.nested(keras.Sequential([keras.Input((4,)), *stack]), (2, 6))
    history = History([{"step": 1, "time": 0.5, "train_risk": 0.25}])
    ak.save_run(tmp_path / "run", model, history, data=DATA)
    code = (
        f"import asym_keras as ak; print(ak.load_run({str(tmp_path / 'run')!r}).load_model().name)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == model.name, done.stderr


def test_a_saved_run_is_replaced_on_request_and_nothing_else(tmp_path):
    model, history = trained()
    ak.save_run(tmp_path / "run", model, history, data=DATA, note="first")
    with pytest.raises(FileExistsError, match="overwrite=True"):
        ak.save_run(tmp_path / "run", model, history, data=DATA)
    run = ak.save_run(tmp_path / "run", model, history, data=DATA, note="second", overwrite=True)
    assert run.config["note"] == "second"
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.tex").touch()
    with pytest.raises(FileExistsError, match="something else"):
        ak.save_run(tmp_path / "other", model, history, data=DATA, overwrite=True)
    assert [path.name for path in sorted(tmp_path.iterdir())] == ["other", "run"]
