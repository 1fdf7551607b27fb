"""Pruning curves: the risk by the number of nodes pruned, for all widths in one pass."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import keras
import numpy as np
from keras import ops

from asym_keras.importance.rules import order_nodes
from asym_keras.pruning.ending import Ending, find_ending
from asym_keras.pruning.refit import TILE_ROWS, refit_readouts
from asym_keras.pruning.refit_memory import require_refit

STEPS = 20  # of 5 %


def pruning_curve(
    model: keras.Model,
    x_train,
    y_train,
    x_test,
    y_test,
    *,
    labels_train=None,
    labels_test=None,
    importance="paper",
    loss="mse",
    pruned: Iterable[int] | None = None,
    refit: bool = False,
    refit_widest: int | None = None,
    layer: str | None = None,
    seed: int = 0,
    batch_size: int | None = None,
) -> list[dict]:
    """Risks of `model` without its least important nodes, for several numbers of them.

    The outputs are sums over nodes, `f_k(x) = sum_j phi_j(x) v_jk`. In the order of importance
    the nodes that a width keeps are the first ones, so that all widths are partial sums of one
    forward pass. With `refit` the readout of each width is fitted anew to the training data
    (`refit_readouts`: ridge regression, the penalty chosen by leave-one-out).

    Args:
        model: built model that ends in an `AsymScaledDense` with outputs, or in one without
            (features), followed by a linear `Dense`; (n, ...) -> (n, K).
        x_train, x_test: examples (n, ...).
        y_train, y_test: targets (n, K); one-hot for classes.
        labels_train, labels_test: int (n,), for accuracies. None: no accuracies.
        importance: one of `asym_keras.importance.RULES`, or an array (m,). `"output"` is
            measured on `x_train`.
        loss: name, `keras.losses.Loss` or function `(y, outputs) -> values`, whose mean is the
            risk. Cross-entropies given by name take the outputs as logits.
        pruned: numbers of nodes to prune, 0 to m. None: 5 % steps from none to all.
        refit: whether to add the columns with suffix `_refit`.
        refit_widest: the widest network to refit; those columns of wider ones are NaN. None: all
            are refitted. `asym_keras.pruning.widest_refit` says how many nodes fit the memory.
        layer: name of the `AsymScaledDense`; None: it is the only one.
        seed: int, breaks ties in the importance.
        batch_size: examples at once; None: by the sizes of the layers.

    Returns:
        One dict a width, by increasing `pruned`: `pruned`, `kept`, `train_risk`, `test_risk`, with
        labels `train_accuracy`, `test_accuracy`, and with `refit` the same with suffix
        `_refit`. The last row, without nodes, is the risk of the bias, which is zero unless
        fitted or a `Dense`'s.

    Raises:
        ValueError: A model with another end, arrays that do not fit, numbers out of range, or a
            refit that needs more than `asym_keras.pruning.REFIT_BYTES`; before any work.

    Example:
        >>> model = asym_keras.shallow_network(1, width=40, seed=0)
        >>> x = np.linspace(-1, 1, 9, dtype="float32")[:, None]
        >>> rows = asym_keras.pruning.pruning_curve(model, x, x**2, x, x**2)
        >>> [row["kept"] for row in rows[-3:]]
        [4, 2, 0]
    """
    ending = find_ending(model, layer)
    parts = {
        "train": _Part(ending, x_train, y_train, labels_train),
        "test": _Part(ending, x_test, y_test, labels_test),
    }
    pruned = _check_pruned(pruned, ending.layer.units)
    widths = [ending.layer.units - count for count in pruned]
    skipped = _not_refitted(widths, refit_widest) if refit else 0
    if refit and skipped < len(widths):
        counts = (len(part.y) for part in parts.values())
        require_refit(*counts, widest=widths[skipped], dtype=ending.layer.compute_dtype)
    order = order_nodes(model, ending.layer, importance, x=x_train, seed=seed)
    loss = _per_example(loss)
    scores: dict[str, _Scores] = {}
    features: dict[str, Any] = {}
    for name, part in parts.items():
        scores[name] = _Scores(part, loss, len(widths))
        store = features[name] = _Store(len(part.y), widths[skipped:]) if refit else None
        for outputs in _outputs(ending, part.x, order, widths, batch_size, store):
            scores[name].add(*outputs)
    if refit:
        refitted = widths[skipped:]
        fits = refitted and refit_readouts(features["train"].array, parts["train"].y, refitted)
        for name, part in parts.items():
            scores[f"{name}_refit"] = _Scores(part, loss, len(widths))
            for width, *outputs in _refitted_outputs(features[name].array, fits):
                scores[f"{name}_refit"].add(skipped + width, *outputs)
    return [
        {
            "pruned": count,
            "kept": widths[i],
            **_columns(scores, i, ""),
            **_columns(scores, i, "_refit"),
        }
        for i, count in enumerate(pruned)
    ]


class _Part:
    """Examples of the training or test part, checked."""

    def __init__(self, ending: Ending, x, y, labels):
        self.x, self.y = x, ending.targets(x, y)
        self.labels = None if labels is None else np.asarray(labels)
        classes = self.y.shape[1]
        if self.labels is not None and (
            self.labels.shape != (len(self.y),) or self.labels.dtype.kind not in "iu" or classes < 2
        ):
            raise ValueError(
                f"Expected labels to be {len(self.y)} integers for a model with several outputs, "
                f"received shape {self.labels.shape} of {self.labels.dtype} for {classes} outputs."
            )


class _Scores:
    """Risks and accuracies of each width, added up tile by tile."""

    def __init__(self, part: _Part, loss, widths: int):
        self._part, self._loss = part, loss
        self._losses, self._values, self._hits = np.zeros((3, widths))

    def add(self, width: int, rows: slice, outputs: np.ndarray) -> None:
        """Counts the outputs (rows, K) of the examples `rows` at the width with this index."""
        targets = ops.convert_to_tensor(self._part.y[rows])
        values = ops.convert_to_numpy(self._loss(targets, ops.convert_to_tensor(outputs)))
        self._losses[width] += values.sum()
        self._values[width] += values.size
        if self._part.labels is not None:
            self._hits[width] += np.sum(np.argmax(outputs, axis=-1) == self._part.labels[rows])

    def risk(self, width: int) -> float:
        """Mean loss; NaN if no outputs came."""
        if not self._values[width]:
            return float("nan")
        return float(self._losses[width] / self._values[width])

    def accuracy(self, width: int) -> float | None:
        """Share of examples in their class; None without labels, NaN if no outputs came."""
        if self._part.labels is None:
            return None
        if not self._values[width]:
            return float("nan")
        return float(self._hits[width] / len(self._part.labels))


class _Store:
    """The first features, as many as the widest refit takes, tile by tile."""

    def __init__(self, examples: int, widths: list[int]):
        self._examples, self._columns = examples, max(widths, default=0)
        self.array: Any = None

    def add(self, rows: slice, tile: np.ndarray) -> None:
        """Keeps what is wanted of the features (rows, m) of the examples `rows`."""
        if self.array is None:
            self.array = np.empty((self._examples, self._columns), tile.dtype)
        self.array[rows] = tile[:, : self._columns]


def _columns(scores: dict[str, _Scores], width: int, suffix: str) -> dict[str, float]:
    """Part of a row: risks, then accuracies."""
    both = [(name, scores.get(f"{name}{suffix}")) for name in ("train", "test")]
    row: dict[str, float | None] = {
        f"{name}_risk{suffix}": score.risk(width) for name, score in both if score
    }
    row |= {f"{name}_accuracy{suffix}": score.accuracy(width) for name, score in both if score}
    return {name: number for name, number in row.items() if number is not None}


def _outputs(ending: Ending, x, order, widths: list[int], batch_size, store):
    """Yields index of a width, slice of examples, and outputs (rows, K), float64.

    Products are taken of the nodes between one width and the next, in the model's precision,
    and summed in float64. The `_Store` gets the tiles of features.
    """
    kernel, bias = ending.kernel[order], ending.bias
    for rows, tile in ending.features(x, batch_size):
        tile = ops.convert_to_numpy(tile)[:, order]
        if store is not None:
            store.add(rows, tile)
        outputs, first = bias, 0
        for width in reversed(range(len(widths))):  # the narrowest first
            nodes = slice(first, widths[width])
            outputs = outputs + _product(tile[:, nodes], kernel[nodes])
            first = nodes.stop
            yield width, rows, outputs


def _not_refitted(widths: list[int], widest: int | None) -> int:
    """How many of `widths`, which fall, are above `widest`."""
    if widest is not None and widest < 0:
        raise ValueError(f"pruning_curve: expected refit_widest from 0 on, received {widest}.")
    return sum(widest is not None and width > widest for width in widths)


def _product(features: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """In float64 for float64 features, else in float32."""
    dtype = "float64" if features.dtype == "float64" else "float32"
    return features.astype(dtype, copy=False) @ kernel.astype(dtype)


def _refitted_outputs(features: np.ndarray, fits):
    """Yields what `_outputs` does, by the refitted readouts."""
    for first in range(0, len(features), TILE_ROWS):
        rows = slice(first, first + TILE_ROWS)
        tile = features[rows].astype("float64")
        for width, fit in enumerate(fits):
            yield width, rows, tile[:, : len(fit.kernel)] @ fit.kernel + fit.bias


def _check_pruned(pruned, units: int) -> list[int]:
    if pruned is None:
        return sorted({round(units * i / STEPS) for i in range(STEPS + 1)})
    counts = list(pruned)
    whole = all(isinstance(c, (int, np.integer)) and not isinstance(c, bool) for c in counts)
    if (
        not counts
        or not whole
        or len(set(counts)) < len(counts)
        or not (0 <= min(counts) and max(counts) <= units)
    ):
        raise ValueError(
            f"pruning_curve: expected pruned to be distinct numbers of nodes from 0 to {units}, "
            f"received {counts}."
        )
    return sorted(int(count) for count in counts)


_LOGITS = {
    "binary_crossentropy": keras.losses.BinaryCrossentropy,
    "categorical_crossentropy": keras.losses.CategoricalCrossentropy,
}


def _per_example(loss):
    """Loss as a function whose mean is the risk, whatever reduction the loss object has."""
    loss = _LOGITS[loss](from_logits=True) if loss in _LOGITS else keras.losses.get(loss)
    return loss.call if isinstance(loss, keras.losses.Loss) else loss
