"""Where the nodes of an `AsymScaledDense` lead to, read off a model's graph of layers."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import ops

from asym_keras.layers import AsymScaledDense

# Layers without weights that a node's feature may go through; what they do is tried out.
_ELEMENTWISE = (
    keras.layers.Activation,
    keras.layers.ActivityRegularization,
    keras.layers.Dropout,
    keras.layers.ELU,
    keras.layers.GaussianDropout,
    keras.layers.GaussianNoise,
    keras.layers.Identity,
    keras.layers.LeakyReLU,
    keras.layers.ReLU,
)


def find_layer(model: keras.Model, name: str | None = None) -> AsymScaledDense:
    """The `AsymScaledDense` of `model`; nested models are opened.

    Args:
        model: built Keras model.
        name: name of the layer. None: it is the only one.

    Raises:
        ValueError: The model or the layer is not built; there is no such layer, or there
            are several to choose from.

    Example:
        >>> model = asym_keras.shallow_network(3, width=64, seed=0)
        >>> asym_keras.importance.find_layer(model).units
        64
    """
    if not isinstance(model, keras.Model):
        raise ValueError(f"Expected a Keras model, received {type(model).__name__}.")
    found = [la for la in model._flatten_layers() if isinstance(la, AsymScaledDense)]
    layers = [layer for layer in found if name in (None, layer.name)]
    if len(layers) != 1:
        asked = "AsymScaledDense" if name is None else f"AsymScaledDense named {name!r}"
        raise ValueError(
            f"Expected model {model.name!r} to have one {asked}, received {len(layers)}; it has "
            f"{[layer.name for layer in found]}. Name one of them (layer=...)."
        )
    if not layers[0].built:
        raise ValueError(
            f"Expected a built model, received {model.name!r}, which has no weights yet. Call it "
            "on examples, or give it a keras.Input."
        )
    return layers[0]


def is_graph(layer) -> bool:
    """Whether `layer` is a functional or built Sequential model, whose graph tells all it does."""
    if isinstance(layer, keras.Sequential):
        return layer.built
    return isinstance(layer, keras.Model) and hasattr(layer, "_nodes_by_depth")


@dataclasses.dataclass
class NodePaths:
    """Where what a layer computes goes in a model.

    Attributes:
        calls: int, how often the layer is called; 0: not in the graph (in a wrapper, a subclass).
        readouts: the `Dense` layers that take its features, directly or through elementwise
            layers without weights that leave zero zero.
        returned: bool, whether an output of the model is what the layer computes, as it is or
            (features) through such elementwise layers.
        entries: the inputs of nested models that its features enter by.
        ends: bool, whether the one output of the model is the layer's, or one readout's.
        obstacle: what else takes its features, in words; None: nothing.
    """

    calls: int = 0
    readouts: list[keras.layers.Dense] = dataclasses.field(default_factory=list)
    entries: list = dataclasses.field(default_factory=list)
    returned: bool = False
    ends: bool = False
    obstacle: str | None = None


# What an edge of the graph carries.
_OTHER, _NODES, _READ = "other", "nodes", "read"


def node_paths(model: keras.Model, layer: AsymScaledDense) -> NodePaths:
    """Follows what `layer` computes through `model`, a functional or Sequential model."""
    paths = NodePaths()
    if not is_graph(model):
        paths.obstacle = f"{_describe(model)}, which is not a functional or Sequential model"
        return paths
    elsewhere: list = []
    entered: dict = {}
    outputs = _follow(
        model,
        [_OTHER] * len(model.inputs),
        lambda operation, received: _step(operation, received, layer, paths, elsewhere),
        entered,
    )
    for tensor, kinds in entered.values():
        if _NODES in kinds and layer.outputs is None:
            paths.entries.append(tensor)
            if len(kinds) > 1:
                paths.obstacle = f"{tensor.name!r} of a nested model, which takes others, too"
    if not paths.calls:
        paths.obstacle = "a wrapper, or a model that is not functional or Sequential, around it"
    # A Dense that takes other things too can't lose the rows that belong to the nodes.
    for dense in paths.readouts:
        if any(dense is other for other in elsewhere):
            paths.obstacle = f"{_describe(dense)}, which takes other inputs, too"
    paths.returned = _NODES in outputs
    paths.ends = outputs in ([_NODES], [_READ]) and paths.calls == 1 and not paths.obstacle
    return paths


def _follow(model, inputs: list[str], step: Callable[[Any, list[str]], str], entered) -> list[str]:
    """What the outputs of `model` carry, given what its inputs do; `step` knows single layers.

    `entered` notes for the id of each input the input and all that it carried.
    """
    graph = model._functional if isinstance(model, keras.Sequential) else model
    carried = {id(t): kind for t, kind in zip(graph.inputs, inputs, strict=True)}
    for tensor, kind in zip(graph.inputs, inputs, strict=True):
        entered.setdefault(id(tensor), (tensor, set()))[1].add(kind)
    for depth in sorted(graph._nodes_by_depth, reverse=True):
        for node in graph._nodes_by_depth[depth]:
            if node.is_input:
                continue
            received = [carried[id(t)] for t in node.input_tensors]
            if is_graph(node.operation):
                kinds = _follow(node.operation, received, step, entered)
            else:
                kinds = [step(node.operation, received)] * len(node.outputs)
            carried.update({id(t): kind for t, kind in zip(node.outputs, kinds, strict=True)})
    return [carried[id(t)] for t in graph.outputs]


def _step(operation, received: list[str], layer, paths: NodePaths, elsewhere: list) -> str:
    """What one layer hands on; notes in `paths` and `elsewhere` what it is."""
    takes_features = _NODES in received and layer.outputs is None
    if operation is layer:
        paths.calls += 1
        if takes_features:
            paths.obstacle = _describe(layer)
        return _NODES
    if not takes_features:
        elsewhere.append(operation)
        return _OTHER
    if type(operation) is keras.layers.Dense and _is_plain(operation):
        if all(operation is not readout for readout in paths.readouts):
            paths.readouts.append(operation)
        return _READ
    if isinstance(operation, _ELEMENTWISE) and _passes(operation, layer.units):
        return _NODES
    paths.obstacle = _describe(operation)
    return _OTHER


def _is_plain(dense) -> bool:
    """No low-rank update or quantised kernel, which are other functions of other weights."""
    return not getattr(dense, "lora_enabled", False) and not dense.quantization_mode


def _passes(layer, units: int) -> bool:
    """Whether `layer` is elementwise, and zero after it is zero: a masked node is no node."""
    zeros = ops.zeros((1, units), dtype=layer.compute_dtype)
    return is_elementwise(layer.call, units) and not ops.convert_to_numpy(layer.call(zeros)).any()


def is_elementwise(function, units: int) -> bool:
    """Whether each of `units` results depends on its own input alone, unlike softmax's.

    Tried on random numbers: half of the inputs have to give half of the results.
    """
    if isinstance(function, keras.layers.Layer) and function.weights:
        return False  # PReLU: a slope for each node, that nobody would cut
    z = ops.convert_to_tensor(np.random.default_rng(0).normal(size=(2, units)), "float32")
    whole, half = (ops.convert_to_numpy(function(a)) for a in (z, z[:, ::2]))
    return whole.shape == z.shape and np.allclose(whole[:, ::2], half, rtol=1e-3, atol=1e-6)


def _describe(operation) -> str:
    return f"{operation.name!r} ({type(operation).__name__})"
