"""Layers that make nodes which can be cut: how many they make, and what is left of them."""

from __future__ import annotations

from typing import Any

import keras

from asym_keras.graphs import does_as_its_class
from asym_keras.importance.readers import CONVOLUTIONS
from asym_keras.layers import AsymScaledDense

TARGETS = (AsymScaledDense, keras.layers.Dense, *CONVOLUTIONS)


def units_of(layer: Any) -> int:
    """How many nodes `layer` makes."""
    return layer.filters if isinstance(layer, CONVOLUTIONS) else layer.units


def node_axis(layer: Any, tensor: Any) -> int:
    """The axis of what `layer` returns that its nodes are along."""
    first = getattr(layer, "data_format", None) == "channels_first"
    return 1 if first else len(tensor.shape) - 1


def keeps_kind(layer: Any) -> bool:
    """Whether fewer nodes are a layer of the same class: no subclass, and no groups."""
    known: Any = type(layer) in TARGETS and does_as_its_class(layer)
    return bool(known) and getattr(layer, "groups", 1) == 1
