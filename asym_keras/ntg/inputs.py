"""Models by their inputs: what a graph of layers is, and examples as a model takes them."""

from __future__ import annotations

import keras
import numpy as np
import tensorflow as tf


def is_graph(layer) -> bool:
    """Whether `layer` is a functional or Sequential model, whose layers tell all it does."""
    return isinstance(layer, keras.Sequential) or hasattr(layer, "inputs")


def as_arrays(model, x):
    """Arrays of examples; a list is one array, unless the model has several inputs."""
    several = len(getattr(model, "inputs", None) or ()) > 1
    arrays = tf.nest.map_structure(np.asarray, x) if several else np.asarray(x)
    counts = {len(a) if a.ndim else 0 for a in tf.nest.flatten(arrays)}
    if len(counts) != 1 or counts == {0}:
        raise ValueError(
            f"Expected at least one example, as many in each input, received {sorted(counts)}."
        )
    return arrays


def as_tensors(model, x):
    """Tensors of the dtypes that the model takes: integers, for an embedding."""
    inputs = getattr(model, "inputs", None)
    if not inputs:
        return tf.nest.map_structure(lambda a: tf.convert_to_tensor(a, model.compute_dtype), x)
    if isinstance(x, dict):
        return {key: tf.convert_to_tensor(a, model.input[key].dtype) for key, a in x.items()}
    tensors = [
        tf.convert_to_tensor(a, i.dtype) for a, i in zip(tf.nest.flatten(x), inputs, strict=True)
    ]
    return tf.nest.pack_sequence_as(x, tensors)
