"""Whether a fast way gives the NTG at all: two examples, compared with the definition."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from asym_keras.graphs import layers_of
from asym_keras.inputs import call, example_count, gather, take
from asym_keras.ntg.choice import Choice

# Largest difference, as a share of the largest entry. What is left out shows as far more, unless
# it is as small as rounding.
_CLOSE = {"float16": 5e-2, "bfloat16": 2e-1, "float32": 2e-3, "float64": 1e-8}


# Examples at either end of which a pair is chosen.
_CANDIDATES = 128


def pair_of(x):
    """Two of the examples `x`, and whether they can tell: neither is zero, and they differ.

    On others gradients may agree by chance, for example where a layer joins the examples of a
    batch. Of a single example, that alone.
    """
    count = example_count(x)
    rows = sorted({*range(count)[:_CANDIDATES], *range(count)[-_CANDIDATES:]})
    some = gather(x, tf.constant(rows))
    numbers = np.concatenate([_as_numbers(t) for t in tf.nest.flatten(some)], axis=1)
    sizes = np.abs(numbers).sum(axis=1)
    one = int(sizes.argmax())
    away = np.abs(numbers - numbers[one]).sum(axis=1) * (sizes > 0)
    other = int(away.argmax())
    telling = bool(away[other] > 0)
    ends = sorted([one, other] if telling else {0, len(rows) - 1})
    return gather(some, tf.constant(ends)), telling


def _as_numbers(tensor) -> np.ndarray:
    """An input of examples as float64 (n, ...), texts by their order."""
    array = tensor.numpy()
    if array.dtype.kind == "O":
        array = np.unique(array, return_inverse=True)[1].reshape(array.shape)
    return array.reshape(len(array), -1).astype("float64")


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
    kinds = [*(v.dtype for v in variables), *(la.compute_dtype for la in layers_of(model))]
    tolerance = max(_CLOSE.get(str(kind), 0.0) for kind in kinds) * np.abs(expected).max()
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
