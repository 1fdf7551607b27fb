"""Readouts of classifiers: softmax or logistic regression on the first k features."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Iterable

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize

from asym_keras.pruning.refit import check_refit, row_tiles

logger = logging.getLogger(__name__)

PENALTY = 1e-6  # times the squared kernel of standardised features
PENALTIES = (1e-6, 1e-5, 1e-4, 1e-3, 1e-2)  # of which "auto" takes the best
HELD_OUT = 10  # every tenth example judges them
ITERATIONS = 200
MEMORY = 10  # steps that L-BFGS keeps


@dataclasses.dataclass(frozen=True)
class LogitRefit:
    """A readout `features[:, :k] @ kernel + bias` of logits, fitted by cross-entropy.

    Attributes:
        kernel: float64 (k, K).
        bias: float64 (K,).
        risk: float, mean cross-entropy over the examples, without the penalty.
    """

    kernel: np.ndarray
    bias: np.ndarray
    risk: float


def refit_logits(
    features: npt.ArrayLike,
    targets: npt.ArrayLike,
    widths: Iterable[int] | None = None,
    *,
    link: str = "softmax",
    penalty: float | str = PENALTY,
) -> list[LogitRefit]:
    """Softmax regression on the first k features, or a logistic one for each output.

    Minimises `mean_i H(y_i, link(x_i A + b)) + 1e-6 ||A||^2` over standardised features x, H the
    cross-entropy, summed over outputs for `"sigmoid"`: 200 iterations of L-BFGS from zero, with
    the exact gradient in float64, for each width anew.

    Args:
        features: array (n, m), columns in the order in which they are added.
        targets: array (n, K): probabilities of the classes, such as one-hot labels, or
            (`"sigmoid"`) of each output.
        widths: numbers of features, each 0 to m. None: m alone.
        link: `"softmax"` or `"sigmoid"`.
        penalty: what multiplies the squared kernel; or `"auto"`: for each width that of 1e-6, 1e-5,
            ... 1e-2 with the least cross-entropy on every tenth example, fitted to the others.
            Where examples are few beside features, 1e-6 is too little.

    Returns:
        One `LogitRefit` a width, in the order of `widths`.

    Raises:
        ValueError: Shapes that do not fit, numbers that are not finite or no probabilities, or
            widths out of range.

    Example:
        >>> x = np.array([[-1.0], [1.0], [2.0], [-2.0]])
        >>> [fit] = asym_keras.pruning.refit_logits(x, np.eye(2)[[0, 1, 0, 1]])
        >>> round(fit.risk, 2)
        0.64
    """
    f, y, counts = check_refit("refit_logits", features, targets, widths, least=1)
    if link not in ("softmax", "sigmoid"):
        raise ValueError(f"refit_logits: expected link 'softmax' or 'sigmoid', received {link!r}.")
    require_probabilities(y, link)
    if penalty != "auto" and (isinstance(penalty, str) or not 0 <= penalty < np.inf):
        raise ValueError(
            f"refit_logits: expected penalty from 0 on or 'auto', received {penalty!r}."
        )
    problem = _Problem(f, y, link)
    chosen = (
        dict.fromkeys(counts, float(penalty)) if penalty != "auto" else _chosen(f, y, link, counts)
    )
    fits = {k: problem.solve(k, chosen[k]) for k in sorted(set(counts))}
    return [fits[k] for k in counts]


def _chosen(f: np.ndarray, y: np.ndarray, link: str, counts: Iterable[int]) -> dict[int, float]:
    """The penalty for each width, by every tenth example; too few examples: the smallest."""
    held = np.arange(len(y)) % HELD_OUT == HELD_OUT - 1
    if not held.any():
        return dict.fromkeys(counts, PENALTY)
    part, rows, targets = _Problem(f[~held], y[~held], link), f[held], y[held]

    def best(width: int) -> float:
        risks = {}
        for penalty in PENALTIES:
            fit = part.solve(width, penalty)
            outputs = rows[:, :width] @ fit.kernel + fit.bias
            risks[penalty] = _cross_entropy(outputs, targets, link)[0]
        return min(PENALTIES, key=lambda penalty: risks[penalty])

    return {width: best(width) for width in sorted(set(counts))}


def require_probabilities(targets: np.ndarray, link: str) -> None:
    """Raises ValueError for targets (n, K) that are no probabilities, as cross-entropy takes."""
    sums = targets.sum(axis=1)
    inside = (targets >= 0).all() and (targets <= 1).all()
    if not inside or (link == "softmax" and not np.allclose(sums, 1.0, atol=1e-5)):
        wanted = "class labels, or one-hot" if link == "softmax" else "targets from 0 to 1"
        raise ValueError(
            f"Expected {wanted}, for a refit by cross-entropy, received values from "
            f"{targets.min():g} to {targets.max():g} whose rows sum to {sums.min():g} to "
            f"{sums.max():g}. For a regression, end the model in a Dense without activation and "
            "use regression='ridge'."
        )


class _Problem:
    """Features and targets, and the cross-entropy of any width."""

    def __init__(self, features: np.ndarray, targets: np.ndarray, link: str):
        self._features, self._targets, self._link = features, targets, link
        self._mean = features.mean(axis=0, dtype="float64")
        tiles = row_tiles(features, features.shape[1])
        squares = sum(((tile - self._mean) ** 2).sum(axis=0) for _, tile in tiles)
        deviation = np.sqrt(squares / len(targets))
        # A feature that never changes says nothing: it is zero once it is centred.
        self._scale = np.where(deviation > 1e-12 * np.abs(self._mean), deviation, np.inf)

    def solve(self, width: int, penalty: float) -> LogitRefit:
        outputs = self._targets.shape[1]
        result = minimize(
            self._value_and_gradient,
            np.zeros((width + 1) * outputs),
            args=(width, penalty),
            jac=True,
            method="L-BFGS-B",
            options={"maxiter": ITERATIONS, "maxcor": MEMORY, "ftol": 1e-12, "gtol": 1e-8},
        )
        kernel, bias = self._raw(result.x.reshape(width + 1, outputs))
        risk = float(result.fun - penalty * np.sum(result.x[: width * outputs] ** 2))
        logger.debug("refit of %d features by cross-entropy: %.4g, %s", width, risk, result.message)
        return LogitRefit(kernel, bias, risk)

    def _raw(self, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Kernel and bias for the features as they are, of those for standardised ones."""
        width = len(weights) - 1
        kernel = weights[:-1] / self._scale[:width, None]
        return kernel, weights[-1] - self._mean[:width] @ kernel

    def _value_and_gradient(
        self, flat: np.ndarray, width: int, penalty: float
    ) -> tuple[float, np.ndarray]:
        weights = flat.reshape(width + 1, -1)
        kernel, bias = self._raw(weights)
        total, products, sums = 0.0, np.zeros_like(kernel), np.zeros_like(bias)
        for rows, tile in row_tiles(self._features, width):
            values, errors = _cross_entropy(tile @ kernel + bias, self._targets[rows], self._link)
            total += values
            products += tile.T @ errors
            sums += errors.sum(axis=0)
        examples = len(self._targets)
        by_kernel = (products - self._mean[:width, None] * sums) / self._scale[:width, None]
        gradient = np.concatenate([by_kernel, sums[None]]) / examples
        gradient[:-1] += 2 * penalty * weights[:-1]
        return total / examples + penalty * np.sum(weights[:-1] ** 2), gradient.reshape(-1)


def _cross_entropy(logits: np.ndarray, targets: np.ndarray, link: str) -> tuple[float, np.ndarray]:
    """Sum of the cross-entropies, and its derivative by the logits."""
    if link == "sigmoid":
        soft = np.logaddexp(0.0, logits)
        return float(np.sum(soft - targets * logits)), np.exp(logits - soft) - targets
    logits = logits - logits.max(axis=1, keepdims=True)
    normaliser = np.log(np.exp(logits).sum(axis=1, keepdims=True))
    logits = logits - normaliser
    return float(-np.sum(targets * logits)), np.exp(logits) - targets
