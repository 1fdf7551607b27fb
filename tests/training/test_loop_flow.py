"""What a flow refuses, and what both methods leave alone."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf
from crossed import crossed
from problems import tanh_problem
from training_runs import run, stateful_problem

from asym_keras.training import GradientDescent, GradientFlow, TrainingError

METHODS = {
    "flow": GradientFlow(jit_compile=False),
    "descent": GradientDescent(),
    "mini-batches": GradientDescent(0.5, batch_size=4, jit_compile=False),
}


def test_flow_names_the_layers_it_refuses():
    model, x, y = stateful_problem()
    before = [v.numpy() for v in model.variables]
    message = r"received one with norm \(BatchNormalization\), drop \(Dropout\), .* GradientDescent"
    with pytest.raises(ValueError, match=message):
        run((model, x, y), GradientFlow(), end_time=1.0, times=[0])
    for variable, value in zip(model.variables, before, strict=True):
        np.testing.assert_array_equal(variable, value)


def test_flow_refuses_mini_batches():
    with pytest.raises(ValueError, match=r"expected no mini-batches, received batch_size=32"):
        GradientFlow(batch_size=32)


@pytest.mark.parametrize("method", [GradientFlow(), GradientDescent()], ids=["flow", "descent"])
def test_tf_data_is_refused(method):
    model, x, y = tanh_problem()
    dataset = tf.data.Dataset.from_tensor_slices((x, y)).batch(5)
    with pytest.raises(ValueError, match=r"x and y as arrays, received a tf.data.Dataset"):
        run((model, dataset, None), method, end_time=1.0)


@pytest.mark.parametrize(("dtype", "least"), [("float32", 1.2e-6), ("float64", 2.2e-15)])
@pytest.mark.parametrize("name", ["rtol", "atol"])
def test_flow_refuses_tolerances_below_round_off(name, dtype, least):
    problem = tanh_problem(dtype)
    with pytest.raises(ValueError, match=f"at least {least}, ten units of .* Use a float64 model"):
        run(problem, GradientFlow(**{name: 0.9 * least}), end_time=1.0)
    GradientFlow(**{name: 1.1 * least}).start(objective_of(problem))


def objective_of(problem):
    from asym_keras.training import Objective

    return Objective(*problem)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_flow_says_that_the_risk_is_not_finite_at_the_start(value):
    model, x, y = tanh_problem()
    model.trainable_variables[0].assign(np.full((4, 12), value))
    with pytest.raises(TrainingError, match=r"expected a finite risk at the start, received nan"):
        run((model, x, y), GradientFlow(), end_time=1.0)


def frozen_model():
    keras.utils.set_random_seed(0)
    frozen = keras.layers.Dense(6, activation="tanh", trainable=False)
    norm = keras.layers.BatchNormalization(trainable=False)
    model = keras.Sequential([keras.Input((4,)), frozen, norm, keras.layers.Dense(2)])
    norm.moving_mean.assign(np.linspace(-1, 1, 6))
    return model


@pytest.mark.parametrize(
    ("kind", "make"), crossed(METHODS, [frozen_model, lambda: tanh_problem("float32")[0]])
)
def test_frozen_weights_stay_bit_identical(make, kind):
    _, x, y = tanh_problem("float32")
    model = make()
    frozen = [v.numpy().tobytes() for v in model.non_trainable_variables]
    trained = [v.numpy().tobytes() for v in model.trainable_variables]
    assert frozen
    run((model, x, y), METHODS[kind], end_time=20.0, times=[0])
    assert [v.numpy().tobytes() for v in model.non_trainable_variables] == frozen
    after = [v.numpy().tobytes() for v in model.trainable_variables]
    assert all(a != b for a, b in zip(after, trained, strict=True))


@pytest.mark.parametrize("method", [GradientFlow(), GradientDescent()], ids=["flow", "descent"])
def test_training_needs_neither_compile_nor_fit(method, monkeypatch):
    def refuse(*args, **kwargs):
        raise AssertionError("not to be called")

    for name in ("compile", "fit", "train_on_batch", "predict", "evaluate"):
        monkeypatch.setattr(keras.Model, name, refuse)
    model, x, y = tanh_problem()
    history = run((model, x, y), method, end_time=5.0, times=[0])
    assert history[-1]["train_risk"] < history[0]["train_risk"]
    assert not model.compiled
