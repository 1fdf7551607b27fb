"""The MNIST trainer on other data, and from another folder."""

from __future__ import annotations

import importlib.util
import subprocess
import sys

import numpy as np
import pytest
from trainer_runs import SMALL, parse, read_json, small_data

import asym_keras as ak
from asym_keras.training import History
from trainers import mnist

ACCURACIES = {"train_accuracy", "test_accuracy"}


@pytest.fixture
def no_figures(monkeypatch):
    monkeypatch.setattr("asym_keras.plotting.learning_curves", lambda folder, **_: [])


def initial_test_risk(dataset, **changes):
    options = {"width": 20, "gamma": 0.0, "alpha": 0.4, "seed": 0, **changes}
    model = ak.shallow_network(dataset.input_dim, dataset.outputs, **options)
    return np.mean((model(dataset.x_test).numpy().astype("float64") - dataset.y_test) ** 2)


@pytest.mark.usefixtures("no_figures")
@pytest.mark.parametrize("kind", ["images", "regression"])  # vectors are those of the pairs, below
def test_own_data(kind, tmp_path):
    path = small_data(tmp_path / "mine.npz", kind=kind)
    dataset = ak.datasets.load_npz(path)
    flags = ["--data", path, "--solver", "descent", "--out-dir", str(tmp_path / "run")]
    (metrics,) = mnist.main([*SMALL, *flags])
    history = History.from_csv(tmp_path / "run" / "history.csv")
    assert (ACCURACIES & set(metrics) == ACCURACIES) == (kind != "regression")
    assert history[0]["test_risk"] == pytest.approx(initial_test_risk(dataset), rel=1e-6)
    assert history[-1]["train_risk"] < history[0]["train_risk"]
    facts = read_json(tmp_path / "run" / "config.json")["dataset"]
    assert facts["name"] == "mine"
    assert facts["fingerprint"] == dataset.fingerprint()
    assert facts["outputs"] == (1 if kind == "regression" else 3)


@pytest.mark.slow
@pytest.mark.usefixtures("no_figures")
def test_pairs_and_seeds_make_a_run_each_with_its_own_weights(tmp_path):
    path = small_data(tmp_path / "mine.npz")
    flags = ["--data", path, "--pairs", "all", "--seeds", "2", "--ntg-examples", "0"]
    flags += ["--solver", "descent", "--out-dir", str(tmp_path / "runs")]
    rows = mnist.main([*SMALL, *flags])
    assert len(rows) == 8
    dataset = ak.datasets.load_npz(path)
    for row in rows:
        gamma, alpha, seed = (row[name] for name in ("gamma", "alpha", "seed"))
        folder = tmp_path / "runs" / f"mine-paper-g{gamma:g}-a{alpha:g}-m20-descent-s{seed}"
        assert read_json(folder / "metrics.json") == row
        history = History.from_csv(folder / "history.csv")
        risk = initial_test_risk(dataset, gamma=gamma, alpha=alpha, seed=seed)
        assert history[0]["test_risk"] == pytest.approx(risk, rel=1e-6)
        assert "ntg_change" not in history[0]
    assert len({row["test_risk"] for row in rows}) == 8


@pytest.mark.usefixtures("no_figures")
def test_authors_protocol_starts_from_wider_weights(tmp_path):
    path = small_data(tmp_path / "mine.npz")
    flags = ["--data", path, "--protocol", "authors", "--solver", "descent", "--batch-size", "5"]
    mnist.main([*SMALL, *flags, "--out-dir", str(tmp_path / "run")])
    row = History.from_csv(tmp_path / "run" / "history.csv")[0]
    risk = initial_test_risk(ak.datasets.load_npz(path), protocol="authors")
    assert row["test_risk"] == pytest.approx(risk, rel=1e-6)


@pytest.mark.usefixtures("no_figures")
def test_target_risk_stops_the_run(tmp_path):
    path = small_data(tmp_path / "mine.npz")
    flags = ["--data", path, "--solver", "descent", "--steps", "4000", "--target-risk", "0.1"]
    (row,) = mnist.main([*SMALL, *flags, "--out-dir", str(tmp_path / "run")])
    assert row["train_risk"] <= 0.1
    assert row["step"] < 4000


@pytest.mark.usefixtures("no_figures")
def test_overwrite_replaces_a_finished_run(tmp_path):
    flags = ["--data", small_data(tmp_path / "mine.npz"), "--solver", "descent"]
    flags += ["--out-dir", str(tmp_path / "run")]
    mnist.main([*SMALL, *flags])
    (row,) = mnist.main([*SMALL, *flags, "--seed", "5", "--overwrite"])
    assert row["seed"] == 5
    assert read_json(tmp_path / "run" / "metrics.json") == row
    assert read_json(tmp_path / "run" / "config.json")["config"]["seed"] == 5


@pytest.mark.slow
def test_tfds_source(shared_data, monkeypatch):
    pytest.importorskip("tensorflow_datasets")
    monkeypatch.setenv("TFDS_DATA_DIR", str(shared_data / "tensorflow_datasets"))
    dataset = parse("--source", "tfds").load()
    assert dataset.source == "TFDS mnist/3.0.1, train[:5000], test[:5000]"
    assert (len(dataset.x_train), len(dataset.x_test)) == (5000, 5000)
    assert dataset.fingerprint() != ak.datasets.load_mnist().fingerprint()


@pytest.mark.usefixtures("no_figures")
def test_tensorboard_gets_every_number(tmp_path):
    if importlib.util.find_spec("tensorboard") is None:
        pytest.skip("the extra tensorboard is not installed")
    import tensorflow as tf
    from tensorboard.backend.event_processing import event_accumulator

    flags = ["--data", small_data(tmp_path / "mine.npz"), "--out-dir", str(tmp_path / "run")]
    mnist.main([*SMALL, *flags, "--solver", "descent", "--tensorboard"])
    events = event_accumulator.EventAccumulator(str(tmp_path / "run" / "tensorboard"))
    events.Reload()
    history = History.from_csv(tmp_path / "run" / "history.csv")
    for name in set(history[0]) - {"step"}:
        points = events.Tensors(name)
        assert [point.step for point in points] == history.column("step").tolist()
        values = [tf.make_ndarray(point.tensor_proto) for point in points]
        np.testing.assert_allclose(values, history.column(name), rtol=1e-6)


@pytest.mark.slow
def test_installed_trainer_works_from_any_folder(tmp_path):
    def python(*argv):
        command = [sys.executable, *argv]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300)

    if python("-c", "import asym_keras, trainers").returncode:
        pytest.skip("the package is not installed in this environment")
    small_data(tmp_path / "mine.npz")
    done = python("-m", "trainers.mnist", *SMALL, "--data", "mine.npz")
    assert done.returncode == 0, done.stderr
    folder = tmp_path / "runs" / "mine-paper-g0-a0.4-m20-flow-s0"
    assert done.stdout.splitlines()[-1] == str(folder.relative_to(tmp_path))
    row = read_json(folder / "metrics.json")
    assert f"test_risk           {row['test_risk']:.5g}" in done.stdout
    done = python("-m", "trainers.mnist", *SMALL, "--data", "mine.npz")
    assert done.returncode == 1
    assert "error: expected a new or empty folder, received runs/mine" in done.stderr
