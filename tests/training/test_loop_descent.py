"""Descent against plain loops: full batch, mini-batches, and calls of any length."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf
from crossed import some_slow
from problems import kernel, negative_gradient, tanh_problem
from training_runs import Weights, assert_bit_identical, run, stateful_problem, weights_of

from asym_keras.training import GradientDescent, TrainingError

CALL_SECONDS = "asym_keras.training.descent.CALL_SECONDS"
WEIGHTS = {"weights": Weights()}


def record(problem, method, steps):
    """Weights before each step and after the last, `(steps + 1, p)`."""
    rate = method.learning_rate
    times = rate * np.arange(steps + 1)
    history = run(problem, method, end_time=rate * steps, times=times, probes=WEIGHTS)
    np.testing.assert_array_equal(history.column("gradients"), np.arange(steps + 1))
    return np.stack(history.arrays["weights"])


@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-12), ("float32", 1e-5)])
def test_full_batch_equals_numpy_step_by_step(dtype, tolerance):
    model, x, y = tanh_problem(dtype)
    slope, expected = negative_gradient(model, x, y), [kernel(model).astype("float64")]
    for _ in range(30):
        expected.append(expected[-1] + 2.0 * slope(0.0, expected[-1]))
    recorded = record((model, x, y), GradientDescent(2.0), 30)
    np.testing.assert_allclose(recorded, expected, rtol=tolerance, atol=tolerance)
    np.testing.assert_array_equal(weights_of(model), recorded[-1])
    assert np.abs(recorded[-1] - recorded[0]).max() > 0.1


def eager_mini_batches(model, x, y, *, rate, batch, seed, steps):
    """Weights after each step of an eager loop over the documented order of examples."""
    weights, epoch = [weights_of(model)], 0
    while True:
        order = np.random.default_rng([seed, epoch]).permutation(len(x))
        for first in range(0, len(x), batch):
            rows = order[first : first + batch]
            with tf.GradientTape() as tape:
                loss = tf.reduce_mean((model(x[rows], training=True) - y[rows]) ** 2)
            gradients = tape.gradient(loss, model.trainable_variables)
            for variable, gradient in zip(model.trainable_variables, gradients, strict=True):
                variable.assign_sub(rate * gradient)
            weights.append(weights_of(model))
            if len(weights) > steps:
                return weights
        epoch += 1


@pytest.mark.parametrize("batch", some_slow([4, 40], [5, 15]))
def test_mini_batches_equal_an_eager_loop(batch):
    options = {"rate": 0.7, "batch": batch, "seed": 3, "steps": 11}
    expected = eager_mini_batches(*tanh_problem(), **options)
    method = GradientDescent(0.7, batch_size=batch, seed=3)
    np.testing.assert_allclose(record(tanh_problem(), method, 11), expected, rtol=1e-12)


@pytest.mark.slow
def test_dropout_and_normalisation_equal_an_eager_loop():
    options = {"rate": 0.1, "batch": 4, "seed": 0, "steps": 7}
    problem = stateful_problem()
    expected = eager_mini_batches(*problem, **options)
    ours = stateful_problem()
    # XLA draws other numbers for Dropout from the same state.
    method = GradientDescent(0.1, batch_size=4, jit_compile=False)
    recorded = record(ours, method, 7)
    np.testing.assert_allclose(recorded, expected, rtol=1e-4, atol=1e-6)
    for name in ("moving_mean", "moving_variance"):
        theirs = getattr(problem[0].get_layer("norm"), name).numpy()
        assert np.abs(theirs - (name == "moving_variance")).max() > 0.01
        np.testing.assert_allclose(
            getattr(ours[0].get_layer("norm"), name), theirs, rtol=1e-4, atol=1e-6
        )


@pytest.mark.parametrize("jit", [True, False])
def test_dropout_draws_anew_at_every_step(jit):
    layers = [keras.layers.Dropout(0.5, seed=0), keras.layers.Dense(1, use_bias=False)]
    model = keras.Sequential([keras.Input((100,)), *layers])
    problem = model, np.eye(100), np.ones(100)
    moved = np.diff(record(problem, GradientDescent(jit_compile=jit), 6), axis=0) != 0
    assert ((30 < moved.sum(1)) & (moved.sum(1) < 70)).all()
    assert len(np.unique(moved, axis=0)) == 6


def visits(*, batch, epochs, seed=0, examples=10):
    """How a linear model has moved for each example, by one over its batch's size a visit."""
    model = keras.Sequential(
        [
            keras.Input((examples,)),
            keras.layers.Dense(1, use_bias=False, kernel_initializer="zeros"),
        ]
    )
    steps = epochs * -(-examples // batch)
    run(
        (model, np.eye(examples), np.zeros(examples)),
        GradientDescent(1.0, batch_size=batch, seed=seed),
        end_time=steps,
        times=[0],
        loss=lambda y, predictions: -predictions[:, 0],
    )
    return model.get_weights()[0].ravel()


@pytest.mark.parametrize(("batch", "sizes"), [(5, [5, 5]), (4, [4, 4, 2]), (3, [3, 3, 3, 1])])
def test_each_epoch_uses_each_example_once(batch, sizes):
    one = np.sort(np.concatenate([np.full(size, 1 / size) for size in sizes]))
    np.testing.assert_allclose(np.sort(visits(batch=batch, epochs=1)), one, rtol=1e-6)
    assert visits(batch=batch, epochs=4).sum() == pytest.approx(4 * len(sizes), rel=1e-6)


def test_each_epoch_and_seed_has_an_order_of_its_own():
    # With a smaller last batch of one, the order shows in who was alone.
    first, both = visits(batch=3, epochs=1), visits(batch=3, epochs=2)
    other = visits(batch=3, epochs=1, seed=1)
    assert len({first.argmax(), (both - first).argmax(), other.argmax()}) > 1
    np.testing.assert_array_equal(first, visits(batch=3, epochs=1))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("make", "batch"),
    [
        (tanh_problem, None),
        (stateful_problem, 4),
        pytest.param(tanh_problem, 4, marks=pytest.mark.slow),
    ],
)
def test_history_is_bit_identical_for_calls_of_any_length(make, batch, monkeypatch):
    histories = []
    for seconds in (0.0, 1e9):
        monkeypatch.setattr(CALL_SECONDS, seconds)
        method = GradientDescent(0.0625, batch_size=batch)
        histories.append(run(make(), method, end_time=2.5, times=[0, 0.25, 1.75], probes=WEIGHTS))
    assert [row["step"] for row in histories[0].rows] == [0, 4, 28, 40]
    assert_bit_identical(*histories)


def test_calls_are_as_long_as_they_should_be(monkeypatch):
    calls = []

    def watched(self, *args, original):
        calls.append(args[1])
        return original(self, *args)

    from asym_keras.training.descent import DescentRun

    original = DescentRun._call
    monkeypatch.setattr(DescentRun, "_call", lambda self, *a: watched(self, *a, original=original))
    monkeypatch.setattr(CALL_SECONDS, 1e9)
    run(tanh_problem(), GradientDescent(), end_time=1000.0, times=[0, 600])
    assert calls == [1, 599, 400]  # one to learn its time, then to the next record


@pytest.mark.parametrize("seconds", [0.0, 0.5])
def test_divergence_names_the_learning_rate_and_keeps_finite_weights(
    seconds, monkeypatch, tmp_path
):
    monkeypatch.setattr(CALL_SECONDS, seconds)
    model, x, y = stateful_problem()
    method = GradientDescent(1e6)
    with pytest.raises(
        TrainingError, match=r"diverged: the risk is (inf|nan) .*received 1000000"
    ) as e:
        run((model, x, y), method, end_time=1e9, times=[0], checkpoint=tmp_path)
    assert "use a smaller one, or GradientFlow" in str(e.value)
    assert all(np.isfinite(v).all() for v in model.variables)
    with np.load(tmp_path / "state.npz") as file:
        assert np.isfinite(file["w0"]).all()


def test_a_step_to_infinity_from_a_finite_risk_is_not_kept(monkeypatch):
    monkeypatch.setattr(CALL_SECONDS, 0.0)
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, kernel_initializer="ones")])

    def loss(y, predictions):  # risk exp(80), step exp(80) times the rate: beyond float32
        return tf.exp(80.0 * predictions[:, 0])

    with pytest.raises(TrainingError, match="diverged"):
        run((model, np.ones((2, 1)), np.ones(2)), GradientDescent(1e6), end_time=5e6, loss=loss)
    assert all(np.isfinite(v).all() for v in model.variables)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"learning_rate": 0.0}, "expected a positive learning_rate, received 0.0"),
        ({"learning_rate": float("nan")}, "expected a positive learning_rate, received nan"),
        ({"learning_rate": float("inf")}, "expected a positive learning_rate, received inf"),
        ({"batch_size": 0}, ".*batch_size to be an integer of at least 1, or None, received 0"),
        ({"batch_size": 2.5}, ".*batch_size to be an integer of at least 1, or None, received 2.5"),
    ],
)
def test_bad_settings_are_refused(options, message):
    with pytest.raises(ValueError, match=f"GradientDescent: {message}"):
        GradientDescent(**options)
