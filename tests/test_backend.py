"""Keras on JAX and PyTorch: what works there does, the rest is refused at once, by name."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

import asym_keras as ak
from asym_keras.backend import require_tensorflow
from serving.export import export_model
from trainers import simulated

ROOT = Path(__file__).resolve().parents[1]

# Prints what each backend has to agree on. The model's weights come from NumPy: they are the same.
WORKS = """
import sys
import keras, numpy as np
import asym_keras as ak

rng = np.random.default_rng(0)
x, y = rng.normal(size=(40, 6)).astype("float32"), rng.normal(size=(40, 2)).astype("float32")
model = ak.shallow_network(6, 2, width=50, gamma=0.5, alpha=0.5, seed=0)
small = ak.prune(model, keep=10, refit=(x, y))
rows = ak.pruning.pruning_curve(model, x, y, x, y, refit=True)
model.save(sys.argv[1])
loaded = keras.models.load_model(sys.argv[1])
preset = ak.from_preset("mnist_gamma0_k20")
print(
    *np.ravel(model.predict(x, verbose=0))[:3],
    *np.ravel(small.predict(x, verbose=0))[:3],
    *np.ravel(loaded.predict(x, verbose=0))[:3],
    *(row["test_risk_refit"] for row in rows[::5]),
    *np.ravel(preset.predict(np.full((1, 784), 100.0), verbose=0))[:3],
)
model.compile("sgd", "mse")
model.fit(x, y, verbose=0)
"""


def numbers(backend: str, folder: Path) -> np.ndarray:
    environment = {**os.environ, "KERAS_BACKEND": backend, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", WORKS, str(folder / f"{backend}.keras")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return np.array(done.stdout.split(), float)


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_layer_pruning_and_presets_give_the_numbers_of_tensorflow(backend, tmp_path):
    if importlib.util.find_spec(backend) is None:
        pytest.skip(f"no {backend}: pip install {backend}")
    theirs, ours = numbers(backend, tmp_path), numbers("tensorflow", tmp_path)
    assert len(ours) > 15
    np.testing.assert_allclose(theirs, ours, rtol=1e-3, atol=1e-4)


@pytest.fixture
def on_jax(monkeypatch):
    model = ak.shallow_network(3, width=8, gamma=0.5, alpha=0.5, seed=0)
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    return model


X, Y = np.ones((4, 3), "float32"), np.ones((4, 1), "float32")


@pytest.mark.parametrize(
    ("name", "call"),
    [
        ("train", lambda m: ak.training.train(m, X, Y, method=None, end_time=1.0)),
        ("training and risks", lambda m: ak.training.Objective(m, X, Y)),
        ("training and risks", lambda m: ak.training.RiskProbe("test", X, Y).start(m)),
        ("empirical_ntg", lambda m: ak.empirical_ntg(m, X)),
        ("empirical_ntg", lambda m: ak.ntg.NTGProbe(X).start(m)),
        ("ntg_predict", lambda m: ak.ntg.ntg_predict(m, X, Y, X, t=1.0)),
        ("shallow_ntg", lambda m: ak.ntg.shallow_ntg(m.layers[-1], X)),
        ("split_ntg", lambda m: ak.ntg.split_ntg(m.layers[-1], X)),
        ("node_contributions", lambda m: ak.ntg.leading_share(m.layers[-1], X, 2)),
        ("NTGHistory", lambda m: ak.callbacks.NTGHistory(X)),
        ("export_model", lambda m: export_model(m, {}, "models")),
        ("transfer_curve", lambda m: ak.transfer.transfer_curve(m, X, Y, X, Y)),
    ],
)
def test_what_needs_tensorflow_says_so_on_another_backend(name, call, on_jax):
    with pytest.raises(RuntimeError, match=rf"{name}: .*'jax'.*KERAS_BACKEND=tensorflow"):
        call(on_jax)


def test_trainers_say_so_before_they_begin(on_jax, tmp_path, capsys):
    with pytest.raises(SystemExit):
        simulated.main(["--out-dir", str(tmp_path / "run")])
    assert "trainers: expected Keras on TensorFlow, received the backend 'jax'" in (
        capsys.readouterr().err
    )
    assert not (tmp_path / "run").exists()


def test_tensorflow_passes():
    require_tensorflow("all of it")
