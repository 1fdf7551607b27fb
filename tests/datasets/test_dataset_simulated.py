"""The generated data sets: their laws, and that a seed names them."""

from __future__ import annotations

import numpy as np
import pytest

from asym_keras.datasets import load_orthogonal, load_simulated

ARRAYS = ("x_train", "y_train", "x_test", "y_test")


def sines(x):
    """`(5 / d) sum_j sin(pi x_j)`, one target at a time."""
    return np.array([[5 / len(row) * sum(np.sin(np.pi * v) for v in row)] for row in x])


def test_simulated_inputs_are_uniform_on_the_sphere():
    x = load_simulated(examples=4_000, input_dim=5).x_train.astype("float64")
    np.testing.assert_allclose(np.linalg.norm(x, axis=1), 1.0, rtol=1e-6)
    np.testing.assert_allclose(x.mean(axis=0), 0.0, atol=4 / np.sqrt(5 * 4_000))
    np.testing.assert_allclose(x.T @ x / 4_000, np.eye(5) / 5, atol=0.015)


def test_simulated_targets_are_sines_plus_noise():
    exact = load_simulated(examples=50, noise=0.0)
    np.testing.assert_allclose(exact.y_train, sines(exact.x_train), atol=1e-5)
    np.testing.assert_allclose(exact.y_test, sines(exact.x_test), atol=1e-5)
    noisy = load_simulated(examples=4_000, input_dim=3, noise=0.5)
    noise = noisy.y_train - sines(noisy.x_train)
    assert abs(noise.mean()) < 4 * 0.5 / np.sqrt(4_000)
    assert noise.std() == pytest.approx(0.5, rel=0.05)
    assert load_simulated().y_train.std() == pytest.approx(1.0, rel=0.3)


def test_simulated_defaults_are_the_papers():
    data = load_simulated()
    assert [getattr(data, name).shape for name in ARRAYS] == [(100, 50), (100, 1)] * 2
    assert (data.name, data.is_classification, data.transfer) == ("simulated", False, None)
    assert "noise 1, seed 0" in data.source
    assert not set(data.x_train[:, 0]) & set(data.x_test[:, 0])


@pytest.mark.parametrize("load", [load_simulated, load_orthogonal])
def test_seed_names_the_data(load):
    assert load(seed=3).fingerprint() == load(seed=3).fingerprint() != load().fingerprint()


def test_first_examples_do_not_depend_on_how_many_follow():
    few, many = load_simulated(examples=3), load_simulated(examples=30)
    for name in ("x_train", "y_train"):
        np.testing.assert_array_equal(getattr(few, name), getattr(many, name)[:3])


def test_orthogonal_inputs_are_orthonormal_and_targets_bounded():
    data = load_orthogonal(examples=40, input_dim=60, bound=0.2)
    for x in (data.x_train, data.x_test):
        np.testing.assert_allclose(x @ x.T, np.eye(40), atol=1e-6)
    assert 0.15 < np.abs(data.y_train).max() <= 0.2
    assert data.y_train.min() < 0 < data.y_train.max()
    assert load_orthogonal().x_train.shape == (2, 1000)
    assert np.abs(load_orthogonal().y_train).max() <= 0.01


@pytest.mark.parametrize(
    ("load", "arguments", "words"),
    [
        (load_simulated, {"examples": 0}, "examples to be at least 1, received 0"),
        (load_simulated, {"test_examples": 0}, "test_examples to be at least 1"),
        (load_simulated, {"noise": -0.1}, "noise to be a number of at least 0, received -0.1"),
        (load_simulated, {"noise": float("nan")}, "noise"),
        (load_simulated, {"seed": -1}, "seed to be at least 0, received -1"),
        (load_orthogonal, {"input_dim": 0}, "input_dim to be at least 1"),
        (load_orthogonal, {"examples": 7, "input_dim": 6}, "at most input_dim = 6 examples"),
        (load_orthogonal, {"bound": float("inf")}, "bound to be a number"),
    ],
)
def test_bad_argument_is_named(load, arguments, words):
    with pytest.raises(ValueError, match=words):
        load(**arguments)
