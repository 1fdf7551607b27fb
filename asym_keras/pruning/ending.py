"""Models that end in a linear readout of their nodes: what pruning curves and refits work on."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
from keras import ops

from asym_keras.importance.graph import find_layer, node_paths
from asym_keras.importance.taps import example_count, received, tiles
from asym_keras.layers import AsymScaledDense


@dataclasses.dataclass(frozen=True)
class Ending:
    """The end of a model: outputs are `features @ kernel + bias`.

    Attributes:
        model: the model.
        layer: its `AsymScaledDense`.
        dense: the `Dense` after it; None: the layer has outputs of its own.
    """

    model: keras.Model
    layer: AsymScaledDense
    dense: keras.layers.Dense | None

    def targets(self, x, y) -> np.ndarray:
        """`y` as float64 (n, K) that fits the model and the examples `x`."""
        y = np.asarray(y)
        outputs = self.layer.outputs if self.dense is None else self.dense.units
        if y.ndim == 1 and outputs == 1:
            y = y[:, None]
        if y.ndim != 2 or outputs not in (None, y.shape[1]) or example_count(x) != len(y):
            raise ValueError(
                f"Expected targets of shape ({example_count(x)}, {outputs or 'K'}), one row an "
                f"example, one-hot for classes, received shape {y.shape}."
            )
        if not np.isfinite(y).all():
            raise ValueError("Expected finite targets, received NaN or infinity. Repair them.")
        return y.astype("float64")

    @property
    def kernel(self) -> np.ndarray:
        """What multiplies the features, float64 (m, K)."""
        weight = self.layer.readout if self.dense is None else self.dense.kernel
        return ops.convert_to_numpy(weight).astype("float64")

    @property
    def bias(self) -> np.ndarray:
        """What is added, float64 (K,)."""
        if self.dense is None or self.dense.bias is None:
            return np.zeros(self.kernel.shape[1])
        return ops.convert_to_numpy(self.dense.bias).astype("float64")

    def features(self, x, batch_size: int | None = None) -> Iterator[tuple[slice, Any]]:
        """Slices over the examples of `x`, and the features of each, a tensor (rows, m)."""
        last = self.dense or self.layer
        for rows in tiles(self.model, x, self.layer.units, batch_size):
            part = keras.tree.map_structure(lambda a, rows=rows: a[rows], x)
            [[inputs]] = received(self.model, [last], part, skip=True)
            yield rows, inputs if self.dense else self.layer.features(inputs)


def find_ending(model: keras.Model, layer: str | None = None, *, readout=True) -> Ending:
    """The `Ending` of `model`.

    Args:
        model: built model.
        layer: name of its `AsymScaledDense`; None: it is the only one.
        readout: False: a model that returns the features will do, too.

    Raises:
        ValueError: The model does not end in an `AsymScaledDense` with outputs, nor in one
            without, followed by a linear `Dense`; its outputs are not (n, K); no such layer.
    """
    target = find_layer(model, layer)
    paths = node_paths(model, target)
    dense = paths.readouts[0] if paths.readouts else None
    if paths.obstacle:
        fault = f"features that go to {paths.obstacle}"
    elif not paths.ends or len(model.output_shape) != 2:
        fault = f"outputs {model.output_shape} in which other layers have a part"
    elif dense is not None and dense.activation is not keras.activations.linear:
        fault = (
            f"the activation {keras.activations.serialize(dense.activation)!r} in {dense.name!r}"
        )
    elif readout and dense is None and target.outputs is None:
        fault = "a model that returns the features"
    else:
        return Ending(model, target, dense)
    raise ValueError(
        f"Expected model {model.name!r} to end in the AsymScaledDense {target.name!r} with "
        "outputs, or in its features (outputs=None) and a Dense without activation, with outputs "
        f"of shape (n, K). Received {fault}. Take the part of the model that ends so."
    )
