"""The error of a step, against NumPy."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from problems import relu_problem, tanh_problem

from asym_keras.training import Objective
from asym_keras.training.stepper import Stepper

RTOL, ATOL = 1e-2, 1e-3


def error_of(problem, estimate, *, jit_compile=True, find_kinks=False):
    """The error of a step that changes no weight, and the problem's layer."""
    objective = Objective(*problem, jit_compile=jit_compile)
    if find_kinks:
        objective.find_kinks(ATOL)
    stepper = Stepper(objective, RTOL, ATOL, rounded=find_kinks)
    weights = objective.weights()
    terms = [[tf.constant(estimate, weights[0].dtype)]]
    error = tf.function(stepper._error_norm, jit_compile=jit_compile)(
        weights, weights, terms, [tf.constant(1.0, weights[0].dtype)]
    )
    return float(error), problem[0].layers[1]


def per_node(layer, estimate):
    return np.sqrt(np.mean((estimate / (ATOL + RTOL * np.abs(layer.kernel.numpy()))) ** 2, axis=0))


def test_without_kinks_the_largest_error_of_a_node_counts():
    estimate = np.random.default_rng(1).normal(size=(4, 12))
    error, layer = error_of(tanh_problem(), estimate)
    assert error == pytest.approx(per_node(layer, estimate).max(), rel=1e-12)


@pytest.mark.parametrize("gamma", [0.0, 1.0])
def test_with_kinks_errors_of_nodes_count_by_their_scalings(gamma):
    estimate = np.random.default_rng(1).normal(size=(5, 40))
    error, layer = error_of(relu_problem(gamma=gamma), estimate, find_kinks=True)
    squares = per_node(layer, estimate) ** 2
    expected = 2.0 * np.sqrt(np.sum(layer.scalings * squares) / layer.scalings.sum())
    assert error == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("jit_compile", [True, False])
@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("kinks", [True, False])
def test_an_error_that_is_not_finite_in_one_node_is_infinite(bad, jit_compile, kinks):
    problem = relu_problem()
    estimate = np.zeros((5, 40))
    estimate[3, 7] = bad
    error, _ = error_of(problem, estimate, jit_compile=jit_compile, find_kinks=kinks)
    assert error == np.inf
