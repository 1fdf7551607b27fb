"""Nested widths and the standard parametrization on the JAX and torch backends of Keras.

    make test-backends

Each test runs in a process of its own, on the backend, on weights and examples that TensorFlow has
made here, and compares outputs with TensorFlow's.
"""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import keras
import numpy as np
import pytest

import asym_keras as ak

ROOT = Path(__file__).resolve().parents[2]
WIDTHS = (3, 5, 12)
X = np.random.default_rng(0).normal(size=(60, 6)).astype("float32")
LABELS = np.abs(X[:, :3]).argmax(axis=1)

START = """
import sys
import keras, numpy as np
import asym_keras as ak
sys.path.insert(0, sys.argv[2])
from test_backends import LABELS, WIDTHS, X, scaled, small_network
ak.NestedReadout, ak.AsymScaledDense  # Keras reads what has been imported
folder = sys.argv[1]
expected = dict(np.load(folder + "/expected.npz"))
def close(name, f, rtol=1e-5):
    f = keras.ops.convert_to_numpy(f)
    np.testing.assert_allclose(f, expected[name], rtol=rtol, atol=1e-5, err_msg=name)
"""

READOUT = """
for shared in (False, True):
    readout = ak.NestedReadout(4, WIDTHS, shared=shared)
    readout.build((None, 12))
    readout.set_weights([expected[f"{w}_{shared}"] for w in ("kernel", "bias")])
    close(f"readout_{shared}", readout(expected["features"]))
loss = ak.NestedLoss("sparse_categorical_crossentropy", ak.node_scalings(3, 0.5, 0.5))
close("loss", loss(LABELS, keras.ops.softmax(expected["readout_False"])))
"""

NESTED = """
model = keras.saving.load_model(folder + "/many.keras")
close("many", model(X))
for index, width in enumerate(WIDTHS):
    close("many", np.insert(np.delete(expected["many"], index, 1), index,
          keras.ops.convert_to_numpy(ak.prune(model, width)(X)), axis=1))
many = ak.nested(small_network(), WIDTHS)
log = many.fit(X, LABELS, epochs=30, batch_size=20, verbose=0).history
assert sorted(log) == ["accuracy_12", "accuracy_3", "accuracy_5", "loss"], log
assert log["accuracy_12"][-1] > log["accuracy_12"][0] + 0.1, log
assert log["loss"][-1] < 0.9 * log["loss"][0]
found = many.predict(X, verbose=0)
np.testing.assert_allclose(ak.prune(many, 5).predict(X, verbose=0), found[:, 1], atol=1e-5)
quick = ak.anytime(many, 0.6)
outputs, used = quick.predict(X)
assert set(used) <= set(WIDTHS) and len(set(used)) > 1
whole = quick.as_model().predict(X, verbose=0)
np.testing.assert_allclose(whole["outputs"], outputs, atol=1e-5)
np.testing.assert_array_equal(whole["width"], used)
"""

PRUNED = """
model = keras.saving.load_model(folder + "/scaled.keras")
close("scaled", model(X))
close("pruned", ak.prune(model, keep=4)(X))
close("refitted", ak.prune(model, keep=4, refit=(X, LABELS))(X), rtol=1e-3)
assert ak.node_importance(model, "output", x=X).shape == (12,)
"""

SCRIPTS = {"readout": READOUT, "nested": NESTED, "pruned": PRUNED}


def small_network():
    hidden = keras.layers.Dense(12, "relu")
    model = keras.Sequential([keras.Input((6,)), hidden, keras.layers.Dense(3)])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(0.02), loss, metrics=["accuracy"])
    return model


def scaled():
    hidden = ak.AsymScaledDense(12, gamma=0.5, parametrization="standard", use_bias=True, seed=0)
    return keras.Sequential([keras.Input((6,)), hidden, keras.layers.Dense(3)])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """What TensorFlow makes of models, and the models."""
    path = tmp_path_factory.mktemp("backends")
    keras.utils.set_random_seed(0)
    arrays: dict[str, np.ndarray] = {"features": X @ np.ones((6, 12), "float32") / 6 + X[:, :1]}
    for shared in (False, True):
        readout = ak.NestedReadout(4, WIDTHS, shared=shared, bias_initializer="random_normal")
        arrays[f"readout_{shared}"] = readout(arrays["features"]).numpy()
        names = (f"{name}_{shared}" for name in ("kernel", "bias"))
        arrays |= dict(zip(names, readout.get_weights(), strict=True))
    loss = ak.NestedLoss("sparse_categorical_crossentropy", ak.node_scalings(3, 0.5, 0.5))
    arrays["loss"] = loss(LABELS, keras.ops.softmax(arrays["readout_False"])).numpy()
    many, model = ak.nested(small_network(), WIDTHS), scaled()
    arrays["many"], arrays["scaled"] = many(X).numpy(), model(X).numpy()
    arrays["pruned"] = ak.prune(model, keep=4)(X).numpy()
    arrays["refitted"] = ak.prune(model, keep=4, refit=(X, LABELS))(X).numpy()
    many.save(path / "many.keras")
    model.save(path / "scaled.keras")
    np.savez(path / "expected.npz", **arrays)
    return path


@pytest.mark.parametrize("backend", ["jax", "torch"])
@pytest.mark.parametrize("script", SCRIPTS)
def test_backend_does_as_tensorflow(backend, script, folder):
    if find_spec(backend) is None:
        pytest.skip(f"{backend} is not installed: make test-backends")
    paths = [str(ROOT), os.environ.get("PYTHONPATH", "")]
    done = subprocess.run(
        [sys.executable, "-c", START + SCRIPTS[script], str(folder), str(Path(__file__).parent)],
        env={**os.environ, "KERAS_BACKEND": backend, "PYTHONPATH": os.pathsep.join(paths)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
