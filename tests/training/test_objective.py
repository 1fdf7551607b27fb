"""The risk and its gradient against plain eager GradientTape, whole and in tiles."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf
from crossed import crossed
from problems import kernel, negative_gradient, tanh_problem

from asym_keras import compilation, evaluator
from asym_keras.training import Objective

TOLERANCE = {"float32": {"rtol": 2e-5, "atol": 1e-7}, "float64": {"rtol": 1e-12, "atol": 1e-14}}
EXAMPLES = 15


def quartic(y, predictions):
    """A user's own loss, one number an example."""
    return keras.ops.mean((predictions - y) ** 4, axis=-1)


def targets(kind):
    generator = np.random.default_rng(1)
    if kind == "labels":
        return generator.integers(0, 3, EXAMPLES)
    if kind == "one-hot":
        return np.eye(3)[generator.integers(0, 3, EXAMPLES)]
    return generator.normal(size=(EXAMPLES, 3))


LOSSES = {
    "mse": ("mse", "numbers"),
    "cross-entropy": (keras.losses.CategoricalCrossentropy(from_logits=True), "one-hot"),
    "sparse": (keras.losses.SparseCategoricalCrossentropy(from_logits=True), "labels"),
    "summed": (keras.losses.MeanAbsoluteError(reduction="sum"), "numbers"),  # the risk is a mean
    "custom": (quartic, "numbers"),
}


def inputs(dtype="float64"):
    return np.random.default_rng(0).normal(size=(EXAMPLES, 4)).astype(dtype)


def network(dtype="float64", penalty=0.3):
    """Two trained layers with weight and activity penalties."""
    keras.utils.set_random_seed(0)
    first = keras.Input((4,), dtype=dtype)
    hidden = keras.layers.Dense(
        5, "tanh", kernel_regularizer=keras.regularizers.L2(penalty), dtype=dtype
    )(first)
    last = keras.layers.Dense(3, bias_regularizer=keras.regularizers.L1(penalty), dtype=dtype)
    model = keras.Model(first, last(hidden))
    last.bias.assign([1.0, -2.0, 0.5])
    return model


def eager_risk_and_gradient(model, x, y, loss):
    """Loss as `model.fit` takes it: mean of the examples' losses plus the model's penalties."""
    loss = keras.losses.get(loss)
    values = loss.call if isinstance(loss, keras.losses.Loss) else loss
    with tf.GradientTape() as tape:
        predictions = model(x, training=True)
        risk = tf.reduce_mean(values(tf.convert_to_tensor(y, predictions.dtype), predictions))
        risk += sum(model.losses)
    return risk, tape.gradient(risk, model.trainable_variables)


def assert_equal(result, expected, dtype):
    for ours, theirs in zip(tf.nest.flatten(result[:2]), tf.nest.flatten(expected), strict=True):
        assert ours.dtype == dtype
        np.testing.assert_allclose(ours, theirs, **TOLERANCE[dtype])


@pytest.mark.parametrize(("name", "dtype"), crossed(LOSSES, ["float32", "float64"]))
def test_gradient_equals_eager_tape(name, dtype):
    loss, kind = LOSSES[name]
    model, x, y = network(dtype), inputs(dtype), targets(kind)
    problem = Objective(model, x, y, loss=loss)
    result = problem.gradient(problem.weights(), problem.state())
    assert problem.risk_dtype == dtype
    assert_equal(result, eager_risk_and_gradient(model, x, y, loss), dtype)


@pytest.mark.parametrize("jit", [True, False])
def test_gradient_is_the_same_compiled(jit):
    model, x, y = network(), inputs(), targets("numbers")
    problem = Objective(model, x, y, jit_compile=jit)
    result = tf.function(problem.gradient, jit_compile=jit)(problem.weights(), [])
    assert_equal(result, eager_risk_and_gradient(model, x, y, "mse"), "float64")


def test_gradient_is_what_keras_training_steps_along():
    model, x, y = network("float32"), inputs("float32"), targets("one-hot")
    loss = LOSSES["cross-entropy"][0]
    before = [w.numpy() for w in model.trainable_variables]
    problem = Objective(model, x, y, loss=loss)
    _, gradient, _ = problem.gradient(problem.weights(), [])
    model.compile(keras.optimizers.SGD(0.5), loss=loss)
    model.train_on_batch(x, y)
    for w, old, g in zip(model.trainable_variables, before, gradient, strict=True):
        np.testing.assert_allclose(w, old - 0.5 * g, rtol=1e-5, atol=1e-7)


def test_gradient_equals_numpy_on_the_shallow_network():
    model, x, y = tanh_problem()
    problem = Objective(model, x, y)
    risk, (gradient,), _ = problem.gradient(problem.weights(), [])
    expected = -negative_gradient(model, x, y)(0.0, kernel(model))
    np.testing.assert_allclose(np.ravel(gradient), expected, rtol=1e-12, atol=1e-15)
    assert float(risk) == pytest.approx(np.mean((model(x).numpy() - y) ** 2), rel=1e-14)


def test_gradient_is_of_the_weights_given_and_touches_no_model():
    model, x, y = network(), inputs(), targets("numbers")
    problem = Objective(model, x, y)
    weights = [w + 0.1 for w in problem.weights()]
    before = [w.numpy() for w in model.variables]
    result = problem.gradient(weights, [])
    for variable, value in zip(model.variables, before, strict=True):
        np.testing.assert_array_equal(variable, value)
    problem.assign(weights, [])
    assert_equal(result, eager_risk_and_gradient(model, x, y, "mse"), "float64")


def test_gradient_of_a_batch_is_that_of_its_rows():
    model, x, y = network(), inputs(), targets("numbers")
    problem = Objective(model, x, y)
    rows = [3, 7]
    result = problem.gradient(problem.weights(), [], tf.constant(rows))
    assert_equal(result, eager_risk_and_gradient(model, x[rows], y[rows], "mse"), "float64")


@pytest.mark.parametrize(
    ("tile", "name", "dtype"),
    crossed([1, 4, 5, 14], ["sparse", "mse"], ["float32", "float64"]),
)
def test_tiles_equal_whole(name, tile, dtype):
    loss, kind = LOSSES[name]
    model, x, y = network(dtype), inputs(dtype), targets(kind)
    problem = Objective(model, x, y, loss=loss, jit_compile=False)
    whole, evaluated = problem.gradient(problem.weights(), []), problem.evaluate()
    assert problem.tile == EXAMPLES
    problem.tile = tile
    assert_equal(problem.gradient(problem.weights(), []), whole[:2], dtype)
    risk, predictions = problem.evaluate()
    assert risk == pytest.approx(evaluated[0], rel=1e-6 if dtype == "float32" else 1e-14)
    np.testing.assert_allclose(predictions, evaluated[1], **TOLERANCE[dtype])


@pytest.mark.parametrize("jit", [True, False])
def test_tiles_equal_whole_compiled(jit):
    model, x, y = network(), inputs(), targets("numbers")
    problem = Objective(model, x, y, jit_compile=jit)
    problem.tile = 4
    result = tf.function(problem.gradient, jit_compile=jit)(problem.weights(), [])
    assert_equal(result, eager_risk_and_gradient(model, x, y, "mse"), "float64")


def test_tile_is_what_fits_the_memory(monkeypatch):
    model, x, y = tanh_problem()  # per example: 4 inputs, 2 outputs, 12 nodes
    monkeypatch.setattr(evaluator, "TILE_BYTES", 5 * 4 * (4 + 2 + 12) * 8)
    assert Objective(model, x, y).tile == 5
    monkeypatch.setattr(evaluator, "TILE_BYTES", 1)
    assert Objective(model, x, y).tile == 1


def test_evaluate_is_the_mean_loss_in_inference_without_penalties():
    model, x, y = network(), inputs(), targets("numbers")
    risk, predictions = Objective(model, x, y).evaluate()
    expected = model(x, training=False).numpy()
    assert expected.shape == (EXAMPLES, 3)
    np.testing.assert_allclose(predictions, expected, rtol=1e-13)
    assert risk == pytest.approx(np.mean((expected - y) ** 2), rel=1e-14)


def test_inputs_and_targets_take_the_types_of_the_model():
    model = network("float32")
    problem = Objective(model, np.arange(8).reshape(2, 4), np.zeros((2, 3)))
    assert (problem.x.dtype, problem.y.dtype) == ("float32", "float32")
    np.testing.assert_array_equal(problem.x, np.arange(8.0).reshape(2, 4))


@pytest.mark.parametrize("form", ["list", "dict"])
def test_two_inputs(form):
    first, second = keras.Input((2,), name="b"), keras.Input((3,), name="a")
    joined = keras.layers.Concatenate()([first, second])
    structure = {"b": first, "a": second} if form == "dict" else [first, second]
    model = keras.Model(structure, keras.layers.Dense(1)(joined))
    generator = np.random.default_rng(0)
    one, two = (generator.normal(size=(6, d)).astype("float32") for d in (2, 3))
    x = {"b": one, "a": two} if form == "dict" else [one, two]
    y = generator.normal(size=(6, 1)).astype("float32")
    problem = Objective(model, x, y)
    whole = problem.gradient(problem.weights(), [])
    assert_equal(whole, eager_risk_and_gradient(model, x, y, "mse"), "float32")
    problem.tile = 4
    assert_equal(problem.gradient(problem.weights(), []), whole[:2], "float32")


def test_targets_may_be_a_vector_for_one_output():
    model, x, y = tanh_problem(outputs=1)
    problem = Objective(model, x, y.ravel())
    assert problem.y.shape == (EXAMPLES, 1)
    result = problem.gradient(problem.weights(), [])
    assert_equal(result, eager_risk_and_gradient(model, x, y, "mse"), "float64")


def test_jit_compile_is_chosen_by_the_size_of_a_step(monkeypatch):
    model, x, y = tanh_problem()  # 15 examples, 4 x 12 weights
    monkeypatch.setattr(compilation.tf.config, "list_logical_devices", lambda kind: [])
    monkeypatch.setattr(compilation, "JIT_LIMIT", 15 * 48)
    assert Objective(model, x, y).jit_compile is False
    assert Objective(model, x, y, jit_compile=True).jit_compile is True
    assert Objective(model, x, y, batch_size=14).jit_compile is True  # a step is of a mini-batch
    monkeypatch.setattr(compilation, "JIT_LIMIT", 15 * 48 + 1)
    assert Objective(model, x, y).jit_compile is True
    assert Objective(model, x, y, jit_compile=False).jit_compile is False
    monkeypatch.setattr(compilation, "JIT_LIMIT", 0)
    monkeypatch.setattr(compilation.tf.config, "list_logical_devices", lambda kind: ["GPU:0"])
    assert Objective(model, x, y).jit_compile is True
