"""Examples that meet in a model are never taken apart into tiles."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops
from wild_layers import Meeting, examples, sequential

from asym_keras import AsymScaledDense, importance, pruning
from asym_keras.evaluator import Evaluator
from asym_keras.pairs import examples_meet, rounding
from asym_keras.training import GradientDescent, Objective, train

layers = keras.layers
X = examples()
Y = X[:, :1] * X[:, 1:2]


class MeetingInTraining(layers.Layer):
    def call(self, x, training=False):
        return x - ops.mean(x, axis=0) if training else x


@pytest.mark.parametrize(
    ("stack", "meet"),
    [
        ([layers.BatchNormalization(), layers.Dropout(0.5), layers.Dense(2)], (False, None)),
        ([layers.Dense(3, "tanh"), layers.LayerNormalization()], (False, False)),
        ([Meeting()], (True, True)),
        ([MeetingInTraining(), layers.Dense(1)], (False, True)),
    ],
)
def test_examples_meet_where_an_output_changes_with_the_others(stack, meet):
    model = sequential(*stack)
    before = [np.asarray(v) for v in model.variables]
    for training, expected in zip((False, True), meet, strict=True):
        if expected is not None:
            assert examples_meet(model, X, training=training) is expected
    for variable, value in zip(model.variables, before, strict=True):
        np.testing.assert_array_equal(variable, value)


def test_texts_and_sequences_of_any_length_can_tell():
    texts = keras.Input((1,), dtype="string")
    model = keras.Model(texts, layers.StringLookup(vocabulary=["a", "b"])(texts))
    assert not examples_meet(model, tf.constant([["a"], ["b"]]))

    class Sums(keras.Model):
        def call(self, x):
            return tf.reduce_sum(x, axis=1) - (tf.reduce_mean(x) if self.centred else 0.0)

    rows = tf.ragged.constant([[1.0], [2.0, 3.0], [4.0]])
    model = Sums()
    for model.centred in (False, True):
        assert examples_meet(model, rows) is model.centred


@pytest.fixture
def small_tiles(monkeypatch):
    monkeypatch.setattr("asym_keras.evaluator.TILE_BYTES", 64)
    monkeypatch.setattr("asym_keras.importance.taps.TILE_NUMBERS", 32)


@pytest.mark.usefixtures("small_tiles")
def test_risks_and_gradients_are_of_the_whole_batch():
    model = sequential(Meeting())
    evaluator = Evaluator(model, X, Y)
    np.testing.assert_allclose(evaluator.evaluate()[1], model(X), rtol=1e-5, atol=1e-6)
    apart = sequential(layers.Dense(1))
    assert Evaluator(apart, X, Y).tile < len(X)
    for stack in ([Meeting()], [MeetingInTraining(), layers.Dense(1)]):
        model = sequential(*stack)
        objective = Objective(model, X, Y)
        with tf.GradientTape() as tape:
            risk = tf.reduce_mean((model(X, training=True) - Y) ** 2)
        expected = tape.gradient(risk, [v.value for v in model.trainable_variables])
        found = objective.gradient(objective.weights(), [])
        np.testing.assert_allclose(found[0], risk, rtol=1e-5)
        np.testing.assert_allclose(found[1][0], expected[0], rtol=1e-4, atol=1e-6)


def test_replicas_refuse_examples_that_meet():
    strategy = tf.distribute.MirroredStrategy(["CPU:0"])
    with pytest.raises(ValueError, match="in which the examples of a batch meet"):
        train(
            sequential(Meeting()), X, Y, method=GradientDescent(), end_time=1.0, progress=False,
            strategy=strategy,
        )  # fmt: skip


def test_importance_and_curves_are_of_the_whole_batch(request):
    features = AsymScaledDense(8, gamma=0.5, alpha=0.5, seed=0, name="features")
    model = sequential(MeetingAlways(), features, layers.Dense(1))

    def numbers(batch_size):
        options = {"pruned": [4], "refit": True, "batch_size": batch_size}
        [row] = pruning.pruning_curve(model, X, Y, X[:5], Y[:5], **options)
        return [*row.values(), *importance.node_importance(model, "output", x=X)]

    expected = numbers(None)
    request.getfixturevalue("small_tiles")
    np.testing.assert_allclose(numbers(3), expected, rtol=1e-5)


class MeetingAlways(layers.Layer):
    def call(self, x):
        return x - ops.mean(x, axis=0)


def test_rounding_is_that_of_the_layers_that_compute():
    model = keras.Sequential([keras.Input((4,), dtype="float64"), layers.Dense(1, dtype="float64")])
    assert rounding(model, model.variables) == 1e-8
    model.add(layers.Activation("tanh", dtype="float32"))
    assert rounding(model, model.variables) == 2e-3
