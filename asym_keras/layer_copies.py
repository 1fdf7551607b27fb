"""One layer copied exactly: its configuration, its weights, and what is in neither."""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import functools
import tempfile
import types
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from asym_keras.fingerprint import PLAIN, VARIABLES, own_attributes, reaches_variables
from asym_keras.graphs import does_as_its_class, lambda_arguments, layers_of

FLOATS = ("float16", "bfloat16", "float32", "float64")


@dataclasses.dataclass(frozen=True, eq=False)
class Change:
    """What differs in the copy of a layer."""

    config: dict[str, Any] = dataclasses.field(default_factory=dict)
    # By attribute, in the place of weights of the original, or of some that it does not have.
    weights: dict[str, np.ndarray] = dataclasses.field(default_factory=dict)
    then: keras.layers.Layer | None = None  # which is called on what the copy returns
    instead: keras.layers.Layer | None = None  # which takes the place of the copy


def made_again(layer, change: Change, dtype: str | None):
    """A new layer of the same class and configuration, but for `change` and `dtype`.

    Raises:
        ValueError: Its configuration does not make it, its `call` was replaced, or it uses weights
            of other layers, which would be those of the original in the copy, too.
    """
    if reaches_variables(layer):
        raise ValueError(
            f"Expected layers that use their own weights alone, received {layer.name!r} "
            f"({type(layer).__name__}), which uses weights of other layers, or a tf.Variable, "
            "which Keras does not list. Hand them over as an argument in the graph, make one "
            "layer of both, or use add_weight."
        )
    if not does_as_its_class(layer):
        raise ValueError(
            f"Expected layers that do what their class does, received {layer.name!r} "
            f"({type(layer).__name__}), whose call was replaced. Make a class of it."
        )
    inside = layers_of(layer)
    values = [value for la in inside for _, value in own_attributes(la)]
    functions = {f.__name__: f for f in values if _is_function(f)}
    own = {c.__name__: c for c in map(type, inside) if not c.__module__.startswith("keras")}
    try:
        # Functions as they are: of a lambda a configuration keeps the code alone.
        config = layer.get_config()
        config |= {k: f for k, f in vars(layer).items() if k in config and _is_function(f)}
        config |= change.config
        if dtype:
            config = _with_dtype(config, dtype)
        if type(layer) is keras.layers.Lambda:  # its from_config refuses code
            return keras.layers.Lambda(**config | lambda_arguments(layer))
        with keras.saving.custom_object_scope({**functions, **own}):
            return type(layer).from_config(config)
    except Exception as error:  # of somebody else's get_config or __init__, so of any class
        raise ValueError(
            f"{layer.name!r} ({type(layer).__name__}) can't be made again from its "
            f"configuration: {error} Define get_config for it."
        ) from error


def transfer(old, new, change: Change, dtype: str | None) -> None:
    """Gives the built layer `new` the weights and all other state of `old`, but for `change`."""
    inside = layers_of(old), layers_of(new)
    if [type(la) for la in inside[0]] != [type(la) for la in inside[1]]:
        raise _unlike(old, "other layers in it")
    for o, n in zip(*inside, strict=True):
        changed = change if o is old else Change()
        _copy_attributes(o, n, changed, dtype)
        _copy_variables(o, n, changed)
        if hasattr(o, "finalize_state") and not changed.weights:
            _copy_assets(o, n)
    if old.trainable != new.trainable:
        new.trainable = old.trainable


def _copy_attributes(old, new, change: Change, dtype: str | None) -> None:
    """Numbers, functions and constants that somebody set, whether the config tells or not."""
    for name, value in own_attributes(old):
        if name in change.config or name not in vars(new):
            continue
        if _is_own_object(value) and not reaches_variables(value):
            # A lock, for one, can't be copied: then the new layer's own stays.
            with contextlib.suppress(TypeError, copy.Error):
                vars(new)[name] = copy.deepcopy(value)
            continue
        if not _is_constant(value) or not _is_constant(vars(new)[name]):
            continue
        if change.config and not _is_function(value):
            continue  # sizes follow the configuration
        if dtype and tf.is_tensor(value) and value.dtype.is_floating:
            value = tf.cast(value, dtype)
        vars(new)[name] = value if callable(value) else copy.copy(value)


def _is_function(value) -> bool:
    return isinstance(value, types.FunctionType)


def _is_constant(value) -> bool:
    """Whether `value` holds no weights and no state, so that two layers may hold it."""
    if isinstance(value, (list, tuple)):
        return all(map(_is_constant, value))
    if isinstance(value, dict):
        return all(map(_is_constant, value.values()))
    if isinstance(value, (*PLAIN, np.ndarray, types.FunctionType, functools.partial)):
        return True
    return tf.is_tensor(value) and not isinstance(value, VARIABLES)


def _is_own_object(value) -> bool:
    """Whether `value` is an object of somebody's class, which a configuration does not tell."""
    kind = type(value)
    ours = kind.__module__.split(".")[0] in ("keras", "tensorflow", "numpy", "builtins")
    return not ours and not isinstance(value, (keras.layers.Layer, type)) and not callable(value)


def _copy_variables(old, new, change: Change) -> None:
    """Each of the layer's own variables to the one of the same attribute."""
    theirs, ours = _own_variables(old), _own_variables(new)
    if (set(theirs) ^ set(ours)) - set(change.weights):
        raise _unlike(old, f"weights {sorted(ours)}, not {sorted(theirs)}")
    for name, variable in ours.items():
        value = keras.ops.convert_to_numpy(change.weights.get(name, theirs.get(name)))
        if tuple(value.shape) != tuple(variable.shape):
            raise _unlike(old, f"{name} of shape {tuple(variable.shape)}, not {value.shape}")
        variable.assign(keras.ops.cast(value, variable.dtype))
        if name in theirs and variable.trainable != theirs[name].trainable:
            variable.trainable = theirs[name].trainable


def attribute_of(layer, variable) -> str:
    """The name by which `layer` holds one of its variables, as `Change.weights` takes it."""
    return next(name for name, value in vars(layer).items() if value is variable)


def _own_variables(layer) -> dict[str, Any]:
    """Variables of the layer itself, by attribute; in a list, by attribute and place."""
    found: dict[str, Any] = {}
    others = {id(v) for la in layers_of(layer)[1:] for v in la.variables}
    for name, value in vars(layer).items():
        if isinstance(value, keras.Variable):
            found[name] = value
        elif isinstance(value, keras.random.SeedGenerator):
            found[name] = value.state
        elif isinstance(value, (list, tuple)) and name.strip("_") not in _KERAS_LISTS:
            for i, item in enumerate(value):
                if isinstance(item, keras.Variable):
                    found[f"{name}[{i}]"] = item
    known = {id(v) for v in found.values()} | others
    for i, variable in enumerate(v for v in layer.variables if id(v) not in known):
        found[f"variable {i}"] = variable
    return found


_KERAS_LISTS = {"trainable_variables", "non_trainable_variables", "seed_generators"}


def _copy_assets(old, new) -> None:
    """Vocabularies and adapted statistics, as saving and loading carries them over."""
    if hasattr(old, "vocabulary_size") and layers_of(old) == [old]:
        # Saving leaves out a vocabulary that was set in the place of a given one.
        words = old.get_vocabulary(include_special_tokens=False)
        weights = getattr(old, "idf_weights_const", None)
        if weights is not None:
            weights = keras.ops.convert_to_numpy(weights)[-len(words) :]
            new.set_vocabulary(words, idf_weights=weights)
        elif len(words):
            new.set_vocabulary(words)
        return
    store: dict[str, Any] = {}
    old.save_own_variables(store)
    if store:
        new.load_own_variables(store)
    if hasattr(old, "save_assets"):
        with tempfile.TemporaryDirectory() as folder:
            old.save_assets(folder)
            new.load_assets(folder)


def _unlike(layer, received: str) -> ValueError:
    return ValueError(
        f"Expected {layer.name!r} ({type(layer).__name__}) to be the same once made again from its "
        f"configuration, received {received}. Define get_config and build for it."
    )


def _with_dtype(config, dtype: str):
    """The configuration with every floating-point dtype and dtype policy replaced."""
    if isinstance(config, dict):
        return {
            key: dtype if key == "dtype" and _is_float(value) else _with_dtype(value, dtype)
            for key, value in config.items()
        }
    if isinstance(config, (list, tuple)):
        return type(config)(_with_dtype(item, dtype) for item in config)
    return config


def _is_float(policy) -> bool:
    if isinstance(policy, dict):
        policy = policy.get("config", {}).get("name")
    return isinstance(policy, str) and policy.removeprefix("mixed_") in FLOATS
