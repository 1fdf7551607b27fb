"""Gradient flow against independent solvers, and its behaviour where things go wrong."""

from __future__ import annotations

import dataclasses
import itertools

import keras
import numpy as np
import pytest
import scipy.integrate
import tensorflow as tf
from problems import kernel, negative_gradient, tanh_problem

import asym_keras as ak
from asym_keras.training import GradientDescent, GradientFlow, Objective, TrainingError, train
from asym_keras.training.stepper import Stepper, hermite

END = 300.0


class Weights:
    """A probe that keeps the weights at each record."""

    def __call__(self, model):
        return {"weights": kernel(model)}


def flow(model, x, y, *, tolerance=1e-4, times=None, **options):
    return train(
        model,
        x,
        y,
        method=GradientFlow(tolerance, tolerance),
        end_time=END,
        times=times,
        probes={"weights": Weights()},
        progress=False,
        **options,
    )


def exact_weights(model, x, y, times):
    solution = scipy.integrate.solve_ivp(
        negative_gradient(model, x, y),
        (0, END),
        kernel(model),
        method="DOP853",
        rtol=1e-10,
        atol=1e-12,
        t_eval=times,
    )
    return solution.y.T


@pytest.mark.slow
def test_error_falls_with_the_tolerance_against_dop853():
    times = [0.0, 1.0, 7.0, 40.0, 150.0, END]
    exact = exact_weights(*tanh_problem(), times)
    errors = []
    for tolerance in (1e-2, 1e-4, 1e-6):
        model, x, y = tanh_problem()
        history = flow(model, x, y, tolerance=tolerance, times=times)
        recorded = np.stack(history.arrays["weights"])
        assert recorded.shape == exact.shape
        errors.append(np.abs(recorded - exact).max())
    assert errors[-1] < 1e-5
    # A method of order p with its error per step controlled: error ~ tolerance^(p / (p + 1)).
    assert all(b < a / 4 for a, b in itertools.pairwise(errors)), errors
    assert errors[0] / errors[-1] > 300, errors


@pytest.mark.parametrize("kind", ["rkc", "pair"])
def test_fixed_steps_converge_at_the_order_of_the_method(kind):
    model, x, y = tanh_problem()
    end = 60.0
    start, exact = exact_weights(model, x, y, [0.0, end])
    stepper = Stepper(Objective(model, x, y), 1e-3, 1e-3)

    def error(steps):
        weights = [tf.constant(start.reshape(4, -1))]
        slope, _ = stepper.evaluate(weights)
        for _ in range(steps):
            h = end / steps
            result = (
                stepper.rkc(weights, slope, h, 5)
                if kind == "rkc"
                else stepper.bogacki_shampine(weights, slope, h)
            )
            weights, slope = result[:2]
        return np.abs(weights[0].numpy().ravel() - exact).max()

    order = np.log2(error(60) / error(120))
    assert order == pytest.approx(2.0 if kind == "rkc" else 3.0, abs=0.25)


@pytest.mark.parametrize("kind", ["rkc", "pair"])
def test_error_estimate_is_of_the_size_of_the_local_error(kind):
    model, x, y = tanh_problem()
    tolerance, h = 1e-3, 2.0 if kind == "rkc" else 0.25
    stepper = Stepper(Objective(model, x, y), tolerance, tolerance)
    weights = [tf.constant(kernel(model).reshape(4, -1))]
    slope, _ = stepper.evaluate(weights)
    method = (
        (lambda w, f, h: stepper.rkc(w, f, h, 4)) if kind == "rkc" else stepper.bogacki_shampine
    )
    end, _, risk, estimate = method(weights, slope, h)
    exact = (
        scipy.integrate.solve_ivp(
            negative_gradient(model, x, y),
            (0, h),
            kernel(model),
            method="DOP853",
            rtol=1e-12,
            atol=1e-13,
        )
        .y[:, -1]
        .reshape(4, -1)
    )
    scaled = (end[0].numpy() - exact) / (tolerance * (1 + np.abs(exact)))
    error = np.sqrt((scaled**2).mean(0)).max()
    # RKC2's estimate is of its own order; the pair's of the order below, so an upper bound.
    assert (0.3 < float(estimate) / error < 3) if kind == "rkc" else float(estimate) > error
    model.get_layer("asym_scaled_dense").kernel.assign(end[0])
    assert float(risk) == pytest.approx(np.mean((model(x).numpy() - y) ** 2), rel=1e-12)


def test_hermite_interpolant_is_exact_for_cubics():
    def cubic(t):
        return 2.0 - t + 0.5 * t**2 - 0.25 * t**3

    def slope(t):
        return -1.0 + t - 0.75 * t**2

    start, end = 1.0, 3.0
    values = [
        [tf.constant([v], "float64")] for v in (cubic(start), slope(start), cubic(end), slope(end))
    ]
    for theta in (0.0, 0.3, 0.9, 1.0):
        got = hermite(theta, end - start, *values)[0].numpy()
        assert got == pytest.approx(cubic(start + theta * (end - start)), rel=1e-13)


@pytest.mark.slow
def test_records_cost_no_gradients_and_change_nothing():
    ends, gradients = [], []
    for times in ([END], np.linspace(0, END, 200)):
        model, x, y = tanh_problem()
        history = flow(model, x, y, times=times)
        ends.append(kernel(model))
        gradients.append(history[-1]["gradients"])
    assert gradients[0] == gradients[1]
    np.testing.assert_array_equal(*ends)


@pytest.mark.slow  # the quick run has test_kinks for it
@pytest.mark.parametrize("activation", ["relu", "tanh"])
def test_flow_agrees_with_small_steps_of_descent_at_every_record(activation):
    gamma = {"tanh": 0.0, "relu": 1.0}[activation]
    rate, times = 0.02, [0.0, 2.0, 10.0, 50.0, END]
    runs = []
    for method in (GradientDescent(rate), GradientFlow(1e-4, 1e-4)):
        generator = np.random.default_rng(0)
        x, y = generator.normal(size=(20, 5)), generator.normal(size=(20, 1))
        model = ak.shallow_network(
            5, 1, width=30, gamma=gamma, alpha=0.5, activation=activation, seed=3, dtype="float64"
        )
        probes = {"weights": Weights()}
        history = train(
            model, x, y, method=method, end_time=END, times=times, probes=probes, progress=False
        )
        runs.append(np.stack(history.arrays["weights"]))
    # Descent is Euler's method: its own error at this rate is some 1e-3.
    np.testing.assert_allclose(*runs, atol=5e-3)
    assert np.abs(runs[0][-1] - runs[0][0]).max() > 0.1


@pytest.mark.slow
def test_stiff_model_needs_far_fewer_gradients_than_stable_descent():
    model, x, y = tanh_problem(outputs=1)
    scale = np.array([30.0, 1.0, 1.0, 0.1])
    end = 3000.0
    probes = {"weights": Weights()}
    history = train(
        model, x * scale, y, method=GradientFlow(), end_time=end, probes=probes, progress=False
    )
    run = GradientFlow().start(Objective(model, x * scale, y))
    stable_descent = end * run._now.control.radius / 2
    assert history[-1]["gradients"] < stable_descent / 4


@pytest.mark.slow
def test_float32_and_float64_agree_to_the_tolerance():
    ends = []
    for dtype in ("float32", "float64"):
        model, x, y = tanh_problem(dtype)
        flow(model, x, y, tolerance=1e-4)
        ends.append(kernel(model))
    np.testing.assert_allclose(*ends, atol=1e-3)


def test_spectral_radius_is_that_of_the_jacobian():
    model, x, y = tanh_problem()
    slope, start = negative_gradient(model, x, y), kernel(model)
    h = 1e-5
    jacobian = np.stack(
        [(slope(0, start + h * e) - slope(0, start - h * e)) / (2 * h) for e in np.eye(len(start))]
    )
    radius = np.abs(np.linalg.eigvalsh((jacobian + jacobian.T) / 2)).max()
    run = GradientFlow().start(Objective(model, x, y))
    now, control, direction = run._now, run._now.control, run._now.direction
    for _ in range(30):
        control, direction = run._estimate(control, now.weights, now.slope, direction, 0.0)
    assert control.radius == pytest.approx(radius, rel=1e-2)


def test_the_radius_is_estimated_again_and_again():
    run = GradientFlow(1e-3, 1e-3).start(Objective(*tanh_problem()))
    radii = set()
    while run.time < END:
        run.advance(END, END)
        radii.add(run._now.control.radius)
        assert run._now.control.since_estimate < 5
    assert len(radii) > run._now.steps / 6


def test_a_step_to_a_risk_that_is_not_finite_is_none(monkeypatch):
    run = GradientFlow().start(Objective(*tanh_problem()))
    weights, slope = run._now.weights, run._now.slope
    monkeypatch.setattr(
        run._stepper, "bogacki_shampine", lambda *_: (weights, slope, tf.constant(np.inf), 0.5)
    )
    assert run._try(run._now, 0.1, 0)[-1] == np.inf


def test_counters_count_every_gradient(monkeypatch):
    model, x, y = tanh_problem()
    method = GradientFlow(1e-3, 1e-3)
    calls = []
    original = Stepper._slope

    def counted(self, weights):
        tf.py_function(lambda: calls.append(1), [], [])
        return original(self, weights)

    monkeypatch.setattr(Stepper, "_slope", counted)
    objective = Objective(model, x, y, jit_compile=False)
    run = method.start(objective)
    while run.time < END:
        run.advance(END, END)
    assert run.counters()["gradients"] == len(calls)
    assert run.counters()["solver_steps"] > 3


class Wall(keras.layers.Layer):
    """Multiplies by a weight, which starts at 0; NaN where it is beyond `limit`."""

    def __init__(self, limit):
        super().__init__()
        self.limit = limit

    def build(self, shape):
        self.w = self.add_weight(shape=(1,), initializer="zeros")

    def call(self, x):
        return x * tf.where(self.w > self.limit, np.nan, self.w)


def wall_problem(limit, target):
    inputs = keras.Input((1,))
    model = keras.Model(inputs, Wall(limit)(inputs))
    return model, np.ones((4, 1), "float32"), np.full((4, 1), target, "float32")


def test_a_step_into_nan_is_rejected_and_shrunk():
    run = GradientFlow(1e-3, 1e-3).start(Objective(*wall_problem(limit=1.5, target=1.45)))
    # An Euler stage of this length from here would jump over the wall.
    control = dataclasses.replace(run._now.control, pair_step=1.15)
    run._now = dataclasses.replace(run._now, control=control)
    while run.time < 30.0:
        run.advance(30.0, 30.0)
    assert run.counters()["rejected_steps"] >= 1
    assert run.weights[0].numpy() == pytest.approx(1.45, abs=1e-2)


def test_no_way_on_is_an_error_and_keeps_the_last_good_state():
    model, x, y = wall_problem(limit=0.5, target=1.0)
    with pytest.raises(TrainingError, match=r"rejected down to .* last good state is kept"):
        train(model, x, y, method=GradientFlow(), end_time=100.0, progress=False)
    assert 0.3 < float(model.trainable_variables[0].numpy()[0]) <= 0.5


@pytest.mark.parametrize("name", ["rtol", "atol", "time_step"])
@pytest.mark.parametrize("value", [0.0, -1.0, np.nan, np.inf])
def test_bad_settings_are_refused(name, value):
    with pytest.raises(ValueError, match=f"expected a positive {name}, received"):
        GradientFlow(**{name: value})
