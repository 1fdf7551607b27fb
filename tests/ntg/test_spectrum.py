"""Eigenvalues and what is read from them, against NumPy, hand-worked matrices and known spectra."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.linalg
import tensorflow as tf

from asym_keras.ntg import minimum_eigenvalue, spectral_norm
from asym_keras.ntg.spectrum import (
    condition_number,
    effective_rank,
    kernel_target_alignment,
    top_eigenpairs,
)

FUNCTIONS = (
    minimum_eigenvalue,
    spectral_norm,
    condition_number,
    effective_rank,
    lambda matrix: top_eigenpairs(matrix, 1),
    lambda matrix: kernel_target_alignment(matrix, np.ones(2)),
)
REFLECTION = np.eye(4) - 0.5  # by (1, 1, 1, 1)


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


@pytest.mark.parametrize("shape", [(2, 3), (3,), (1, 2, 2), (), (0, 0)])
@pytest.mark.parametrize("function", FUNCTIONS)
def test_eigenvalues_refuse_what_is_no_square_matrix(function, shape):
    with pytest.raises(ValueError, match=r"[Ee]xpected a square matrix, received shape"):
        function(np.ones(shape))


@pytest.mark.parametrize("number", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("function", FUNCTIONS)
def test_eigenvalues_refuse_what_is_not_finite(function, number):
    with pytest.raises(ValueError, match="infs or NaNs"):
        function([[1.0, number], [-number, 1.0]])


@pytest.mark.parametrize("k", [0, -1, 5, 1.0, True, None])
def test_top_eigenpairs_refuse_k_out_of_range(k):
    with pytest.raises(ValueError, match="integer from 1 to n = 4, received"):
        top_eigenpairs(np.eye(4), k)


def test_unknown_method_is_refused():
    for function in (minimum_eigenvalue, spectral_norm, condition_number):
        with pytest.raises(ValueError, match=r"'lanczos'.*received 'power'"):
            function(np.eye(3), method="power")


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([8.0, 4.0, 2.0], 4.0),
        ([1.0, 1e-15], 1e15),
        ([1.0, 4e-16], np.inf),  # rounding level: 2 eps
        ([1.0, 0.0], np.inf),
        ([1.0, -0.5], np.inf),
        ([0.1, -0.5], np.inf),
        ([-1.0, -2.0], np.inf),
        ([0.0, 0.0], np.inf),
    ],
)
def test_condition_number_by_hand(values, expected):
    assert condition_number(np.diag(values)) == pytest.approx(expected, rel=1e-12)


def test_effective_rank_by_hand():
    assert effective_rank(np.eye(5)) == pytest.approx(5.0, rel=1e-14)
    assert effective_rank(np.ones((4, 4))) == pytest.approx(1.0, rel=1e-12)
    # Shares 1/2, 1/4, 1/4: an entropy of 3/2 log 2; of the sign nothing is seen.
    assert effective_rank(
        REFLECTION @ np.diag([6.0, 3.0, -3.0, 0.0]) @ REFLECTION
    ) == pytest.approx(2**1.5, rel=1e-12)
    with pytest.raises(ValueError, match="not zero"):
        effective_rank(np.zeros((3, 3)))


@pytest.mark.parametrize("outputs", [None, 1, 3])
@pytest.mark.parametrize("centered", [False, True])
def test_alignment_equals_its_definition(centered, outputs):
    generator = np.random.default_rng(0)
    features, shape = (
        generator.normal(1.0, size=(12, 5)),
        (12,) if outputs is None else (12, outputs),
    )
    kernel, targets = features @ features.T, generator.normal(2.0, size=shape)
    ideal = targets.reshape(12, -1) @ targets.reshape(12, -1).T
    center = np.eye(12) - 1 / 12 if centered else np.eye(12)
    a, b = (center @ matrix @ center for matrix in (kernel, ideal))
    expected = np.sum(a * b) / np.linalg.norm(a) / np.linalg.norm(b)
    alignment = kernel_target_alignment(kernel, targets, centered=centered)
    assert alignment == pytest.approx(expected, rel=1e-12)
    assert kernel_target_alignment(1e-200 * kernel, targets, centered=centered) == pytest.approx(
        expected, rel=1e-12
    )


def test_alignment_of_the_targets_with_themselves_is_one():
    y = np.random.default_rng(0).normal(size=(6, 2))
    assert kernel_target_alignment(y @ y.T, y) == pytest.approx(1.0, rel=1e-12)
    assert kernel_target_alignment(y @ y.T + 3.0, y + 5.0, centered=True) == pytest.approx(1.0)
    labels = np.array([1.0, -1.0, 1.0])
    assert kernel_target_alignment(np.eye(3), labels) == pytest.approx(1 / np.sqrt(3))  # by hand


@pytest.mark.parametrize(
    ("targets", "centered", "message"),
    [
        (np.ones(3), False, r"received shape \(3,\)"),
        (np.ones((4, 1, 1)), False, "received shape"),
        (1.0, False, "received shape"),
        ([1.0, np.nan, 0.0, 0.0], False, "expected finite targets"),
        (np.zeros(4), False, "not zero, received"),
        (np.full(4, 0.1), True, "not zero once centred, received"),
    ],
)
def test_alignment_refuses_targets(targets, centered, message):
    with pytest.raises(ValueError, match=message):
        kernel_target_alignment(np.eye(4), targets, centered=centered)


def test_alignment_refuses_a_constant_matrix_once_centred():
    with pytest.raises(ValueError, match="not zero once centred"):
        kernel_target_alignment(np.full((7, 7), 0.1), np.arange(7.0), centered=True)
