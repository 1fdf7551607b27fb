"""Whether work on a model is compiled with XLA."""

from __future__ import annotations

import keras
import numpy as np
import tensorflow as tf

from asym_keras.fingerprint import PerModel
from asym_keras.graphs import is_builtin, is_graph, layers_of
from asym_keras.inputs import stateless_call, take
from asym_keras.tracing import traced_once

# Below this many examples x weights a step is bound by memory traffic and dispatch, which XLA's
# fusion removes; above it by matrix products, which TensorFlow's own kernels (oneDNN) do faster.
# Steps with and without XLA, two shared cores: 0.3 and 0.7 ms at 7e6, 2.5 and 2.3 ms at 7e7, 7.9
# and 6.3 ms at 2e8.
JIT_LIMIT = 5e7

_tried = PerModel()


def compiles_with_xla(model: keras.Model, examples: int, x=None) -> bool:
    """Whether `jit_compile="auto"` compiles work on so many examples, like `x`, with XLA."""
    flat = keras.tree.flatten(x)  # of which XLA takes dense numbers alone
    dense = not any(isinstance(a, (tf.RaggedTensor, tf.SparseTensor)) for a in flat)
    text = any(getattr(a, "dtype", None) == tf.string for a in flat)
    if not dense or text or not all(layer.supports_jit for layer in layers_of(model)):
        return False
    gpu = bool(tf.config.list_logical_devices("GPU"))
    if not gpu and not _is_known_to_xla(model, x):
        return False
    weights = sum(int(np.prod(v.shape)) for v in model.trainable_variables)
    return gpu or examples * weights < JIT_LIMIT


def _is_known_to_xla(model: keras.Model, x) -> bool:
    """Whether XLA computes what TensorFlow does, also in layers with operations of their own.

    XLA takes indices that are out of range, where TensorFlow on a CPU raises an error.
    """
    inputs = [] if x is None else keras.tree.flatten(x)
    if any(tf.is_tensor(a) and not a.dtype.is_floating for a in inputs):
        return False
    unsure = [la for la in layers_of(model) if not is_graph(la) and not _is_common(la)]
    if not unsure or not inputs:
        return True
    kept, one = _tried(model), take(x, slice(0, 1))
    key = tuple((tuple(a.shape), a.dtype) for a in keras.tree.flatten(one))
    if key not in kept:
        kept[key] = _compiles(model, one)
    return kept[key]


def _compiles(model: keras.Model, one) -> bool:
    """Whether XLA compiles the model, in inference and in training, on one example."""

    def both(one):
        of_model = model, model.variables, [v.value for v in model.variables]
        return [stateless_call(*of_model, one, training=t)[0] for t in (False, True)]

    try:
        traced_once(both, jit_compile=True)(one)
    except Exception:  # whatever fails here works without XLA, or raises its own error there
        return False
    return True


def _is_common(layer) -> bool:
    preprocessing = ".preprocessing." in type(layer).__module__
    return is_builtin(layer) and not preprocessing and type(layer) is not keras.layers.Lambda
