"""Whether a fast way gives the NTG at all: two examples, compared with the definition."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from asym_keras.inputs import call, example_count, take
from asym_keras.ntg.choice import Choice
from asym_keras.ntg.factors import Lookup, Outer, Vectors, gram

# Largest difference, as a share of the largest entry. What is left out shows as far more, unless
# it is as small as rounding.
_CLOSE = {"float16": 5e-2, "bfloat16": 2e-1, "float32": 2e-3, "float64": 1e-8}


def agrees(factors, model, x, variables, choice: Choice) -> bool:
    """Whether gradients in factors have the inner products of those of `model`, on two examples.

    Args:
        factors: function of examples that returns their gradients in factors.
        x: examples, tensors (n, ...), of which the first and the last are taken.
        variables: what is differentiated by.
        choice: the outputs that `factors` is of. With several columns, the last is compared.
    """
    ends = sorted({0, example_count(x) - 1})
    pair = take(x, slice(0, 1))
    if len(ends) > 1:
        pair = tf.nest.map_structure(
            lambda a, b: tf.concat([a, b], 0), pair, take(x, slice(ends[1], None))
        )
    column = choice.columns - 1 if isinstance(choice.column, str) else choice.column
    single = Choice(choice.place, column, choice.columns)
    expected = np.stack(
        [_gradient(model, take(x, slice(i, i + 1)), variables, single) for i in ends]
    )
    expected = expected @ expected.T
    last = [_of_last_column(factor) for factor in factors(pair)]
    products = [np.asarray(gram(f, f, False), "float64") for f in last]
    received = np.sum(products, axis=0)
    tolerance = max(_CLOSE[tf.as_dtype(f[-1].dtype).name] for f in last)
    largest = np.abs(expected).max()
    return bool(np.allclose(received, expected, rtol=0, atol=tolerance * largest, equal_nan=True))


def _gradient(model, x, variables, choice: Choice) -> np.ndarray:
    """Gradient of one output for one example, by one backward pass: float64 (weights,)."""
    values = [v.value for v in variables]
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(values)
        f = choice.outputs(call(model, x))
    parts = tape.gradient(f, values, unconnected_gradients=tf.UnconnectedGradients.ZERO)
    return np.concatenate([np.ravel(tf.convert_to_tensor(g)) for g in parts]).astype("float64")


def _of_last_column(factor):
    if isinstance(factor, Vectors):
        return Vectors(factor.gradients[:, -1:])
    kind = Outer if isinstance(factor, Outer) else Lookup
    return kind(factor[0], factor[1][:, :, -1:])
