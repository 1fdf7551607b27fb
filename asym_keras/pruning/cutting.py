"""What becomes of each layer when nodes are cut out of a model."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import ops

from asym_keras.importance.graph import Cut, NodePaths
from asym_keras.importance.trial import reshaped
from asym_keras.layer_copies import Change, attribute_of
from asym_keras.layers import AsymScaledDense


def changes_for(
    target: AsymScaledDense,
    paths: NodePaths,
    kept: np.ndarray,
    *,
    readout: Any = None,
    biased: bool = False,
) -> dict[int, Change]:
    """The `Change` of each layer, by its id, with the `kept` nodes of `target` only.

    Args:
        readout: `Dense` that takes the place of the target's own readout. None: it stays.
        biased: whether layers that read nodes get a bias if they have none.
    """
    config = {"units": len(kept), "scalings": target.scalings[kept].tolist()}
    weights: dict[str, Any] = {
        "kernel": _array(ops.take(target.kernel, kept, axis=1)),
        "sqrt_scalings": _array(target.sqrt_scalings)[kept],
    }
    if target.outputs is not None:
        weights["readout"] = _array(target.readout)[kept]
        if readout is not None:
            config["outputs"] = None
    changes = {id(target): Change(config, weights, then=readout)}
    return changes | {id(cut.layer): _change(cut, kept, biased) for cut in paths.cuts}


def shapes_for(paths: NodePaths, kept: np.ndarray) -> dict[int, tuple]:
    """The shapes of the inputs of nested models that nodes enter by."""
    shapes = {}
    for tensor, nodes in paths.entries:
        shape = list(tensor.shape)
        shape[nodes.axis] = len(nodes.entries(kept))
        shapes[id(tensor)] = tuple(shape)
    return shapes


def _change(cut: Cut, kept: np.ndarray, biased: bool) -> Change:
    layer, entries = cut.layer, cut.received.entries(kept)
    if isinstance(layer, keras.layers.Reshape):
        return Change({"target_shape": reshaped(layer, cut.returned, kept)})
    if isinstance(layer, keras.layers.BatchNormalization):
        return Change({}, {attribute_of(layer, v): _array(v)[entries] for v in layer.weights})
    axis = -2  # a kernel's input entries
    weights = {attribute_of(layer, layer.kernel): np.take(_array(layer.kernel), entries, axis)}
    if isinstance(layer, AsymScaledDense):
        return Change({"fan_in": layer.fan_in}, weights)
    dropped = cut.received.dropped(kept)
    left = cut.received.constants[dropped]
    if not left.any() and (layer.use_bias or not biased):
        return Change({}, weights)
    # What masked nodes leave, summed over the positions that a convolution looks at.
    kernel = np.take(_array(layer.kernel).astype("float64"), dropped, axis)
    shift = left @ kernel.sum(axis=tuple(range(kernel.ndim - 2)))
    if layer.bias is not None:
        shift = shift + _array(layer.bias)
    return Change({"use_bias": True}, {**weights, "bias": shift})


def _array(weight: Any) -> np.ndarray:
    return ops.convert_to_numpy(weight)
