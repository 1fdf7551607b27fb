"""Layers with a state, and what an objective refuses."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf
from problems import tanh_problem

from asym_keras.training import Objective

X = np.random.default_rng(0).normal(size=(8, 3)).astype("float32")
Y = np.random.default_rng(1).normal(size=(8, 1)).astype("float32")


def around(*layers):
    """Dense, `layers`, Dense."""
    return keras.Sequential([keras.Input((3,)), keras.layers.Dense(4), *layers, dense(1)])


def dense(units):
    return keras.layers.Dense(units)


def test_layers_that_draw_or_average_are_named():
    model = around(
        keras.layers.BatchNormalization(name="norm"),
        keras.layers.Activation("tanh", name="plain"),
        keras.layers.Dropout(0.5, name="drop", seed=0),
        keras.layers.GaussianNoise(0.1, name="noise", seed=0),
    )
    problem = Objective(model, X, Y)
    assert problem.stateful_layers == [
        "norm (BatchNormalization)",
        "drop (Dropout)",
        "noise (GaussianNoise)",
    ]
    assert [v.path.split("/")[-1] for v in problem.state_variables] == [
        *("moving_mean", "moving_variance", "seed_generator_state", "seed_generator_state")
    ]


def test_stateful_layer_inside_a_model_is_named_alone():
    inner = keras.Sequential([keras.Input((4,)), keras.layers.Dropout(0.5, name="deep")])
    assert Objective(around(inner), X, Y).stateful_layers == ["deep (Dropout)"]


def test_recurrent_layer_is_named_and_not_the_cell_in_it():
    lstm = keras.layers.LSTM(3, recurrent_dropout=0.5, name="forget")
    model = keras.Sequential([keras.Input((3, 1)), lstm, dense(1)])
    assert Objective(model, X[..., None], Y).stateful_layers == ["forget (LSTM)"]


class DropoutInInference(keras.layers.Layer):
    """Holds a Dropout that never drops."""

    def __init__(self):
        super().__init__()
        self.dropout = keras.layers.Dropout(0.5)

    def call(self, x):
        return self.dropout(x, training=False)


@pytest.mark.parametrize(
    "layer",
    [
        lambda: keras.layers.BatchNormalization(trainable=False),
        lambda: keras.layers.Dropout(0.0),
        lambda: keras.layers.LayerNormalization(),
        DropoutInInference,
    ],
    ids=["frozen normalisation", "no dropout", "layer normalisation", "dropout in inference"],
)
def test_layers_without_changing_state_are_not_named(layer):
    problem = Objective(around(layer()), X, Y)
    assert problem.stateful_layers == []
    assert problem.state() == []


def test_frozen_weights_are_no_state():
    model, x, y = tanh_problem()
    assert len(model.non_trainable_variables) == 2
    assert Objective(model, x, y).state_variables == []


def test_new_state_is_that_of_one_training_step():
    norm = keras.layers.BatchNormalization(momentum=0.9)
    model = around(norm)
    problem = Objective(model, X, Y)
    problem.tile = 3  # the state is of the whole: no tiles
    problem = Objective(model, X, Y)
    assert problem.tile == len(X)
    _, _, (mean, variance) = problem.gradient(problem.weights(), problem.state())
    hidden = model.layers[0](X).numpy()
    np.testing.assert_allclose(mean, 0.1 * hidden.mean(0), rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(variance, 0.9 + 0.1 * hidden.var(0), rtol=1e-5)
    np.testing.assert_array_equal(norm.moving_mean, np.zeros(4))  # the model is as it was
    problem.assign(problem.weights(), [mean, variance])
    np.testing.assert_array_equal(norm.moving_mean, mean)
    np.testing.assert_array_equal(norm.moving_variance, variance)


def test_state_decides_what_is_dropped():
    problem = Objective(around(keras.layers.Dropout(0.5, seed=3)), X, Y)
    weights, state = problem.weights(), problem.state()
    first, _, new = problem.gradient(weights, state)
    again, _, _ = problem.gradient(weights, state)
    later, _, _ = problem.gradient(weights, new)
    assert float(first) == float(again)
    assert float(first) != float(later)


def test_no_tiles_for_a_stateful_model(monkeypatch):
    monkeypatch.setattr("asym_keras.evaluator.TILE_BYTES", 1)
    assert Objective(around(), X, Y).tile == 1
    assert Objective(around(keras.layers.BatchNormalization()), X, Y).tile == len(X)


def two_inputs():
    parts = [keras.Input((3,)), keras.Input((2,))]
    return keras.Model(parts, keras.layers.Dense(1)(keras.layers.Concatenate()(parts)))


def frozen():
    model = around()
    model.trainable = False
    return model


def with_value(array, value, row):
    array = array.copy()
    array[row, 0] = value
    return array


@pytest.mark.parametrize(
    ("make", "x", "y", "message"),
    [
        (around, with_value(X, np.nan, 5), Y, r"received x \(8, 3\) with NaN .* 1 rows.* 5\."),
        (around, X, with_value(Y, -np.inf, 2), r"received y \(8, 1\) with NaN .* being 2\."),
        (around, X[:5], Y, r"same number of examples, at least one, received \{(5, 8|8, 5)\}"),
        (around, X[:0], Y[:0], r"at least one, received \{0\}"),
        (around, X[:, :2], Y, r"inputs of shape \(None, 3\) .* received \(8, 2\)"),
        (around, X, np.ones((8, 2)), r"targets of shape \(n, 1\), .* received \(8, 2\)"),
        (around, X, np.ones((8, 1, 1)), r"targets of shape \(n, 1\), .* received \(8, 1, 1\)"),
        (two_inputs, X, Y, r"Expected 2 inputs of model .*, received 1, a ndarray"),
        (two_inputs, [X, X], Y, r"inputs of shape \(None, 2\) .* received \(8, 3\)"),
        (lambda: keras.Sequential([dense(1)]), X, Y, "a built model.* has no weights yet"),
        (frozen, X, Y, r"with trainable variables, .* \(built: True, trainable variables: 0\)"),
    ],
)
def test_bad_data_and_models_are_refused(make, x, y, message):
    with pytest.raises(ValueError, match=message):
        Objective(make(), x, y)


def test_tf_data_is_refused_and_told_what_to_give():
    dataset = tf.data.Dataset.from_tensor_slices((X, Y)).batch(4)
    with pytest.raises(ValueError, match=r"received a tf.data.Dataset. Give the arrays"):
        Objective(around(), dataset, None)


@pytest.mark.parametrize("examples", [3, 8])
def test_vector_of_targets_is_refused_for_several_outputs(examples):
    model = keras.Sequential([keras.Input((3,)), dense(3)])
    with pytest.raises(ValueError, match=r"targets of shape \(n, 3\)"):
        Objective(model, X[:examples], Y[:examples, 0])


class Averaging(keras.Model):
    """Holds a moving average itself, and no layer of it does."""

    def __init__(self):
        super().__init__(name="averaging")
        self.last = dense(1)

    def build(self, shape):
        self.mean = self.add_weight(shape=(), initializer="zeros", trainable=False)
        self.last.build(shape)

    def call(self, x, training=False):
        if training:
            self.mean.assign(0.5 * self.mean + 0.5 * keras.ops.mean(x))
        return self.last(x)


@pytest.mark.parametrize("nested", [False, True])
def test_state_of_a_model_itself_is_named(nested, monkeypatch):
    monkeypatch.setattr("asym_keras.evaluator.TILE_BYTES", 16)
    inputs, model = keras.Input((3,)), Averaging()
    model.build((None, 3))
    whole = keras.Model(inputs, model(inputs)) if nested else model
    problem = Objective(whole, X, Y)
    assert problem.stateful_layers == ["averaging (Averaging)"]
    assert problem.tile == len(X)
    state = problem.gradient(problem.weights(), problem.state())[2]
    np.testing.assert_allclose(state, [0.5 * X.mean()], rtol=1e-5)
