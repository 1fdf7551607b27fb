"""Closed-form NTG against a hand-worked matrix, plain NumPy and the split of Eq. (14)."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from crossed import crossed
from ntg_reference import assert_ntg_equal, reference_ntg

import asym_keras as ak
from asym_keras import AsymScaledDense, shallow_network
from asym_keras.ntg import shallow_ntg
from asym_keras.ntg.shallow import find_shallow_layer

X = np.random.default_rng(0).normal(size=(5, 3))
X2 = np.random.default_rng(1).normal(size=(2, 3))


def network(**kwargs):
    arguments = {"width": 12, "gamma": 0.5, "alpha": 0.5, "seed": 3, "dtype": "float64", **kwargs}
    return shallow_network(3, arguments.pop("outputs", 1), **arguments)


def shallow_layer(**kwargs):
    return network(**kwargs).get_layer("asym_scaled_dense")


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_shallow_ntg_equals_a_hand_worked_matrix(dtype):
    layer = AsymScaledDense(2, 1, scalings=[0.75, 0.25], dtype=dtype)
    layer.build((None, 2))
    layer.kernel.assign([[1.0, -1.0], [0.0, 1.0]])  # z_1 = x_1 / sqrt 2, z_2 = (x_2 - x_1) / sqrt 2
    x = [[2.0, 0.0], [2.0, 4.0], [-2.0, 2.0]]  # active nodes: 1; 1 and 2; 2
    # x . x' / 2 is [[2, 2, -2], [2, 10, 2], [-2, 2, 4]], times the scalings of shared nodes.
    expected = [[1.5, 1.5, 0.0], [1.5, 10.0, 0.5], [0.0, 0.5, 1.0]]
    ntg = shallow_ntg(layer, x).numpy()
    assert ntg.dtype == dtype
    np.testing.assert_allclose(ntg, expected, rtol={"float32": 1e-6, "float64": 1e-14}[dtype])


@pytest.mark.parametrize(
    ("gamma", "activation", "dtype"),
    crossed(
        *([0.0, 0.5, 1.0], ["relu", "tanh", "softplus"], ["float32", "float64"]),
        quick=[(0.0, "tanh", "float64"), (0.5, "softplus", "float32"), (1.0, "relu", "float64")],
    ),
)
def test_shallow_ntg_equals_numpy(gamma, activation, dtype):
    layer = shallow_layer(gamma=gamma, activation=activation, dtype=dtype)
    x, x2 = X.astype(dtype), X2.astype(dtype)
    assert_ntg_equal(shallow_ntg(layer, x), reference_ntg(layer, x), dtype)
    assert_ntg_equal(shallow_ntg(layer, x, x2), reference_ntg(layer, x, x2), dtype)


def test_shallow_ntg_of_float32_weights_can_be_computed_in_float64():
    layer = shallow_layer(dtype="float32", activation="tanh")
    x = X.astype("float32")
    assert_ntg_equal(shallow_ntg(layer, x, dtype="float64"), reference_ntg(layer, x), "float64")


def test_shallow_ntg_of_signs_is_the_same_for_every_output():
    layer = shallow_layer(outputs=4)
    assert set(np.unique(layer.readout)) == {-1.0, 1.0}
    first = shallow_ntg(layer, X)
    for output in range(1, 4):
        np.testing.assert_array_equal(shallow_ntg(layer, X, output=output), first)


def test_shallow_ntg_takes_any_readout_and_scalings():
    scalings = np.random.default_rng(2).exponential(size=12)
    layer = shallow_layer(outputs=3, scalings=scalings)
    layer.readout.assign(np.random.default_rng(3).normal(size=(12, 3)))
    for output in range(3):
        expected = reference_ntg(layer, X, output=output)
        assert_ntg_equal(shallow_ntg(layer, X, output=output), expected, "float64")


def test_shallow_ntg_is_linear_in_the_scalings():
    """Eq. (14): a symmetric part gamma / m and the rest, for the same kernel."""
    mixed, rest, symmetric = (shallow_ntg(shallow_layer(gamma=g), X) for g in (0.3, 0.0, 1.0))
    assert np.abs(rest - symmetric).max() > 0.01
    np.testing.assert_allclose(mixed, 0.3 * symmetric + 0.7 * rest, rtol=1e-12, atol=1e-14)


def test_shallow_ntg_follows_the_kernel():
    layer = shallow_layer(activation="tanh")
    before = shallow_ntg(layer, X).numpy()
    layer.kernel.assign(2.0 * layer.kernel)
    after = shallow_ntg(layer, X)
    assert np.abs(after - before).max() > 0.01
    assert_ntg_equal(after, reference_ntg(layer, X), "float64")


class Doubled(keras.Model):
    """A layer alone by its `layers`, and not by its `call`."""

    def __init__(self, layer):
        super().__init__()
        self.layer = layer

    def call(self, inputs):
        return 2.0 * self.layer(inputs)


class Halved(AsymScaledDense):
    def call(self, x):
        return super().call(x) / 2.0


def made_of(case):
    """A model of one `AsymScaledDense` and, but for the first two cases, something more or less."""
    kind = Halved if case == "layer of a subclass" else AsymScaledDense
    layer = kind(12, None if case == "features only" else 3, seed=3, dtype="float64")
    inputs = keras.Input((3,), dtype="float64")
    if case == "activation that reaches":
        weight = keras.Variable(2.0, dtype="float64")
        layer.activation = lambda z: weight * z
    if case == "sequential":
        return keras.Sequential([inputs, layer])
    if case == "subclass":
        model = Doubled(layer)
        model(X)
        return model
    outputs = layer(inputs)
    if case == "bare operation after":
        outputs = 2.0 * outputs
    elif case == "bare operation before":
        outputs = layer(3.0 * inputs)
    elif case == "used twice":
        outputs = layer(outputs)
    elif case == "dense after":
        outputs = keras.layers.Dense(3)(outputs)
    elif case == "dense only":
        outputs = keras.layers.Dense(3)(inputs)
    elif case == "frozen":
        layer.trainable = False
    return keras.Model(inputs, outputs)


@pytest.mark.parametrize("case", ["functional", "sequential"])
def test_find_shallow_layer_finds_a_layer_alone(case):
    model = made_of(case)
    assert isinstance(find_shallow_layer(model), AsymScaledDense)
    assert find_shallow_layer(model) is model.layers[-1]


MORE_OR_LESS = (
    "features only",
    "subclass",
    "layer of a subclass",
    "activation that reaches",
    "bare operation after",
    "bare operation before",
    "used twice",
    "dense after",
    "dense only",
    "frozen",
)


@pytest.mark.parametrize("case", MORE_OR_LESS)
def test_find_shallow_layer_refuses_a_model_of_more_or_less(case):
    assert find_shallow_layer(made_of(case)) is None


def test_softmax_is_not_elementwise_so_auto_takes_the_jacobian():
    model = ak.shallow_network(3, 1, width=6, activation="softmax", seed=0, dtype="float64")
    x = np.random.default_rng(0).normal(size=(4, 3))
    exact = ak.empirical_ntg(model, x, method="jacobian").numpy()
    np.testing.assert_allclose(ak.empirical_ntg(model, x).numpy(), exact, rtol=1e-11)
    with pytest.raises(ValueError, match="closed_form"):
        ak.empirical_ntg(model, x, method="closed_form")


def test_a_readout_that_trains_counts_too():
    model = ak.shallow_network(3, width=6, gamma=0.5, alpha=0.5, activation="tanh", seed=0)
    x = np.random.default_rng(0).normal(size=(4, 3)).astype("float32")
    before = ak.empirical_ntg(model, x)
    model.layers[-1].readout.trainable = True
    assert find_shallow_layer(model) is None
    after = ak.empirical_ntg(model, x)
    np.testing.assert_allclose(after, ak.empirical_ntg(model, x, method="jacobian"), rtol=1e-5)
    assert np.abs(after - before).max() > 0.1


@pytest.mark.parametrize("output", [-1, 1, 0.0, "mean"])
def test_shallow_ntg_knows_its_outputs(output):
    layer = ak.shallow_network(3, width=6, seed=0).layers[-1]
    with pytest.raises(ValueError, match="output to be one of them"):
        shallow_ntg(layer, np.ones((2, 3), "float32"), output=output)
