"""A model whose last `Dense` is made a `NestedReadout`."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
from keras import ops

from asym_keras.copies import copy_model
from asym_keras.graphs import (
    compile_arguments,
    graph_of,
    is_graph,
    is_plain,
    layers_of,
    output_structure,
    steps_of,
)
from asym_keras.inputs import stateless_call
from asym_keras.layer_copies import Change
from asym_keras.nesting.loss import NestedLoss
from asym_keras.nesting.metrics import PrefixMetric, prefix_metrics
from asym_keras.nesting.readout import NestedReadout, auto_widths, check_widths
from asym_keras.remade import one_like
from asym_keras.same_outputs import probe_inputs, require_same_outputs

logger = logging.getLogger(__name__)


def nested(
    model: keras.Model,
    widths: str | Sequence[int] = "auto",
    *,
    shared: bool = False,
    weights: npt.ArrayLike | None = None,
) -> keras.Model:
    """A copy of `model` that answers for several widths: its last `Dense` reads several prefixes.

    The features that the `Dense` takes count as nodes, in their order: the first `w` of them and
    their readout are a network of that width, and `asym_keras.prune(nested, keep=w)` cuts it out.
    The outputs (..., K) become (..., P, K), one for each width. All other weights are those of
    `model`. A shared readout begins with the weights of the `Dense`, and so does the readout of the
    largest width if that width is all features; other readouts are drawn as a `Dense` of their
    width is.

    If `model` is compiled, so is the result: with a `NestedLoss` of the loss, and each metric for
    each width (`accuracy_50`). Otherwise compile it yourself:

        many.compile("adam", NestedLoss(loss), metrics=prefix_metrics("accuracy", widths))

    Args:
        model: built functional or Sequential model with one output, that ends in a `Dense`; only
            layers without weights that do the same to each prefix may follow it (`Softmax`). It is
            not changed.
        widths: ints, increasing, the last at most the number of features, m. `"auto"`: m, its half,
            and so on to 16.
        shared: bool, whether the widths share one readout; see `NestedReadout`.
        weights: of the widths in the loss, see `NestedLoss`. None: equal.

    Returns:
        `keras.Model` of the same kind, whose layers have the same names.

    Raises:
        ValueError: A model with another end, or one that can't be copied; widths that do not
            increase or are above m; weights for a model that is not compiled, or not one for each
            width.

    Example:
        >>> import keras
        >>> layers = [keras.layers.Dense(64, "relu"), keras.layers.Dense(3)]
        >>> model = keras.Sequential([keras.Input((8,)), *layers])
        >>> asym_keras.nested(model).output_shape
        (None, 3, 3)
    """
    dense = _last_dense(model)
    if isinstance(output_structure(model), dict):
        raise ValueError(
            f"nested: expected a model that returns a tensor, received {model.name!r}, which "
            "returns a dict. Take its tensor: keras.Model(model.inputs, model.outputs[0])."
        )
    features = dense.kernel.shape[0]
    widths = auto_widths(features) if isinstance(widths, str) and widths == "auto" else widths
    widths = check_widths(widths, "nested")
    if widths[-1] > features:
        raise ValueError(
            f"nested: expected widths of at most {features}, the features that {dense.name!r} "
            f"takes, received {list(widths)}. Leave larger ones out."
        )
    arguments = _compilation(model, widths, weights)
    readout = _readout_like(dense, widths, shared)
    many = copy_model(model, changes={id(dense): Change(instead=readout)}, compiled=False)
    _start(readout, dense, widths[-1] == features)
    _require_same(model, many, dense, readout)
    if arguments:
        many.compile(**arguments)
    return many


def find_readout(model: keras.Model) -> NestedReadout | None:
    """The `NestedReadout` of `model`, or of a model inside it. None: there is none.

    Raises:
        ValueError: There are several.
    """
    found = [la for la in layers_of(model) if isinstance(la, NestedReadout)]
    if len(found) > 1:
        raise ValueError(
            f"Expected model {model.name!r} to have one NestedReadout, received "
            f"{[la.name for la in found]}. Take the part of it that ends in one."
        )
    return found[0] if found else None


def of_one_prefix(model: keras.Model, index: int) -> dict[str, Any]:
    """What a model of one prefix of `model` is compiled with; empty: `model` is not compiled."""
    try:
        arguments = _renewed(model)
        for key in ("metrics", "weighted_metrics"):
            given = keras.tree.flatten(arguments.get(key) or [])
            ours = [m for m in given if isinstance(m, PrefixMetric)]
            others = [m for m in given if not isinstance(m, PrefixMetric)]
            arguments[key] = [*(one_like(m.given) for m in ours if m.index == index), *others]
    except ValueError as error:
        logger.warning("The model cut out of %s is not compiled. %s", model.name, error)
        return {}
    if isinstance(arguments.get("loss"), NestedLoss):
        arguments["loss"] = arguments["loss"].loss
    return arguments if model.compiled else {}


def _last_dense(model: Any) -> Any:
    """The plain `Dense` that `model` ends in; layers without weights may follow it."""
    if not isinstance(model, keras.Model) or not is_graph(model):
        raise ValueError(
            "nested: expected a built functional or Sequential model, received "
            f"{getattr(model, 'name', model)!r} ({type(model).__name__}). Give it a keras.Input, "
            "or make its layers one, by keras.Model(inputs, outputs)."
        )
    if find_readout(model) is not None:
        raise ValueError(f"nested: expected a plain model, received {model.name!r}, which is one.")
    graph = graph_of(model)
    if len(graph.outputs) != 1:
        raise ValueError(
            f"nested: expected a model with one output, received {len(graph.outputs)} of "
            f"{model.name!r}. Take the part of it that has one."
        )
    step = _maker(graph, graph.outputs[0])
    while step is not None and len(step.inputs) == 1 and not getattr(step.operation, "weights", ()):
        step = _maker(graph, step.inputs[0])
    last: Any = None if step is None else step.operation
    if is_graph(last):
        return _last_dense(last)
    calls = sum(s.operation is last for s in steps_of(model))
    if type(last) is not keras.layers.Dense or not is_plain(last) or calls != 1:
        found = (
            "no layer with weights" if last is None else f"{last.name!r} ({type(last).__name__})"
        )
        found += ", called more than once" if calls > 1 else ""
        raise ValueError(
            "nested: expected a model that ends in a keras.layers.Dense, without a low-rank update "
            f"or a quantised kernel, received {model.name!r}, which ends in {found}. An "
            "AsymScaledDense gives its features with outputs=None; let a Dense read them."
        )
    if last.kernel_constraint is not None or last.bias_constraint is not None:
        raise ValueError(
            f"nested: expected {last.name!r} without a constraint, which a NestedReadout does not "
            "have. Leave it out."
        )
    return last


def _maker(graph: Any, tensor: Any) -> Any:
    """The call that makes `tensor`; None: it is an input."""
    steps = steps_of(graph)
    return next((s for s in steps if any(t is tensor for t in s.outputs)), None)


def _readout_like(dense: Any, widths: Sequence[int], shared: bool) -> NestedReadout:
    return NestedReadout(
        dense.units,
        widths,
        shared=shared,
        activation=dense.activation,
        use_bias=dense.use_bias,
        kernel_initializer=dense.kernel_initializer,
        bias_initializer=dense.bias_initializer,
        kernel_regularizer=dense.kernel_regularizer,
        bias_regularizer=dense.bias_regularizer,
        activity_regularizer=dense.activity_regularizer,
        dtype=dense.dtype_policy,
        trainable=dense.trainable,
        name=dense.name,
    )


def _start(readout: Any, dense: Any, whole: bool) -> None:
    """Gives the readout of all features, or the shared one, the weights of the `Dense`."""
    if readout.shared:
        readout.kernel.assign(dense.kernel)
        if dense.use_bias:
            readout.bias.assign(dense.bias)
    elif whole:
        kernel = np.array(ops.convert_to_numpy(readout.kernel))
        kernel[:, -1] = ops.convert_to_numpy(dense.kernel)
        readout.kernel.assign(kernel)
        if dense.use_bias:
            bias = np.array(ops.convert_to_numpy(readout.bias))
            bias[-1] = ops.convert_to_numpy(dense.bias)
            readout.bias.assign(bias)


def _require_same(model: keras.Model, many: keras.Model, dense: Any, readout: Any) -> None:
    """Refuses a model whose last layers do not do the same to each prefix, on made-up inputs.

    Both get made-up weights, for the last prefix the same ones: zeros would look alike.
    """
    generator = np.random.default_rng(0)
    drawn = [generator.normal(size=v.shape) / np.sqrt(v.shape[0]) for v in readout.weights]
    last = drawn if readout.shared else [a[..., -1, :] for a in drawn]
    last[0][readout.widths[-1] :] = 0
    try:
        x = probe_inputs(model)
        expected, *_ = stateless_call(model, dense.weights, last, x, training=False)
    except Exception:  # the layers refuse made-up inputs, so nothing can be compared
        return
    received, *_ = stateless_call(many, readout.weights, drawn, x, training=False)
    if len(received.shape) != len(expected.shape) + 1:
        raise ValueError(
            f"nested: expected layers after the last Dense of {model.name!r} that do the same to "
            f"each of several outputs, received ones that make shape {tuple(received.shape)} of "
            f"them. Leave them out."
        )
    dtypes = {la.compute_dtype for la in layers_of(model)}
    what = "layers after the last Dense that do the same to each width, and copies of the others,"
    require_same_outputs(expected, received[..., -1, :], dtypes, what)


def _renewed(model: Any) -> dict[str, Any]:
    """What `model` is compiled with, with an optimizer of its own."""
    arguments = compile_arguments(model)
    if arguments:
        arguments["optimizer"] = one_like(arguments["optimizer"])
    return arguments


def _compilation(model: keras.Model, widths: Sequence[int], weights: Any) -> dict[str, Any]:
    arguments = _renewed(model)
    if not arguments:
        if weights is not None:
            raise ValueError(
                f"nested: expected a compiled model for weights, received {model.name!r}, which is "
                "not. Compile it, or give them to NestedLoss."
            )
        return arguments
    loss = arguments["loss"]
    loss = loss[0] if isinstance(loss, (list, tuple)) and len(loss) == 1 else loss
    if isinstance(loss, dict) and len(loss) == 1:
        [loss] = loss.values()
    if weights is not None and len(weights) != len(widths):
        raise ValueError(
            f"nested: expected a weight for each of {len(widths)} widths, received {len(weights)}."
        )
    arguments["loss"] = NestedLoss(loss, weights)
    if arguments.get("loss_weights") is not None:
        arguments["loss_weights"] = keras.tree.flatten(arguments["loss_weights"])
    for key in ("metrics", "weighted_metrics"):
        given = keras.tree.flatten(arguments.get(key) or [])
        arguments[key] = prefix_metrics(given, widths) if given else None
    return arguments
