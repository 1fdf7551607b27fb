"""Readouts in closed form: ridge regression on the first k features, for many k at once."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Iterable, Iterator

import numpy as np
import numpy.typing as npt
from scipy.linalg import cholesky, eigh, solve_triangular

logger = logging.getLogger(__name__)

# Penalties tried: so many, so many decades apart, the largest as large as the features.
PENALTIES = 13
DECADES = 0.75
TILE_ROWS, TILE_COLUMNS = 1000, 2000


@dataclasses.dataclass(frozen=True)
class Refit:
    """A readout `features[:, :k] @ kernel + bias`, fitted by ridge regression.

    Attributes:
        kernel: float64 (k, K).
        bias: float64 (K,).
        penalty: float, p; 0 if there are no features.
        loo_risk: float, mean squared error of each example by the readout fitted to the others.
    """

    kernel: np.ndarray
    bias: np.ndarray
    penalty: float
    loo_risk: float


def refit_readouts(
    features: npt.ArrayLike, targets: npt.ArrayLike, widths: Iterable[int] | None = None
) -> list[Refit]:
    """Ridge regression on the first k features, for each width k.

    Minimises `||F A + b - Y||^2 + p ||A||^2`, the bias b without penalty, in float64. Of 13
    penalties that one is taken whose leave-one-out error is least. That error is exact and in
    closed form, `(y_i - f_i) / (1 - h_i)`, `h_i` the diagonal of the hat matrix.

    The leading blocks of a Cholesky factor, `F^T F + p = L L^T`, are the factors of the leading
    blocks. So one factor a penalty serves all widths: with `B = L^{-1} F^T` and
    `z = L^{-1} F^T Y`, a width's `h_i` and `f_i` are the sums of `B_li^2` and `B_li z_l` over
    `l < k`. Only widths with as many features as examples go by the examples' Gram matrix.

    Args:
        features: array (n, m), n >= 2, columns in the order in which they are added.
        targets: array (n, K); one-hot for classes.
        widths: numbers of features, each 0 to m. None: m alone.

    Returns:
        One `Refit` a width, in the order of `widths`.

    Raises:
        ValueError: Shapes that do not fit, fewer than two examples, numbers that are not
            finite, or widths out of range.

    Example:
        >>> x = np.arange(6.0)[:, None]
        >>> asym_keras.pruning.refit_readouts(x, 2 * x + 1)[0].bias.round(3)
        array([1.])
    """
    f, y, counts = check_refit("refit_readouts", features, targets, widths, least=2)
    data = _Data(f, y)
    fits = {0: _mean_only(data)}
    fits |= _by_features(data, sorted({k for k in counts if 0 < k < data.examples}))
    fits |= {k: _by_examples(data, k) for k in set(counts) if k >= data.examples}
    for k in counts:
        numbers = k, fits[k].penalty, fits[k].loo_risk
        logger.debug("refit of %d features: penalty %.2g, leave-one-out %.4g", *numbers)
    return [fits[k] for k in counts]


def check_refit(
    name: str,
    features: npt.ArrayLike,
    targets: npt.ArrayLike,
    widths: Iterable[int] | None,
    *,
    least: int,
) -> tuple[np.ndarray, np.ndarray, list[int]]:
    """Features (n, largest width), targets float64 and a list of widths, for the refit `name`."""
    features, targets = np.asarray(features), np.asarray(targets, dtype="float64")
    if features.ndim != 2 or targets.ndim != 2 or len(features) != len(targets):
        raise ValueError(
            f"{name}: expected features (n, m) and targets (n, K), received shapes "
            f"{features.shape} and {targets.shape}."
        )
    examples, columns = features.shape
    finite = np.isfinite(targets).all() and np.isfinite(features).all()
    if examples < least or not finite:
        raise ValueError(
            f"{name}: expected at least {least} examples with finite features and targets, "
            f"received {examples} examples, {'' if finite else 'not '}all numbers finite. Repair "
            "or drop those with NaN or infinity."
        )
    widths = [columns] if widths is None else list(widths)
    if not widths or not 0 <= min(widths) <= max(widths) <= columns:
        raise ValueError(f"{name}: expected widths from 0 to {columns}, received {widths}.")
    return features[:, : max(widths)], targets, widths


def row_tiles(features: np.ndarray, width: int) -> Iterator[tuple[slice, np.ndarray]]:
    """Slices of examples, and their first features, float64 (rows, width)."""
    for first in range(0, len(features), TILE_ROWS):
        rows = slice(first, first + TILE_ROWS)
        yield rows, features[rows, :width].astype("float64")


def moments(features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Means and deviations of features, float64 (m,).

    The deviation of a feature that never changes is 0, whatever the rounding of its mean leaves.
    """
    mean = np.mean(features, axis=0, dtype="float64")
    tiles = row_tiles(features, features.shape[1])
    squares = sum(((tile - mean) ** 2).sum(axis=0) for _, tile in tiles)
    deviation = np.sqrt(squares / len(features))
    return mean, np.where(deviation > 1e-12 * np.abs(mean), deviation, 0.0)


class _Data:
    """Features and targets, centred, and the penalties to try."""

    def __init__(self, features: np.ndarray, targets: np.ndarray):
        self._features, (self._mean, deviation) = features, moments(features)
        self._varies = deviation > 0  # once centred the others are zero
        self._centre = targets.mean(axis=0)
        self.targets = targets - self._centre
        self.examples = len(targets)
        scale = self.examples * np.sum(deviation**2)
        # Multiples of a fixed factor, so that other widths are tried with the same penalties.
        top = np.ceil(np.log10(scale or 1.0) / DECADES)
        self.penalties = 10.0 ** (DECADES * (top - np.arange(PENALTIES)))

    def tiles(self, width: int) -> Iterator[tuple[slice, np.ndarray]]:
        """Slices of examples, and their first features, centred, float64 (rows, width)."""
        for rows, tile in row_tiles(self._features, width):
            tile -= self._mean[:width]
            tile *= self._varies[:width]
            yield rows, tile

    def column_tiles(self, width: int) -> Iterator[np.ndarray]:
        """The first features, centred, float64 (n, columns)."""
        for first in range(0, width, TILE_COLUMNS):
            columns = slice(first, min(width, first + TILE_COLUMNS))
            tile = self._features[:, columns] - self._mean[columns]
            tile *= self._varies[columns]
            yield tile

    def fit(self, kernel: np.ndarray, penalty: float, squares: float) -> Refit:
        """The `Refit` of a kernel for centred features, whose errors' squares sum to that."""
        bias = self._centre - self._mean[: len(kernel)] @ kernel
        return Refit(kernel, bias, float(penalty), float(squares / self.targets.size))


def _mean_only(data: _Data) -> Refit:
    """Without features: leave-one-out errors are `y_i n / (n - 1)`, y centred."""
    kernel, n = np.zeros((0, data.targets.shape[1])), data.examples
    return data.fit(kernel, 0.0, np.sum((data.targets * n / (n - 1)) ** 2))


def _by_features(data: _Data, widths: list[int]) -> dict[int, Refit]:
    """Widths below n, increasing, all from one Cholesky factor a penalty."""
    if not widths:
        return {}
    widest = widths[-1]
    gram, products = np.zeros((widest, widest)), np.zeros((widest, data.targets.shape[1]))
    for rows, tile in data.tiles(widest):
        gram += tile.T @ tile
        products += tile.T @ data.targets[rows]
    least = dict.fromkeys(widths, np.inf)
    fits: dict[int, Refit] = {}
    for penalty in data.penalties:
        # SciPy's: a quarter of NumPy's time.
        regular = np.array(gram, order="F")  # the order that SciPy overwrites
        regular[np.diag_indices(widest)] += penalty
        factor = cholesky(regular, lower=True, overwrite_a=True, check_finite=False)
        solved = solve_triangular(factor, products, lower=True)
        squares = _left_out(data, factor, solved, widths)
        for k, total in zip(widths, squares, strict=True):
            if total < least[k]:
                least[k] = total
                kernel = solve_triangular(factor[:k, :k], solved[:k], lower=True, trans=1)
                fits[k] = data.fit(kernel, penalty, total)
    return fits


def _left_out(data: _Data, factor: np.ndarray, solved: np.ndarray, widths: list[int]) -> np.ndarray:
    """Sum of squares of the leave-one-out errors at each width, for one penalty."""
    squares = np.zeros(len(widths))
    for rows, tile in data.tiles(widths[-1]):
        parts = solve_triangular(factor, tile.T, lower=True, overwrite_b=True, check_finite=False)
        targets, first = data.targets[rows], 0
        left, residuals = np.full(len(tile), 1.0 - 1.0 / data.examples), targets.copy()
        for i, k in enumerate(widths):
            # Not `@`: so thin a product is slower when its threads wait for each other.
            left -= np.einsum("li,li->i", parts[first:k], parts[first:k])
            residuals -= np.einsum("li,lk->ik", parts[first:k], solved[first:k])
            squares[i] += np.sum((residuals / left[:, None]) ** 2)
            first = k
    return squares


def _by_examples(data: _Data, width: int) -> Refit:
    """From `F F^T = U diag(s) U^T`: the errors are `(I - H) y` over the diagonal of `I - H`.

    `I - H = p U diag(1 / (s + p)) U^T` without the constant vector, whose part the bias takes.
    Here p cancels, so that nothing is lost where h is nearly 1.
    """
    n = data.examples
    gram = np.zeros((n, n))
    for tile in data.column_tiles(width):
        gram += tile @ tile.T
    # Centred features leave the constant vector an eigenvalue 0 among others: set it apart.
    gram += (2.0 * np.trace(gram) or 1.0) / n
    eigenvalues, vectors = eigh(gram, driver="evd", overwrite_a=True, check_finite=False)
    eigenvalues, vectors = np.maximum(eigenvalues[:-1], 0.0), vectors[:, :-1]
    rotated, squared = vectors.T @ data.targets, vectors**2
    best = np.inf, 0.0, rotated
    for penalty in data.penalties:
        shrunk = 1.0 / (eigenvalues + penalty)
        solved = vectors @ (rotated * shrunk[:, None])
        total = np.sum((solved / (squared @ shrunk)[:, None]) ** 2)
        if total < best[0]:
            best = total, penalty, solved
    total, penalty, solved = best
    kernel = np.concatenate([tile.T @ solved for tile in data.column_tiles(width)])
    return data.fit(kernel, penalty, total)
