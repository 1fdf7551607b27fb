"""Eigenvalues of symmetric matrices, and what is read from them; always in float64.

Of a matrix only its symmetric part `(A + A^T) / 2` counts. That is the one float64 copy (n, n)
made here, whatever the dtype of the matrix: factorisations and centring overwrite it.

`method` is `"direct"` (LAPACK, n^3 operations), `"lanczos"` (ARPACK: products with the matrix, or
solves with its Cholesky factor, from a fixed start vector) or `"auto"`, by size: Lanczos from
n = `CROSSOVER`, for the minimum eigenvalue from n = `MINIMUM_CROSSOVER`. Lanczos that can't be used
(k = n), or does not converge, gives way to direct.
"""

from __future__ import annotations

import functools
import logging

import numpy as np
import numpy.typing as npt
from scipy.linalg import cho_factor, cho_solve, eigh, eigvalsh
from scipy.sparse import linalg as sparse

from asym_keras.checks import is_whole

logger = logging.getLogger(__name__)

METHODS = ("auto", "direct", "lanczos")
# Measured on two cores, n = 200 to 5000. Norm and eigenpairs: alike at 500, from 1000 on Lanczos is
# mostly two to six times as fast. Minimum eigenvalue from 3000 on: as long either way for an NTG or
# a fast decay, half as long by Lanczos for a singular matrix, 1.5 times as long for 1 / j.
CROSSOVER = 1000
MINIMUM_CROSSOVER = 3000
# More eigenpairs than this share of n: direct is the faster.
LANCZOS_SHARE = 0.05
# Residual over eigenvalue at which an eigenpair counts as found, of the matrix and of its inverse.
TOLERANCE = 1e-10
INVERSE_TOLERANCE = 1e-8
# Krylov vectors for the inverse: fewer solves than with ARPACK's 20 where the low end is dense.
INVERSE_VECTORS = 40


def minimum_eigenvalue(matrix: npt.ArrayLike, *, method: str = "auto") -> float:
    """Smallest eigenvalue of a symmetric matrix (n, n).

    Lanczos finds the largest eigenvalue `1 / (lambda + s)` of the inverse of
    `A + s I = L L^T`, `s = n eps ||A||_F`, which exists for singular A too. Factor and solves
    are exact for a matrix that is off by `n eps ||A||` at most (in practice; the bound for
    the worst case has n^2), and by Weyl's inequality lambda is off by no more. So the
    absolute accuracy is `n eps ||A||`, as of the direct way, plus `1e-8 (lambda + s)` from
    ending the iteration. If A + s I has no Cholesky factor, A is indefinite beyond rounding,
    and the direct way is taken.

    Raises:
        ValueError: The matrix is not square or not finite, or an unknown method.
    """
    array, scale = _symmetric(matrix)
    lanczos = _takes_lanczos(method, len(array), 1, MINIMUM_CROSSOVER)
    value = _minimum_by_lanczos(array) if lanczos else None
    if value is None:
        # The upper triangle: a Cholesky factor may have overwritten the lower one. All eigenvalues:
        # a subset takes as long, and LAPACK can lose it in a cluster.
        value = eigvalsh(array, lower=False, overwrite_a=True, check_finite=False)[0]
    return float(value * scale)


def spectral_norm(matrix: npt.ArrayLike, *, method: str = "auto") -> float:
    """Largest absolute eigenvalue of a symmetric matrix (n, n), definite or not.

    Relative accuracy: `n eps` direct, `1e-10` by Lanczos.

    Raises:
        ValueError: As for `minimum_eigenvalue`.
    """
    array, scale = _symmetric(matrix)
    if _takes_lanczos(method, len(array), 1, CROSSOVER):
        pairs = _lanczos(array, 1, "LM", TOLERANCE)
        if pairs is not None:
            return float(abs(pairs[0][0]) * scale)
    values = eigvalsh(array, overwrite_a=True, check_finite=False)
    return float(np.abs(values[[0, -1]]).max() * scale)


def top_eigenpairs(
    matrix: npt.ArrayLike, k: int, *, method: str = "auto"
) -> tuple[np.ndarray, np.ndarray]:
    """The k largest eigenvalues of a symmetric matrix (n, n), and their eigenvectors.

    Each vector has norm 1 and a positive entry of largest magnitude (the first of those
    that are equal to 1e-6). Accuracy of the values: `n eps ||A||`, and by Lanczos, which may
    miss copies of a repeated eigenvalue, `1e-10` of the value more.

    Args:
        matrix: symmetric (n, n).
        k: 1 to n.
        method: `"auto"` takes Lanczos for k up to n / 20 only.

    Returns:
        Values (k,), descending, and vectors (n, k), one a column.

    Raises:
        ValueError: As for `minimum_eigenvalue`, or k out of range.
    """
    array, scale = _symmetric(matrix)
    n = len(array)
    if not is_whole(k, 1, n):
        raise ValueError(
            f"top_eigenpairs: expected k to be an integer from 1 to n = {n}, received {k!r}."
        )
    lanczos = _takes_lanczos(method, n, k, CROSSOVER)
    pairs = _lanczos(array, k, "LA", TOLERANCE) if lanczos else None
    if pairs is None:
        options = {"overwrite_a": True, "check_finite": False}
        pairs = eigh(array, subset_by_index=[n - k, n - 1], **options)
        if len(pairs[0]) < k:  # lost by LAPACK in a cluster, of the identity for example
            array, scale = _symmetric(matrix)
            values, vectors = eigh(array, **options)
            pairs = values[n - k :], vectors[:, n - k :]
    order = np.argsort(-pairs[0], kind="stable")
    return pairs[0][order] * scale, _with_fixed_signs(pairs[1][:, order])


def condition_number(matrix: npt.ArrayLike, *, method: str = "auto") -> float:
    """`lambda_max / lambda_min` of a positive semi-definite matrix (n, n).

    Infinite if `lambda_min <= n eps lambda_max`, the rounding level of float64: nothing can be
    read there. An NTG computed in float32 has a far higher level of its own.

    Raises:
        ValueError: As for `minimum_eigenvalue`.
    """
    # Of an indefinite matrix the norm need not be lambda_max, but there the result is infinite.
    largest = spectral_norm(matrix, method=method)
    smallest = minimum_eigenvalue(matrix, method=method)
    level = np.shape(matrix)[0] * np.finfo("float64").eps * largest
    return float("inf") if smallest <= level else largest / smallest


def effective_rank(matrix: npt.ArrayLike) -> float:
    """Effective rank of a symmetric matrix (n, n), in [1, n].

    `exp(-sum_i p_i log p_i)`, `p_i = |lambda_i| / sum_k |lambda_k|`: the exponential of the
    entropy of the normalised singular values (O. Roy, M. Vetterli, "The effective rank: a
    measure of effective dimensionality", EUSIPCO 2007).

    Raises:
        ValueError: The matrix is not square or not finite, or zero.
    """
    values = np.abs(eigvalsh(_symmetric(matrix)[0], overwrite_a=True, check_finite=False))
    if not values.any():
        raise ValueError("effective_rank: expected a matrix that is not zero, received zeros.")
    shares = values / values.sum()
    shares = shares[shares > 0.0]
    return float(np.exp(-np.sum(shares * np.log(shares))))


def kernel_target_alignment(
    matrix: npt.ArrayLike, targets: npt.ArrayLike, *, centered: bool = False
) -> float:
    """Alignment of a kernel matrix with the targets, `<K, Y Y^T>_F / (||K||_F ||Y Y^T||_F)`.

    In [0, 1] for positive semi-definite K; 1 if K is a multiple of `Y Y^T` (N. Cristianini et
    al., "On kernel-target alignment", NIPS 2001). `Y Y^T` is not formed:
    `<K, Y Y^T> = tr(Y^T K Y)` and `||Y Y^T|| = ||Y^T Y||`.

    Args:
        matrix: symmetric K (n, n).
        targets: y (n,) or Y (n, K).
        centered: whether to remove the mean first, in feature space from K and from the
            targets: `H K H` and `H Y`, `H = I - 1 1^T / n` (C. Cortes, M. Mohri,
            A. Rostamizadeh, "Algorithms for learning kernels based on centered alignment",
            JMLR 2012).

    Raises:
        ValueError: The matrix is not square; targets of another length; either is not finite
            or zero, or for `centered` constant.
    """
    array, y = _symmetric(matrix)[0], np.asarray(targets, "float64")
    if y.ndim not in (1, 2) or len(y) != len(array) or not np.isfinite(y).all():
        raise ValueError(
            f"kernel_target_alignment: expected finite targets of shape (n,) or (n, K) with n = "
            f"{len(array)}, as the matrix has, received shape {y.shape}."
        )
    y = y.reshape(len(y), -1)
    scales = max(array.max(), -array.min()), np.abs(y).max(initial=0.0)
    if centered:
        means = array.mean(axis=0)
        array -= means[:, None]
        array -= means - means.mean()
        y = y - y.mean(axis=0)
    norms = np.linalg.norm(array), np.linalg.norm(y.T @ y)
    # What is left of a constant by rounding is no direction.
    level = 8 * len(array) * np.finfo("float64").eps
    if norms[0] <= level * scales[0] or norms[1] <= (level * scales[1]) ** 2:
        raise ValueError(
            "kernel_target_alignment: expected a matrix and targets that are not zero"
            f"{' once centred' if centered else ''}, received norms {norms[0]:.3g} and "
            f"{norms[1]:.3g}."
        )
    return float(np.sum((array @ y) * y) / norms[0] / norms[1])


def _symmetric(matrix) -> tuple[np.ndarray, float]:
    """The symmetric part over a power of two, and that: a new float64 array, largest entry near 1.

    ARPACK's and Cholesky's absolute thresholds then mean the same for every matrix. The array
    is in the column order that LAPACK can overwrite.
    """
    array = np.asarray(matrix)
    if array.ndim != 2 or array.shape[0] != array.shape[1] or not array.size:
        raise ValueError(f"Expected a square matrix, received shape {array.shape}.")
    if array.dtype.kind != "f":
        array = np.asarray(array, dtype="float64")
    twice = np.empty(array.shape, order="F")
    with np.errstate(invalid="ignore"):  # inf - inf
        np.add(array, array.T, dtype="float64", out=twice)
    largest = max(twice.max(), -twice.min())
    if not np.isfinite(largest):
        raise ValueError(
            "Expected a matrix of finite numbers, received infs or NaNs: look for them in the "
            "weights and examples that it was computed from."
        )
    scale = 2.0 ** (np.frexp(largest)[1] - 1)
    twice /= scale
    return twice, scale / 2


def _takes_lanczos(method: str, n: int, k: int, crossover: int) -> bool:
    if method not in METHODS:
        raise ValueError(f"Expected method to be one of {METHODS}, received {method!r}.")
    if method == "auto":
        return n >= crossover and k <= LANCZOS_SHARE * n
    return method == "lanczos" and k < n


def _lanczos(operator, k: int, which: str, tolerance: float, vectors: int | None = None):
    """Eigenvalues (k,) and eigenvectors (n, k) of one end of the spectrum; None: not found."""
    n = operator.shape[0]
    start = np.random.default_rng(0).normal(size=n)
    size = None if vectors is None else min(vectors, n)
    try:
        return sparse.eigsh(operator, k=k, which=which, tol=tolerance, v0=start, ncv=size)
    except sparse.ArpackError as error:
        logger.info("Lanczos gives way to the direct method: %s", error)
        return None


def _minimum_by_lanczos(array: np.ndarray) -> float | None:
    """Overwrites the lower triangle; None: no result, and the upper one with diagonal is left."""
    shift = len(array) * np.finfo("float64").eps * np.linalg.norm(array)
    diagonal = array.diagonal().copy()
    np.fill_diagonal(array, diagonal + shift)
    pairs = None
    try:
        factor = cho_factor(array, lower=True, overwrite_a=True, check_finite=False)
    except np.linalg.LinAlgError:
        logger.info("Minimum eigenvalue by the direct method: the matrix is indefinite.")
    else:
        solve = functools.partial(cho_solve, factor, check_finite=False)
        inverse = sparse.LinearOperator(array.shape, matvec=solve, dtype="float64")
        pairs = _lanczos(inverse, 1, "LA", INVERSE_TOLERANCE, INVERSE_VECTORS)
    np.fill_diagonal(array, diagonal)
    return None if pairs is None else 1.0 / pairs[0][0] - shift


def _with_fixed_signs(vectors: np.ndarray) -> np.ndarray:
    sizes = np.abs(vectors)
    largest = np.argmax(sizes >= (1.0 - 1e-6) * sizes.max(axis=0), axis=0)
    signs = np.sign(np.take_along_axis(vectors, largest[None], axis=0))
    return vectors * signs
