"""A model copied exactly: its graph, its weights, and what is in neither.

`copy_model(m)(x)` is `m(x)`, as after saving and loading: adapted preprocessing layers, lookup
tables, low-rank and quantised weights, shared layers, functions that have no name. A copy may be
at another precision, or have some of its layers cut to fewer nodes.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import keras

from asym_keras.graphs import (
    compile_arguments,
    graph_of,
    is_graph,
    layers_of,
    own_training,
    rerun,
    unused,
)
from asym_keras.layer_copies import FLOATS, Change, made_again, transfer
from asym_keras.remade import one_like

logger = logging.getLogger(__name__)


def copy_model(
    model: keras.Model,
    *,
    dtype: str | None = None,
    changes: Mapping[int, Change] | None = None,
    shapes: Mapping[int, tuple] | None = None,
    compiled: bool = True,
) -> keras.Model:
    """A copy of `model`, a functional or Sequential model; no weight or layer is shared.

    Args:
        model: built model; it is not changed.
        dtype: of all floating-point weights and computations. None: as they are.
        changes: `id(layer)` -> `Change`.
        shapes: `id(tensor)` -> shape with the examples' axis, of inputs of nested models.
        compiled: whether the copy is compiled as `model` is.

    Returns:
        `keras.Model` of the same kind, with the names and (without dtype) the dtype policies of
        its layers. Compiled, it has the same objects as loss and metrics, and an optimizer of its
        own.

    Raises:
        ValueError: A layer that can't be made again from its configuration, or a model that is no
            graph of layers; says which.
    """
    if not is_graph(model):
        raise ValueError(
            f"Expected a functional or Sequential model, received {model.name!r} of class "
            f"{type(model).__name__}, whose call is its own: it can't be rebuilt layer by layer."
        )
    _require_apart(model)
    _warn_of_methods(model)
    copying = _Copying(dtype, changes or {}, shapes or {})
    with default_dtype(dtype):
        new = copying.graph(model)
    copying.transfer()
    if compiled:
        compile_as(model, new)
    return new


def _require_apart(model) -> None:
    """Raises ValueError if a layer is in two layers that hold others: in copies it would be two."""
    owners: dict[int, Any] = {}
    for layer in (la for la in layers_of(model) if not is_graph(la)):
        inside = layers_of(layer)
        for inner in inside[1:]:
            owner = owners.setdefault(id(inner), layer)
            if owner not in inside and layer not in layers_of(owner):
                raise _shared(inner, owner, layer)
    graphs = [la for la in layers_of(model) if is_graph(la) and id(la) not in owners]
    for layer in (la for graph in graphs for la in graph.layers):
        if id(layer) in owners:
            raise _shared(layer, owners[id(layer)], layer)


def _shared(inner, owner, other) -> ValueError:
    where = "the graph" if inner is other else f"{other.name!r}"
    return ValueError(
        f"Expected layers that stand in one place, received {inner.name!r} "
        f"({type(inner).__name__}), which is in {owner.name!r} ({type(owner).__name__}) and in "
        f"{where}: made again, it would be two. Call one layer twice, or use two."
    )


def _warn_of_methods(model) -> None:
    """Warns of methods of a subclass that its copy, a plain model, does not have."""
    for graph in (la for la in layers_of(model) if is_graph(la)):
        own = own_training(graph)
        if own:
            logger.warning(
                "copy of %s is a plain model: %s of %s are not carried over.",
                graph.name,
                ", ".join(own),
                type(graph).__name__,
            )


@contextlib.contextmanager
def default_dtype(dtype: str | None) -> Iterator[None]:
    """While open, layers and inputs made without a dtype have this one; None: as it is."""
    policy, floatx = keras.config.dtype_policy(), keras.config.floatx()
    if dtype is not None:
        keras.config.set_floatx(dtype)
        keras.config.set_dtype_policy(dtype)
    try:
        yield
    finally:
        keras.config.set_floatx(floatx)
        keras.config.set_dtype_policy(policy)


class _Copying:
    """The copies made so far, each layer's once."""

    def __init__(self, dtype: str | None, changes: Mapping, shapes: Mapping):
        self._dtype, self._changes, self._shapes = dtype, changes, shapes
        self._copies: dict[int, tuple[Any, Any]] = {}

    def graph(self, model):
        """The copy of a functional or Sequential model, its weights not yet those of `model`."""
        if isinstance(model, keras.Sequential):
            [tensor] = graph_of(model).inputs
            layers = [self._input(tensor)]
            for layer in model.layers:
                then = self._change(layer).then
                layers += [self._layer(layer)] if then is None else [self._layer(layer), then]
            new = keras.Sequential(layers, name=model.name)
        else:
            inputs = keras.tree.map_structure(self._input, model.input)
            outputs = rerun(model, keras.tree.flatten(inputs), self._operation)
            new = keras.Model(inputs, outputs, name=model.name)
        self._copies[id(model)] = model, new
        return new

    def transfer(self) -> None:
        """Gives the copies the weights and all other state of the originals."""
        pairs = list(self._copies.values())
        for old, new in pairs:
            if is_graph(old) and not old.trainable:
                new.trainable = False  # and all in it, until it is their turn
        for old, new in pairs:
            if is_graph(old) or not isinstance(old, keras.layers.Layer):
                continue
            if self._change(old).instead is not None:
                new.trainable = old.trainable
            else:
                transfer(old, new, self._change(old), self._dtype)

    def _change(self, layer) -> Change:
        return self._changes.get(id(layer), Change())

    def _input(self, tensor):
        shape = self._shapes.get(id(tensor), tensor.shape)
        dtype = self._dtype if self._dtype and tensor.dtype in FLOATS else tensor.dtype
        return keras.Input(batch_shape=shape, dtype=dtype, name=tensor.name)

    def _layer(self, layer):
        if id(layer) in self._copies:
            return self._copies[id(layer)][1]
        if is_graph(layer):
            return self.graph(layer)
        change, stateful = self._change(layer), isinstance(layer, keras.layers.Layer)
        new = change.instead
        if new is None:
            new = made_again(layer, change, self._dtype) if stateful else unused(layer)
        self._copies[id(layer)] = layer, new
        return new

    def _operation(self, operation) -> Callable:
        new = self._layer(operation)

        def called(*args, **kwargs):
            args, kwargs = keras.tree.map_structure(self._counterpart, (args, kwargs))
            outputs, then = new(*args, **kwargs), self._change(operation).then
            return outputs if then is None else then(outputs)

        return called

    def _counterpart(self, argument):
        """The copy's variable for one that is an argument in the graph."""
        if not isinstance(argument, keras.Variable):
            return argument
        for old, new in self._copies.values():
            for name, value in vars(old).items():
                if value is argument and isinstance(old, keras.layers.Layer):
                    if not new.built:
                        new.build_from_config(old.get_build_config())
                    return getattr(new, name)
        raise ValueError(
            f"Expected variables in the graph to be of layers called before, received "
            f"{argument.path!r}, an argument of an operation. Use a layer that holds both."
        )


def compile_as(model, new) -> None:
    """Compiles `new` as `model` is, if it is, with an optimizer of its own."""
    arguments = compile_arguments(model)
    if not arguments:
        return
    try:
        arguments["optimizer"] = one_like(arguments["optimizer"])
        new.compile(**arguments)
    except Exception as error:  # of somebody else's optimizer, so of any class
        logger.warning(
            "copy of %s is not compiled: its optimizer can't be made again (%s). Compile it.",
            model.name,
            error,
        )
