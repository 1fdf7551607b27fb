"""Whether a fast way gives the NTG at all: two examples, compared with the definition."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from asym_keras.inputs import call, example_count, gather, take
from asym_keras.ntg.choice import Choice
from asym_keras.ntg.factors import Lookup, Outer, Vectors, gram

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


def agrees(factors, model, pair, variables, choice: Choice) -> bool:
    """Whether gradients in factors have the inner products of those of `model`, on two examples.

    Args:
        factors: function of examples that returns their gradients in factors.
        pair: of `pair_of`.
        variables: what is differentiated by.
        choice: the outputs that `factors` is of. With several columns, the last is compared.
    """
    column = choice.columns - 1 if isinstance(choice.column, str) else choice.column
    single = Choice(choice.place, column, choice.columns)
    expected = np.stack(
        [
            _gradient(model, take(pair, slice(i, i + 1)), variables, single)
            for i in range(example_count(pair))
        ]
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
