"""The layer as a Keras citizen: Keras's own checker, masking, saving, cloning, training, export."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from crossed import some_slow
from keras.src import testing  # private: Keras has no public layer checker

from asym_keras import AsymScaledDense, shallow_network
from asym_keras.initializers import Normal

ROOT = Path(__file__).resolve().parents[1]
X = np.random.default_rng(0).normal(size=(8, 4)).astype("float32")
Y = np.random.default_rng(1).normal(size=(8, 3)).astype("float32")

LAYERS = {
    "features": {"units": 6},
    "outputs": {"units": 6, "outputs": 3, "seed": 2},
    "custom": {"units": 3, "outputs": 1, "scalings": np.array([0.1, 0.7, 1 / 3])},
    "initialiser": {"units": 6, "outputs": 2, "kernel_initializer": Normal(0.5, seed=1)},
    "he": {"units": np.int64(6), "kernel_initializer": "he_normal", "activation": "gelu"},
    "policy": {"units": 6, "outputs": 3, "dtype": "mixed_bfloat16", "gamma": np.float32(0.5)},
    "function": {"units": 6, "outputs": 3, "activation": keras.activations.softplus, "alpha": 0.7},
}


def network(**kwargs):
    return shallow_network(4, 3, **{"width": 6, "gamma": 0.5, **kwargs})


def snapshot(variables):
    return [variable.numpy() for variable in variables]


@pytest.mark.parametrize("shape", [(2, 4), (2, 3, 4)])
@pytest.mark.parametrize("outputs", [None, 3])
def test_layer_passes_keras_own_checker(outputs, shape):
    testing.TestCase().run_layer_test(
        AsymScaledDense,
        init_kwargs={"units": 5, "outputs": outputs, "gamma": 0.5, "alpha": 0.5, "seed": 0},
        input_shape=shape,
        expected_output_shape=(*shape[:-1], outputs or 5),
        expected_num_trainable_weights=1,
        expected_num_non_trainable_weights=2 if outputs else 1,
        expected_num_seed_generators=0,
        expected_num_losses=0,
        supports_masking=True,
    )


@pytest.mark.parametrize("outputs", [None, 3])
def test_mask_passes_through(outputs):
    layer = AsymScaledDense(6, outputs, activation="softplus", seed=0)  # softplus(0) is not 0
    x = np.stack([X, 2.0 * X])
    x[0, 5:] = x[1, 2:] = 0.0
    masked = keras.Sequential([keras.layers.Masking(0.0), layer, keras.layers.GlobalAvgPool1D()])
    f = layer(x).numpy()
    expected = [f[0, :5].mean(axis=0), f[1, :2].mean(axis=0)]
    np.testing.assert_allclose(masked(x), expected, rtol=1e-5, atol=1e-6)
    assert np.abs(f.mean(axis=1) - expected).max() > 0.01


@pytest.mark.parametrize("case", LAYERS)
def test_config_comes_back_from_json(case):
    layer = AsymScaledDense(**LAYERS[case], name="named")
    config = layer.get_config()
    back = AsymScaledDense.from_config(json.loads(json.dumps(config)))
    assert back.get_config() == config
    assert back.name == "named"
    assert back.dtype_policy.name == layer.dtype_policy.name
    np.testing.assert_array_equal(back.scalings, layer.scalings)
    assert back.activation is layer.activation


def test_seeded_layer_from_its_config_has_the_same_weights():
    layer = AsymScaledDense(6, 3, kernel_initializer="he_normal", seed=2)
    back = AsymScaledDense.from_config(layer.get_config())
    np.testing.assert_array_equal(layer(X), back(X))


@pytest.mark.parametrize("case", LAYERS)
def test_keras_file_gives_back_every_weight_and_bit(case, tmp_path):
    model = keras.Sequential([keras.Input((4,)), AsymScaledDense(**LAYERS[case])])
    model.layers[-1].kernel.assign_add(keras.ops.ones_like(model.layers[-1].kernel))  # as trained
    model.save(tmp_path / "model.keras")
    back = keras.saving.load_model(tmp_path / "model.keras", safe_mode=True)
    for before, after in zip(model.weights, back.weights, strict=True):
        np.testing.assert_array_equal(before, after)
    np.testing.assert_array_equal(model.predict(X, verbose=0), back.predict(X, verbose=0))
    np.testing.assert_array_equal(back.layers[-1].scalings, model.layers[-1].scalings)
    assert back.layers[-1].trainable_weights == [back.layers[-1].kernel]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_weights_file_gives_back_every_weight_and_bit(dtype, tmp_path):
    model, other = network(seed=1, dtype=dtype), network(seed=2, gamma=0.1, dtype=dtype)
    assert np.any(model(X) != other(X))
    model.save_weights(tmp_path / "model.weights.h5")
    other.load_weights(tmp_path / "model.weights.h5")
    np.testing.assert_array_equal(model(X), other(X))
    np.testing.assert_array_equal(model.layers[-1].scalings, other.layers[-1].scalings)


def test_clone_model_draws_the_seeded_weights_again():
    model = network(seed=1)
    start = model(X).numpy()
    model.layers[-1].kernel.assign(np.zeros((4, 6)))
    clone = keras.models.clone_model(model)
    np.testing.assert_array_equal(clone(X), start)
    assert not np.any(model(X))


def stack(kind):
    """The layer between others: a residual graph or a sequence."""
    layer = AsymScaledDense(6, 5, gamma=0.5, seed=1)
    first, last = keras.layers.Dense(5, "tanh"), keras.layers.Dense(3)
    if kind == "sequential":
        return keras.Sequential([keras.Input((4,)), first, layer, last]), layer
    inputs = keras.Input((4,))
    hidden = first(inputs)
    return keras.Model(inputs, last(keras.layers.add([hidden, layer(hidden)]))), layer


@pytest.mark.parametrize(
    "case", some_slow([("functional", False)], [("functional", True), ("sequential", True)])
)
def test_fit_trains_the_kernel_alone(case):
    kind, jit_compile = case
    keras.utils.set_random_seed(0)
    model, layer = stack(kind)
    layer.trainable = True  # Keras's switch does not reach weights that were made frozen
    frozen, kernel = snapshot(layer.non_trainable_weights), layer.kernel.numpy()
    assert [v.name for v in layer.trainable_weights] == ["kernel"]
    model.compile(keras.optimizers.SGD(0.1), "mse", jit_compile=jit_compile)
    losses = model.fit(X, Y, batch_size=8, epochs=30, verbose=0).history["loss"]
    assert losses[-1] < 0.8 * losses[0]
    assert len(frozen) == 2
    for before, after in zip(frozen, layer.non_trainable_weights, strict=True):
        np.testing.assert_array_equal(before, after)
    assert np.all(np.any(layer.kernel.numpy() != kernel, axis=0))


@pytest.mark.parametrize("jit_compile", [True, False])
def test_one_step_of_fit_is_gradient_descent_on_the_kernel(jit_compile):
    model = network(activation="tanh", seed=0)
    layer = model.layers[-1]
    kernel, root, readout = snapshot(layer.weights)
    hidden = np.tanh(X @ kernel / 2.0)  # sqrt d = 2
    residual = 2.0 * ((hidden * root) @ readout - Y) / Y.size
    gradient = X.T @ ((residual @ readout.T) * root * (1.0 - hidden**2)) / 2.0
    model.compile(keras.optimizers.SGD(0.5), "mse", jit_compile=jit_compile)
    model.fit(X, Y, batch_size=8, verbose=0)
    assert np.abs(gradient).max() > 0.01
    np.testing.assert_allclose(layer.kernel, kernel - 0.5 * gradient, rtol=1e-5, atol=1e-6)


def test_trainable_false_freezes_the_kernel_and_true_brings_back_no_more():
    layer = AsymScaledDense(6, 3)
    layer.trainable = False
    layer.build((None, 4))
    assert layer.trainable_weights == []
    layer.trainable = True
    assert layer.trainable_weights == [layer.kernel]


def test_exported_model_serves_the_same_outputs(tmp_path):
    model = network(seed=None)
    model.export(tmp_path / "1", verbose=False)
    loaded = tf.saved_model.load(tmp_path / "1")
    np.testing.assert_allclose(loaded.serve(X), model(X), rtol=1e-6, atol=1e-7)
    np.testing.assert_allclose(loaded.serve(X[:3]), model(X[:3]), rtol=1e-6, atol=1e-7)


OTHER_BACKEND = """
import sys
import keras, numpy as np
from asym_keras.layers import AsymScaledDense
arrays = dict(np.load(sys.argv[1]))
layer = AsymScaledDense(6, 3, gamma=0.5, activation="gelu", seed=1)
f = keras.ops.convert_to_numpy(layer(arrays["x"]))
np.testing.assert_allclose(f, arrays["f"], rtol=1e-5, atol=1e-6)
np.testing.assert_array_equal(keras.ops.convert_to_numpy(layer.kernel), arrays["kernel"])
print(keras.backend.backend())
"""


@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_layer_is_the_same_on_another_backend(backend, tmp_path):
    if find_spec(backend) is None:
        pytest.skip(f"{backend} is not installed")
    layer = AsymScaledDense(6, 3, gamma=0.5, activation="gelu", seed=1)
    f = layer(X).numpy()
    np.savez(tmp_path / "arrays.npz", x=X, f=f, kernel=layer.kernel.numpy())
    path = [str(ROOT), os.environ.get("PYTHONPATH", "")]
    done = subprocess.run(
        [sys.executable, "-c", OTHER_BACKEND, str(tmp_path / "arrays.npz")],
        env={**os.environ, "KERAS_BACKEND": backend, "PYTHONPATH": os.pathsep.join(path)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == backend
