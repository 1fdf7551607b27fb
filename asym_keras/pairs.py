"""Two examples that tell how a model treats the examples of a batch."""

from __future__ import annotations

import keras
import numpy as np
import tensorflow as tf

from asym_keras.graphs import is_graph, layers_of
from asym_keras.inputs import as_inputs, example_count, gather, stateless_call, take

# Examples at either end of which a pair is chosen.
_CANDIDATES = 128
# By dtype, the largest difference, as a share of the largest number, that rounding explains.
_ROUNDING = {"float16": 5e-2, "bfloat16": 2e-1, "float32": 2e-3, "float64": 1e-8}


def pair_of(x):
    """Two of the examples `x`, and whether they can tell: neither is zero, and they differ.

    On others outputs or gradients may agree by chance, for example where a layer joins the
    examples of a batch. Of a single example, that alone.
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
    tensor = tensor.to_tensor() if isinstance(tensor, tf.RaggedTensor) else tensor
    array = tensor.numpy()
    if array.dtype.kind == "O":
        array = np.unique(array, return_inverse=True)[1].reshape(array.shape)
    return array.reshape(len(array), -1).astype("float64")


def examples_meet(model: keras.Model, x, *, training: bool = False) -> bool:
    """Whether the outputs of `model` for an example depend on the others of its batch.

    Tried on two examples, together and each by itself; the model is not touched.

    Args:
        x: array or structure of arrays (n, ...).
    """
    if any(isinstance(a, tf.SparseTensor) for a in keras.tree.flatten(x)):
        return False  # not tried: rows of these can't be gathered
    pair = as_inputs(model, pair_of(x)[0])
    values = [v.value for v in model.variables]

    def outputs(part) -> list[np.ndarray]:
        found = stateless_call(model, model.variables, values, part, training=training)[0]
        return [np.asarray(f).astype("float64") for f in keras.tree.flatten(found)]

    together = outputs(pair)
    alone = zip(*(outputs(take(pair, slice(i, i + 1))) for i in (0, 1)), strict=True)
    allowed = rounding(model, model.variables)
    return not all(
        np.allclose(a, np.concatenate(b), rtol=0, atol=allowed * np.abs(a).max(), equal_nan=True)
        for a, b in zip(together, alone, strict=True)
    )


def rounding(model, variables) -> float:
    """The share of the largest number that rounding explains in what `model` computes."""
    layers = [la for la in layers_of(model) if not is_graph(la)]
    computing = [la for la in layers if not isinstance(la, keras.layers.InputLayer)]
    kinds = [*(v.dtype for v in variables), *(la.compute_dtype for la in computing)]
    return max(_ROUNDING.get(str(kind), 0.0) for kind in kinds)
