"""A Keras model at another floating-point precision, following the weights of the original."""

from __future__ import annotations

import weakref

import keras
import tensorflow as tf

from asym_keras.ntg.inputs import is_graph

_FLOATS = ("float16", "bfloat16", "float32", "float64")
_copies: weakref.WeakKeyDictionary = weakref.WeakKeyDictionary()


def at_precision(model: keras.Model, dtype) -> keras.Model:
    """`model` with variables and computations of `dtype`; itself where they are so already.

    The copy is made once per model and dtype, and gets the model's weights at each call. Small
    eigenvalues of the NTG of a float32 or mixed-precision model are rounding noise; those of its
    copy in float64 are not.

    Raises:
        ValueError: The model cannot be rebuilt from its configuration: a subclass, for example.
    """
    dtype = tf.as_dtype(dtype).name
    if _dtypes(model) <= {dtype}:
        return model
    copies = _copies.setdefault(model, {})
    if dtype not in copies:
        copies[dtype] = _rebuild(model, dtype)
    for own, original in zip(copies[dtype].weights, model.weights, strict=True):
        own.assign(tf.cast(original.value, own.dtype))
    return copies[dtype]


def _dtypes(model) -> set[str]:
    """Dtypes of the floating-point variables, and of the computations of their layers."""
    layers = [la for la in model._flatten_layers() if la.weights and not is_graph(la)]
    return {str(v.dtype) for v in model.weights if str(v.dtype) in _FLOATS} | {
        layer.compute_dtype for layer in layers
    }


def computes_in_less(model) -> bool:
    """Whether a layer computes in less than the precision of its weights: mixed precision."""
    halves = ("float16", "bfloat16")
    return any(la.compute_dtype in halves for la in model._flatten_layers() if la.weights)


def _rebuild(model, dtype: str) -> keras.Model:
    hint = f"Build it with dtype={dtype!r}, or leave out dtype."
    if not is_graph(model):
        raise ValueError(
            f"Expected a functional or Sequential model to compute in {dtype}, received "
            f"{model.name!r} of class {type(model).__name__}, which can't be rebuilt. {hint}"
        )
    config = keras.saving.serialize_keras_object(model)
    config.pop("compile_config", None)
    custom = {type(la).__name__: type(la) for la in model._flatten_layers()}
    try:
        # In memory all the way: nothing that the caller's own program has not defined is run.
        copy = keras.saving.deserialize_keras_object(
            _with_dtype(config, dtype),
            custom_objects={
                n: c for n, c in custom.items() if not c.__module__.startswith("keras")
            },
            safe_mode=False,
        )
    except (TypeError, ValueError, NotImplementedError) as error:  # the last: a Lambda layer
        raise ValueError(f"{model.name!r} can't be rebuilt in {dtype}: {error} {hint}") from error
    if [w.shape for w in copy.weights] != [w.shape for w in model.weights]:
        raise ValueError(
            f"Expected {model.name!r} to have the same weights once rebuilt in {dtype}, received "
            f"others: does a nested model share a layer with the rest? {hint}"
        )
    if _dtypes(copy) != {dtype}:
        kept = sorted(
            f"{w.path} in {w.dtype}"
            for w in copy.weights
            if str(w.dtype) in _FLOATS and w.dtype != dtype
        )
        lora = any(getattr(la, "lora_enabled", False) for la in copy._flatten_layers())
        raise ValueError(
            f"Expected all of {model.name!r} to compute in {dtype} once rebuilt, received "
            f"{', '.join(kept) or sorted(_dtypes(copy))}, "
            f"{'where Keras keeps LoRA weights' if lora else 'a dtype of its own'}. "
            "Leave out dtype: the NTG is then as exact as these allow."
        )
    return copy


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
    return isinstance(policy, str) and policy.removeprefix("mixed_") in _FLOATS
