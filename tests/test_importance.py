"""Importance rules against numbers worked by hand and against taking nodes out, one by one."""

from __future__ import annotations

import keras
import numpy as np
import pruning_models as models
import pytest
from crossed import crossed

from asym_keras import AsymScaledDense, shallow_network
from asym_keras.importance import (
    PROTOCOL_RULES,
    RULES,
    find_layer,
    importance_order,
    node_importance,
    taps,
)

RTOL = {"float32": 1e-5, "float64": 1e-11}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_rules_equal_numbers_worked_by_hand(dtype):
    layer = AsymScaledDense(3, 2, scalings=[0.5, 0.25, 0.25], dtype=dtype)
    model = keras.Sequential([keras.Input((2,), dtype=dtype), layer])
    layer.kernel.assign([[3.0, 0.0, -2.0], [4.0, 2.0, 0.0]])
    expected = {
        "paper": [12.5, 1.0, 1.0],
        "scalings": [0.5, 0.25, 0.25],
        "magnitude": [5.0, 2.0, 2.0],
        # x = (1, 1), (1, -1): z sqrt 2 = 7, 2, -2 and -1, -2, -2; two outputs; mean over two x.
        "output": [0.5 * 49 / 2 * 2 / 2, 0.25 * 4 / 2 * 2 / 2, 0.0],
    }
    assert set(expected) == set(RULES)
    for rule, numbers in expected.items():
        got = node_importance(model, rule, x=np.array([[1.0, 1.0], [1.0, -1.0]], dtype))
        assert got.dtype == "float64"
        np.testing.assert_allclose(got, numbers, rtol=RTOL[dtype], atol=1e-12)


def test_every_protocol_has_a_rule():
    assert PROTOCOL_RULES == {"paper": "paper", "authors": "scalings"}


@pytest.mark.parametrize(("make", "dtype"), crossed(models.ENDING, ["float32", "float64"]))
def test_output_rule_is_the_squared_change_when_a_node_goes(make, dtype, monkeypatch):
    model = models.build(make, dtype)
    x = models.examples(model)
    monkeypatch.setattr(taps, "TILE_NUMBERS", 4 * 27)  # tiles of a few examples
    whole, changes = models.outputs(model, x), []
    for j in range(models.UNITS):
        with models.masked(model, np.delete(np.arange(models.UNITS), j)):
            changes.append(np.sum((whole - models.outputs(model, x)) ** 2) / len(x))
    rtol = {"float32": 1e-3, "float64": 1e-10}[dtype]  # of differences
    np.testing.assert_allclose(
        node_importance(model, "output", x=x), changes, rtol=rtol, atol=rtol * max(changes)
    )


def test_output_rule_of_features_without_a_readout_is_their_mean_square():
    inputs = keras.Input((4,), dtype="float64")
    hidden = models.nodes("float64")(inputs)
    normalised = keras.layers.LayerNormalization(dtype="float64")(hidden)
    for last in (hidden, normalised):
        model = keras.Model(inputs, last)
        x = models.examples(model)
        expected = np.mean(np.asarray(find_layer(model)(x)) ** 2, axis=0)
        np.testing.assert_allclose(node_importance(model, "output", x=x), expected, rtol=1e-12)


def test_output_rule_takes_inputs_by_name_and_models_without_a_training_argument():
    class Network(keras.Model):
        def __init__(self, layer):
            super().__init__()
            self.layer = layer

        def call(self, pair):
            return self.layer(pair["a"] * pair["b"])

    a, b = (keras.Input((4,), name=name, dtype="float64") for name in "ab")
    layer = models.nodes("float64", 3)
    model = keras.Model([a, b], layer(keras.layers.Multiply(dtype="float64")([a, b])))
    x = dict(zip("ab", np.random.default_rng(0).normal(size=(2, 7, 4)), strict=True))
    expected = node_importance(layer_alone(layer), "output", x=x["a"] * x["b"])
    subclass = Network(layer)
    subclass(x)
    for network, inputs in ((model, x), (model, list(x.values())), (subclass, x)):
        np.testing.assert_allclose(
            node_importance(network, "output", x=inputs), expected, rtol=1e-6
        )


def layer_alone(layer):
    inputs = keras.Input((4,), dtype="float64")
    return keras.Model(inputs, layer(inputs))


def test_output_rule_leaves_the_layer_as_it_was():
    model = models.build(models.sequential)
    x = models.examples(model)
    before = models.outputs(model, x)
    node_importance(model, "output", x=x)
    assert "call" not in vars(find_layer(model))
    np.testing.assert_array_equal(models.outputs(model, x), before)


def test_order_is_by_importance_and_ties_are_shuffled_by_the_seed():
    importance = np.array([1.0, 3.0, 1.0, 2.0, 1.0, 1.0])
    orders = np.array([importance_order(importance, seed) for seed in range(40)])
    assert (orders[:, :2] == [1, 3]).all()
    assert (np.sort(orders, axis=1) == np.arange(6)).all()
    # Four tied nodes, each first about as often.
    assert set(orders[:, 2]) == {0, 2, 4, 5}
    np.testing.assert_array_equal(orders[7], importance_order(importance, 7))


def test_symmetric_scalings_tie_every_node():
    model = shallow_network(3, width=30, gamma=1.0, seed=0)
    scalings = node_importance(model, "scalings")
    assert (scalings == scalings[0]).all()
    assert (importance_order(scalings, 0) != importance_order(scalings, 1)).any()


def test_find_layer_opens_nested_models():
    model = models.build(models.nested)
    assert find_layer(model) is model.get_layer("body").get_layer("nodes")


def two_layers():
    first, second = (AsymScaledDense(4, 3, name=name) for name in ("first", "second"))
    return keras.Sequential([keras.Input((3,)), first, second])


def test_find_layer_takes_the_name_if_there_are_several():
    model = two_layers()
    assert find_layer(model, "second") is model.layers[1]
    assert node_importance(model, layer="second").shape == (4,)
    with pytest.raises(ValueError, match=r"received 2; it has \['first', 'second'\]. Name one"):
        find_layer(model)
    with pytest.raises(ValueError, match=r"named 'third', received 0; it has \['first', 'second'"):
        find_layer(model, "third")


def test_find_layer_refuses_what_has_none():
    with pytest.raises(ValueError, match="one AsymScaledDense, received 0"):
        find_layer(keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)]))
    with pytest.raises(ValueError, match="Expected a built model"):
        find_layer(keras.Sequential([AsymScaledDense(4)]))
    with pytest.raises(ValueError, match="Expected a Keras model, received AsymScaledDense"):
        find_layer(AsymScaledDense(4))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda m: node_importance(m, "size"), "expected rule to be one of .*received 'size'"),
        (lambda m: node_importance(m, "output"), "expected examples x .*received none. Pass x"),
        (lambda m: node_importance(m, "output", x=np.ones((0, 4))), "at least one, received"),
        (lambda m: importance_order([1.0, np.nan]), "none of them NaN, received .* with 1 NaN"),
        (lambda m: importance_order(np.ones((2, 2))), r"one number a node.*received shape \(2, 2"),
    ],
)
def test_errors_say_what_to_do(call, message):
    with pytest.raises(ValueError, match=message):
        call(models.build(models.shallow))
