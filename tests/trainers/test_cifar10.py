"""The CIFAR-10 trainer: its flags, its gradient steps, a run from images to the run folder."""

from __future__ import annotations

import subprocess
import sys

import keras
import numpy as np
import pytest
from backbone_models import FEATURES, save_small_resnet
from crossed import some_slow
from trainer_runs import read_json

import asym_keras as ak
from asym_keras.training import History
from trainers import cifar10
from trainers.common import cli

SMALL = ("--width", "20", "--records", "3", "--ntg-examples", "5", "--quiet")


@pytest.fixture(autouse=True)
def no_figures(monkeypatch):
    monkeypatch.setattr("asym_keras.plotting.learning_curves", lambda folder, **_: [])


@pytest.fixture
def features(shared_data):
    return str(shared_data / "features" / "cifar10_efficientnet_lite0.npz")


def parse(*argv):
    return cli.parse_config(cifar10.Config, argv, module=cifar10.MODULE, description=None)


def small_features(path):
    generator = np.random.default_rng(3)
    arrays = {}
    for part, n in (("train", 23), ("test", 12)):
        arrays[f"x_{part}"] = generator.normal(size=(n, 5)).astype("float16")
        arrays[f"y_{part}"] = np.arange(n) % 10
    np.savez(path, **arrays)
    return str(path)


def logits(x, w, model):
    layer = model.get_layer("asym_scaled_dense")
    readout = np.sqrt(layer.scalings)[:, None] * layer.readout.numpy()
    z = x @ w / np.sqrt(x.shape[1])
    return np.maximum(z, 0) @ readout, z, readout


def cross_entropy(f, y):
    f = f - f.max(axis=1, keepdims=True)
    return np.mean(np.log(np.exp(f).sum(axis=1)) - (f * y).sum(axis=1))


def test_help_loads_nothing_heavy():
    script = (
        "import sys\nfrom trainers.cifar10 import main\n"
        "try:\n    main(['--help'])\n"
        "finally:\n    print(*sys.modules, file=sys.stderr)\n"
    )
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0
    heavy = {"tensorflow", "keras", "keras_hub", "numpy", "scipy", "tensorflow_datasets"}
    assert not heavy & set(done.stderr.split())
    for flag in vars(parse()):
        assert f"--{flag.replace('_', '-')}" in done.stdout
    for default in ("(default: 78200)", "(default: 5.0)", "(default: descent)", "(default: 64)"):
        assert default in " ".join(done.stdout.split())  # as it is wrapped


def test_defaults_are_those_of_the_paper():
    config = parse()
    assert (config.solver, config.batch_size, config.learning_rate) == ("descent", 64, 5.0)
    assert config.end_step(50_000) == 78_200
    assert parse("--epochs", "100").end_step(50_000) == 78_200
    assert (config.width, config.task()) == (2000, "cifar10")
    loss = config.loss()
    f, y = np.array([[2.0, -1.0, 0.5]]), np.array([[0.0, 0.0, 1.0]])
    assert float(loss(y, f)) == pytest.approx(cross_entropy(f, y), rel=1e-6)


def test_end_step_follows_the_flags():
    assert parse("--steps", "7").end_step(10_000) == 7
    assert parse("--epochs", "2").end_step(100) == 4
    assert parse("--epochs", "2", "--batch-size", "30").end_step(100) == 8
    augment = parse("--epochs", "2", "--augment", "3", "--backbone", "ResNet50")
    assert augment.end_step(300) == 4  # an epoch is as many rows as there are images
    assert parse("--augment").augment == cifar10.VIEWS
    assert parse("--solver", "flow").batch_size is None
    assert parse("--batch-size", "5").runs()[0].batch_size == 5


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--solver", "flow", "--batch-size", "64"], "--solver flow: expected no mini-batches"),
        (["--solver", "flow", "--epochs", "2"], "--epochs: expected mini-batches"),
        (["--epochs", "2", "--steps", "9"], "expected --steps or --epochs, received both"),
        (["--epochs", "0"], "--epochs: expected at least 1, received 0"),
        (["--augment", "-1"], "--augment: expected at least 0, received -1"),
        (["--image-size", "0"], "--image-size: expected at least 1, received 0"),
        (["--train-examples", "0"], "--train-examples: expected at least 1, received 0"),
        (["--features", "f.npz", "--augment"], "expected --features FILE.npz or --augment"),
        (["--features", "f.npz", "--backbone", "ResNet50"], "or --backbone, received both"),
        (["--features", "none.npz"], "received no such file: none.npz"),
        (["--backbone", "none.keras"], "received no such file: none.keras"),
    ],
)
def test_bad_flags_are_told(argv, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "f.npz").touch()
    with pytest.raises(SystemExit) as caught:
        parse(*argv)
    assert caught.value.code == 2
    assert message in capsys.readouterr().err


def test_missing_extra_is_a_message(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "keras_hub", None)
    with pytest.raises(SystemExit) as caught:
        cifar10.main([*SMALL, "--out-dir", str(tmp_path / "run")])
    assert caught.value.code == 1
    assert "error: backbone 'resnet_18_imagenet': expected" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("dtype", some_slow(["float32"], ["float64"]))
def test_steps_are_sgd_on_the_cross_entropy_of_mini_batches(tmp_path, dtype):
    tolerance = {"float32": 1e-5, "float64": 1e-12}[dtype]
    path = small_features(tmp_path / "f.npz")
    flags = ["--features", path, "--dtype", dtype, "--epochs", "2", "--batch-size", "10"]
    flags += ["--gamma", "0.5", "--seed", "2", "--out-dir", str(tmp_path / "run")]
    (metrics,) = cifar10.main([*SMALL, *flags])
    assert metrics["gradients"] == 6
    dataset = ak.datasets.load_cifar10_features(path)
    model = ak.shallow_network(5, 10, width=20, gamma=0.5, alpha=0.4, seed=2, dtype=dtype)
    w = model.get_layer("asym_scaled_dense").kernel.numpy().astype("float64")
    for epoch in range(2):
        order = np.random.default_rng([2, epoch]).permutation(23)
        for rows in (order[:10], order[10:20], order[20:]):
            x, y = dataset.x_train[rows].astype("float64"), dataset.y_train[rows]
            f, z, readout = logits(x, w, model)
            p = np.exp(f) / np.exp(f).sum(axis=1, keepdims=True)
            slope = ((p - y) / len(rows)) @ readout.T * (z > 0)
            w -= 5.0 * x.T @ slope / np.sqrt(5)
    trained = keras.models.load_model(tmp_path / "run" / "model.keras", safe_mode=True)
    kernel = trained.get_layer("asym_scaled_dense").kernel.numpy()
    np.testing.assert_allclose(kernel, w, rtol=0, atol=10 * tolerance)
    f = logits(dataset.x_test.astype("float64"), w, model)[0]
    assert metrics["test_risk"] == pytest.approx(cross_entropy(f, dataset.y_test), rel=tolerance)
    assert metrics["test_accuracy"] == np.mean(f.argmax(axis=1) == dataset.labels_test)


def test_run_on_ready_features_learns(features, tmp_path):
    flags = ["--features", features, "--train-examples", "400", "--test-examples", "200"]
    flags += ["--steps", "300", "--width", "100", "--out-dir", str(tmp_path / "run")]
    cifar10.main([*SMALL, *flags])
    history = History.from_csv(tmp_path / "run" / "history.csv")
    assert history[0]["train_risk"] == pytest.approx(np.log(10), abs=0.3)
    assert history[-1]["train_risk"] < 0.95 * history[0]["train_risk"]
    assert history[-1]["test_accuracy"] > history[0]["test_accuracy"] + 0.1
    facts = read_json(tmp_path / "run" / "config.json")
    assert facts["dataset"]["examples"] == [400, 200]
    assert facts["config"]["batch_size"] == 64


@pytest.mark.slow
def test_flow_trains_on_the_same_risk(tmp_path):
    path = small_features(tmp_path / "f.npz")
    flags = ["--features", path, "--solver", "flow", "--steps", "20"]
    cifar10.main([*SMALL, *flags, "--out-dir", str(tmp_path / "run")])
    history = History.from_csv(tmp_path / "run" / "history.csv")
    assert history[-1]["time"] == 100.0
    assert history[-1]["train_risk"] < history[0]["train_risk"]


@pytest.mark.slow
def test_run_on_views_of_images_through_a_saved_network(shared_data, tmp_path, monkeypatch):
    pytest.importorskip("tensorflow_datasets")
    monkeypatch.setenv("TFDS_DATA_DIR", str(shared_data / "tensorflow_datasets"))
    monkeypatch.setenv("ASYM_KERAS_DATA_DIR", str(tmp_path / "data"))
    network = save_small_resnet(tmp_path / "net.keras")
    flags = ["--backbone", network, "--train-examples", "100", "--test-examples", "50"]
    flags += ["--augment", "2", "--epochs", "3", "--out-dir", str(tmp_path / "run")]
    (metrics,) = cifar10.main([*SMALL, *flags])
    assert metrics["gradients"] == 6
    facts = read_json(tmp_path / "run" / "config.json")["dataset"]
    assert facts["examples"] == [200, 50]
    assert facts["input_dim"] == FEATURES
    assert facts["source"].endswith(f"features of {network}, 2 views")
    assert len(list((tmp_path / "data" / "features").iterdir())) == 3
