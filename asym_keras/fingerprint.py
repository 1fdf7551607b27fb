"""Whether a model still computes what it did: what its layers and functions hold, as a list.

A compiled function knows the model that it was traced from, and no other. Weights are read anew
at each call of it; everything else is frozen in it: an activation, the mean of an adapted
normalisation, an attribute of somebody's own layer, a number that a lambda takes from outside.
"""

from __future__ import annotations

import functools
import types
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from asym_keras.graphs import TRAINER_ATTRIBUTES, is_builtin, is_graph, layers_of

# Code of these packages is not looked into: it does not change, and holds no weights.
_LIBRARIES = {"asym_keras", "keras", "tensorflow", "numpy", "builtins", "math", "functools"}
_PLAIN = (bool, int, float, complex, str, bytes, type(None), np.generic)
_EXACTLY_PLAIN = frozenset(_PLAIN)  # most attributes are; asking for these is quick
_VARIABLES = (keras.Variable, tf.Variable)


class PerModel:
    """A dict for each model, emptied when the model has changed in more than its weights."""

    def __init__(self) -> None:
        self._kept: weakref.WeakKeyDictionary = weakref.WeakKeyDictionary()

    def __call__(self, model) -> dict:
        """The dict of `model` as it is now."""
        now = Fingerprint(model)
        before, kept = self._kept.get(model, (None, {}))
        if before is None or not before.holds(now):
            kept = {}
            self._kept[model] = now, kept
        return kept


class Fingerprint:
    """What a model computes, but for the values of its weights."""

    def __init__(self, model):
        self._references: list = []
        self._tokens: list = []
        seen: set[int] = set()
        for layer in layers_of(model):
            self._tokens.append(self._identity(layer))
            for name, value in own_attributes(layer):
                if value is None:
                    continue  # as good as none: recurrent cells set some at their first call
                self._tokens.append(name)
                if type(value) in _EXACTLY_PLAIN:
                    self._tokens += type(value), value
                else:
                    self._tokens += map(self._token, held(value, seen))

    def holds(self, now: Fingerprint) -> bool:
        """Whether the model is `now` what it was."""
        # The address of what is gone may have been given to something else.
        return self._tokens == now._tokens and all(r() is not None for r in self._references)

    def _token(self, thing) -> Any:
        if isinstance(thing, _PLAIN):
            return type(thing), thing
        if isinstance(thing, np.ndarray):
            return thing.shape, thing.dtype.str, hash(thing.tobytes())
        if isinstance(thing, tf.Variable):  # one of Keras keeps its shape
            return self._identity(thing), tuple(thing.shape)
        return self._identity(thing)

    def _identity(self, thing) -> int:
        try:
            self._references.append(weakref.ref(thing))
        except TypeError:  # held, so that its address stays its own
            self._references.append(functools.partial(_itself, thing))
        return id(thing)


def _itself(thing):
    return thing


def reaches_variables(thing) -> bool:
    """Whether a function, or a layer that is no model, may use weights that are not its own.

    What it holds is looked through: closures, defaults, the globals that its code names, and
    attributes. Variables that Keras tracks as a layer's own are not counted.
    """
    own: set[int] = set()
    if isinstance(thing, keras.layers.Layer):
        inside = layers_of(thing)
        own = {id(a) for a in (*inside, *(v for layer in inside for v in layer.variables))}
        # Keras's lookup layers keep statistics in variables that they do not track.
        known = [layer for layer in inside if is_builtin(layer)]
        own |= {id(v) for la in known for v in vars(la).values() if isinstance(v, tf.Variable)}
        things: list = [value for layer in inside for _, value in own_attributes(layer)]
        things += [getattr(type(layer), "call", None) for layer in inside]
    else:
        things = [thing]
    seen: set[int] = set()
    return any(
        isinstance(part, (*_VARIABLES, keras.layers.Layer)) and id(part) not in own
        for value in things
        for part in held(value, seen)
    )


@functools.cache
def _bare_attributes() -> frozenset[str]:
    """What every layer and model has, where Keras counts calls and keeps its own caches."""
    bare = keras.layers.Layer(), keras.Model(), keras.Sequential()
    return TRAINER_ATTRIBUTES.union(*map(vars, bare))


def own_attributes(layer) -> list[tuple[str, Any]]:
    """What sets `layer` apart from a bare one, and what it computes from others of its class."""
    own = vars(layer)
    # Keras sets these on a bare layer; where they differ from its class's they are somebody's.
    set_by_keras = ("call", "activity_regularizer")
    found = [("dtype", layer.dtype_policy.name)]
    found += [(name, own[name]) for name in set_by_keras if name in own]
    if is_graph(layer):
        return found  # what it does is what its layers do
    return found + [(name, own[name]) for name in _own_names(tuple(own))]


@functools.lru_cache(maxsize=256)
def _own_names(names: tuple[str, ...]) -> list[str]:
    skipped = _bare_attributes()
    return [n for n in names if n not in skipped and not n.startswith("_self_")]  # TensorFlow's


def held(thing, seen: set[int] | None = None) -> Iterator[Any]:
    """`thing` taken apart as far as somebody's own code goes: numbers, arrays, code, objects.

    Args:
        seen: ids of what was taken apart before, which is not given again.
    """
    seen = set() if seen is None else seen
    if isinstance(thing, _PLAIN):
        yield thing
        return
    if id(thing) in seen:
        return
    seen.add(id(thing))
    if isinstance(thing, dict):
        parts: list = [part for pair in thing.items() for part in pair]
    elif isinstance(thing, (list, tuple, set, frozenset)):
        yield len(thing)
        parts = list(thing)
    elif isinstance(thing, functools.partial):
        parts = [thing.func, thing.args, thing.keywords]
    elif isinstance(thing, types.MethodType):
        parts = [thing.__func__, thing.__self__]
    elif isinstance(thing, types.FunctionType):
        yield thing.__code__
        parts = [] if _is_of_a_library(thing.__module__) else _parts_of(thing)
    elif isinstance(thing, (np.ndarray, *_VARIABLES, type, types.ModuleType)):
        yield thing
        return
    else:
        yield thing
        known = isinstance(thing, keras.layers.Layer) or _is_of_a_library(type(thing).__module__)
        parts = [] if known else [getattr(thing, "__dict__", {}), *_calls_of(thing)]
    for part in parts:
        yield from held(part, seen)


def _parts_of(function: Callable) -> list:
    """What a function takes from outside: closure, defaults, and globals that its code names."""
    parts: list = [function.__defaults__, function.__kwdefaults__]
    for cell in function.__closure__ or ():
        try:
            parts.append(cell.cell_contents)
        except ValueError:  # a cell that is not filled yet
            parts.append(None)
    names = _names_in(function.__code__)
    space = function.__globals__
    return parts + [space[name] for name in sorted(names) if name in space]


def _names_in(code: types.CodeType) -> set[str]:
    inner = [c for c in code.co_consts if isinstance(c, types.CodeType)]
    return set(code.co_names).union(*map(_names_in, inner))


def _calls_of(thing) -> list:
    """The method that runs when `thing` is called, or what a loss or layer has in its place."""
    names = ("__call__", "call")
    found = [getattr(type(thing), name, None) for name in names]
    return [f for f in found if isinstance(f, types.FunctionType)]


@functools.lru_cache(maxsize=1024)
def _is_of_a_library(module: str | None) -> bool:
    return (module or "").split(".")[0] in _LIBRARIES
