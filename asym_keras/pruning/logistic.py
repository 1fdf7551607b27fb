"""Readouts of classifiers: softmax or logistic regression on the first k features."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Iterable

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize

from asym_keras.pruning.refit import check_refit, moments, row_tiles

logger = logging.getLogger(__name__)

PENALTY = 1e-6  # times the squared kernel of standardised features
PENALTIES = (1e-2, 1e-3, 1e-4, 1e-5, 1e-6)  # that "auto" tries, from weights of the one before
HELD_OUT = 10  # one example in ten judges them
GAIN = 1e-4  # share of the cross-entropy that a smaller penalty has to take off
ITERATIONS = 200
MEMORY = 10  # steps that L-BFGS keeps
# L-BFGS ends where a step takes less than this share off; from zero it takes what it is given.
TOLERANCE, WARM_TOLERANCE, TRIAL_TOLERANCE = 1e-12, 1e-8, 1e-6


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
    the exact gradient in float64, for each width by itself.

    Args:
        features: array (n, m), columns in the order in which they are added.
        targets: array (n, K): probabilities of the classes, such as one-hot labels, or
            (`"sigmoid"`) of each output.
        widths: numbers of features, each 0 to m. None: m alone.
        link: `"softmax"` or `"sigmoid"`.
        penalty: what multiplies the squared kernel; or `"auto"`: for each width 1e-2, 1e-3, ...
            1e-6 in turn, fitted to nine tenths of the examples, as long as the cross-entropy on
            the others, the same ones drawn at random in each call, falls by a ten-thousandth of
            itself. Each fit, the last one to all examples too, goes on from the one before. Where
            examples are few beside features, 1e-6 is too little; of fewer than ten none can judge,
            and 1e-2 is taken.

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
    fits = {
        k: problem.fit_best(k) if penalty == "auto" else problem.fit(k, float(penalty))
        for k in sorted(set(counts))
    }
    return [fits[k] for k in counts]


def held_out(examples: int) -> np.ndarray:
    """Whether each example judges penalties, bool; drawn, since rows may come in a cycle."""
    places = np.random.default_rng(0).permutation(examples)
    return places % HELD_OUT == HELD_OUT - 1


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
    """Features and targets, and the cross-entropy of any width over some of the examples."""

    def __init__(self, features: np.ndarray, targets: np.ndarray, link: str):
        self._features, self._targets, self._link = features, targets, link
        self._mean, deviation = moments(features)
        # A feature that never changes says nothing: it is zero once it is centred.
        self._scale = np.where(deviation > 0, deviation, np.inf)
        self._all = np.full(len(targets), 1 / len(targets))

    def fit(self, width: int, penalty: float) -> LogitRefit:
        """The readout of the first features, from zero."""
        weights = self._minimise(self._zero(width), penalty, self._all, TOLERANCE)
        return self._refit(weights)

    def fit_best(self, width: int) -> LogitRefit:
        """The same with the penalty that suits a tenth of the examples; without it, the largest."""
        held = held_out(len(self._targets))
        if not held.any():
            return self.fit(width, PENALTIES[0])
        others, held = (chosen / chosen.sum() for chosen in (~held, held))
        weights, least, best = self._zero(width), np.inf, None
        for penalty in PENALTIES:
            weights = self._minimise(weights, penalty, others, TRIAL_TOLERANCE)
            risk, _ = self._value_and_gradient(weights.reshape(-1), width, 0.0, held)
            if risk >= (1 - GAIN) * least:
                break
            least, best = risk, (weights, penalty)
        assert best is not None  # the first one is less than infinity
        return self._refit(self._minimise(*best, self._all, WARM_TOLERANCE))

    def _zero(self, width: int) -> np.ndarray:
        return np.zeros((width + 1, self._targets.shape[1]))

    def _minimise(
        self, start: np.ndarray, penalty: float, examples: np.ndarray, tolerance: float
    ) -> np.ndarray:
        """Weights (width + 1, K) for standardised features, the bias last."""
        width = len(start) - 1
        result = minimize(
            self._value_and_gradient,
            start.reshape(-1),
            args=(width, penalty, examples),
            jac=True,
            method="L-BFGS-B",
            options={"maxiter": ITERATIONS, "maxcor": MEMORY, "ftol": tolerance, "gtol": 1e-8},
        )
        logger.debug(
            "refit of %d features by cross-entropy, penalty %g: %.4g after %d evaluations, %s",
            *(width, penalty, result.fun, result.nfev, result.message),
        )
        return result.x.reshape(start.shape)

    def _refit(self, weights: np.ndarray) -> LogitRefit:
        risk, _ = self._value_and_gradient(weights.reshape(-1), len(weights) - 1, 0.0, self._all)
        return LogitRefit(*self._raw(weights), risk)

    def _raw(self, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Kernel and bias for the features as they are, of those for standardised ones."""
        width = len(weights) - 1
        kernel = weights[:-1] / self._scale[:width, None]
        return kernel, weights[-1] - self._mean[:width] @ kernel

    def _value_and_gradient(
        self, flat: np.ndarray, width: int, penalty: float, examples: np.ndarray
    ) -> tuple[float, np.ndarray]:
        """Of the mean over `examples`, float64 (n,) with sum 1, and the penalty."""
        weights = flat.reshape(width + 1, -1)
        kernel, bias = self._raw(weights)
        total, products, sums = 0.0, np.zeros_like(kernel), np.zeros_like(bias)
        for rows, tile in row_tiles(self._features, width):
            values, errors = _cross_entropy(tile @ kernel + bias, self._targets[rows], self._link)
            total += float(examples[rows] @ values)
            errors *= examples[rows, None]
            products += tile.T @ errors
            sums += errors.sum(axis=0)
        by_kernel = (products - self._mean[:width, None] * sums) / self._scale[:width, None]
        gradient = np.concatenate([by_kernel + 2 * penalty * weights[:-1], sums[None]])
        return total + penalty * float(np.sum(weights[:-1] ** 2)), gradient.reshape(-1)


def _cross_entropy(
    logits: np.ndarray, targets: np.ndarray, link: str
) -> tuple[np.ndarray, np.ndarray]:
    """The cross-entropy of each example (n,), and its derivative by the logits (n, K)."""
    if link == "sigmoid":
        soft = np.logaddexp(0.0, logits)
        return np.sum(soft - targets * logits, axis=1), np.exp(logits - soft) - targets
    logits = logits - logits.max(axis=1, keepdims=True)
    values = -np.einsum("ij,ij->i", targets, logits)
    shares = np.exp(logits, out=logits)
    normaliser = shares.sum(axis=1, keepdims=True)
    shares /= normaliser
    shares -= targets
    return values + np.log(normaliser[:, 0]), shares
