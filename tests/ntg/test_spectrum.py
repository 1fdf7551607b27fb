"""Eigenvalues against NumPy, hand-worked matrices and a float32 trap."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.linalg
import tensorflow as tf

from asym_keras.ntg import minimum_eigenvalue, spectral_norm


def symmetric(n, seed=0):
    matrix = np.random.default_rng(seed).normal(size=(n, n))
    return matrix + matrix.T


@pytest.mark.parametrize(
    ("matrix", "minimum", "norm"),
    [
        ([[2, 1], [1, 2]], 1.0, 3.0),
        ([[-2, 1], [1, -2]], -3.0, 3.0),
        ([[1, 2], [2, 1]], -1.0, 3.0),
        ([[0, 0], [0, 0]], 0.0, 0.0),
        ([[-5.0]], -5.0, 5.0),
        (np.diag([3.0, -4.0, 0.5]), -4.0, 4.0),
    ],
)
def test_eigenvalues_equal_hand_worked_numbers(matrix, minimum, norm):
    assert minimum_eigenvalue(matrix) == pytest.approx(minimum, rel=1e-14, abs=1e-15)
    assert spectral_norm(matrix) == pytest.approx(norm, rel=1e-14, abs=1e-15)


@pytest.mark.parametrize("n", [1, 2, 7, 40])
@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_eigenvalues_equal_numpy(n, sign):
    matrix = sign * symmetric(n)
    values = np.linalg.eigvalsh(matrix)
    assert minimum_eigenvalue(matrix) == pytest.approx(values[0], rel=1e-12)
    assert spectral_norm(matrix) == pytest.approx(np.abs(values).max(), rel=1e-12)
    assert spectral_norm(matrix) == pytest.approx(np.linalg.norm(matrix, 2), rel=1e-12)


@pytest.mark.parametrize("convert", [np.asarray, tf.constant, np.ndarray.tolist])
@pytest.mark.parametrize("function", [minimum_eigenvalue, spectral_norm])
def test_eigenvalues_are_plain_floats_of_any_array(function, convert):
    matrix = symmetric(4)
    assert type(function(convert(matrix))) is float
    assert function(convert(matrix)) == function(matrix)


def test_eigenvalues_of_a_float32_matrix_are_computed_in_float64():
    values = np.array([2.0**19, 7.0, 6.0, 5.0, 3.0, 2.0, 1.0, 0.5])
    signs = scipy.linalg.hadamard(8)
    matrix = ((signs * values) @ signs.T / 8).astype("float32")  # exact: 20 bits are enough
    assert minimum_eigenvalue(matrix) == pytest.approx(0.5, rel=1e-8)
    assert spectral_norm(matrix) == pytest.approx(2.0**19, rel=1e-14)
    assert abs(scipy.linalg.eigvalsh(matrix)[0] / 0.5 - 1.0) > 1e-4  # what float32 makes of it


def test_eigenvalues_ignore_the_antisymmetric_part():
    matrix, skew = symmetric(6), np.triu(np.random.default_rng(1).normal(size=(6, 6)), 1)
    askew = matrix + skew - skew.T
    assert minimum_eigenvalue(askew) == pytest.approx(minimum_eigenvalue(matrix), rel=1e-12)
    assert spectral_norm(askew) == pytest.approx(spectral_norm(matrix), rel=1e-12)


@pytest.mark.parametrize("shape", [(2, 3), (3,), (1, 2, 2), ()])
@pytest.mark.parametrize("function", [minimum_eigenvalue, spectral_norm])
def test_eigenvalues_refuse_what_is_no_square_matrix(function, shape):
    with pytest.raises(ValueError, match=r"[Ee]xpected a square matrix, received shape"):
        function(np.ones(shape))


@pytest.mark.parametrize("function", [minimum_eigenvalue, spectral_norm])
def test_eigenvalues_refuse_nan(function):
    with pytest.raises(ValueError, match="infs or NaNs"):
        function([[1.0, np.nan], [np.nan, 1.0]])
