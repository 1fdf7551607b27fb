"""Kinks of activations: where they are found in a model."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf
from problems import tanh_problem
from training_runs import run

import asym_keras as ak
from asym_keras.training import GradientFlow
from asym_keras.training.kinks import find_sites, kinks_of


@pytest.mark.parametrize(
    ("function", "kinks"),
    [
        ("relu", [(0, 1)]),
        ("leaky_relu", [(0, 0.8)]),
        ("relu6", [(0, 1), (6, -1)]),
        ("hard_tanh", [(-1, 1), (1, -1)]),
        ("hard_sigmoid", [(-3, 1 / 6), (3, -1 / 6)]),
        ("soft_shrink", [(-0.5, -1), (0.5, 1)]),
        (lambda z: tf.nn.relu(z - 0.3), [(0.3, 1)]),
        (lambda z: keras.ops.abs(z) + 2 * z, [(0, 2)]),
        (keras.layers.LeakyReLU(0.3), [(0, 0.7)]),
        (keras.layers.ReLU(max_value=2.0, negative_slope=0.1), [(0, 0.9), (2, -1)]),
        # Curved, with jumps, no function of single numbers, or none at all.
        *(
            (name, [])
            for name in ("linear", "tanh", "elu", "selu", "gelu", "softplus", "hard_swish")
        ),
        *((name, []) for name in ("hard_shrink", "softmax", "exponential")),
        (tf.round, []),
        (lambda z: z / 0, []),
        (lambda a, b: a, []),
    ],
)
def test_kinks_are_found_where_the_slope_changes(function, kinks):
    found = kinks_of(keras.activations.get(function) if isinstance(function, str) else function)
    np.testing.assert_allclose(np.reshape(found, (-1, 2)), np.reshape(kinks, (-1, 2)), atol=1e-5)


def sites_of(model):
    return sorted((site.owner.name, site.attribute) for site in find_sites(model))


def test_kinks_are_found_wherever_a_model_holds_them():
    inputs = keras.Input((8, 8, 1))
    h = keras.layers.Conv2D(4, 3, activation="relu", name="conv")(inputs)
    h = keras.layers.ReLU(name="layer")(keras.layers.Conv2D(4, 3, name="plain")(h))
    h = keras.layers.Flatten()(keras.layers.MaxPooling2D()(h))
    h = keras.layers.Activation("relu6", name="six")(h)
    nested = keras.Sequential(
        [keras.Input((16,)), keras.layers.Dense(3, activation="leaky_relu", name="inside")]
    )
    h = nested(h)
    h = keras.layers.Dense(3, activation=keras.layers.LeakyReLU(name="held"), name="holds")(h)
    h = ak.AsymScaledDense(6, activation="tanh", name="smooth")(h)
    h = ak.AsymScaledDense(6, name="asym")(h)
    h = keras.ops.maximum(keras.ops.abs(h), 0.1)
    model = keras.Model(inputs, keras.layers.Dense(1)(h))
    names = [name for name, _ in sites_of(model)]
    assert len(names) == 8
    assert {"conv", "layer", "six", "inside", "held", "asym"} < set(names)
    assert sum(name.startswith(("absolute", "maximum")) for name in names) == 2


class Traced(keras.layers.Layer):
    """A layer that compiles itself: what it was traced with, it keeps."""

    def __init__(self):
        super().__init__()
        self.dense = keras.layers.Dense(3, activation="relu")

    @tf.function
    def call(self, x):
        return self.dense(x)


@pytest.mark.slow
def test_layers_that_compile_themselves_keep_their_kinks():
    keras.utils.set_random_seed(0)
    layers = [Traced(), keras.layers.Dense(2, activation="relu", name="plain")]
    model = keras.Sequential([keras.Input((4,)), *layers, keras.layers.Dense(1)])
    assert sites_of(model) == [("plain", "activation")]
    x = np.random.default_rng(0).normal(size=(20, 4)).astype("float32")
    run((model, x, x[:, :1]), GradientFlow(rounding=3e-3, jit_compile=False), end_time=3.0)
    inner = model.layers[0].dense
    expected = np.maximum(x @ inner.kernel.numpy() + inner.bias.numpy(), 0)
    np.testing.assert_allclose(model.layers[0](x), expected, rtol=1e-5, atol=1e-6)


def test_a_model_without_kinks_has_no_sites():
    assert sites_of(tanh_problem()[0]) == []
