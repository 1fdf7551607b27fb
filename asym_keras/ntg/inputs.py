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
    inputs = list(getattr(model, "inputs", None) or ())
    if len(inputs) > 1:
        _check_structure(model, x)
        arrays = tf.nest.map_structure(np.asarray, x)
    else:
        arrays = np.asarray(x)
    flat = tf.nest.flatten(arrays)
    if any(a.dtype.kind in "OSU" or not a.ndim for a in flat):
        raise ValueError(
            f"Expected arrays of numbers, one example a row, received {type(x).__name__} "
            f"{[(a.dtype.name, a.shape) for a in flat]}. Of a tf.data.Dataset or a generator, "
            "pass np.concatenate of its batches."
        )
    counts = {len(a) for a in flat}
    if len(counts) != 1 or counts == {0}:
        raise ValueError(
            f"Expected at least one example, as many in each input, received {sorted(counts)}."
        )
    for array, spec in zip(flat, inputs, strict=bool(inputs)):
        if not _fits(array.shape, spec.shape):
            raise ValueError(
                f"Expected examples of shape {tuple(spec.shape)} for {model.name!r}, received "
                f"shape {array.shape}."
            )
    return arrays


def _check_structure(model, x) -> None:
    try:
        tf.nest.assert_same_structure(model.input, x, check_types=isinstance(model.input, dict))
    except (TypeError, ValueError) as error:
        expected = tf.nest.map_structure(lambda t: tuple(t.shape), model.input)
        raise ValueError(
            f"Expected the inputs of {model.name!r}, {expected}, received "
            f"{type(x).__name__} of another structure. Pass one array for each."
        ) from error


def _fits(shape, spec) -> bool:
    """Keras adds or drops a last axis of size 1."""
    return any(
        len(s) == len(spec) and all(b in (None, a) for a, b in zip(s, spec, strict=True))
        for s in (shape, (*shape, 1), shape[:-1] if shape[-1] == 1 else shape)
    )


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
