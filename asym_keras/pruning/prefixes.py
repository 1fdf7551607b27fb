"""Cutting a nested model to the first nodes: an ordinary model, equal to one of its prefixes."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np

from asym_keras.copies import copy_model
from asym_keras.graphs import (
    all_steps,
    graph_of,
    is_elementwise,
    is_graph,
    is_plain,
    layers_of,
    steps_of,
)
from asym_keras.importance.graph import NodePaths, node_paths
from asym_keras.importance.nodes import Nodes, describe
from asym_keras.importance.targets import TARGETS, keeps_kind, units_of
from asym_keras.inputs import call, require_biases
from asym_keras.layer_copies import Change
from asym_keras.nesting.model import of_one_prefix
from asym_keras.nesting.readout import NestedReadout
from asym_keras.pruning.cutting import changes_for, shapes_for
from asym_keras.same_outputs import probe_inputs, require_same_outputs

logger = logging.getLogger(__name__)


def prune_prefix(model: keras.Model, readout: NestedReadout, keep: Any) -> keras.Model:
    """The network of the first nodes of a nested `model`, with the readout trained for them.

    That readout is the one of the largest width that is at most `keep`; a shared one serves any
    number of nodes. Nodes that it does not read are cut out of the layer that makes them, a
    `Dense`, an `AsymScaledDense` or a convolution, if layers that keep nodes apart lead from there
    to the readout and nowhere else. Otherwise that layer stays, and the readout takes no notice of
    what it does not read.

    Args:
        model: built nested model; it is not changed.
        readout: its `NestedReadout`.
        keep: int, from the smallest width (shared: 1) to the largest.

    Returns:
        `keras.Model` of the same kind and layer names, with a `Dense` in the place of the readout;
        compiled if `model` is, with the loss and the metrics of one width.

    Raises:
        ValueError: `keep` out of range, or a model that can't be copied.
    """
    index = _prefix(readout, keep)
    width = int(keep) if readout.shared else readout.widths[index]
    kernel, bias = readout.prefix(index)
    kernel[width:] = 0
    target, paths, kept = _cuttable(model, readout, width)
    changes: dict[int, Change] = {}
    shapes: dict[int, tuple] = {}
    if paths is not None:
        [entries] = [c.received.entries(kept) for c in paths.cuts if c.layer is readout]
        kernel = kernel[entries]
        changes, shapes = changes_for(target, paths, kept), shapes_for(paths, kept)
    dense = _dense_like(readout)
    changes[id(readout)] = Change(instead=dense)
    small = copy_model(model, changes=changes, shapes=shapes, compiled=False)
    dense.kernel.assign(kernel)
    if bias is not None:
        dense.bias.assign(bias)
    if paths is not None:
        require_biases(small, target.name)
    if width in readout.widths:
        _require_prefix(model, small, readout.widths.index(width))
    arguments = of_one_prefix(model, index)
    if arguments:
        small.compile(**arguments)
    return small


def _prefix(readout: NestedReadout, keep: Any) -> int:
    """The place of the width whose readout serves `keep` nodes."""
    whole = isinstance(keep, (int, np.integer)) and not isinstance(keep, bool)
    smallest = 1 if readout.shared else readout.widths[0]
    if not whole or not smallest <= keep <= readout.widths[-1]:
        raise ValueError(
            f"prune: expected keep from {smallest} to {readout.widths[-1]} nodes, for "
            f"which {readout.name!r} has readouts ({list(readout.widths)}), received {keep!r}."
        )
    if readout.shared:
        return next(i for i, width in enumerate(readout.widths) if width >= keep)
    index = max(i for i, width in enumerate(readout.widths) if width <= keep)
    if readout.widths[index] < keep:
        logger.info(
            "prune: kept %d nodes, the largest width trained that is at most %d",
            readout.widths[index],
            keep,
        )
    return index


def _cuttable(
    model: keras.Model, readout: NestedReadout, width: int
) -> tuple[Any, NodePaths | None, Any]:
    """The layer whose nodes the readout takes, their paths, and those that `width` features need.

    No paths: they can't be cut, which the log says with the reason.
    """
    target, reason = _producer(model, readout)
    if target is not None:
        paths = node_paths(model, target)
        reason = paths.obstacle or _elsewhere(paths, readout)
        if not reason:
            [received] = [c.received for c in paths.cuts if c.layer is readout]
            kept = np.unique(received.labels[:width])
            kept = kept[kept >= 0]
            if len(kept):
                return target, paths, kept
            reason = f"{describe(readout)}, whose first {width} features are of no node"
    logger.info("prune: the layers before %s stay as they are: %s", readout.name, reason)
    return target, None, None


def _elsewhere(paths: NodePaths, readout: NestedReadout) -> str | None:
    if any(isinstance(output, Nodes) for output in paths.outputs):
        return "the model returns its features, too"
    readers = [cut.layer for cut in paths.readers]
    others = [layer for layer in readers if layer is not readout]
    if others:
        return f"{describe(others[0])} takes them, too"
    return None if readers else "they do not get there"


def _producer(model: keras.Model, readout: NestedReadout) -> tuple[Any, str | None]:
    """The layer whose nodes the readout takes; or None, and why there is none."""
    features = next((s.inputs[0] for s in all_steps(model) if s.operation is readout), None)
    for operation, inputs in backwards(model, features):
        if isinstance(operation, TARGETS):
            if not keeps_kind(operation) or not is_plain(operation):
                return None, f"{describe(operation)} is of a kind that nobody would cut"
            if not is_elementwise(operation.activation, units_of(operation)):
                return None, f"{describe(operation)} has an activation in which nodes meet"
            return operation, None
        normalises = type(operation) is keras.layers.BatchNormalization
        if getattr(operation, "weights", ()) and not normalises:
            return None, f"{describe(operation)} comes before it"
        if inputs != 1:
            return None, f"{describe(operation)} joins several inputs before it"
    return None, "no layer makes its features"


def backwards(model: keras.Model, tensor: Any) -> Iterator[tuple[Any, int]]:
    """The operations that made `tensor`, the nearest first, and how many inputs each takes.

    It goes on through the first of several inputs, into nested models and out of them, and ends at
    an input of the model, or where an operation that is called again would come a second time.
    """
    makers: dict[int, tuple[Any, list]] = {}
    for step in all_steps(model):
        if not is_graph(step.operation):
            makers.update({id(t): (step.operation, step.inputs) for t in step.outputs})
            continue
        inner = graph_of(step.operation)
        # What leaves a nested model is what is made in it; what enters it is made outside.
        outer = zip(step.outputs, inner.outputs, strict=True)
        makers.update({id(a): (None, [b]) for a, b in outer})
        entering = zip(inner.inputs, step.inputs, strict=True)
        makers.update({id(a): (None, [b]) for a, b in entering})
    while id(tensor) in makers:
        operation, inputs = makers.pop(id(tensor))
        if operation is not None:
            yield operation, len({id(t) for t in inputs})
        tensor = inputs[0] if inputs else None


def _dense_like(readout: NestedReadout) -> keras.layers.Dense:
    return keras.layers.Dense(
        readout.outputs,
        activation=readout.activation,
        use_bias=readout.use_bias,
        kernel_initializer=readout.kernel_initializer,
        bias_initializer=readout.bias_initializer,
        kernel_regularizer=readout.kernel_regularizer,
        bias_regularizer=readout.bias_regularizer,
        activity_regularizer=readout.activity_regularizer,
        dtype=readout.dtype_policy,
        trainable=readout.trainable,
        name=readout.name,
    )


def _require_prefix(model: keras.Model, small: Any, index: int) -> None:
    """Refuses a cut that is not the prefix of the model's outputs, on made-up inputs."""
    try:
        x = probe_inputs(model, 4)
        expected, again = (call(model, x) for _ in range(2))
    except Exception:  # the model does not take made-up inputs
        return
    numbers = [keras.ops.convert_to_numpy(e).astype("float64") for e in (expected, again)]
    if not np.array_equal(*numbers):
        return  # random also in inference, or not a number for made-up inputs
    dtypes = {la.compute_dtype for la in layers_of(model)}
    require_same_outputs(expected[..., index, :], call(small, x), dtypes, "a prefix of the model")


def trunk_tensor(model: keras.Model, readout: NestedReadout) -> Any:
    """The tensor of the graph up to which all prefixes compute the same; None: the inputs.

    It is what enters the layer whose nodes are cut, or else the readout.
    """
    target, paths, _ = _cuttable(model, readout, readout.widths[-1])
    last = readout if paths is None else target
    steps = [step for step in steps_of(model) if step.operation is last]
    if len(steps) != 1 or len(steps[0].inputs) != 1:
        return None  # it is in a nested model, or called twice
    [tensor] = steps[0].inputs
    inputs = graph_of(model).inputs
    if any(tensor is t for t in inputs):
        return None
    try:
        keras.Model(tensor, graph_of(model).outputs[0])
    except ValueError:  # others lead to the outputs, too
        return None
    return tensor
