"""The infinite-width theory against hand-worked matrices, Monte Carlo and networks of finite width.

Monte Carlo estimates are held against 4.5 standard errors, with fixed seeds.
"""

from __future__ import annotations

import numpy as np
import pytest

import asym_keras as ak
from asym_keras.ntg import (
    describe_activation,
    kappa_n,
    limiting,
    limiting_ntg_variance,
    mean_ntg,
    ntg_variance,
    ntg_variance_constant,
    sample_limiting_ntg,
)
from asym_keras.scaling import node_scalings, zipf_concentration

X = np.random.default_rng(0).normal(size=(5, 3))
X2 = np.random.default_rng(1).normal(size=(2, 3))
ACTIVATIONS = ("relu", "leaky_relu", "tanh", "gelu")


def ntgs(x, w, scalings, activation):
    """Eq. (7) in NumPy for a stack of weights (r, d, m): the matrices (r, n, n)."""
    slopes = describe_activation(activation).slope(x @ w / x.shape[1] ** 0.5)
    return (x @ x.T / x.shape[1]) * ((slopes * scalings) @ slopes.transpose(0, 2, 1))


def assert_within_standard_errors(draws, expected):
    """The mean of `draws` over their first axis is `expected`, entry by entry."""
    error = draws.std(axis=0, ddof=1) / len(draws) ** 0.5
    assert np.all(error < 0.05 * np.abs(expected).max())  # or the test would say nothing
    assert np.all(np.abs(draws.mean(axis=0) - expected) < 4.5 * error + 1e-14)


def test_mean_ntg_equals_a_hand_worked_matrix():
    """Angles 90 and 45 degrees: both slopes are 1 with probability 1/4 and 3/8."""
    expected = [[0.25, 0.0, 0.1875], [0.0, 0.25, 0.1875], [0.1875, 0.1875, 0.5]]
    x = [[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]]
    np.testing.assert_allclose(mean_ntg(x), expected, rtol=1e-15)
    np.testing.assert_allclose(mean_ntg(x, activation="linear"), np.array(x) @ np.transpose(x) / 2)


@pytest.mark.parametrize("stddev", [1.0, 2.0**0.5])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_mean_ntg_is_the_mean_over_nodes(activation, stddev):
    w = stddev * np.random.default_rng(2).normal(size=(40_000, 3, 1))
    mean = mean_ntg(X, activation=activation, stddev=stddev)
    assert mean.shape == (5, 5)
    assert mean.dtype == np.float64
    np.testing.assert_array_equal(mean, mean.T)
    assert_within_standard_errors(ntgs(X, w, np.ones(1), activation), mean)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_mean_ntg_of_two_sets_is_a_block(activation):
    both = mean_ntg(np.concatenate([X, X2]), activation=activation)
    cross = mean_ntg(X, X2, activation=activation)
    np.testing.assert_allclose(cross, both[:5, 5:], rtol=1e-13, atol=1e-15)


@pytest.mark.parametrize("activation", ["relu", "leaky_relu"])
def test_mean_ntg_of_straight_sides_only_sees_directions(activation):
    scale = np.array([0.1, 1.0, 2.0, 30.0, 7.0])
    expected = scale[:, None] * mean_ntg(X, activation=activation) * scale
    found = mean_ntg(scale[:, None] * X, activation=activation, stddev=3.0)
    np.testing.assert_allclose(found, expected, rtol=1e-13)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_mean_ntg_of_a_zero_row_is_zero(activation):
    mean = mean_ntg(np.concatenate([X, np.zeros((1, 3))]), activation=activation)
    np.testing.assert_array_equal(mean[5], 0.0)
    np.testing.assert_allclose(mean[:5, :5], mean_ntg(X, activation=activation), rtol=1e-13)


def test_kappa_n_equals_a_hand_worked_value():
    """Unit vectors at 45 degrees, d = 2: 1/4 on the diagonal, beside it `cos(45) / 2 * 3 / 8`."""
    x = [[1.0, 0.0], [0.5**0.5, 0.5**0.5]]
    assert kappa_n(x) == pytest.approx(0.25 - 0.5**0.5 * 3.0 / 16.0, rel=1e-14)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_kappa_n_is_the_smallest_eigenvalue(activation):
    expected = np.linalg.eigvals(mean_ntg(X, activation=activation)).real.min()
    assert kappa_n(X, activation=activation) == pytest.approx(expected, rel=1e-10)
    assert expected > 1e-4


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_kappa_n_of_equal_rows_is_zero(activation):
    x = np.concatenate([X, X[:1]])
    assert abs(kappa_n(x, activation=activation)) < 1e-15 * len(x) * np.linalg.norm(x) ** 2


def test_kappa_n_of_parallel_rows_is_zero_for_relu_only():
    x = np.concatenate([X, 3.0 * X[:1]])
    assert abs(kappa_n(x)) < 1e-14
    assert kappa_n(x, activation="tanh") > 1e-6


@pytest.mark.parametrize("angle", [1e-3, 1e-6, 1e-9])
def test_kappa_n_sees_a_small_angle(angle):
    """Unit vectors, d = 2: `(1/2 - cos(t) (pi - t) / (2 pi)) / 2 = t / (4 pi)`, to order t^2."""
    x = [[1.0, 0.0], [np.cos(angle), np.sin(angle)]]
    assert kappa_n(x) == pytest.approx(angle / (4.0 * np.pi), rel=10.0 * angle + 2e-16 / angle)


def test_ntg_variance_constant_equals_a_hand_worked_value():
    """Orthogonal unit inputs: twice (1/2)^2 times the variance 1/4 of a fair coin."""
    assert ntg_variance_constant(np.eye(2)) == pytest.approx(0.125, rel=1e-15)
    assert ntg_variance_constant(np.eye(2), activation="linear") == 0.0


@pytest.mark.parametrize("stddev", [1.0, 2.0**0.5])
@pytest.mark.parametrize("gamma", [0.0, 0.6, 1.0])
@pytest.mark.parametrize("activation", ["relu", "tanh"])
def test_ntg_variance_is_that_of_initialisations(activation, gamma, stddev):
    scalings = node_scalings(20, gamma, 0.5)
    w = stddev * np.random.default_rng(3).normal(size=(10_000, 3, 20))
    mean = mean_ntg(X, activation=activation, stddev=stddev)
    squares = np.sum((ntgs(X, w, scalings, activation) - mean) ** 2, axis=(1, 2))
    expected = ntg_variance(X, scalings, activation=activation, stddev=stddev)
    assert_within_standard_errors(squares[:, None], np.array([expected]))


def network_ntg(activation, gamma, width, seed, protocol="paper"):
    """The NTG of a Keras network at initialisation, and its kernel."""
    model = ak.shallow_network(
        3,
        width=width,
        gamma=gamma,
        alpha=0.4,
        activation=activation,
        protocol=protocol,
        seed=seed,
        dtype="float64",
    )
    kernel = model.get_layer("asym_scaled_dense").kernel.numpy()
    return ak.empirical_ntg(model, X, method="closed_form").numpy(), kernel


@pytest.mark.parametrize(("protocol", "stddev"), [("paper", 1.0), ("authors", 2.0**0.5)])
@pytest.mark.parametrize("activation", ["relu", "tanh"])
def test_ntg_in_numpy_is_that_of_the_network(activation, protocol, stddev):
    ntg, kernel = network_ntg(activation, 0.6, 3000, 0, protocol)
    expected = ntgs(X, kernel[None], node_scalings(3000, 0.6, 0.4), activation)[0]
    np.testing.assert_allclose(ntg, expected, rtol=1e-12, atol=1e-14)
    assert kernel.std() == pytest.approx(stddev, rel=0.04)  # 5 standard errors


@pytest.mark.parametrize("activation", ["relu", "tanh"])
@pytest.mark.parametrize("gamma", [1.0, 0.0])
def test_network_ntg_approaches_its_mean_as_root_width_for_gamma_1_only(gamma, activation):
    """In NumPy, which the test above shows to give what a network does."""
    mean = mean_ntg(X, activation=activation)
    widths, seeds = (32, 256, 2048), range(40)
    errors = []
    for width in widths:
        scalings = node_scalings(width, gamma, 0.4)
        kernels = (np.random.default_rng(seed).normal(size=(1, 3, width)) for seed in seeds)
        draws = [ntgs(X, kernel, scalings, activation)[0] for kernel in kernels]
        errors.append(np.mean([np.sum((ntg - mean) ** 2) for ntg in draws]) ** 0.5)
    exponent = np.polyfit(np.log(widths), np.log(errors), 1)[0]
    # One squared error varies by as much as its mean: 40 leave the exponent 0.03 of noise.
    assert abs(exponent - (-0.5 if gamma == 1.0 else 0.0)) < 0.1
    if gamma == 0.0:
        assert errors[-1] > 0.2 * np.linalg.norm(mean)


def test_limiting_ntg_variance_is_the_limit_of_ntg_variance():
    limit = limiting_ntg_variance(X, gamma=0.3, alpha=0.5)
    errors = [abs(ntg_variance(X, node_scalings(m, 0.3, 0.5)) - limit) for m in (100, 10_000)]
    assert errors[0] / errors[1] == pytest.approx(100.0, rel=0.05)  # both corrections are as 1 / m
    expected = ntg_variance_constant(X) * 0.7**2 * zipf_concentration(0.5)
    assert limit == pytest.approx(expected, rel=1e-14)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("activation", "gamma", "alpha", "stddev", "draws"),
    [
        ("relu", 0.5, 0.7, 1.0, 1500),
        ("softplus", 0.2, 0.5, 1.3, 400),
        pytest.param("relu", 0.0, 0.4, 1.0, 1500, marks=pytest.mark.slow),
        pytest.param("leaky_relu", 0.0, 0.9, 1.0, 1500, marks=pytest.mark.slow),
    ],
)
def test_sample_limiting_ntg_has_the_law_of_eq_11_and_12(activation, gamma, alpha, stddev, draws):
    law = {"activation": activation, "stddev": stddev}
    series = {"gamma": gamma, "alpha": alpha, "tolerance": 0.01, **law}
    sample = np.array([sample_limiting_ntg(X, seed=seed, **series) for seed in range(draws)])
    mean = mean_ntg(X, **law)
    assert_within_standard_errors(sample, mean)
    squares = np.sum((sample - mean) ** 2, axis=(1, 2))
    # The mean that stands for the tail takes at most this much variance away.
    expected = limiting_ntg_variance(X, gamma=gamma, alpha=alpha, **law)
    error = squares.std(ddof=1) / draws**0.5
    assert error < 0.1 * expected
    assert abs(squares.mean() - expected) < 4.5 * error + (0.01 * np.linalg.norm(mean)) ** 2
    assert np.linalg.eigvalsh(sample).min() > -1e-14


@pytest.mark.parametrize(("alpha", "tolerance"), [(0.5, 1e-2), (0.9, 1e-2), (0.5, 1e-3)])
def test_sample_limiting_ntg_is_as_exact_as_its_tolerance(alpha, tolerance):
    """The same nodes and then more, so that the difference is the error."""

    def sample(seed, tolerance):
        return sample_limiting_ntg(X, gamma=0.6, alpha=alpha, seed=seed, tolerance=tolerance)

    squares = [
        np.sum((sample(seed, tolerance) - sample(seed, tolerance / 20.0)) ** 2)
        for seed in range(60)
    ]
    error = np.mean(squares) ** 0.5 / (tolerance * np.linalg.norm(mean_ntg(X)))
    assert 0.7 < error < 1.3


@pytest.mark.parametrize(("alpha", "budget"), [(0.4, 0.1), (0.4, 1e-3), (0.6, 3e-3)])
def test_count_drawn_is_the_smallest_number_that_does(alpha, budget):
    weights = np.arange(1.0, 200_001.0) ** (-1.0 / alpha)
    squares = (weights / weights.sum()) ** 2
    errors = np.append(np.cumsum(squares[::-1])[::-1], 0.0) ** 0.5  # after 0, 1, 2, ... terms
    assert limiting._count_drawn(1.0 / alpha, 2.0, budget) == np.argmax(2.0 * errors <= budget)


def test_sample_limiting_ntg_does_not_depend_on_tiles(monkeypatch):
    whole = sample_limiting_ntg(X, gamma=0.1, alpha=0.7, seed=4)
    monkeypatch.setattr(limiting, "TILE", 64)
    np.testing.assert_allclose(
        sample_limiting_ntg(X, gamma=0.1, alpha=0.7, seed=4), whole, rtol=1e-13
    )


def test_sample_limiting_ntg_at_gamma_1_is_the_mean():
    np.testing.assert_allclose(
        sample_limiting_ntg(X, gamma=1.0, alpha=0.4), mean_ntg(X), rtol=1e-15
    )


def test_sample_limiting_ntg_is_drawn_anew_without_a_seed():
    first, second = (sample_limiting_ntg(X, gamma=0.0, alpha=0.4) for _ in range(2))
    assert np.abs(first - second).max() > 1e-6


def test_sample_limiting_ntg_refuses_an_absurd_number_of_nodes():
    with pytest.raises(ValueError, match=r"10,000,000 nodes can meet.*raise the tolerance"):
        sample_limiting_ntg(X, gamma=0.0, alpha=0.9, tolerance=1e-8)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"x": X[0]}, ValueError, r"x: expected examples of shape \(n, d\).*received shape \(3,\)"),
        ({"x": X[:0]}, ValueError, r"received shape \(0, 3\)"),
        ({"x": [["a"]]}, TypeError, "x: expected real numbers, received dtype <U1"),
        ({"x": 1j * X}, TypeError, "received dtype complex128"),
        ({"x": np.where(X == X[3, 1], np.nan, X)}, ValueError, "nan.* in row 3; repair"),
        ({"x2": X[:, :2]}, ValueError, r"x2: expected examples of shape \(n, 3\).*\(5, 2\)"),
        ({"stddev": 0.0}, ValueError, "stddev: expected a positive finite number, received 0.0"),
        ({"stddev": np.inf}, ValueError, "stddev: expected a positive finite number"),
        ({"stddev": "1"}, TypeError, "stddev: expected a positive number, received '1'"),
        ({"activation": "softmax"}, ValueError, "expected an elementwise function"),
    ],
)
@pytest.mark.filterwarnings("ignore:You are using a softmax")
def test_mean_ntg_says_what_is_wrong(arguments, error, message):
    with pytest.raises(error, match=message):
        mean_ntg(**{"x": X, **arguments})


@pytest.mark.parametrize("function", [limiting_ntg_variance, sample_limiting_ntg])
@pytest.mark.parametrize(("gamma", "alpha", "name"), [(1.5, 0.5, "gamma"), (0.5, 1.0, "alpha")])
def test_limit_checks_its_parameters(function, gamma, alpha, name):
    with pytest.raises(ValueError, match=f"{name}: expected a number in"):
        function(X, gamma=gamma, alpha=alpha)


def test_ntg_variance_checks_its_scalings():
    with pytest.raises(ValueError, match=r"finite nonnegative numbers, received -1\.0 at index 1"):
        ntg_variance(X, [1.0, -1.0])


def test_sample_limiting_ntg_checks_its_tolerance():
    with pytest.raises(ValueError, match="tolerance: expected a positive finite number"):
        sample_limiting_ntg(X, gamma=0.0, alpha=0.4, tolerance=0.0)
