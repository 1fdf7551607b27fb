"""Whether a fast way gives the NTG at all: two examples, compared with the definition."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from asym_keras.inputs import call, example_count, take
from asym_keras.ntg.choice import Choice
from asym_keras.pairs import rounding


def agrees(received, model, pair, variables, choice: Choice) -> bool:
    """Whether `received` holds inner products of the gradients of `model`.

    They are computed here by the definition, by one backward pass for each example.

    Args:
        received: (n, n), for the examples `pair` and the column that is chosen; of several
            columns, the last.
        pair: of `pair_of`.
    """
    gradients = [
        _gradient(model, take(pair, slice(i, i + 1)), variables, choice.last)
        for i in range(example_count(pair))
    ]
    with np.errstate(invalid="ignore"):  # of gradients that are infinite
        products = [[[a @ b for b in rows] for a in rows] for rows in zip(*gradients, strict=True)]
        expected = np.sum(products, axis=0, dtype="float64")
    # What a fast way leaves out shows as far more, unless it is as small as rounding.
    largest = np.abs(expected[np.isfinite(expected)]).max(initial=0.0)
    tolerance = rounding(model, variables) * largest
    received = np.asarray(received, "float64")
    return bool(np.allclose(received, expected, rtol=0, atol=tolerance, equal_nan=True))


def _gradient(model, x, variables, choice: Choice) -> list[np.ndarray]:
    """Gradient of one output for one example, by one backward pass: a vector for each variable."""
    values = [v.value for v in variables]
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(values)
        f = choice.outputs(call(model, x))
    parts = tape.gradient(f, values, unconnected_gradients=tf.UnconnectedGradients.ZERO)
    flat = [np.ravel(tf.convert_to_tensor(part)) for part in parts]
    return [a.astype(np.result_type(a.dtype, "float32"), copy=False) for a in flat]
