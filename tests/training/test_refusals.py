"""Models that have no one risk, or write what a step would lose: refused by name."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops
from wild_layers import Temperature, examples, rng, sequential

from asym_keras.compilation import compiles_with_xla
from asym_keras.training import GradientDescent, GradientFlow, Objective, RiskProbe, train

pytestmark = pytest.mark.xla  # whose choice is asked for here
layers = keras.layers
X = examples()
Y = X[:, :1] * X[:, 1:2]
IDS = rng().integers(0, 5, (8, 2))


def built(model):
    model(X)
    return model


class Printed(layers.Layer):
    """XLA knows no operation that calls Python."""

    def call(self, x):
        return tf.ensure_shape(tf.numpy_function(lambda a: a, [x], tf.float32), x.shape) * 0.0 + x


def two_outputs():
    inputs = keras.Input((4,))
    return keras.Model(
        inputs, [layers.Dense(1, name="a")(inputs), layers.Dense(1, name="b")(inputs)]
    )


def masked():
    stack = layers.Embedding(5, 3, mask_zero=True), layers.Dense(1)
    return sequential(*stack, shape=(2,), dtype="int32")


class Counting(layers.Layer):
    def build(self, shape):
        self.w = self.add_weight(shape=())

    def call(self, x):
        self.w.assign(self.w + 1.0)
        return x * self.w


def test_a_word_for_jit_compile_is_refused():
    """It would count as True."""
    model = sequential(layers.Dense(1))
    with pytest.raises(ValueError, match="jit_compile to be True, False or 'auto', received 'off'"):
        train(model, X, Y, method=GradientDescent(jit_compile="off"), end_time=1)


class Noisy(layers.Layer):
    """Draws numbers from where no variable of the model tells."""

    def __init__(self, normal):
        super().__init__()
        self.normal = normal

    def call(self, x, training=False):
        return x + self.normal(ops.shape(x)) if training else x


def noisy(normal):
    return built(sequential(Noisy(normal), layers.Dense(1)))


def remembering():
    stack = [keras.Input(batch_shape=(8, 4, 1)), layers.GRU(2, stateful=True), layers.Dense(1)]
    return keras.Sequential(stack)


def class_of_each():
    inputs = keras.Input((4,))
    return keras.Model(inputs, ops.argmax(layers.Dense(3)(inputs), axis=-1)[:, None])


def spectral():
    return sequential(layers.SpectralNormalization(layers.Dense(3)), layers.Dense(1))


@pytest.mark.parametrize(
    ("make", "x", "y", "words"),
    [
        (class_of_each, X, Y, r"changes with the weights, .* have no gradient by any"),
        (spectral, X, Y, r"only steps change, .* writes .*kernel"),
        (lambda: built(sequential(Counting())), X, X, r"only steps change, .* writes .*variable"),
        (lambda: noisy(keras.random.normal), X, Y, r"variables lists, .* random numbers without"),
        (remembering, X[..., None], Y, r"layers that forget, received gru"),
        (two_outputs, X, Y, r"one output, received .* with 2 \(a, b\)"),
        (masked, IDS, np.ones((8, 2, 1)), "carries a mask"),
        (lambda: sequential(layers.Dense(3)), X, np.array(["a", "b"] * 4), "as numbers, received"),
        (lambda: sequential(layers.Dense(3)), X, np.arange(8), "labels .* from 0 to 2"),
        (lambda: sequential(layers.Dense(3)), X, np.arange(8) % 3, "takes no integer labels"),
    ],
)
def test_what_has_no_one_risk_is_refused(make, x, y, words):
    with pytest.raises(ValueError, match=words):
        train(make(), x, y, method=GradientDescent(), end_time=1.0, progress=False)


class OwnStep(keras.Model):
    def train_step(self, data):
        return {"loss": 0.0}


def test_training_of_one_s_own_is_said_to_be_left_out(caplog):
    inputs = keras.Input((4,))
    for kind, said in ((keras.Model, False), (OwnStep, True)):
        model = kind(inputs, layers.Dense(1)(inputs))
        train(model, X, Y, method=GradientDescent(), end_time=1.0, progress=False)
        assert ("train_step of own_step (OwnStep) not used" in caplog.text) is said


def test_flow_refuses_what_tensorflow_draws_and_descent_draws_anew():
    model = noisy(tf.random.normal)
    with pytest.raises(ValueError, match="the operation RandomStandardNormal"):
        train(model, X, Y, method=GradientFlow(), end_time=1.0, progress=False)
    objective = Objective(model, X, Y)
    risks = {float(objective.gradient(objective.weights(), [])[0]) for _ in range(3)}
    assert len(risks) == 3


@pytest.mark.parametrize(
    ("layer", "known"),
    [
        (Printed(), False),
        (layers.Lambda(ops.abs), True),
        (Temperature(), True),
        (layers.Dense(3), True),
    ],
)
def test_what_xla_does_not_know_is_done_without_it(layer, known):
    model = built(sequential(layer, layers.Dense(1)))
    assert compiles_with_xla(model, 8, tf.constant(X)) is known
    probe = RiskProbe("test", X, np.asarray(model(X)))
    assert probe(model)["test_risk"] == pytest.approx(0.0, abs=1e-9)


def test_indices_out_of_range_are_an_error_as_in_fit():
    stack = layers.Embedding(5, 3), layers.Flatten(), layers.Dense(1)
    embedding = sequential(*stack, shape=(2,), dtype="int32")
    with pytest.raises(tf.errors.InvalidArgumentError, match="indices"):
        train(embedding, IDS + 3, Y, method=GradientDescent(), end_time=1.0, progress=False)


def test_sparse_rows_are_not_picked_out():
    inputs = keras.Input((4,), sparse=True)
    model = keras.Model(inputs, layers.Dense(1)(inputs))
    method = GradientDescent(batch_size=4, jit_compile=False)
    with pytest.raises(ValueError, match=r"received a tf\.SparseTensor"):
        train(model, tf.sparse.from_dense(X), Y, method=method, end_time=1.0, progress=False)


@pytest.mark.parametrize(
    ("x", "y", "times", "words"),
    [
        (X, Y, [0.0, np.nan], r"record times between 0 and end_time=1\.0, received \[0\.0, nan\]"),
        (X, np.float64(Y) * 1e200, None, r"y \(8, 1\) in float32 with NaN or infinity"),
        (X, tf.constant(Y, "float64") * 1e200, None, r"y \(8, 1\) in float32 with NaN"),
        (X[:0], Y[:0], None, "at least one"),
    ],
)
def test_numbers_that_mean_nothing_are_refused(x, y, times, words):
    options = {"method": GradientDescent(), "end_time": 1.0, "times": times, "progress": False}
    with pytest.raises(ValueError, match=words):
        train(sequential(layers.Dense(1)), x, y, **options)


def test_an_evaluator_needs_weights_and_no_training():
    model = keras.Sequential([layers.Dense(1)])
    with pytest.raises(ValueError, match=r"built model, .* has no weights yet"):
        RiskProbe("test", X, Y)(model)


def test_outputs_of_any_length_are_trained():
    model = sequential(layers.Dense(1), shape=(None, 3))
    x = rng().normal(size=(5, 7, 3))
    train(model, x, x[..., :1], method=GradientDescent(), end_time=1.0, progress=False)


def test_xla_is_asked_without_examples_too():
    assert compiles_with_xla(built(sequential(Temperature(), layers.Dense(1))), 8)
