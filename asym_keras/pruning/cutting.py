"""What becomes of each layer when nodes are cut out of a model."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import ops

from asym_keras.importance.graph import Cut, NodePaths
from asym_keras.importance.readers import CONVOLUTIONS
from asym_keras.importance.trial import reshaped
from asym_keras.layer_copies import Change, attribute_of
from asym_keras.layers import AsymScaledDense
from asym_keras.nesting.readout import NestedReadout

_SIZES = dict.fromkeys(CONVOLUTIONS, "filters")


def changes_for(
    target: Any,
    paths: NodePaths,
    kept: np.ndarray,
    *,
    readout: Any = None,
    biased: bool = False,
) -> dict[int, Change]:
    """The `Change` of each layer, by its id, with the `kept` nodes of `target` only.

    Args:
        target: the layer that makes the nodes, one of `asym_keras.importance.targets.TARGETS`.
        readout: `Dense` that takes the place of the target's own readout. None: it stays.
        biased: whether layers that read nodes get a bias if they have none.
    """
    config: dict[str, Any] = {_SIZES.get(type(target), "units"): len(kept)}
    kernel = attribute_of(target, target.kernel)
    weights: dict[str, Any] = {kernel: _array(ops.take(target.kernel, kept, axis=-1))}
    if target.bias is not None:
        weights["bias"] = _array(target.bias)[kept]
    if isinstance(target, AsymScaledDense):
        config["scalings"] = target.scalings[kept].tolist()
        weights["sqrt_scalings"] = _array(target.sqrt_scalings)[kept]
        if target.outputs is not None:
            weights["readout"] = _array(target.readout)[kept]
            if readout is not None:
                config["outputs"] = None
    changes = {id(target): Change(config, weights, then=readout)}
    read = (cut for cut in paths.cuts if not isinstance(cut.layer, NestedReadout))
    return changes | {id(cut.layer): _change(cut, kept, biased) for cut in read}


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
    ours = isinstance(layer, AsymScaledDense)
    config = {"fan_in": layer.fan_in} if ours else {}
    dropped = cut.received.dropped(kept)
    left = cut.received.constants[dropped]
    if not left.any() and (layer.use_bias or ours or not biased):
        return Change(config, weights)
    # What masked nodes leave, summed over the positions that a convolution looks at.
    kernel = np.take(_array(layer.kernel).astype("float64"), dropped, axis)
    shift = left @ kernel.sum(axis=tuple(range(kernel.ndim - 2)))
    if ours:
        shift = shift / layer.input_divisor
    if layer.bias is not None:
        shift = shift + _array(layer.bias)
    return Change({**config, "use_bias": True}, {**weights, "bias": shift})


def _array(weight: Any) -> np.ndarray:
    return ops.convert_to_numpy(weight)
