"""Models as graphs of layers: the one file that uses names which Keras keeps to itself.

A graph tells all that happens only where nobody has written a `call` of their own: ask `is_graph`
before `steps_of`, `only_operation`, `perform` or `rerun`.
"""

from __future__ import annotations

import contextlib
import copy
import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np
from keras import ops
from keras.src import backend
from keras.src.models.functional import Functional

# By which a subclass of a model may train and predict otherwise.
_TRAINING = ("train_step", "test_step", "predict_step", "compute_loss", "compute_metrics")
# How Keras calls a layer, in the order in which it gets there.
_CALLS = ("__call__", "call", "quantized_call")
# What `compile`, `fit`, `evaluate` and `predict` leave behind on a model.
TRAINER_ATTRIBUTES = frozenset(
    {
        *("_compile_config", "_compiled_trainable_state", "_eval_epoch_iterator", "history"),
        *("optimizer", "stop_evaluating", "stop_predicting", "stop_training"),
    }
)


def layers_of(model) -> list:
    """`model` and every layer in it, at any depth, each once."""
    return list(model._flatten_layers())


def own_training(model) -> list[str]:
    """Methods of training and prediction that the class of `model` has replaced."""
    return [n for n in _TRAINING if getattr(type(model), n) is not getattr(keras.Model, n)]


def is_graph(layer) -> bool:
    """Whether `layer` is a functional or built Sequential model whose graph tells all it does.

    No subclass with a `call` of its own, and no instance whose `call` was replaced.
    """
    kind = keras.Sequential if isinstance(layer, keras.Sequential) else Functional
    if not isinstance(layer, kind) or graph_of(layer) is None or not does_as_its_class(layer):
        return False
    defined = type(layer)
    return defined is kind or all(getattr(defined, n) is getattr(kind, n) for n in _CALLS)


def does_as_its_class(layer) -> bool:
    """Whether nobody replaced what `layer` computes on the instance itself."""
    return vars(layer).keys().isdisjoint(_CALLS)


def is_builtin(layer) -> bool:
    """Whether `layer` is Keras's own or this package's, and does what its class does."""
    package = type(layer).__module__.split(".")[0]
    return package in ("keras", "asym_keras") and does_as_its_class(layer)


def is_plain(layer) -> bool:
    """No low-rank update or quantised kernel, which are other functions of other weights."""
    quantised = getattr(layer, "quantization_mode", None) or getattr(layer, "is_quantized", False)
    return not getattr(layer, "lora_enabled", False) and not quantised


def input_structure(model):
    """The `keras.KerasTensor`s that a model was made of, in their structure; None: unknown."""
    graph = graph_of(model)
    return graph.input if isinstance(graph, Functional) else None


def output_structure(model):
    """The same of its outputs; None: unknown until the model is called."""
    return graph_of(model).output if is_graph(model) else None


def graph_of(model):
    """The functional model that a Sequential one holds; any other model itself."""
    return model._functional if isinstance(model, keras.Sequential) else model


def takes_training(model) -> bool:
    """Whether the `call` of `model` takes the argument `training`."""
    return bool(model._call_has_training_arg)


def mask_of(tensor):
    """The mask that Keras has attached to a tensor, or None."""
    return backend.get_keras_mask(tensor)


def logits_of(tensor):
    """The logits that Keras has attached to the outputs of a softmax or sigmoid, or None.

    Keras computes its cross-entropies from them, since probabilities near 0 lose their gradients.
    """
    return getattr(tensor, "_keras_logits", None)


def keep_logits(tensor, logits) -> None:
    """Attaches logits to a tensor, as Keras does."""
    tensor._keras_logits = logits


@dataclasses.dataclass(frozen=True, eq=False)
class Step:
    """One call of an operation in a graph."""

    operation: Any  # layer, nested model or operation of `keras.ops`
    inputs: list  # of `keras.KerasTensor`s, as `outputs`
    outputs: list
    variables: list  # among its arguments, as in `ops.matmul(h, layer.kernel)`
    arguments: Any = None  # all of them, as Keras keeps them; what `perform` fills in


def steps_of(model) -> list[Step]:
    """The calls that lead from the inputs of a graph to its outputs, in order."""
    graph = graph_of(model)
    steps = []
    for depth in sorted(graph._nodes_by_depth, reverse=True):
        for node in graph._nodes_by_depth[depth]:
            if node.is_input:
                continue
            arguments = keras.tree.flatten((node.arguments.args, node.arguments.kwargs))
            variables = [a for a in arguments if isinstance(a, keras.Variable)]
            inputs, outputs = list(node.input_tensors), list(node.outputs)
            steps.append(Step(node.operation, inputs, outputs, variables, node.arguments))
    return steps


def all_steps(model) -> Iterator[Step]:
    """The calls in a graph and in those of the models in it."""
    for step in steps_of(model):
        yield step
        if is_graph(step.operation):
            yield from all_steps(step.operation)


def only_operation(model):
    """The operation of a graph with a single call, of one result; None: there is more to it."""
    depths = graph_of(model)._nodes_by_depth.values()
    nodes = [node for nodes in depths for node in nodes if not node.is_input]
    return nodes[0].operation if len(nodes) == 1 and len(nodes[0].outputs) == 1 else None


def perform(step: Step, values: list) -> list:
    """What the call of a step makes of `values` in the place of its inputs, in inference.

    Losses and random numbers that it adds or draws leave no trace in its layers.
    """
    filled = {id(tensor): value for tensor, value in zip(step.inputs, values, strict=True)}
    args, kwargs = step.arguments.fill_in(filled)
    if isinstance(step.operation, keras.layers.Layer) and takes_training(step.operation):
        kwargs = {"training": False, **{k: v for k, v in kwargs.items() if v is not None}}
    with keras.StatelessScope(collect_losses=True):
        return keras.tree.flatten(step.operation(*args, **kwargs))


def rerun(model, inputs, operation: Callable):
    """What the graph of `model` makes of `inputs`, with `operation(o)` in place of each `o`.

    Args:
        inputs: one value for each input of the graph.
        operation: function of an operation that returns what is called instead, with the same
            arguments.

    Returns:
        The outputs, in the structure of the model's.
    """
    graph = graph_of(model)
    outputs = graph._run_through_graph(list(inputs), operation_fn=operation)
    flat = keras.tree.flatten(outputs)
    return keras.tree.pack_sequence_as(graph.output, flat)


def unused(operation):
    """A copy of an operation of `keras.ops`, which holds no state, that no graph has used yet."""
    new = copy.copy(operation)
    new._inbound_nodes, new._outbound_nodes = [], []
    return new


def output_shapes(model) -> list[tuple]:
    """Shapes, without the examples' axis, of all that layers of `model` have computed in graphs."""
    return [
        tuple(tensor.shape[1:])
        for layer in layers_of(model)
        for node in layer._inbound_nodes
        for tensor in node.outputs
    ]


def compile_arguments(model) -> dict[str, Any]:
    """What was given to `model.compile`, the same objects; empty if it was not called."""
    config = getattr(model, "_compile_config", None) if model.compiled else None
    return dict(config.config) if config is not None else {}


def lambda_arguments(layer: keras.layers.Lambda) -> dict[str, Any]:
    """What makes a Lambda layer that does the same: its functions themselves, not their code."""
    own = {name: getattr(layer, name) for name in ("function", "mask", "arguments")}
    return own | {"output_shape": layer._output_shape}


@contextlib.contextmanager
def replaced(layer, **attributes) -> Iterator[None]:
    """While open, `layer` has these attributes (such as `call`), which Keras does not track."""
    own = vars(layer)
    before = {name: own[name] for name in attributes if name in own}
    own.update(attributes)
    try:
        yield
    finally:
        for name in attributes.keys() - before.keys():
            own.pop(name, None)
        own.update(before)


def is_elementwise(function, units: int) -> bool:
    """Whether each of `units` results depends on its own input alone, unlike softmax's.

    Tried on random numbers: half of the inputs have to give half of the results. A layer with
    weights, or one that would make some for the first input it sees, is not tried.
    """
    if isinstance(function, keras.layers.Layer) and (function.weights or not function.built):
        if function.weights or type(function).build is not keras.layers.Layer.build:
            return False
    z = ops.convert_to_tensor(np.random.default_rng(0).normal(size=(2, units)), "float32")
    whole, half = (ops.convert_to_numpy(function(a)) for a in (z, z[:, ::2]))
    return whole.shape == z.shape and np.allclose(whole[:, ::2], half, rtol=1e-3, atol=1e-6)
