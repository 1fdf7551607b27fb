"""Functions of the model that a run calls at each record time.

A probe is any callable `probe(model)` that returns a number, an array, or a dict of both.
If it has a method `start(model)`, that is called once with the initial weights, also when a
run is resumed. Numbers become columns of the history, arrays are kept beside it. A dict names
its columns; the column of any other result has the probe's own name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from asym_keras.evaluator import Evaluator
from asym_keras.graphs import layers_of
from asym_keras.layers import AsymScaledDense

# So many weights are looked at together: 8 MB in float64.
TILE_NUMBERS = 2**20


def by_name(probes: Mapping[str, Callable] | Iterable[Callable]) -> dict[str, Callable]:
    """The probes of a run by name: as the dict has them, or as they are called themselves.

    Raises:
        ValueError: What is no function, a lambda without a name, or a name that occurs twice.
    """
    if isinstance(probes, Mapping):
        named = list(probes.items())
    else:
        # Objects name their columns in what they return, so a place tells them apart.
        named = [
            (getattr(p, "__name__", f"{type(p).__name__} {i}"), p) for i, p in enumerate(probes, 1)
        ]
    for name, probe in named:
        received = repr(probe) if not callable(probe) else None
        if name == "<lambda>":
            received = "a lambda, which has no name"
        if received:
            raise ValueError(
                "train: expected probes that are functions of the model with names of their own, "
                f"received {received}. Give its name: probes={{'name': probe}}."
            )
    names = [name for name, _ in named]
    if twice := {name for name in names if names.count(name) > 1}:
        raise ValueError(
            f"train: expected probes of different names, received {', '.join(sorted(twice))} "
            "twice. Give the names: probes={'name': probe}."
        )
    return dict(named)


class RiskProbe:
    """Risk, and for class labels accuracy, of the model in inference.

    Args:
        prefix: names the columns `<prefix>_risk` and `<prefix>_accuracy`.
        x: inputs (n, ...), as for `train`. y: targets (n, ...).
        labels: int array (n,), for the accuracy: the share of examples whose largest output is
            that of their class, or whose one output is on its side of 0.5 (of 0, if the loss
            takes logits). None: no accuracy.
        loss: as for `train`.

    Raises:
        ValueError: When the probe starts: data or a loss that do not fit the model.
    """

    def __init__(self, prefix: str, x: Any, y: Any, *, labels: Any = None, loss: Any = "mse"):
        self.prefix, self._data, self._loss, self._labels = prefix, (x, y), loss, labels
        self._evaluator: Evaluator | None = None

    def start(self, model: keras.Model) -> None:
        self._evaluator = Evaluator(model, *self._data, loss=self._loss)
        if self._labels is not None:
            self._labels = self._evaluator.labels(self._labels)

    def __call__(self, model: keras.Model) -> dict[str, float]:
        if self._evaluator is None or self._evaluator.model is not model:
            self.start(model)
        assert self._evaluator is not None
        risk, predictions = self._evaluator.evaluate()
        row = {f"{self.prefix}_risk": risk}
        if self._labels is not None:
            row[f"{self.prefix}_accuracy"] = self._evaluator.accuracy(predictions, self._labels)
        return row


class WeightChange:
    """Per-node weight change `||w_tj - w_0j||` and its maximum over the nodes.

    Norms are taken in float64, a tile of nodes at a time. The initial weights are kept in
    their own dtype: one copy of them, no more.

    Args:
        layer: name of the layer whose kernel (..., nodes) is followed. None: the first
            AsymScaledDense, else the first trainable variable of the model.

    Raises:
        ValueError: At the start of training: no layer of that name, or one without a kernel.
    """

    def __init__(self, layer: str | None = None):
        self._layer = layer
        self._initial: np.ndarray | None = None

    def start(self, model: keras.Model) -> None:
        self._initial = self._kernel(model)

    def __call__(self, model: keras.Model) -> dict:
        if self._initial is None:
            self.start(model)
        assert self._initial is not None
        now = self._kernel(model)
        others = tuple(range(now.ndim - 1))
        width = max(1, TILE_NUMBERS // max(1, now[..., 0].size))
        nodes = np.empty(now.shape[-1])
        for first in range(0, len(nodes), width):
            tile = np.s_[..., first : first + width]
            difference = np.subtract(now[tile], self._initial[tile], dtype="float64")
            nodes[first : first + width] = np.sqrt(np.sum(difference**2, axis=others))
        return {"weight_change": float(nodes.max()), "node_weight_change": nodes}

    def _kernel(self, model) -> np.ndarray:
        """The kernel now, in memory that TensorFlow shares and does not write to again."""
        if self._layer is not None:
            named = [la for la in layers_of(model) if la.name == self._layer]
            if len(named) != 1 or not hasattr(named[0], "kernel"):
                raise ValueError(
                    f"WeightChange: expected layer to be the name of one layer with a kernel, "
                    f"received {self._layer!r}, which {len(named)} layers of {model.name!r} have."
                )
            variable = named[0].kernel
        else:
            layers = [la for la in layers_of(model) if isinstance(la, AsymScaledDense)]
            variable = layers[0].kernel if layers else model.trainable_variables[0]
        return np.atleast_1d(tf.convert_to_tensor(variable.value))
