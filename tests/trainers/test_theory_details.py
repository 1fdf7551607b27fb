"""The theory's table in its details: clock, draws, rounding, and what enters an error."""

from __future__ import annotations

import dataclasses
import math
import types

import numpy as np
import pytest

from asym_keras import node_scalings
from asym_keras.ntg import describe_activation
from asym_keras.theory import GlobalConvergence, check_assumptions
from trainers.theory.draws import Draws, draw_networks
from trainers.theory.numbers import theory_of
from trainers.theory.report import Measured, _largest_ratio, theory_rows
from trainers.theory.run import take_examples

X = np.random.default_rng(0).normal(size=(4, 6))
X /= np.linalg.norm(X, axis=1).max()
Y = np.random.default_rng(1).normal(size=4)


def theory(activation="relu", x=X):
    return theory_of(
        x,
        Y[: len(x)],
        gamma=0.5,
        delta=0.2,
        scalings=node_scalings(30, 0.5, 0.4),
        activation=describe_activation(activation),
        seed=0,
    )


def rows(at, *, eigenvalue=0.04):
    run = Measured(
        times=np.array([0.0, 1.0]),
        risks=np.array([2.0, 0.02]),
        eigenvalues=np.full(2, eigenvalue),
        ntg_changes=np.zeros(2),
        node_changes=np.zeros((2, 30)),
        symmetric_eigenvalue=0.03,
    )
    spread = np.tile([-1.0, 1.0], 50) * math.sqrt(0.99)  # standard error 0.1
    ntg = None if at.ntg_velocity is None else 2.0 * spread
    return {row.key: row for row in theory_rows(at, run, Draws(at.variance + spread, spread, ntg))}


def test_rate_is_in_our_clock():
    setting = {"examples": 5, "input_dim": 3, "kappa_n": 0.2, "target_bound": 1.0}
    bound = GlobalConvergence(**setting, gamma=0.5, delta=0.1)
    assert bound.rate == pytest.approx(0.5 * 0.2 / 5)
    assert bound.risk(10.0, 3.0) == pytest.approx(3.0 * math.exp(-0.2))


@pytest.mark.parametrize("norm", [1.001, 1.0 + 1e-5])
def test_a_norm_a_little_above_one_is_told(norm):
    assert "2.1(a)  FAILS" in str(check_assumptions(norm * np.eye(2), [0.0, 1.0]))


def test_draws_follow_the_seed():
    at, relu = theory(), describe_activation("relu")
    first, again, other = (
        draw_networks(X, Y, at, activation=relu, count=3, seed=seed).deviations
        for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(first, again)
    assert not np.isclose(first, other).any()


def test_kappa_within_round_off_is_zero_without_a_theorem_too():
    assert theory("leaky_relu", x=X[[0, 1, 0]]).kappa_n == 0.0


def test_a_dead_node_that_moves_has_no_finite_ratio():
    with np.errstate(divide="ignore"):
        assert _largest_ratio(np.array([1.0, 1.0]), np.array([2.0, 0.0])) == math.inf


def test_a_bound_from_below_has_no_slack():
    at = theory()
    found = rows(at, eigenvalue=0.99 * at.convergence.min_eigenvalue)["a"]
    assert found.verdict == "exceeded, not promised"


def test_the_error_of_an_expectation_counts():
    at = theory("tanh")
    velocity = dataclasses.replace(at.ntg_velocity, standard_error=np.full((4, 4), 0.1))
    found = rows(dataclasses.replace(at, ntg_velocity=velocity))["ntg_velocity"]
    assert found.error == pytest.approx(math.hypot(0.2, 0.4))


def test_theory_is_on_the_numbers_of_the_run():
    dataset = types.SimpleNamespace(outputs=1, name="d", x_train=X, y_train=Y[:, None])
    config = types.SimpleNamespace(column=lambda: 0, count=lambda: 4, scale="max", dtype="float32")
    x = take_examples(config, dataset).x
    np.testing.assert_array_equal(x, x.astype("float32"))
    assert (x != X / np.linalg.norm(X, axis=1).max()).any()
