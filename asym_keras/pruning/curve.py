"""Pruning curves: the risk by the number of nodes pruned, for all widths in one pass."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from asym_keras.checks import is_whole
from asym_keras.importance.rules import order_nodes
from asym_keras.pruning.ending import (
    LINKS,
    Ending,
    check_regression,
    find_ending,
    fit_readouts,
    smoothed,
)
from asym_keras.pruning.logistic import PENALTY
from asym_keras.pruning.parts import Part, Scores
from asym_keras.pruning.refit import row_tiles
from asym_keras.pruning.refit_memory import require_refit

STEPS = 20  # of 5 %


def pruning_curve(
    model: keras.Model,
    x_train: Any,
    y_train: Any,
    x_test: Any,
    y_test: Any,
    *,
    labels_train: Any = None,
    labels_test: Any = None,
    importance: str | npt.ArrayLike = "paper",
    loss: Any = "mse",
    pruned: Iterable[int] | None = None,
    refit: bool = False,
    refit_widest: int | None = None,
    regression: str = "auto",
    penalty: float | str = PENALTY,
    layer: str | None = None,
    seed: int = 0,
    batch_size: int | None = None,
) -> list[dict]:
    """Risks of `model` without its least important nodes, for several numbers of them.

    The outputs are sums over nodes, `f_k(x) = sum_j phi_j(x) v_jk`, or what layers without weights
    make of them. In the order of importance the nodes that a width keeps are the first ones, so
    that all widths are partial sums of one forward pass. With `refit` the readout of each width is
    fitted anew to the training data: by ridge regression, the penalty chosen by leave-one-out
    (`refit_readouts`), or, where softmax or sigmoid follow, by their cross-entropy
    (`refit_logits`). Where a refit gives logits and `loss` takes none (a squared loss, say), their
    probabilities are measured.

    Args:
        model: built model that ends in an `AsymScaledDense` with outputs, or in one without
            (features) and a `Dense`; (n, ...) -> (n, K). Layers without weights, such as poolings
            and activations, and batch normalisations may be between, the former also after them.
        x_train, x_test: examples (n, ...), or a `tf.data.Dataset` of batches (x, y).
        y_train, y_test: targets (n, K), or labels, int (n,), which count as one-hot targets
            where `loss` takes no labels. None beside a dataset.
        labels_train, labels_test: int (n,), for accuracies. None: those that the targets stand
            for; without any there are no accuracies.
        importance: one of `asym_keras.importance.RULES`, or an array (m,). `"output"` is
            measured on `x_train`.
        loss: as `model.compile` takes it, one value an example; see `asym_keras.training.train`.
        pruned: numbers of nodes to prune, 0 to m. None: 5 % steps from none to all.
        refit: whether to add the columns with suffix `_refit`.
        refit_widest: the widest network to refit; those columns of wider ones are NaN. None: all
            are refitted. `asym_keras.pruning.widest_refit` says how many nodes fit the memory.
        regression: `"ridge"`, `"cross_entropy"` (also of a `Dense` whose outputs are logits),
            or `"auto"`: by what follows the sums, and where nothing does by `loss`, if that is a
            cross-entropy of logits, of each by itself where it is a binary one; ridge otherwise.
            Its label smoothing is that of the refit.
        penalty: of a refit by cross-entropy, as `refit_logits` takes it; `"auto"` chooses it.
        layer: name of the `AsymScaledDense`; None: it is the only one.
        seed: int, breaks ties in the importance.
        batch_size: examples at once; None: by the sizes of the layers. All at once if what the
            model makes of one depends on the others.

    Returns:
        One dict a width, by increasing `pruned`: `pruned`, `kept`, `train_risk`, `test_risk`, with
        labels `train_accuracy`, `test_accuracy`, and with `refit` the same with suffix
        `_refit`. With all nodes pruned, what is left is the bias, what the `Dense` reads beside
        nodes, and what masked nodes leave.

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
    check_regression(regression)
    if refit_widest is not None and refit_widest < 0:
        raise ValueError(
            f"pruning_curve: expected refit_widest from 0 on, received {refit_widest}."
        )
    ending = find_ending(model, layer)
    parts = {
        "train": Part(ending, "train", x_train, y_train, labels_train, loss),
        "test": Part(ending, "test", x_test, y_test, labels_test, loss),
    }
    pruned = _check_pruned(pruned, ending.layer.units)
    widths = [ending.layer.units - count for count in pruned]
    # Widths fall, so those above the widest one to refit come first.
    skipped = 0 if refit_widest is None else sum(width > refit_widest for width in widths)
    by = ending.regression(regression, ending.outputs, loss) if refit else "ridge"
    if refit:
        targets = ending.targets(parts["train"].x, parts["train"].y)
        widest = next(iter(widths[skipped:]), 0)
        require_refit(ending, targets, widest, by, test=len(parts["test"].y))
        targets = smoothed(targets, by, loss)
    order = order_nodes(model, ending.layer, importance, x=parts["train"].x, seed=seed)
    columns, counts = ending.arranged(order)
    entries = [counts[width] for width in widths]
    refitted = entries[skipped:] if refit else []
    most = max(refitted, default=0)  # features that a refit takes
    kernel, constants = ending.kernel[columns], ending.nodes.constants[columns]
    scores: dict[str, Scores] = {}
    features: dict[str, np.ndarray] = {}
    for name, part in parts.items():
        scores[name] = Scores(part, len(widths))
        for rows, tile in ending.features(part.x, batch_size):
            tile = tile[..., columns]
            if refit:
                if name not in features:
                    features[name] = np.empty((len(part.y), most), tile.dtype)
                features[name][rows] = tile[:, :most]
            for width, outputs in _outputs(ending, tile, kernel, constants, entries):
                scores[name].add(width, rows, outputs)
    if refit:
        fits = refitted and fit_readouts(features["train"], targets, refitted, by, penalty)
        logits = by != "ridge" and ending.link == "linear"
        for name, part in parts.items():
            scores[f"{name}_refit"] = Scores(part, len(widths))
            link = LINKS[by if logits and not part.loss.takes_logits else "linear"]
            for width, rows, outputs in _refitted_outputs(ending, features[name], fits, link):
                scores[f"{name}_refit"].add(skipped + width, rows, outputs)
    table: dict[str, list] = {"pruned": pruned, "kept": widths}
    for suffix in ("", "_refit") if refit else ("",):
        for quantity in ("risk", "accuracy"):
            for name in parts:
                values = getattr(scores[f"{name}{suffix}"], quantity)
                if values is not None:  # there is no accuracy without labels
                    table[f"{name}_{quantity}{suffix}"] = values.tolist()
    return [dict(zip(table, row, strict=True)) for row in zip(*table.values(), strict=True)]


def _outputs(
    ending: Ending, tile: np.ndarray, kernel: np.ndarray, constants: np.ndarray, entries: list[int]
) -> Iterator[tuple[int, Any]]:
    """Yields index of a width and outputs (rows, K), float64, from features (rows, entries).

    Products are taken of the features between one width and the next, in the model's precision,
    and summed in float64.
    """
    if constants.any():
        tile = tile.astype("float64") - constants
    dtype = "float64" if tile.dtype == "float64" else "float32"
    sums, first = ending.bias + constants @ kernel, 0  # of all nodes masked
    for width in reversed(range(len(entries))):  # the narrowest first
        nodes = slice(first, entries[width])
        sums = sums + tile[..., nodes].astype(dtype, copy=False) @ kernel[nodes].astype(dtype)
        first = nodes.stop
        yield width, ending.tail(sums)


def _refitted_outputs(
    ending: Ending, features: np.ndarray, fits: Any, link: Any
) -> Iterator[tuple[int, slice, Any]]:
    """Yields index of a width, slice of examples, and outputs by the refitted readouts.

    Logits are made probabilities by `link` for a loss that does not take them.
    """
    for rows, tile in row_tiles(features, features.shape[1]):
        for width, fit in enumerate(fits):
            sums = tile[:, : len(fit.kernel)] @ fit.kernel + fit.bias
            yield width, rows, link(ending.tail(sums))


def _check_pruned(pruned: Any, units: int) -> list[int]:
    if pruned is None:
        return sorted({round(units * i / STEPS) for i in range(STEPS + 1)})
    counts = list(pruned)
    whole = all(is_whole(count, 0, units) for count in counts)
    if not counts or not whole or len(set(counts)) < len(counts):
        raise ValueError(
            f"pruning_curve: expected pruned to be distinct numbers of nodes from 0 to {units}, "
            f"received {counts}."
        )
    return sorted(int(count) for count in counts)
