"""Theorems 5.1 and 5.2 against initialisations drawn at random, and against closed forms."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
import theory_reference as reference
from crossed import crossed
from scipy import integrate

import asym_keras as ak
from asym_keras.ntg.activation import Activation
from asym_keras.theory import expected_ntg_velocity, expected_weight_velocity, feature_learning

SCALINGS = ak.node_scalings(3, 0.3, 0.6)


def inputs(n, d, seed=0):
    return np.random.default_rng(seed).normal(size=(n, d))


def declared(function, slope, curvature):
    """An activation that is said to keep Assumption 2.2(b), so that closed forms are at hand."""
    return Activation("declared", function, slope, curvature, "smooth", None, 1.0, 1.0)


@pytest.mark.parametrize("activation", ["relu", "tanh", "softplus"])
@pytest.mark.parametrize("outputs", [1, 3])
def test_reference_velocity_is_the_gradient_of_the_models_risk(activation, outputs):
    x, y = inputs(5, 4), inputs(5, outputs, seed=1)
    model = ak.shallow_network(
        4, outputs, scalings=SCALINGS, width=3, activation=activation, seed=2, dtype="float64"
    )
    layer = model.get_layer("asym_scaled_dense")
    with tf.GradientTape() as tape:
        risk = tf.reduce_mean((model(x) - y) ** 2)
    expected = -tape.gradient(risk, layer.kernel.value)
    weights, signs = (np.asarray(v)[None] for v in (layer.kernel, layer.readout))
    velocity = reference.weight_velocity(x, y, weights, signs, SCALINGS, activation)
    np.testing.assert_allclose(velocity[0], expected, rtol=1e-12)
    ntg = reference.ntg(x, weights, SCALINGS, activation)
    np.testing.assert_allclose(ntg[0], ak.empirical_ntg(model, x, method="jacobian"), rtol=1e-12)


@pytest.mark.parametrize("activation", ["relu", "softplus"])
@pytest.mark.parametrize("outputs", [1, 3])
def test_weight_velocity_is_the_mean_over_initialisations(activation, outputs):
    x, y = inputs(6, 5), inputs(6, outputs, seed=1)
    weights, signs = reference.initial_weights(60_000, 5, 3, outputs)
    samples = reference.weight_velocity(x, y, weights, signs, SCALINGS, activation)
    expected = expected_weight_velocity(x, SCALINGS, activation=activation)
    assert expected.shape == (5, 3)
    assert np.mean(reference.z_scores(samples, expected) ** 2) < 2.0
    for factor in (1.15, 0.85):  # the test sees an error of 15 %
        assert np.mean(reference.z_scores(samples, factor * expected) ** 2) > 4.0


@pytest.fixture(scope="module", params=[1, 2])
def ntg_samples(request):
    x, y = inputs(3, 4), 0.3 * inputs(3, request.param, seed=1)
    weights, signs = reference.initial_weights(100_000, 4, 3, request.param)
    return x, reference.ntg_velocity(x, y, weights, signs, SCALINGS, "tanh")


def test_ntg_velocity_is_the_mean_over_initialisations(ntg_samples):
    x, samples = ntg_samples
    velocity = expected_ntg_velocity(x, SCALINGS, method="quadrature").velocity
    assert np.mean(reference.z_scores(samples, velocity)[np.triu_indices(3)] ** 2) < 2.0


def test_printed_power_of_d_fails_where_the_second_power_holds(ntg_samples):
    x, samples = ntg_samples
    printed = expected_ntg_velocity(x, SCALINGS, method="quadrature").velocity * np.sqrt(x.shape[1])
    assert np.mean(reference.z_scores(samples, printed)[np.triu_indices(3)] ** 2) > 100.0


def test_weight_velocity_equals_hand_worked_number():
    # n = d = 1, x = 2: g_1 = 2 / sqrt(2 pi), times -2 x lambda
    velocity = expected_weight_velocity([[2.0]], [0.75, 0.25])
    np.testing.assert_allclose(velocity, [[-6 / np.sqrt(2 * np.pi), -2 / np.sqrt(2 * np.pi)]])


@pytest.mark.parametrize("norm", [1e-3, 1.0, 5.0])
def test_weight_velocity_of_softplus_equals_adaptive_integration(norm):
    def integrand(z):
        z, density = norm / np.sqrt(2) * z, np.exp(-z * z / 2) / np.sqrt(2 * np.pi)
        return np.logaddexp(0, z) / (1 + np.exp(-z)) * density

    pull = integrate.quad(integrand, -12, 12, epsabs=1e-13, epsrel=1e-11)[0]
    velocity = expected_weight_velocity([[norm, 0.0]], [1.0], activation="softplus")
    np.testing.assert_allclose(velocity, [[-2 / np.sqrt(2) * norm * pull], [0.0]], rtol=1e-10)


def test_weight_velocity_of_an_odd_activation_is_zero():
    velocity = expected_weight_velocity(inputs(5, 3), SCALINGS, activation="tanh")
    np.testing.assert_allclose(velocity, 0.0, atol=1e-15)


def test_weight_velocity_of_a_quadratic_equals_its_closed_form():
    # sigma = z + z^2 / 2: E[sigma sigma'] = 3 s^2 / 2
    x = inputs(4, 3)
    quadratic = declared(lambda z: z + z * z / 2, lambda z: 1 + z, np.ones_like)
    moment = 1.5 * np.sum(x**2, axis=1) / 3
    expected = -2 / 4 / np.sqrt(3) * np.outer(x.T @ moment, SCALINGS)
    velocity = expected_weight_velocity(x, SCALINGS, activation=quadratic)
    np.testing.assert_allclose(velocity, expected, rtol=1e-12)


def test_ntg_velocity_of_a_square_equals_its_closed_form():
    # sigma = z^2 / 2: g_2 = E[z_l z_i^3 / 2] = 3/2 S_li S_ii
    x, ends = 0.5 * inputs(4, 3), 0.5 * inputs(2, 3, seed=1)
    square = declared(lambda z: z * z / 2, lambda z: z, np.ones_like)
    pull = 1.5 * (ends @ x.T / 3) * (np.sum(x**2, axis=1) / 3)  # (l, i)
    one_way = (ends @ x.T) @ pull.T  # (k, l)
    expected = -2 / 4 / 9 * np.sum(SCALINGS**2) * (ends @ ends.T) * (one_way + one_way.T)
    result = expected_ntg_velocity(x, SCALINGS, activation=square, x_eval=ends)
    assert result.method == "quadrature"
    np.testing.assert_allclose(result.velocity, expected, rtol=1e-8)
    assert np.all(result.standard_error <= 1e-8 * np.abs(expected))


def test_ntg_velocity_of_a_cube_equals_its_eighth_moment():
    # sigma = z^3 / 6, one input: g_2 = E[z^8] / 24 = 105 s^8 / 24
    cube = declared(lambda z: z**3 / 6, lambda z: z * z / 2, lambda z: z)
    x = inputs(1, 5)
    square = np.sum(x**2)
    expected = -2 * square / 25 * np.sum(SCALINGS**2) * 2 * square * 105 * (square / 5) ** 4 / 24
    velocity = expected_ntg_velocity(x, SCALINGS, activation=cube).velocity
    np.testing.assert_allclose(velocity, [[expected]], rtol=1e-8)


def printed_moment(x_k, x_l, x_i, draws):
    """g_2 by draws from the Gaussian of Section 5.2, tanh; its standard error."""
    rows = np.stack([x_k, x_l, x_i])
    z = np.random.default_rng(5).multivariate_normal(np.zeros(3), rows @ rows.T / len(x_k), draws)
    slope = 1 - np.tanh(z) ** 2
    values = -2 * np.tanh(z[:, 0]) * slope[:, 0] * slope[:, 1] * slope[:, 2] * np.tanh(z[:, 2])
    return values.mean(), values.std() / np.sqrt(draws)


def test_quadrature_equals_the_triple_sum_as_printed():
    x, ends, draws = 0.7 * inputs(2, 3), 0.7 * inputs(2, 3, seed=1), 200_000
    total, variance = 0.0, 0.0
    for x_i in x:
        for end, other in (ends, ends[::-1]):
            mean, error = printed_moment(end, other, x_i, draws)
            total += end @ x_i * mean
            variance += 2 * (end @ x_i * error) ** 2  # the draws are shared: not independent
    scale = -2 / 2 * (ends[0] @ ends[1]) / 3**2 * np.sum(SCALINGS**2)
    velocity = expected_ntg_velocity(x, SCALINGS, x_eval=ends, method="quadrature").velocity[0, 1]
    assert abs(velocity - scale * total) < 4 * abs(scale) * np.sqrt(variance)
    assert abs(velocity) > 20 * abs(scale) * np.sqrt(variance)


@pytest.mark.parametrize(("activation", "own_eval"), crossed(["tanh", "softplus"], [False, True]))
def test_monte_carlo_agrees_with_quadrature_within_its_standard_error(activation, own_eval):
    x, ends = 0.5 * inputs(6, 4), 0.5 * inputs(4, 4, seed=1)
    x[5] = x[0]  # singular covariances
    arguments = {"activation": activation, "x_eval": ends if own_eval else None}
    exact = expected_ntg_velocity(x, SCALINGS, method="quadrature", **arguments)
    drawn = expected_ntg_velocity(x, SCALINGS, method="monte_carlo", **arguments)
    assert drawn.velocity.shape == exact.velocity.shape == ((4, 4) if own_eval else (6, 6))
    np.testing.assert_array_equal(drawn.velocity, drawn.velocity.T)
    assert np.all(exact.standard_error < 0.1 * drawn.standard_error)
    z = (drawn.velocity - exact.velocity) / drawn.standard_error
    assert 0.0 < np.mean(z**2) < 2.5
    assert np.median(np.abs(drawn.velocity) / drawn.standard_error) > 10


def test_standard_error_is_the_spread_over_seeds_and_falls_as_root_samples():
    x = inputs(3, 4)

    def repeats(samples):
        runs = [
            expected_ntg_velocity(x, SCALINGS, method="monte_carlo", samples=samples, seed=seed)
            for seed in range(40)
        ]
        spread = np.std([run.velocity for run in runs], axis=0, ddof=1)
        return spread, np.mean([run.standard_error for run in runs], axis=0)

    spread, error = repeats(2_000)
    assert np.all((0.6 < error / spread) & (error / spread < 1.6))
    assert 3.5 < np.median(error / repeats(32_000)[1]) < 4.5


def test_monte_carlo_does_not_depend_on_the_size_of_a_batch_but_by_chance(monkeypatch):
    x = inputs(3, 4)
    first = expected_ntg_velocity(x, SCALINGS, method="monte_carlo", samples=20_000)
    monkeypatch.setattr(feature_learning, "BATCH_ENTRIES", 400)
    second = expected_ntg_velocity(x, SCALINGS, method="monte_carlo", samples=20_000)
    z = (first.velocity - second.velocity) / np.hypot(first.standard_error, second.standard_error)
    assert 0.0 < np.abs(z).max() < 4.0


@pytest.mark.parametrize(
    ("examples", "scale", "method"),
    [(3, 0.5, "quadrature"), (40, 0.5, "monte_carlo"), (3, 4.0, "monte_carlo")],
)
def test_auto_picks_by_cost_and_by_error(examples, scale, method):
    x = scale * inputs(examples, 3)
    result = expected_ntg_velocity(x, SCALINGS, samples=1_000)
    assert result.method == method
    again = expected_ntg_velocity(x, SCALINGS, samples=1_000, method=method)
    np.testing.assert_array_equal(result.velocity, again.velocity)


def test_velocities_scale_with_the_scalings():
    x = inputs(3, 4)
    wide = ak.node_scalings(50, 0.0, 0.5)
    ratio = expected_ntg_velocity(x, wide).velocity / expected_ntg_velocity(x, [1.0]).velocity
    np.testing.assert_allclose(ratio, np.sum(wide**2), rtol=1e-12)
    velocity = expected_weight_velocity(x, wide)
    np.testing.assert_allclose(velocity, velocity[:, :1] * wide / wide[0], rtol=1e-12)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"activation": "relu"}, "smooth"),
        ({"activation": "gelu"}, "1.1289"),
        ({"method": "exact"}, "monte_carlo"),
        ({"samples": 10}, "at least 50"),
        ({"x_eval": np.ones((2, 5))}, r"shape \(n, 4\)"),
        ({"x": [1.0, 2.0]}, r"shape \(2,\)"),
        ({"scalings": [0.3, 0.3]}, "sum"),
        ({"scalings": [1.5, -0.5]}, "nonnegative"),
        ({"scalings": [np.nan, 1.0]}, "nonnegative"),
    ],
)
def test_bad_arguments_are_refused(change, words):
    arguments = {"x": inputs(3, 4), "scalings": SCALINGS, **change}
    with pytest.raises(ValueError, match=words):
        expected_ntg_velocity(arguments.pop("x"), arguments.pop("scalings"), **arguments)


def test_weight_velocity_refuses_an_activation_outside_the_assumption():
    with pytest.raises(ValueError, match="kink"):
        expected_weight_velocity(np.eye(2), [1.0], activation="leaky_relu")
