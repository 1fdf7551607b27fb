"""Layers with weights that nodes may go to: those of which it is known how to cut them."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from asym_keras.graphs import Step, does_as_its_class, is_plain, perform
from asym_keras.importance.nodes import Nodes, Obstacle, describe
from asym_keras.layers import AsymScaledDense
from asym_keras.nesting.readout import NestedReadout

CONVOLUTIONS = (keras.layers.Conv1D, keras.layers.Conv2D, keras.layers.Conv3D)
_READERS = "Let Dense, AsymScaledDense or Conv layers read the nodes"
_INSTEAD = {
    "LayerNormalization": "Use BatchNormalization, or normalise what a Dense layer makes of them",
    "EinsumDense": "Use Dense",
    "TimeDistributed": "Dense and AsymScaledDense work on every position without it",
    "PReLU": "Use LeakyReLU, whose slope is one number for all nodes",
}


def read(step: Step, nodes: Nodes) -> Nodes | None:
    """What a layer with weights returns that takes `nodes`; None: sums over nodes.

    Raises:
        Obstacle: It is none of those that can lose nodes.
    """
    layer = step.operation
    if type(layer) in (keras.layers.Dense, AsymScaledDense, NestedReadout):
        _require(nodes.axis == len(step.inputs[0].shape) - 1, layer, "whose last axis is no node's")
    elif type(layer) in CONVOLUTIONS:
        last = layer.data_format == "channels_last"
        channels = len(step.inputs[0].shape) - 1 if last else 1
        _require(nodes.axis == channels, layer, "whose channels are no nodes")
        _require(layer.groups == 1, layer, "which reads its channels in groups", "Use groups=1")
        fault = f"which pads ({layer.padding}) beside what masked nodes leave"
        _require(nodes.leave_zero or layer.padding == "valid", layer, fault, "Use padding='valid'")
    elif type(layer) is keras.layers.BatchNormalization:
        rank = len(step.inputs[0].shape)
        _require(layer.axis % rank == nodes.axis, layer, "which normalises another axis")
    else:
        raise Obstacle(
            f"{describe(layer)}, which does not keep nodes apart, or whose weights nobody would "
            f"cut. {_INSTEAD.get(type(layer).__name__, _READERS)}"
        )
    fault = "which has a low-rank update or a quantised kernel"
    _require(is_plain(layer), layer, fault, "Prune first, and then quantise or tune it")
    _require(does_as_its_class(layer), layer, "whose call was replaced")
    if type(layer) is keras.layers.BatchNormalization:
        return Nodes(nodes.axis, nodes.labels, _normalised(step, nodes))
    return None


def _require(holds: bool, layer: Any, fault: str, instead: str = _READERS) -> None:
    if not holds:
        raise Obstacle(f"{describe(layer)}, {fault}. {instead}")


def _normalised(step: Step, nodes: Nodes) -> np.ndarray:
    """`beta + gamma (c - mean) / sqrt(var + eps)` of each entry, as the layer computes it."""
    shape = [1] * len(step.inputs[0].shape)
    shape[nodes.axis] = len(nodes.constants)
    values = keras.ops.cast(nodes.constants.reshape(shape), step.inputs[0].dtype)
    [output] = perform(step, [values])
    constants = keras.ops.convert_to_numpy(output).astype("float64").reshape(-1)
    return np.where(nodes.labels >= 0, constants, 0.0)
