"""Eigenvalues of matrices with known spectra: direct and by Lanczos, accuracy, copies, choice."""

from __future__ import annotations

import logging
import tracemalloc

import numpy as np
import pytest
import scipy.sparse.linalg

from asym_keras.ntg import minimum_eigenvalue, spectral_norm, spectrum
from asym_keras.ntg.spectrum import condition_number, kernel_target_alignment, top_eigenpairs


def with_spectrum(values, seed=0):
    """Symmetric matrix with these eigenvalues: a diagonal one, reflected twice."""
    matrix, generator = np.diag(np.asarray(values, "float64")), np.random.default_rng(seed)
    for _ in range(2):
        v = generator.normal(size=len(values))
        reflection = np.eye(len(values)) - 2 * np.outer(v, v) / (v @ v)
        matrix = reflection @ matrix @ reflection
    return matrix


N = 120
INDEX = np.arange(1.0, N + 1.0)
SPECTRA = {
    "slow decay": 1 / INDEX,
    "fast decay": INDEX**-4,
    "with a floor": 1e-3 + INDEX**-2,
    "singular": np.where(INDEX < 60, 1 / INDEX, 0.0),
    "rank one": np.where(INDEX == 1, 1.0, 0.0),
    "repeated": np.where(INDEX <= 60, 2.0, 1.0),
    "identity": np.ones(N),
    "zero": np.zeros(N),
    "indefinite": 1 / INDEX - 0.1,
    "just indefinite": np.where(INDEX == N, -1e-10, 1 / INDEX),
    "two ends alike": np.where(INDEX % 2 == 0, -1.0, 1.0) * (1 - INDEX / 1000),
    "negative": -1 / INDEX,
}


@pytest.mark.parametrize("method", ["direct", "lanczos"])
@pytest.mark.parametrize("scale", [1e-150, 1.0])
@pytest.mark.parametrize("values", SPECTRA.values(), ids=SPECTRA)
def test_extremes_have_the_accuracy_that_is_stated(values, scale, method):
    matrix = scale * with_spectrum(values)
    level = scale * len(values) * np.finfo("float64").eps * np.abs(values).max()
    minimum = minimum_eigenvalue(matrix, method=method)
    assert abs(minimum - scale * values.min()) <= level + 1e-8 * scale * abs(values.min())
    norm = spectral_norm(matrix, method=method)
    assert abs(norm - scale * np.abs(values).max()) <= level
    top, _ = top_eigenpairs(matrix, 1, method=method)
    assert abs(top[0] - scale * values.max()) <= level


@pytest.mark.parametrize("values", SPECTRA.values(), ids=SPECTRA)
def test_lanczos_takes_a_cholesky_factor_unless_indefinite(values, caplog):
    caplog.set_level(logging.INFO, "asym_keras")
    minimum_eigenvalue(with_spectrum(values), method="lanczos")
    assert ("the matrix is indefinite" in caplog.text) == (values.min() < 0 or not values.any())


@pytest.mark.parametrize("method", ["direct", "lanczos"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_matrix_is_left_as_it_is(dtype, method):
    for values in (SPECTRA["slow decay"], SPECTRA["indefinite"]):
        matrix = with_spectrum(values).astype(dtype)
        before = matrix.copy()
        minimum_eigenvalue(matrix, method=method)
        spectral_norm(matrix, method=method)
        top_eigenpairs(matrix, 2, method=method)
        kernel_target_alignment(matrix, INDEX, centered=True)
        np.testing.assert_array_equal(matrix, before)


@pytest.mark.parametrize("method", ["direct", "lanczos"])
@pytest.mark.parametrize("k", [1, 4, N - 1, N])
def test_top_eigenpairs_equal_numpy(k, method):
    matrix = with_spectrum(SPECTRA["with a floor"])
    values, vectors = top_eigenpairs(matrix, k, method=method)
    assert values.shape == (k,)
    assert vectors.shape == (N, k)
    np.testing.assert_allclose(values, SPECTRA["with a floor"][:k], rtol=1e-11)
    np.testing.assert_allclose(matrix @ vectors, vectors * values, atol=1e-10)
    np.testing.assert_allclose(vectors.T @ vectors, np.eye(k), atol=1e-12)
    expected = np.linalg.eigh(matrix)[1][:, ::-1][:, :k]
    signs = np.sign(np.take_along_axis(expected, np.abs(expected).argmax(0)[None], 0))
    np.testing.assert_allclose(vectors[:, :10], (expected * signs)[:, :10], atol=1e-8)


def test_top_eigenpairs_of_a_cluster_are_all_found():
    matrix = with_spectrum(SPECTRA["identity"])
    for k in (1, 10):
        values, vectors = top_eigenpairs(matrix, k, method="direct")
        np.testing.assert_allclose(values, np.ones(k), rtol=1e-13)
        np.testing.assert_allclose(vectors.T @ vectors, np.eye(k), atol=1e-12)


@pytest.mark.parametrize("method", ["direct", "lanczos"])
def test_first_of_equal_entries_is_positive(method):
    vectors = top_eigenpairs([[2.0, -1.0, 0], [-1.0, 2.0, 0], [0, 0, 0.5]], 2, method=method)[1]
    expected = np.array([[1.0, -1.0, 0.0], [1.0, 1.0, 0.0]]).T / np.sqrt(2)
    np.testing.assert_allclose(vectors, expected, atol=1e-12)


@pytest.mark.parametrize("function", [minimum_eigenvalue, spectral_norm, condition_number])
def test_auto_goes_by_size_and_lanczos_repeats_exactly(function, monkeypatch):
    matrix = with_spectrum(SPECTRA["with a floor"])
    direct, lanczos = (function(matrix, method=method) for method in ("direct", "lanczos"))
    assert direct != lanczos == function(matrix, method="lanczos")
    assert function(matrix) == direct
    monkeypatch.setattr(spectrum, "CROSSOVER", N)
    monkeypatch.setattr(spectrum, "MINIMUM_CROSSOVER", N)
    assert function(matrix) == lanczos


def test_auto_is_direct_for_many_eigenpairs(monkeypatch):
    monkeypatch.setattr(spectrum, "CROSSOVER", N)
    matrix = with_spectrum(SPECTRA["with a floor"])
    for k, method in ((6, "lanczos"), (7, "direct")):
        expected = top_eigenpairs(matrix, k, method=method)[1]
        np.testing.assert_array_equal(top_eigenpairs(matrix, k)[1], expected)


def test_lanczos_that_does_not_converge_gives_way_to_direct(monkeypatch, caplog):
    def fail(*args, **kwargs):
        raise scipy.sparse.linalg.ArpackNoConvergence("too slow", [], [])

    monkeypatch.setattr(scipy.sparse.linalg, "eigsh", fail)
    caplog.set_level(logging.INFO, "asym_keras")
    matrix = with_spectrum(SPECTRA["slow decay"])
    for function in (
        minimum_eigenvalue,
        spectral_norm,
        lambda *a, **k: top_eigenpairs(*a, 3, **k)[0],
    ):
        expected = function(matrix, method="direct")
        np.testing.assert_allclose(function(matrix, method="lanczos"), expected, rtol=1e-12)
    assert caplog.text.count("gives way to the direct method: ") == 3


@pytest.mark.parametrize("method", ["direct", "lanczos"])
@pytest.mark.parametrize("function", [minimum_eigenvalue, spectral_norm])
def test_one_float64_copy_is_held(function, method):
    matrix = np.diag(1.0 / np.arange(1, 601))
    function(matrix, method=method)  # imports
    tracemalloc.start()
    function(matrix, method=method)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1.5 * matrix.nbytes
