"""A loss of every prefix at once, and the weights that tie it to node scalings."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from asym_keras.graphs import keep_logits, logits_of, mask_of
from asym_keras.nesting.readout import check_widths

# What `compile` makes of a function: targets (n,) and outputs (n, 1) meet, and do not broadcast.
Wrapper: Any = keras.losses.MeanSquaredError.__base__


@keras.saving.register_keras_serializable(package="asym_keras")
class NestedLoss(keras.losses.Loss):
    """Mean of a loss over the prefixes of a `NestedReadout`: `sum_p q_p loss(y, f_p) / sum_p q_p`.

    Args:
        loss: any Keras loss, by name, as a function `(y_true, y_pred)` or as a `Loss`.
        weights: nonnegative numbers (P,), not all zero, one for each prefix, of any scale: a law of
            `asym_keras.scaling` over the prefixes, or `prefix_weights`, which takes one over the
            nodes. None: equal.
        reduction: over examples. None: that of `loss`, or the mean.
        name: name of the loss.

    Raises:
        ValueError: Weights of another kind; when it is called, predictions that are not of
            shape (..., P, K), or of another number of prefixes than there are weights.

    Example:
        >>> loss = asym_keras.NestedLoss("mse", weights=[1.0, 3.0])
        >>> float(loss(np.zeros((1, 1)), np.array([[[2.0], [1.0]]])))  # (4 + 3 * 1) / 4
        1.75
    """

    def __init__(
        self,
        loss: Any,
        weights: npt.ArrayLike | None = None,
        *,
        reduction: str | None = None,
        name: str = "nested_loss",
        dtype: Any = None,
    ) -> None:
        self.loss = loss if _is_crossentropy(loss) else keras.losses.get(loss)
        whole = isinstance(self.loss, keras.losses.Loss)
        if self.loss is None:
            raise ValueError(f"NestedLoss: expected a Keras loss, received {loss!r}.")
        if isinstance(self.loss, NestedLoss):
            raise ValueError("NestedLoss: expected the loss of one prefix, received a NestedLoss.")
        function = crossentropy if _is_crossentropy(loss) else self.loss
        self._one = self.loss if whole else Wrapper(function, name=name)
        if reduction not in (None, self._one.reduction):  # also of the model of one prefix
            self.loss = self._one = copy.copy(self._one)
            self._one.reduction = reduction
        super().__init__(name=name, reduction=self._one.reduction, dtype=dtype or self._one.dtype)
        self.weights = None if weights is None else _check_weights(weights)

    def call(self, y_true: Any, y_pred: Any) -> Any:
        count = y_pred.shape[-2] if len(y_pred.shape) > 2 else None
        if count is None or (self.weights is not None and len(self.weights) != count):
            wanted = "P" if self.weights is None else f"{len(self.weights)} (a weight each)"
            raise ValueError(
                "NestedLoss: expected predictions of shape (..., prefixes, outputs) with "
                f"{wanted} prefixes, received {tuple(y_pred.shape)}. Use it on a NestedReadout, "
                "and give it a weight for each width."
            )
        shares = np.full(count, 1.0 / count) if self.weights is None else self.weights
        kept = [index for index, share in enumerate(shares) if share]
        values = [self._one.call(y_true, outputs_of_prefix(y_pred, index)) for index in kept]
        terms = [float(w) * v for w, v in zip(shares[kept] / shares.sum(), values, strict=True)]
        return masked(sum(terms[1:], terms[0]), mask_of(values[0]))  # of a class that is ignored

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        return {
            **config,
            "loss": keras.losses.serialize(self.loss),
            "weights": None if self.weights is None else self.weights.tolist(),
        }


@keras.saving.register_keras_serializable(package="asym_keras")
def crossentropy(y_true: Any, y_pred: Any) -> Any:
    """The cross-entropy that `compile("adam", "crossentropy")` chooses by the shapes."""
    return getattr(keras.losses, f"{kind_of(y_true, y_pred)}_crossentropy")(y_true, y_pred)


def kind_of(y_true: Any, y_pred: Any) -> str:
    """What Keras takes targets for: `binary`, `sparse_categorical` (labels) or `categorical`."""
    if y_pred.shape[-1] == 1:
        return "binary"
    labels = len(y_true.shape) < len(y_pred.shape) or y_true.shape[-1] == 1
    return "sparse_categorical" if labels else "categorical"


def outputs_of_prefix(outputs: Any, index: int) -> Any:
    """Outputs (..., K) of one prefix of (..., P, K), with the logits and mask that Keras keeps.

    Only so do its losses and metrics compute what they compute of a model with that prefix alone.
    """
    part = outputs[..., index, :]
    logits = logits_of(outputs)
    if logits is not None:
        keep_logits(part, logits[..., index, :])
    return masked(part, mask_of(outputs))


def masked(tensor: Any, mask: Any) -> Any:
    """The tensor with a mask, if there is one: for Keras, a layer attaches it."""
    if mask is None:
        return tensor
    return keras.layers.Lambda(lambda t: t, mask=mask, autocast=False, name="masked")(tensor)


def prefix_weights(widths: Sequence[int], scalings: npt.ArrayLike) -> np.ndarray:
    """Weights of prefixes under which nested training scales nodes as `scalings` do.

    Draw a width K with probabilities q, and let the residuals of all widths be equal. Then node j
    has `P(K >= j)` times the gradient that it has in the whole network, just as a node with the
    scaling `lambda_j ~ P(K >= j)` has. So the weights are the steps by which the scalings fall from
    one block of nodes, between two widths, to the next: `q_p ~ l_p - l_(p+1)`, where `l_p` is the
    mean of `lambda_j` over `w_(p-1) < j <= w_p`.

    Args:
        widths: ints, increasing.
        scalings: lambda, at least as many as the largest width, that do not increase:
            `node_scalings(m, gamma, alpha)`, for example. With gamma = 1 the whole network gets all
            of the weight, which is plain training.

    Returns:
        float64 (P,), with sum 1.

    Raises:
        ValueError: Widths that do not increase, or scalings that are too few, negative, not
            finite, all zero, or that increase.

    Example:
        >>> asym_keras.nesting.prefix_weights((1, 2), [3.0, 1.0])
        array([0.66666667, 0.33333333])
    """
    widths = check_widths(widths, "prefix_weights")
    values = np.asarray(scalings, dtype="float64")
    if values.ndim != 1 or len(values) < widths[-1]:
        raise ValueError(
            f"prefix_weights: expected scalings of at least {widths[-1]} nodes, received shape "
            f"{values.shape}."
        )
    if not np.isfinite(values).all() or (np.diff(values) > 0).any() or values.min() < 0:
        raise ValueError(
            "prefix_weights: expected scalings that are finite, nonnegative and do not increase, "
            "received others. Sort them, the largest first."
        )
    first = (0, *widths[:-1])
    levels = np.array([values[a:b].mean() for a, b in zip(first, widths, strict=True)])
    if not levels[0]:
        raise ValueError("prefix_weights: expected scalings that are not all zero, received zeros.")
    return np.append(-np.diff(levels), levels[-1]) / levels[0]


def _is_crossentropy(loss: Any) -> bool:
    return isinstance(loss, str) and loss.lower() in ("crossentropy", "ce")


def _check_weights(weights: Any) -> np.ndarray:
    values = np.asarray(weights, dtype="float64")
    fine = values.ndim == 1 and values.size and np.isfinite(values).all()
    if not fine or (values < 0).any() or not values.any():
        raise ValueError(
            "NestedLoss: expected weights (P,) that are finite, nonnegative and not all zero, "
            f"received {weights!r}."
        )
    return values
