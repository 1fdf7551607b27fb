"""Whether a fast way gives the NTG at all: two examples, compared with the definition."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from asym_keras.inputs import call, example_count, take
from asym_keras.ntg.choice import Choice
from asym_keras.pairs import rounding


def agrees(received, model, pair, variables, choice: Choice) -> bool:
    """Whether inner products of gradients are those of `model`, by one backward pass an example.

    Args:
        received: of the gradients of the examples `pair`. With several columns, of the last.
        pair: of `pair_of`.
        variables: what is differentiated by.
        choice: the outputs that `received` is of.
    """
    column = choice.columns - 1 if isinstance(choice.column, str) else choice.column
    single = Choice(choice.place, column, choice.columns)
    gradients = [
        _gradient(model, take(pair, slice(i, i + 1)), variables, single)
        for i in range(example_count(pair))
    ]
    products = [[[a @ b for b in rows] for a in rows] for rows in zip(*gradients, strict=True)]
    expected = np.sum(products, axis=0, dtype="float64")
    # What a fast way leaves out shows as far more, unless it is as small as rounding.
    tolerance = rounding(model, variables) * np.abs(expected).max()
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
