"""Refitted readouts against least squares and a leave-one-out loop."""

from __future__ import annotations

import numpy as np
import pruning_models as models
import pytest

from asym_keras.pruning import refit as module
from asym_keras.pruning import refit_readouts

# Examples; widths below, about and above them go by different decompositions.
N = 14
WIDTHS = (0, 1, 5, 12, 13, 14, 20)


def problem(dtype="float64", n=N, m=20, outputs=3, noise=0.5):
    """Features of falling size, not centred, and targets that depend on them."""
    rng = np.random.default_rng(0)
    features = (rng.normal(size=(n, m)) + 0.7) * np.arange(1, m + 1) ** -1.0
    targets = features @ rng.normal(size=(m, outputs)) + 3.0
    return features.astype(dtype), targets + noise * rng.normal(size=(n, outputs))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("rows", [3, 1000])
def test_fits_equal_least_squares_and_the_leave_one_out_loop(dtype, rows, monkeypatch):
    monkeypatch.setattr(module, "TILE_ROWS", rows)
    features, targets = problem(dtype)
    for k, fit in zip(WIDTHS, refit_readouts(features, targets, WIDTHS), strict=True):
        f = features[:, :k].astype("float64")
        kernel, bias = models.ridge(f, targets, fit.penalty)
        assert fit.kernel.shape == (k, 3)
        np.testing.assert_allclose(fit.kernel, kernel, rtol=1e-7, atol=1e-9)
        np.testing.assert_allclose(fit.bias, bias, rtol=1e-9)
        expected = models.leave_one_out(f, targets, fit.penalty)
        assert fit.loo_risk == pytest.approx(expected, rel=1e-8)
        if k > 1:  # no neighbour on the grid is better; one feature is best left out
            for factor in (10.0**-0.75, 10.0**0.75):
                assert fit.loo_risk <= models.leave_one_out(f, targets, fit.penalty * factor)


def test_penalty_rises_with_the_noise():
    quiet, loud = (refit_readouts(*problem(noise=noise))[0].penalty for noise in (1e-3, 10.0))
    assert quiet < 1e-3 * loud


@pytest.mark.parametrize("k", [5, 20])
def test_exact_relations_are_found(k):
    features, _ = problem(n=30)
    kernel = np.random.default_rng(1).normal(size=(k, 2))
    [fit] = refit_readouts(features[:, :k], features[:, :k] @ kernel + 2.0)
    np.testing.assert_allclose(fit.kernel, kernel, atol=1e-4)
    np.testing.assert_allclose(fit.bias, 2.0, atol=1e-4)


@pytest.mark.parametrize("k", [5, 20])
def test_shift_of_features_and_targets_only_moves_the_bias(k):
    features, targets = problem(m=k)
    [fit], [moved] = (
        refit_readouts(features, targets),
        refit_readouts(features + 5.0, targets - 2.0),
    )
    np.testing.assert_allclose(moved.kernel, fit.kernel, rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(moved.bias, fit.bias - 2.0 - 5.0 * fit.kernel.sum(axis=0), rtol=1e-6)


@pytest.mark.parametrize("k", [4, 20])
def test_dead_features_leave_the_mean(k):
    _, targets = problem()
    [fit] = refit_readouts(np.zeros((N, k)), targets)
    assert not fit.kernel.any()
    np.testing.assert_allclose(fit.bias, targets.mean(axis=0))


@pytest.mark.parametrize("value", [0.1, 0.3])
@pytest.mark.parametrize("k", [1, 20])
def test_features_that_never_change_are_dead_whatever_their_mean_rounds_to(k, value):
    """Alone they leave the mean; beside others, which they do not touch, they have no kernel."""
    for n in range(6, 24, 2):
        targets = np.random.default_rng(n).normal(size=(n, 2))
        constant = np.full((n, k), value)
        [fit] = refit_readouts(constant, targets)
        assert not fit.kernel.any()
        np.testing.assert_allclose(fit.bias, targets.mean(axis=0), rtol=1e-12)
        left_out = (targets - targets.mean(axis=0)) * n / (n - 1)
        assert fit.loo_risk == pytest.approx(np.mean(left_out**2))
    features, targets = problem()
    [fit] = refit_readouts(features, targets)
    [beside] = refit_readouts(np.concatenate([constant[:N], features], axis=1), targets)
    assert not beside.kernel[:k].any()
    np.testing.assert_allclose(beside.kernel[k:], fit.kernel, rtol=1e-9)


def test_equal_examples_do_not_break_it():
    features, targets = problem()
    features = np.concatenate([features, features, features])
    targets = np.concatenate([targets, targets, targets + 0.1])
    fits = refit_readouts(features, targets, [20, 5])
    for k, fit in zip([20, 5], fits, strict=True):
        expected = models.leave_one_out(features[:, :k], targets, fit.penalty)
        assert fit.loo_risk == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(
    ("features", "targets", "widths", "message"),
    [
        (np.ones((4, 2)), np.ones(4), None, r"expected features \(n, m\) and targets \(n, K\)"),
        (np.ones((4, 2)), np.ones((3, 1)), None, r"received shapes \(4, 2\) and \(3, 1\)"),
        (np.ones((1, 2)), np.ones((1, 1)), None, "at least 2 examples"),
        (np.full((4, 2), np.inf), np.ones((4, 1)), None, "all numbers finite"),
        (np.ones((4, 2)), np.ones((4, 1)), [3], r"widths from 0 to 2, received \[3\]"),
    ],
)
def test_errors_say_what_to_do(features, targets, widths, message):
    with pytest.raises(ValueError, match=message):
        refit_readouts(features, targets, widths)
