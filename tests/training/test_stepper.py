"""The error of a step, against NumPy."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from problems import relu_problem, tanh_problem

from asym_keras.training import Objective
from asym_keras.training.rounded_stepper import RoundedStepper
from asym_keras.training.stepper import Stepper

RTOL, ATOL = 1e-2, 1e-3


def error_of(problem, estimate, *, jit_compile=True, kinks=False, slope=0.0):
    """The error of a step that changes no weight, and the problem's layer."""
    objective = Objective(*problem, jit_compile=jit_compile)
    if kinks:
        objective.find_kinks(ATOL)
    stepper = (RoundedStepper if kinks else Stepper)(objective, RTOL, ATOL)
    weights = objective.weights()
    slope = np.broadcast_to(slope, np.shape(estimate))
    terms, slopes = [[tf.constant(a, weights[0].dtype)] for a in (estimate, slope)]
    error = tf.function(stepper._error, jit_compile=jit_compile)(
        weights, weights, slopes, [terms], [tf.constant(1.0, weights[0].dtype)]
    )
    return error.numpy(), problem[0].layers[1]


def per_node(layer, estimate):
    return np.sqrt(np.mean((estimate / (ATOL + RTOL * np.abs(layer.kernel.numpy()))) ** 2, axis=0))


def test_without_kinks_the_largest_error_of_a_node_counts():
    estimate = np.random.default_rng(1).normal(size=(4, 12))
    error, layer = error_of(tanh_problem(), estimate)
    assert error == pytest.approx(per_node(layer, estimate).max(), rel=1e-12)


@pytest.mark.parametrize("gamma", [0.0, 1.0])
def test_with_kinks_errors_of_nodes_count_by_their_scalings(gamma):
    estimate = np.random.default_rng(1).normal(size=(5, 40))
    (error, change), layer = error_of(relu_problem(gamma=gamma), estimate, kinks=True, slope=0.5)
    assert change == pytest.approx(0.5 * estimate.sum(), rel=1e-9)
    squares = per_node(layer, estimate) ** 2
    expected = 4.0 * np.sqrt(np.sum(layer.scalings * squares) / layer.scalings.sum())
    assert error == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("jit_compile", [True, False])
@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("kinks", [True, False])
def test_an_error_that_is_not_finite_in_one_node_is_infinite(bad, jit_compile, kinks):
    problem = relu_problem()
    estimate = np.zeros((5, 40))
    estimate[3, 7] = bad
    error, _ = error_of(problem, estimate, jit_compile=jit_compile, kinks=kinks)
    assert (error[0] if kinks else error) == np.inf
