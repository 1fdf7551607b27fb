"""Whether a model still computes what it did: what its layers and functions hold, as a list.

A compiled function knows the model that it was traced from, and no other. Weights are read anew
at each call of it; everything else is frozen in it: an activation, the mean of an adapted
normalisation, an attribute of somebody's own layer, a number that a lambda takes from outside.
"""

from __future__ import annotations

import dis
import functools
import sys
import types
import weakref
from collections.abc import Collection, Iterable, Iterator
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from asym_keras.graphs import TRAINER_ATTRIBUTES, is_builtin, is_graph, layers_of

# Code of these packages is not looked into: it does not change, and holds no weights.
_LIBRARIES = {
    *("asym_keras", "keras", "keras_cv", "keras_hub", "keras_nlp", "tensorflow", "numpy", "scipy"),
    *("builtins", "math", "functools"),
}
PLAIN = (bool, int, float, complex, str, bytes, type(None), np.generic)
_EXACTLY_PLAIN = frozenset(PLAIN)  # most attributes are; asking for these is quick
VARIABLES = (keras.Variable, tf.Variable)
_DESCRIPTORS = (property, staticmethod, classmethod, functools.cached_property)


class PerModel:
    """A dict for each model, emptied when the model has changed in more than its weights."""

    def __init__(self) -> None:
        self._kept: weakref.WeakKeyDictionary = weakref.WeakKeyDictionary()

    def __call__(self, model, now: Fingerprint | None = None) -> dict:
        """The dict of `model`, or of another owner, as it is `now`; None: by all its layers."""
        now = now or Fingerprint(layers_of(model))
        before, kept = self._kept.get(model, (None, {}))
        if before is None or not before.holds(now):
            kept = {}
            self._kept[model] = now, kept
        return kept


class Fingerprint:
    """What layers and functions compute, but for the values of weights.

    Layers from outside that their code takes are looked through, too.
    """

    def __init__(self, layers: Iterable, functions: Iterable = ()):
        self._references: list = []
        self._tokens: list = []
        layers, seen = list(layers), set[int]()
        known = set(map(id, layers))

        def take_apart(value) -> None:
            for thing in held(value, seen):
                self._tokens.append(self._token(thing))
                if isinstance(thing, keras.layers.Layer) and id(thing) not in known:
                    found = [la for la in layers_of(thing) if id(la) not in known]
                    layers.extend(found)
                    known.update(map(id, found))

        for function in functions:
            take_apart(function)
        for layer in layers:  # which grows
            self._tokens.append(self._identity(layer))
            for name, value in own_attributes(layer):
                if value is None:
                    continue  # as good as none: recurrent cells set some at their first call
                self._tokens.append(name)
                if type(value) in _EXACTLY_PLAIN:
                    self._tokens += type(value), value
                else:
                    take_apart(value)
            if not is_of_a_library(type(layer).__module__) and not is_graph(layer):
                take_apart(type(layer))

    def holds(self, now: Fingerprint) -> bool:
        """Whether the model is `now` what it was."""
        # The address of what is gone may have been given to something else.
        return self._tokens == now._tokens and all(r() is not None for r in self._references)

    def _token(self, thing) -> Any:
        if isinstance(thing, PLAIN):
            return type(thing), thing
        if isinstance(thing, np.ndarray):
            content = repr(thing.tolist()) if thing.dtype.hasobject else hash(thing.tobytes())
            return thing.shape, thing.dtype.str, content
        if isinstance(thing, tf.Variable):  # one of Keras keeps its shape
            return self._identity(thing), tuple(thing.shape)
        return self._identity(thing)

    def _identity(self, thing) -> int:
        try:
            self._references.append(weakref.ref(thing))
        except TypeError:  # held, so that its address stays its own
            self._references.append(lambda: thing)
        return id(thing)


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
        things += [type(layer) for layer in inside if not is_graph(layer)]
    else:
        things = [thing]
    seen: set[int] = set()
    return any(
        isinstance(part, (*VARIABLES, keras.layers.Layer)) and id(part) not in own
        for value in things
        for part in held(value, seen)
    )


@functools.cache
def _bare_attributes(model: bool) -> frozenset[str]:
    """What every layer or model has, where Keras counts calls and keeps its own caches."""
    bare = [keras.Model(), keras.Sequential()] if model else [keras.layers.Layer()]
    return (TRAINER_ATTRIBUTES if model else frozenset()).union(*map(vars, bare))


def own_attributes(layer) -> list[tuple[str, Any]]:
    """Attributes that a bare layer does not have, and those by which others of its class differ."""
    own = vars(layer)
    # Keras sets these on a bare layer; where they differ from its class's they are somebody's.
    set_by_keras = ("call", "activity_regularizer")
    found = [("dtype", layer.dtype_policy.name)]
    found += [(name, own[name]) for name in set_by_keras if name in own]
    if is_graph(layer):
        return found  # what it does is what its layers do
    model = isinstance(layer, keras.Model)
    return found + [(name, own[name]) for name in _own_names(tuple(own), model)]


@functools.lru_cache(maxsize=256)
def _own_names(names: tuple[str, ...], model: bool) -> list[str]:
    skipped = _bare_attributes(model)
    return [n for n in names if n not in skipped and not n.startswith("_self_")]  # TensorFlow's


def held(thing, seen: set[int] | None = None) -> Iterator[Any]:
    """`thing` taken apart as far as somebody's own code goes: numbers, arrays, code, objects.

    Args:
        seen: ids of what was taken apart before, which is not given again.
    """
    seen = set() if seen is None else seen
    if isinstance(thing, PLAIN):
        yield thing
        return
    if id(thing) in seen:
        return
    seen.add(id(thing))
    # Objects that stay: the address of one that is made here may be another's a moment later.
    parts: list = []
    if isinstance(thing, dict):
        parts = [part for pair in thing.items() for part in pair]
    elif isinstance(thing, (list, tuple, set, frozenset)):
        yield len(thing)
        parts = sorted(thing, key=repr) if isinstance(thing, (set, frozenset)) else list(thing)
    elif isinstance(thing, functools.partial):
        parts = [thing.func, thing.args, thing.keywords]
    elif isinstance(thing, types.MethodType):
        parts = [thing.__func__, thing.__self__]
    elif isinstance(thing, _DESCRIPTORS):
        parts = [getattr(thing, name, None) for name in ("fget", "__func__", "func")]
    elif isinstance(thing, weakref.ref):
        parts = [thing()]
    elif isinstance(thing, types.FunctionType):
        yield thing.__code__
        parts = [] if is_of_a_library(thing.__module__) else _parts_of(thing)
    elif isinstance(thing, type):
        yield thing
        parts = _members(thing)
    elif isinstance(thing, (np.ndarray, *VARIABLES, types.ModuleType, keras.layers.Layer)):
        yield thing
    elif type(thing).__module__.split(".")[0] in _LIBRARIES:
        yield thing
    elif hasattr(type(thing), "__array__"):  # of pandas
        yield np.asarray(thing)
    else:
        yield thing
        parts = [*_state_of(thing), type(thing)]
    for part in parts:
        yield from held(part, seen)


def _parts_of(function: types.FunctionType) -> list:
    """What a function takes from outside: closure, defaults, globals, and what modules hold."""
    parts: list = [function.__defaults__, function.__kwdefaults__, function.__dict__]
    for cell in function.__closure__ or ():
        try:
            parts.append(cell.cell_contents)
        except ValueError:  # a cell that is not filled yet
            parts.append(None)
    names, attributes = _names_in(function.__code__)
    found = [function.__globals__[n] for n in sorted(names) if n in function.__globals__]
    modules = [
        m for m in found if isinstance(m, types.ModuleType) and not is_of_a_library(m.__name__)
    ]
    return parts + found + [vars(m)[n] for m in modules for n in sorted(attributes) if n in vars(m)]


@functools.lru_cache(maxsize=4096)
def _names_in(code: types.CodeType) -> tuple[frozenset[str], frozenset[str]]:
    """Names of globals, and of attributes, that code and the code in it load."""
    loads: dict[str, set] = {"GLOBAL": set(), "NAME": set(), "ATTR": set(), "METHOD": set()}
    for instruction in dis.get_instructions(code):
        kind, _, what = instruction.opname.partition("_")
        if kind == "LOAD" and what in loads:
            loads[what].add(instruction.argval)
    names, attributes = loads["GLOBAL"] | loads["NAME"], loads["ATTR"] | loads["METHOD"]
    for inner in code.co_consts:
        if isinstance(inner, types.CodeType):
            more_names, more_attributes = _names_in(inner)
            names, attributes = names | more_names, attributes | more_attributes
    return frozenset(names), frozenset(attributes)


def _members(kind: type) -> list:
    """What somebody's class and its bases define."""
    return [
        value
        for base in kind.__mro__
        if not is_of_a_library(base.__module__)
        for name, value in vars(base).items()
        if name == "__call__" or not (name.startswith("__") and name.endswith("__"))
    ]


def _state_of(thing) -> list:
    """Attributes and entries of somebody's object."""
    slots = [getattr(base, "__slots__", ()) for base in type(thing).__mro__]
    names = [n for s in slots for n in ((s,) if isinstance(s, str) else s)]
    state = [getattr(thing, "__dict__", None), *(getattr(thing, name, None) for name in names)]
    return state + (list(thing) if isinstance(thing, Collection) else [])


@functools.lru_cache(maxsize=1024)
def is_of_a_library(module: str | None) -> bool:
    """Whether code of `module` stays what it is: Keras's, ours, the standard library's."""
    top = (module or "").split(".")[0]
    return top in _LIBRARIES or (top in sys.stdlib_module_names and top != "__main__")
