"""Where the nodes of an `AsymScaledDense` lead to, read off a model's graph of layers."""

from __future__ import annotations

import dataclasses
from typing import Any

import keras

from asym_keras.fingerprint import reaches_variables
from asym_keras.graphs import Step, does_as_its_class, graph_of, is_graph, layers_of, steps_of
from asym_keras.importance.nodes import Nodes, Obstacle, all_nodes, describe
from asym_keras.importance.readers import read
from asym_keras.importance.targets import node_axis, units_of
from asym_keras.importance.trial import carried
from asym_keras.layers import AsymScaledDense


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
    found = [la for la in layers_of(model) if isinstance(la, AsymScaledDense)]
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


def computes_features(layer: AsymScaledDense) -> bool:
    """Whether `layer.features` is what its call returns or sums: no subclass changed it."""
    own = ("call", "features", "preactivations")
    replaced = [n for n in own if getattr(type(layer), n) is not getattr(AsymScaledDense, n)]
    return not replaced and does_as_its_class(layer)


def require_features(layer: AsymScaledDense) -> None:
    """Raises ValueError if a subclass computes something else than its features."""
    if not computes_features(layer):
        raise ValueError(
            f"Expected {layer.name!r} to compute what AsymScaledDense does, received "
            f"{type(layer).__name__} with a call of its own, whose features are not known. Use "
            "AsymScaledDense, or a rule of importance that needs no examples."
        )


@dataclasses.dataclass(frozen=True, eq=False)
class Sum:
    """What a tensor holds that is computed from one layer's sums over nodes, and nothing else."""

    layer: Any  # that sums: a reader, or the `AsymScaledDense` with its own outputs
    tensor: Any  # what that layer returns
    steps: tuple[Step, ...] = ()  # calls of weightless operations that lead from there, in order


@dataclasses.dataclass(eq=False)
class Cut:
    """A layer that is another for fewer nodes: a reader, a normalisation or a Reshape."""

    layer: Any
    received: Nodes
    returned: Nodes | None  # what it hands on; None: sums over nodes
    calls: int = 1


@dataclasses.dataclass
class NodePaths:
    """Where what a layer computes goes in a model.

    Attributes:
        calls: int, how often the layer is called.
        cuts: the layers that change with the number of nodes, in the order of the graph.
        entries: inputs of nested models that nodes enter by, and the nodes.
        outputs: what each output of the model holds: nodes, a sum over nodes, or neither (None).
        obstacle: what stops them, in words; None: nothing.
    """

    calls: int = 0
    cuts: list[Cut] = dataclasses.field(default_factory=list)
    entries: list[tuple[Any, Nodes]] = dataclasses.field(default_factory=list)
    outputs: list[Nodes | Sum | None] = dataclasses.field(default_factory=list)
    obstacle: str | None = None

    @property
    def readers(self) -> list[Cut]:
        """The layers that sum over nodes."""
        return [cut for cut in self.cuts if cut.returned is None]


def node_paths(model: keras.Model, layer: Any) -> NodePaths:
    """Follows what `layer` computes through `model`, a functional or Sequential model.

    Args:
        layer: an `AsymScaledDense`, or another of `targets.TARGETS`.
    """
    walk = _Walk(model, layer)
    try:
        walk.run()
    except Obstacle as obstacle:
        walk.paths.obstacle = str(obstacle)
    return walk.paths


class _Walk:
    """One way through the graph; notes in `paths` what it meets."""

    def __init__(self, model: keras.Model, layer: Any):
        self._model, self._layer, self.paths = model, layer, NodePaths()
        self._elsewhere: list[Step] = []  # what takes no nodes
        self._entered: dict[int, list] = {}

    def run(self) -> None:
        if not is_graph(self._model):
            raise Obstacle(
                f"{describe(self._model)}, which is not a functional or Sequential model, or whose "
                "call is its own. Make its layers one, by keras.Model(inputs, outputs)"
            )
        inputs = graph_of(self._model).inputs
        self.paths.outputs = self._graph(self._model, [None] * len(inputs))
        if not self.paths.calls:
            raise Obstacle(
                "a wrapper, or a model that is not functional or Sequential, around it. Call the "
                "layer itself in the model"
            )
        self._check_others()

    def _graph(self, model: keras.Model, received: list) -> list:
        """What the outputs of `model` hold, given what its inputs do."""
        graph = graph_of(model)
        held = {id(t): what for t, what in zip(graph.inputs, received, strict=True)}
        for tensor, what in zip(graph.inputs, received, strict=True):
            self._enter(tensor, what)
        for step in steps_of(model):
            outputs = self._step(step, [held[id(t)] for t in step.inputs])
            held.update({id(t): what for t, what in zip(step.outputs, outputs, strict=True)})
        return [held[id(t)] for t in graph.outputs]

    def _enter(self, tensor: Any, what: Any) -> None:
        """Notes what an input of a model takes: the same at every call of the model."""
        nodes = what if isinstance(what, Nodes) else None
        before = self._entered.setdefault(id(tensor), [tensor, nodes])[1]
        if (before is None) != (nodes is None) or (nodes and not nodes.same_as(before)):
            raise Obstacle(
                f"{tensor.name!r} of a nested model, which takes others, too. Use two models"
            )
        if nodes is not None and all(tensor is not entry for entry, _ in self.paths.entries):
            self.paths.entries.append((tensor, nodes))

    def _step(self, step: Step, received: list) -> list:
        """What the outputs of one call hold."""
        operation = step.operation
        takes_nodes = any(isinstance(what, Nodes) for what in received)
        if operation is self._layer:
            self.paths.calls += 1
            if takes_nodes:
                raise Obstacle(f"{describe(operation)}, which takes its own features. Use another")
            [tensor] = step.outputs
            if getattr(self._layer, "outputs", None) is not None:
                return [Sum(operation, tensor)]
            return [all_nodes(units_of(self._layer), node_axis(self._layer, tensor))]
        if is_graph(operation):
            return self._graph(operation, received)
        weightless = not getattr(operation, "weights", ()) and not step.variables
        if not takes_nodes:
            self._elsewhere.append(step)
            return _sums(step, received) if weightless else [None] * len(step.outputs)
        first = received[0]
        if weightless:
            passed = carried(step, [w if isinstance(w, Nodes) else None for w in received])
            if type(operation) is keras.layers.Reshape:
                self._note(operation, first, passed[0])
            return passed
        if len(received) > 1 or step.variables:
            raise Obstacle(
                f"{describe(operation)}, which joins nodes with weights or other inputs. Let a "
                "Dense layer read them first"
            )
        returned = read(step, first)
        self._note(operation, first, returned)
        return [returned or Sum(operation, step.outputs[0])]

    def _note(self, layer: Any, received: Nodes, returned: Nodes | None) -> None:
        """Notes a layer that is cut: the same at every call of it."""
        for cut in self.paths.cuts:
            if cut.layer is layer:
                if not cut.received.same_as(received):
                    raise Obstacle(f"{describe(layer)}, which takes other inputs, too. Use two")
                cut.calls += 1
                return
        self.paths.cuts.append(Cut(layer, received, returned))

    def _check_others(self) -> None:
        """Nothing else may use the layers that are cut, or their weights."""
        cuts = [cut.layer for cut in self.paths.cuts]
        changed = [inner for layer in (self._layer, *cuts) for inner in layers_of(layer)]
        variables = {id(v) for layer in changed for v in layer.variables}
        for step in self._elsewhere:
            if any(step.operation is layer for layer in cuts):
                raise Obstacle(
                    f"{describe(step.operation)}, which takes other inputs, too. Use two layers"
                )
            if any(id(v) in variables for v in step.variables):
                raise Obstacle(
                    f"{describe(step.operation)}, which uses weights that would be cut. Give it "
                    "weights of its own"
                )
        for layer in layers_of(self._model):
            if is_graph(layer):
                continue
            apart = all(layer is not other for other in changed)
            tied = apart and any(id(v) in variables for v in layer.variables)
            if tied or reaches_variables(layer):
                raise Obstacle(
                    f"{describe(layer)}, which uses weights of other layers. Give it weights of "
                    "its own"
                )


def _sums(step: Step, received: list) -> list:
    """What a weightless operation hands on of a sum over nodes that is all it takes."""
    alone = len({id(t) for t in step.inputs}) == 1 and len(step.outputs) == 1
    if not alone or not isinstance(received[0], Sum):
        return [None] * len(step.outputs)
    return [dataclasses.replace(received[0], steps=(*received[0].steps, step))]
