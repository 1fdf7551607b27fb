"""Kinks of activations: measured, and rounded for the solver alone."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf
from problems import relu_problem, tanh_problem
from training_runs import assert_bit_identical, run, weights_of

import asym_keras as ak
from asym_keras.training import CheckpointError, GradientDescent, GradientFlow, Objective
from asym_keras.training.distributed import DistributedObjective
from asym_keras.training.kinks import find_sites
from asym_keras.training.rounded_stepper import RoundedStepper
from asym_keras.training.workers import Workers

ROUNDED = GradientFlow(rounding=3e-3)


def rounded_outputs(model, x, radius):
    """Outputs where weights move the inputs of the activation by 1, so that r is the radius."""
    objective = Objective(model, x, np.zeros((len(x), 1)))
    objective.find_kinks(0.01)
    [(_, move)] = objective.kinks._sites
    with objective.kinks.rounded(tf.constant(radius / move, "float64"), tf.constant(1.0)):
        return model(x).numpy()


def test_a_rounded_kink_is_a_parabola_of_the_given_width():
    x = np.linspace(-2, 2, 81)[:, None]
    layer = ak.AsymScaledDense(1, 1, gamma=1.0, kernel_initializer="ones", dtype="float64")
    model = keras.Sequential([keras.Input((1,), dtype="float64"), layer])
    sign, r = float(layer.readout.numpy().item()), 0.5
    expected = np.where(np.abs(x) < r, (x + r) ** 2 / (4 * r), np.maximum(x, 0))
    np.testing.assert_allclose(sign * rounded_outputs(model, x, r), expected, atol=1e-12)
    np.testing.assert_array_equal(sign * model(x).numpy(), np.maximum(x, 0))


def test_moves_are_those_of_random_weights():
    model, x, y = relu_problem(width=3000, scale=2.0)
    objective = Objective(model, x, y)
    objective.find_kinks(0.01)
    [(_, move)] = objective.kinks._sites
    assert move == pytest.approx(np.sqrt(np.mean(np.sum(x**2, 1) / 5)), rel=0.02)


def test_inputs_that_no_weight_moves_are_left_alone():
    inputs = keras.Input((4,))
    h = keras.layers.Dense(6, activation="relu", trainable=False)(inputs)
    model = keras.Model(inputs, keras.layers.Dense(1)(h))
    objective = Objective(model, np.eye(4, dtype="float32"), np.ones((4, 1), "float32"))
    objective.find_kinks(0.01)
    assert find_sites(model)
    assert not objective.kinks


def test_slopes_are_rounded_and_the_risk_is_not():
    model, x, y = relu_problem(gamma=1.0)
    objective = Objective(model, x, y)
    objective.find_kinks(0.01)
    [(_, move)] = objective.kinks._sites
    layer = model.layers[1]
    w, a = (
        np.asarray(layer.kernel),
        np.asarray(layer.readout) * layer.sqrt_scalings.numpy()[:, None],
    )
    r = 0.5
    z = x @ w / np.sqrt(5)
    slope = np.clip(z / (2 * r) + 0.5, 0, 1)
    residual = np.maximum(z, 0) @ a - y
    expected = x.T @ ((2 * residual / y.size @ a.T) * slope) / np.sqrt(5)
    rounding = tf.constant(r / move, "float64")
    risk, [gradient], _ = objective.gradient(objective.weights(), [], rounding=rounding)
    assert float(risk) == pytest.approx(np.mean(residual**2), rel=1e-12)
    np.testing.assert_allclose(gradient, expected, rtol=1e-10, atol=1e-12)
    rounded = np.where(np.abs(z) < r, (z + r) ** 2 / (4 * r), np.maximum(z, 0))
    rounded_risk = RoundedStepper(objective, 1e-2, 1e-2).rounded_risk(objective.weights(), rounding)
    assert float(rounded_risk) == pytest.approx(np.mean((rounded @ a - y) ** 2), rel=1e-12)
    shared = DistributedObjective(
        model, x, y, workers=Workers(tf.distribute.MirroredStrategy(["CPU:0"]))
    )
    shared.find_kinks(0.01)
    risk, [gradient], _ = shared.gradient(shared.weights(), [], rounding=rounding)
    assert float(risk) == pytest.approx(np.mean(residual**2), rel=1e-12)
    np.testing.assert_allclose(gradient, expected, rtol=1e-10, atol=1e-12)
    shown = RoundedStepper(shared, 1e-2, 1e-2).rounded_risk(shared.weights(), rounding)
    assert float(shown) == pytest.approx(float(rounded_risk), rel=1e-12)


@pytest.mark.slow
def test_smooth_activations_are_trained_as_without_rounding_bit_for_bit():
    plain, rounded = (
        run(tanh_problem(), GradientFlow(rounding=r), end_time=50.0) for r in (0.0, 0.1)
    )
    assert_bit_identical(rounded, plain)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_flow_of_a_relu_network_ends_where_descent_ends(dtype):
    ends = {}
    descent = GradientDescent(0.1, jit_compile=True)  # of so many steps that XLA pays
    sharp = [GradientFlow(rounding=0.0)] if dtype == "float64" else []  # slow along kinks
    for method in (descent, GradientFlow(), *sharp):
        problem = relu_problem(dtype)
        activation = problem[0].layers[1].activation
        history = run(problem, method, end_time=3000.0, times=[0])
        ends[method] = history[-1]
        # What is recorded, and what is left, is of the true activation.
        model, x, y = problem
        assert model.layers[1].activation is activation
        risk = np.mean((model(x).numpy() - y) ** 2)
        assert history[-1]["train_risk"] == pytest.approx(risk, rel=1e-5)
    descent, flow, *sharp = ends.values()
    assert flow["train_risk"] == pytest.approx(descent["train_risk"], rel=0.01)
    assert flow["gradients"] < descent["gradients"] / 5
    # At this tolerance the flow with sharp kinks takes another way.
    assert all(run_["train_risk"] < 0.9 * descent["train_risk"] for run_ in sharp)


@pytest.mark.slow
def test_rounding_is_lowered_before_it_biases_a_small_risk():
    model, x, _ = relu_problem(gamma=1.0, width=300)
    y = model(x).numpy() + 1.0  # a risk that falls to nothing
    run_ = GradientFlow().start(Objective(model, x, y))
    assert run_._now.rounding == pytest.approx(2e-3)
    lowered = 0
    while run_.time < 2000.0:
        before = run_._now.rounding
        run_.advance(2000.0, 2000.0)
        now = run_._now
        if now.rounding != before:  # the slope kept is that of the new ramps
            lowered += 1
            slope, _ = run_._stepper.evaluate(run_.weights, *run_._extra(now.rounding))
            np.testing.assert_allclose(now.slope[0], slope[0], rtol=1e-9, atol=1e-14)
    assert lowered
    rounded = run_._rounded.rounded_risk(now.weights, *run_._extra(now.rounding))
    assert abs(float(rounded) / now.risk - 1) < 1e-3


@pytest.mark.slow
def test_within_a_step_the_weights_are_on_the_way():
    model, x, y = relu_problem(width=200)
    objective = Objective(model, x, y)
    run_, before, stages = GradientFlow().start(objective), np.inf, 0
    while run_.time < 20_000.0:
        counted = run_.counters()["gradients"]
        run_.advance(20_000.0, 20_000.0)
        stages = max(stages, run_.counters()["gradients"] - counted)
        now = run_._now
        for share in (0.1, 0.5, 0.9):
            when = now.last_time + share * (now.time - now.last_time)
            risk = float(objective.gradient(run_.at(when), [])[0])
            assert 0.99 * now.risk < risk < 1.01 * before
        before = now.risk
    assert stages > 10  # with so many Hermite's interpolant is far off


@pytest.mark.slow
def test_the_spectral_radius_sees_the_ramps():
    model, x, y = relu_problem()
    run_ = GradientFlow(rounding=0.05).start(Objective(model, x, y))
    while run_.time < 300.0:
        run_.advance(300.0, 300.0)
    now = run_._now
    extra = run_._extra(now.rounding)

    def slope(flat):
        moved = [tf.constant(flat.reshape(5, -1))]
        return run_._stepper.evaluate(moved, *extra)[0][0].numpy().ravel()

    start = now.weights[0].numpy().ravel()
    h = 1e-6
    jacobian = [(slope(start + h * e) - slope(start - h * e)) / (2 * h) for e in np.eye(len(start))]
    radius = np.abs(np.linalg.eigvalsh((np.stack(jacobian) + np.stack(jacobian).T) / 2)).max()
    control, direction = now.control, now.direction
    for _ in range(60):
        control, direction = run_._estimate(
            control, now.weights, now.slope, direction, now.rounding
        )
    assert control.radius == pytest.approx(radius, rel=0.1)


@pytest.mark.slow
def test_rounding_is_part_of_what_a_checkpoint_is_of(tmp_path):
    run(relu_problem(), ROUNDED, end_time=5.0, checkpoint=tmp_path)
    with pytest.raises(CheckpointError, match="method"):
        run(
            *(relu_problem(), GradientFlow(rounding=1e-3)),
            end_time=5.0,
            checkpoint=tmp_path,
            resume=True,
        )


@pytest.mark.slow
def test_a_network_with_kinks_resumes_bit_for_bit(tmp_path):
    class Stop:
        left = 3

        def __call__(self, model):
            self.left -= 1
            if not self.left:
                raise KeyboardInterrupt
            return {}

    options = {"end_time": 100.0, "times": [0, 1, 10, 100]}
    model = relu_problem()[0]
    whole = run(problem := relu_problem(), ROUNDED, **options)
    with pytest.raises(KeyboardInterrupt):
        run(
            *(relu_problem(), ROUNDED),
            probes={"stop": Stop()},
            checkpoint=tmp_path,
            **options,
        )
    model = (again := relu_problem())[0]
    resumed = run(again, ROUNDED, checkpoint=tmp_path, resume=True, **options)
    assert weights_of(model).tobytes() == weights_of(problem[0]).tobytes()
    assert resumed[-1]["gradients"] == whole[-1]["gradients"]


@pytest.mark.parametrize("rounding", [-0.1, np.nan, np.inf, "wide"])
def test_bad_rounding_is_refused(rounding):
    with pytest.raises(ValueError, match="expected rounding of at least 0, or 'auto', received"):
        GradientFlow(rounding=rounding)


@pytest.mark.slow
def test_mixed_precision_and_recurrent_kinks_train():
    keras.utils.set_random_seed(0)
    x = np.random.default_rng(0).normal(size=(12, 5, 3)).astype("float32")
    y = x.sum((1, 2))[:, None]
    layers = [
        keras.layers.SimpleRNN(6, activation="relu", name="rnn"),
        keras.layers.Dense(4, activation="relu", dtype="mixed_bfloat16", name="half"),
        keras.layers.Dense(1, dtype="float32"),
    ]
    model = keras.Sequential([keras.Input((5, 3)), *layers])
    assert len(find_sites(model)) == 2
    history = run((model, x, y), GradientFlow(rounding=3e-3, jit_compile=False), end_time=0.5)
    assert history[-1]["train_risk"] < 0.8 * history[0]["train_risk"]


def test_a_step_within_which_the_risk_rises_doubles_the_radius(monkeypatch):
    run = GradientFlow().start(Objective(*relu_problem()))
    run.advance(1e3, 1e3)
    real = run._try

    def rising(*args):
        weights, slope, middle, _, error = real(*args)
        return weights, slope, middle, 1.01 * run.risk, error

    before = run._now.control.radius
    run.advance(1e3, 1e3)
    assert run._now.control.radius < 1.5 * before
    monkeypatch.setattr(run, "_try", rising)
    before = run._now.control.radius
    run.advance(1e3, 1e3)
    assert run._now.control.radius >= 0.9 * 2 * before  # an estimate has followed
