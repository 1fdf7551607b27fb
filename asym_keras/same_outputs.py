"""Whether two models compute the same, on made-up examples."""

from __future__ import annotations

import keras
import numpy as np
import tensorflow as tf

from asym_keras.graphs import input_structure
from asym_keras.inputs import call
from asym_keras.layer_copies import FLOATS

# Largest difference between outputs of a copy and of the original, as a share of the largest
# output. What is not copied shows as far more.
_CLOSE = {"float16": 3e-2, "bfloat16": 2e-1, "float32": 1e-3, "float64": 1e-8}


def probe_inputs(model, examples: int = 2):
    """Examples that the graph of `model` takes, made up from what it tells of its inputs."""
    generator = np.random.default_rng(0)

    def made_up(tensor):
        shape = (examples, *(size or 5 for size in tensor.shape[1:]))
        if tensor.dtype == "string":
            return tf.constant(np.full(shape, "a"))
        if tensor.dtype in FLOATS:
            return keras.ops.cast(generator.normal(size=shape), tensor.dtype)
        return keras.ops.cast(generator.integers(0, 2, shape), tensor.dtype)

    return keras.tree.map_structure(made_up, input_structure(model))


def require_same_outputs(expected, received, dtypes, what: str) -> None:
    """Raises ValueError unless outputs agree to the precision of the `dtypes` they come from."""
    tolerance = max(_CLOSE[d] for d in dtypes if d in FLOATS)
    pairs = zip(keras.tree.flatten(expected), keras.tree.flatten(received), strict=True)
    for a, b in pairs:
        a, b = (np.asarray(keras.ops.convert_to_numpy(t)).astype("float64") for t in (a, b))
        largest = np.abs(a[np.isfinite(a)]).max(initial=0.0)
        atol = tolerance * (largest or 1.0)
        if a.shape != b.shape or not np.allclose(a, b, rtol=0, atol=atol, equal_nan=True):
            raise ValueError(
                f"Expected {what} to compute what the model does, received other outputs (shapes "
                f"{b.shape} and {a.shape}). A layer holds something that neither its configuration "
                "nor its weights tell: define get_config for it."
            )


def outputs_of(model, x):
    """What `model` computes in inference; None where it fails on made-up examples."""
    try:
        return call(model, x)
    except Exception:  # no such category or range: nothing can be compared
        return None
