"""Models that end in a sum over their nodes: what pruning curves and refits work on."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
from keras import ops

from asym_keras.graphs import Step, output_structure, perform
from asym_keras.importance.graph import Sum, computes_features, find_layer, node_paths
from asym_keras.importance.nodes import Nodes, all_nodes
from asym_keras.importance.taps import received, tiles
from asym_keras.inputs import as_inputs, example_count, require_biases, take
from asym_keras.layers import AsymScaledDense
from asym_keras.losses import ExampleLoss
from asym_keras.pruning.logistic import refit_logits
from asym_keras.pruning.refit import refit_readouts
from asym_keras.targets import as_targets, one_hot

# What becomes of the sums in the models whose readouts can be refitted. From the very tensors that
# softmax and sigmoid return Keras's cross-entropies go back to the logits, as in `evaluate`.
LINKS = {"linear": keras.activations.linear, "softmax": ops.softmax, "sigmoid": ops.sigmoid}
REGRESSIONS = ("auto", "ridge", "cross_entropy")


@dataclasses.dataclass(frozen=True, eq=False)
class Ending:
    """The end of a model: outputs are `tail(features @ kernel + bias)`.

    Attributes:
        model: the model.
        layer: its `AsymScaledDense`.
        reader: what sums over nodes: that layer itself, if it has outputs, or the `Dense` that
            takes its features; None: the model returns the features.
        nodes: what the reader takes of nodes.
        steps: the calls of operations without weights on what it returns.
        link: what activation and steps amount to: `"linear"`, `"softmax"`, `"sigmoid"`, or
            `"other"`.
        outputs: int, K; 0: the model returns the features, and has no outputs yet.
    """

    model: keras.Model
    layer: AsymScaledDense
    reader: Any
    nodes: Nodes
    steps: tuple[Step, ...]
    link: str
    outputs: int

    @property
    def dense(self) -> Any:
        """The reader, if it is no `AsymScaledDense`."""
        return None if self.reader is self.layer else self.reader

    def targets(self, x: Any, y: Any) -> np.ndarray:
        """`y`, targets or labels, as float64 (n, K) that fits the model and its examples `x`."""
        targets, _ = self.targets_or_labels(x, y)
        return targets if targets.ndim == 2 else one_hot(targets, self.outputs)

    def targets_or_labels(self, x: Any, y: Any) -> tuple[np.ndarray, bool]:
        """`y` as float64 (n, K), or as labels int64 (n,); and whether it is these."""
        if not self.outputs and np.ndim(y) != 2:
            raise ValueError(
                "Expected targets of shape (n, K), one-hot for classes, of a model that returns "
                f"features, received shape {np.shape(y)}."
            )
        outputs = self.outputs or np.shape(y)[1]
        targets, labels = as_targets(y, (outputs,), model=self.model.name)
        example_count(x, targets)
        return np.asarray(targets, dtype=None if labels else "float64"), labels

    @property
    def kernel(self) -> np.ndarray:
        """What multiplies the features, float64 (entries, K)."""
        weight = self.layer.readout if self.reader is self.layer else self.reader.kernel
        return ops.convert_to_numpy(weight).astype("float64")

    @property
    def bias(self) -> np.ndarray:
        """What is added, float64 (K,)."""
        if self.dense is None or self.dense.bias is None:
            return np.zeros(self.kernel.shape[1])
        return ops.convert_to_numpy(self.dense.bias).astype("float64")

    def arranged(self, order: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The features' columns by the order of nodes, and how many there are by nodes kept.

        Args:
            order: nodes, the most important first.

        Returns:
            int (entries,): those that belong to no node, then those of `order[0]`, and so on;
            and int (m + 1,), of which number k is for k nodes.
        """
        rank = np.empty(len(order) + 1, int)
        rank[order] = np.arange(len(order))
        rank[-1] = -1  # labels of entries without a node
        ranks = rank[self.nodes.labels]
        columns = np.argsort(ranks, kind="stable")
        return columns, np.searchsorted(ranks[columns], np.arange(len(order) + 1))

    def features(self, x: Any, batch_size: int | None = None) -> Iterator[tuple[slice, np.ndarray]]:
        """Slices over the examples of `x`, and what the reader sums of each, (rows, entries)."""
        x = as_inputs(self.model, x)
        for rows in tiles(self.model, x, len(self.nodes.labels), batch_size):
            [[inputs]] = received(self.model, [self.reader], take(x, rows), skip=True)
            features = inputs if self.dense else self.layer.features(inputs)
            yield rows, ops.convert_to_numpy(features)

    def tail(self, sums: np.ndarray) -> Any:
        """The model's outputs for the sums, float64; other links are computed as in the model."""
        if self.link in LINKS:
            return LINKS[self.link](ops.convert_to_tensor(sums))
        values = ops.convert_to_tensor(sums, self.reader.compute_dtype)
        return _tail(self.reader, self.steps, values)

    def regression(self, asked: str, outputs: int, loss: Any = None) -> str:
        """What fits the sums: `"ridge"`, or the cross-entropy of `"softmax"` or `"sigmoid"`.

        Args:
            asked: one of `REGRESSIONS`. `"auto"`: by what follows the sums; if nothing does, by
                cross-entropy where that is the loss. A binary one takes sigmoids.
            outputs: int, K.
            loss: what the model was trained with; None: it is not known.

        Raises:
            ValueError: Nothing does, or something else than what was asked for.
        """
        link = self.link
        known = None if loss is None else ExampleLoss(loss)
        by_loss = asked == "auto" and known is not None and known.takes_logits
        if link == "linear" and (asked == "cross_entropy" or by_loss):
            link = "sigmoid" if outputs == 1 else (known and known.link) or "softmax"
        if link == "other" or (link != "linear" and asked == "ridge"):
            fault = "another function" if link == "other" else f"the {link}"
            raise ValueError(
                "Expected a model whose outputs are sums over its nodes (refit by ridge "
                "regression), or their softmax or sigmoid (by cross-entropy), received "
                f"regression={asked!r} for a model whose outputs are {fault} of them. Refit the "
                "part of it that ends in a Dense."
            )
        return "ridge" if link == "linear" else link


def check_regression(asked: str) -> None:
    """Raises ValueError unless `asked` is a way to refit, whether or not there is a refit."""
    if asked not in REGRESSIONS:
        raise ValueError(f"Expected regression to be one of {REGRESSIONS}, received {asked!r}.")


def _tail(reader: Any, steps: Any, values: Any) -> np.ndarray:
    if type(reader) is keras.layers.Dense:
        values = reader.activation(values)
    for step in steps:
        [values] = perform(step, [values] * len(step.inputs))
    return ops.convert_to_numpy(values).astype("float64")


def _link(end: Sum) -> str:
    """What activation and steps do to the sums, tried on random numbers."""
    if len(end.tensor.shape) != 2:
        return "other"
    units, dtype = end.tensor.shape[1], end.layer.compute_dtype
    spread = np.geomspace(0.1, 30.0, 32)[:, None]
    z = np.random.default_rng(0).normal(size=(32, units)) * spread
    values = ops.convert_to_tensor(z, dtype)
    got = _tail(end.layer, end.steps, values)
    close = 1e-4 if dtype in ("float32", "float64") else 3e-2
    for name, link in LINKS.items():
        if name == "softmax" and units == 1:  # always 1, of which Keras warns
            continue
        want = ops.convert_to_numpy(link(values)).astype("float64")
        if got.shape == want.shape and np.allclose(got, want, rtol=close, atol=close):
            return name
    return "other"


def find_ending(model: keras.Model, layer: str | None = None, *, readout: bool = True) -> Ending:
    """The `Ending` of `model`.

    Args:
        model: built model.
        layer: name of its `AsymScaledDense`; None: it is the only one.
        readout: False: a model that returns the features will do, too.

    Raises:
        ValueError: The model does not end in an `AsymScaledDense` with outputs, nor in one
            without, followed by a `Dense`, and in operations without weights after it; its
            outputs are not (n, K); no such layer; or Keras would be wrong (`require_biases`).
    """
    target = find_layer(model, layer)
    require_biases(model)
    paths = node_paths(model, target)
    calls = {cut.calls for cut in paths.cuts} | {paths.calls}
    end = paths.outputs[0] if len(paths.outputs) == 1 and calls == {1} else None
    shape: tuple = () if end is None else keras.tree.flatten(output_structure(model))[0].shape
    if paths.obstacle:
        fault = f"features that go to {paths.obstacle}"
    elif not computes_features(target):
        fault = f"{target.name!r} of class {type(target).__name__}, with a call of its own"
    elif end is None or len(shape) != 2:
        fault = f"outputs {model.output_shape} in which other layers have a part"
    elif isinstance(end, Nodes) and readout:
        fault = "a model that returns the features"
    elif isinstance(end, Nodes):
        return Ending(model, target, None, end, (), "linear", 0)
    elif end.layer is target or type(end.layer) is keras.layers.Dense:
        own = all_nodes(target.units, len(end.tensor.shape) - 1)
        [nodes] = [cut.received for cut in paths.readers] or [own]
        return Ending(model, target, end.layer, nodes, end.steps, _link(end), shape[-1])
    else:
        fault = f"{end.layer.name!r} ({type(end.layer).__name__}) after them"
    raise ValueError(
        f"Expected model {model.name!r} to end in the AsymScaledDense {target.name!r} with "
        "outputs, or in one Dense that reads its features (outputs=None), and after that in layers "
        f"without weights, with outputs of shape (n, K). Received {fault}. Take the part of the "
        "model that ends so."
    )


def smoothed(targets: np.ndarray, by: str, loss: Any = None) -> np.ndarray:
    """Targets (n, K) as `loss` takes them, if it smooths labels, for the cross-entropy `by`."""
    share = 0.0 if loss is None or by == "ridge" else ExampleLoss(loss).label_smoothing
    return (1.0 - share) * targets + share * (0.5 if by == "sigmoid" else 1.0 / targets.shape[1])


def fit_readouts(
    features: Any, targets: np.ndarray, widths: Any, by: str, penalty: float | str
) -> list:
    """Kernels and biases on the first columns, `by` an `Ending.regression`."""
    if by == "ridge":
        return refit_readouts(features, targets, widths)
    return refit_logits(features, targets, widths, link=by, penalty=penalty)
