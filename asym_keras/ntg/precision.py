"""A Keras model at another floating-point precision, following the weights of the original."""

from __future__ import annotations

import keras
import tensorflow as tf

from asym_keras.copies import copy_model
from asym_keras.fingerprint import PerModel
from asym_keras.graphs import is_graph, layers_of
from asym_keras.layer_copies import FLOATS
from asym_keras.same_outputs import outputs_of, probe_inputs, require_same_outputs

_copies = PerModel()


def at_precision(model: keras.Model, dtype) -> keras.Model:
    """`model` with variables and computations of `dtype`; itself where they are so already.

    The copy is made once per model and dtype, again when the model has changed, and gets the
    model's weights at each call. Small eigenvalues of the NTG of a float32 or mixed-precision
    model are rounding noise; those of its copy in float64 are not.

    Raises:
        ValueError: The model cannot be rebuilt from its configuration: a subclass, for example;
            or the copy does not compute what it does.
    """
    dtype = tf.as_dtype(dtype).name
    if _dtypes(model) <= {dtype}:
        return model
    copies = _copies(model)
    if dtype not in copies:
        copies[dtype] = _rebuild(model, dtype)
    for own, original in zip(copies[dtype].weights, model.weights, strict=True):
        own.assign(tf.cast(original.value, own.dtype))
    return copies[dtype]


def _dtypes(model) -> set[str]:
    """Dtypes of the floating-point variables, and of the computations of their layers."""
    computing = {la.compute_dtype for la in layers_of(model) if la.weights and not is_graph(la)}
    return computing | {str(v.dtype) for v in model.weights if str(v.dtype) in FLOATS}


def computes_in_less(model) -> bool:
    """Whether a layer computes in less than the precision of its weights: mixed precision."""
    halves = ("float16", "bfloat16")
    return any(la.compute_dtype in halves for la in layers_of(model) if la.weights)


def _rebuild(model, dtype: str) -> keras.Model:
    hint = f"Build it with dtype={dtype!r}, or leave out dtype."
    try:
        copy = copy_model(model, dtype=dtype, compiled=False)
    except ValueError as error:
        raise ValueError(f"{model.name!r} can't be rebuilt in {dtype}: {error} {hint}") from error
    if _dtypes(copy) != {dtype}:
        others = [w for w in copy.weights if str(w.dtype) in FLOATS and w.dtype != dtype]
        kept = sorted(f"{w.path} in {w.dtype}" for w in others)
        lora = any(getattr(la, "lora_enabled", False) for la in layers_of(copy))
        raise ValueError(
            f"Expected all of {model.name!r} to compute in {dtype} once rebuilt, received "
            f"{', '.join(kept) or sorted(_dtypes(copy))}, "
            f"{'where Keras keeps LoRA weights' if lora else 'a dtype of its own'}. "
            "Leave out dtype: the NTG is then as exact as these allow."
        )
    expected = outputs_of(model, probe_inputs(model))
    if expected is not None:
        received = outputs_of(copy, probe_inputs(copy))
        what = f"{model.name!r} rebuilt in {dtype}"
        require_same_outputs(expected, received, _dtypes(model) | {dtype}, what)
    return copy
