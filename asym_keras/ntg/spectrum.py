"""Eigenvalues of symmetric matrices, always in float64."""

from __future__ import annotations

import numpy as np


def minimum_eigenvalue(matrix) -> float:
    """Smallest eigenvalue of a symmetric matrix (n, n), computed in float64."""
    from scipy.linalg import eigvalsh

    return float(eigvalsh(_float64(matrix), subset_by_index=[0, 0])[0])


def spectral_norm(matrix) -> float:
    """Largest absolute eigenvalue of a symmetric matrix (n, n), computed in float64."""
    from scipy.linalg import eigvalsh

    values = eigvalsh(_float64(matrix))
    return float(np.abs(values[[0, -1]]).max())


def _float64(matrix) -> np.ndarray:
    array = np.asarray(matrix, dtype="float64")
    if array.ndim != 2 or array.shape[0] != array.shape[1]:
        raise ValueError(f"Expected a square matrix, received shape {array.shape}.")
    return (array + array.T) / 2
