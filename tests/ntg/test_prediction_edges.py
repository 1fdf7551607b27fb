"""Lazy predictions where the NTG is singular, of some variables, or rounded."""

from __future__ import annotations

import keras
import numpy as np
import pytest

import asym_keras as ak
from asym_keras.ntg import empirical_ntg, kappa_n, mean_ntg, minimum_eigenvalue, ntg_predict


def test_equal_examples_with_unequal_targets_act_as_their_mean():
    """Their difference is a direction in which the NTG is zero."""
    model = ak.shallow_network(3, width=8, gamma=1.0, alpha=0.5, seed=0, dtype="float64")
    x = np.array([[1.0, 2.0, 3.0], [1.0, 2.0, 3.0]])
    both = ntg_predict(model, x, [[1.0], [3.0]], x, t=5.0)
    one = ntg_predict(model, x[:1], [[2.0]], x, t=5.0)
    np.testing.assert_allclose(both, one, rtol=1e-9)


def test_float32_noise_is_not_inverted():
    """Examples that are equal but for rounding, with unequal targets."""
    model = ak.shallow_network(50, width=300, gamma=1.0, alpha=0.5, seed=0)
    x = np.random.default_rng(0).normal(size=(20, 50)).astype("float32")
    x = np.concatenate([x, x * (1 + 1e-7)])
    y = np.random.default_rng(1).normal(size=(40, 1))
    found = ntg_predict(model, x, y, x, dtype="float32")
    np.testing.assert_allclose(found[:20], (y[:20] + y[20:]) / 2, atol=1e-2)


def test_prediction_takes_the_variables():
    keras.utils.set_random_seed(0)
    hidden = keras.layers.Dense(4, "tanh", dtype="float64")
    readout = keras.layers.Dense(1, dtype="float64")
    model = keras.Sequential([keras.Input((3,), dtype="float64"), hidden, readout])
    x = np.random.default_rng(0).normal(size=(3, 3))
    variables = readout.trainable_variables
    found = ntg_predict(model, x, np.ones((3, 1)), x, t=0.1, variables=variables)
    values, vectors = np.linalg.eigh(np.array(empirical_ntg(model, x, variables=variables)))
    decay = vectors @ np.diag(np.exp(-2 * 0.1 * values / 3)) @ vectors.T
    np.testing.assert_allclose(found, 1.0 + decay @ (model(x).numpy() - 1.0), rtol=1e-9)


def test_kappa_n_takes_the_stddev():
    x = np.random.default_rng(0).normal(size=(3, 4))
    expected = minimum_eigenvalue(mean_ntg(x, activation="tanh", stddev=2.0))
    assert kappa_n(x, activation="tanh", stddev=2.0) == pytest.approx(expected, rel=1e-12)
