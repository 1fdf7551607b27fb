"""A model called as Keras calls it: its inputs paired, cast and counted, in one place."""

from __future__ import annotations

import keras
import numpy as np
import tensorflow as tf

from asym_keras.arrays import as_array, as_tensor, fits
from asym_keras.graphs import (
    all_steps,
    input_structure,
    is_graph,
    output_structure,
    takes_training,
)


def call(model, x, *, training: bool = False):
    """`model(x)` in inference or in training, as Keras calls a model whose `call` takes which."""
    return model(x, training=training) if takes_training(model) else model(x)


def require_biases(model, name: str | None = None) -> None:
    """Raises ValueError where Keras adds the biases of channels to the entries of the last axis.

    It does so for channels first if the two are as many, on TensorFlow: eagerly and under XLA, but
    not where TensorFlow fuses the convolution with the sum, as in `predict` on the CPU.

    Args:
        model: any; only graphs are looked into.
        name: of the layer that is asked about. None: all.
    """
    for step in all_steps(model) if is_graph(model) else ():
        layer, shape = step.operation, step.outputs[0].shape
        first = getattr(layer, "data_format", None) == "channels_first"
        biased = first and getattr(layer, "use_bias", False) and name in (None, layer.name)
        if not biased or shape[1] != shape[-1] or _adds_to_channels():
            continue
        raise ValueError(
            f"Expected convolutions whose outputs Keras tells apart, received {layer.name!r} with "
            f"outputs {shape} of channels first: as many channels as entries of the last axis, to "
            "which Keras adds the biases instead. Take another number of channels, channels last, "
            "or use_bias=False."
        )


def _adds_to_channels() -> bool:
    biases = keras.ops.reshape(keras.ops.convert_to_tensor([0.0, 1.0]), (1, 2, 1, 1))
    total = keras.ops.add(keras.ops.zeros((1, 2, 1, 2)), biases)
    return float(total[0, 1, 0, 0]) == 1.0


def outputs_like(model, x):
    """What `model` returns, as its graph tells it, or else for one example of `x`."""
    told = output_structure(model)
    return call(model, take(x, slice(0, 1))) if told is None else told


def stateless_call(model, variables, values, x, *, training: bool):
    """`call` with other values in the place of variables; the model itself is not touched.

    Not `model.stateless_call`, which leaves out what `__call__` does: casts, for one.

    Args:
        variables: variables of the model. values: a tensor for each.

    Returns:
        What the model returns; the new values, in the same order; its penalties, scalars.
    """
    mapping = list(zip(variables, values, strict=True))
    with keras.StatelessScope(state_mapping=mapping, collect_losses=True) as scope:
        outputs = call(model, x, training=training)
        penalties = list(model.losses)
    return outputs, [scope.get_current_value(v) for v in variables], penalties


def as_inputs(model, x, *, dtype=None):
    """Examples as tensors, paired with the inputs of `model` and cast as it casts them.

    A functional or Sequential model tells its inputs: a dict is matched by their names, a list by
    their order. Each input gets the dtype of its `keras.Input`; floats for an integer input are cut
    to integers, as in Keras. For any other model floats get the dtype that the model computes in,
    and other values keep theirs.

    Args:
        model: built Keras model.
        x: array-like (n, ...), or a structure of them. A list of numbers is one array.
        dtype: of floating-point inputs. None: what the model computes in.

    Returns:
        Tensors in a structure that the model takes.

    Raises:
        ValueError: No examples, or not as many for each input; another structure, shapes that
            the model does not take; values that are not finite, or not of a kind that it takes.
    """
    if isinstance(x, tf.data.Dataset):
        raise ValueError(
            "Expected x and y as arrays, received a tf.data.Dataset. Give the arrays; "
            "GradientDescent(batch_size=...) draws mini-batches from them."
        )
    expected = input_structure(model)
    if expected is None:
        tensors = keras.tree.map_structure(
            lambda a: as_tensor(a, _loose_dtype(model, a, dtype), "x"), _as_structure(x)
        )
    else:
        pairs = _paired(model, expected, x)
        flat = [_as_input(model, spec, value, dtype) for spec, value in pairs]
        single = isinstance(expected, keras.KerasTensor)
        tensors = flat[0] if single else keras.tree.pack_sequence_as(expected, flat)
    example_count(tensors)
    if keras.backend.backend() != "tensorflow":
        return keras.tree.map_structure(lambda t: keras.ops.convert_to_tensor(t.numpy()), tensors)
    return tensors


def example_count(*structures) -> int:
    """Examples in arrays or tensors, or in structures of them.

    Raises:
        ValueError: No examples, or not as many in each array.
    """
    counts = {_count(a) for a in keras.tree.flatten(list(structures))}
    if len(counts) != 1 or 0 in counts:
        raise ValueError(
            "Expected x and y with the same number of examples, at least one, received "
            f"{counts or {0}}."
        )
    return counts.pop()


def _count(array) -> int:
    if isinstance(array, tf.RaggedTensor):
        return int(array.nrows())
    shape = getattr(array, "shape", None)
    shape = np.shape(array) if shape is None else shape
    return int(shape[0]) if len(shape) else 0


def take(x, rows):
    """The examples `rows`, a slice, of a structure of arrays or tensors."""
    return keras.tree.map_structure(lambda a: a[rows], x)


def gather(x, rows):
    """The examples `rows`, a tensor of indices, of a structure of tensors."""
    if any(isinstance(a, tf.SparseTensor) for a in keras.tree.flatten(x)):
        raise ValueError(
            "Expected dense or ragged inputs where single examples are picked out, received a "
            "tf.SparseTensor. Use tf.sparse.to_dense, or, in descent, no batch_size."
        )
    return keras.tree.map_structure(lambda a: tf.gather(a, rows), x)


def _paired(model, expected, x) -> list[tuple]:
    """`(KerasTensor, value)` for each input, in the flat order of the model's own structure."""
    if _is_list(expected, 1) and isinstance(expected[0], keras.KerasTensor):
        [expected] = expected
    if isinstance(expected, keras.KerasTensor):
        if isinstance(x, dict):
            if expected.name not in x:
                raise _mismatch(model, x)
            x = x[expected.name]
        elif _is_list(x, 1) and hasattr(x[0], "shape") and len(x[0].shape) == len(expected.shape):
            [x] = x  # around one array of examples, and no list of numbers
        return [(expected, x)]
    if isinstance(expected, dict):
        names: list = sorted(expected)  # the order in which Keras flattens a dict
        if _is_list(x, len(names)) and names == list(expected):
            x = dict(zip(names, x, strict=True))
        if not isinstance(x, dict) or not set(names) <= set(x):
            raise _mismatch(model, x)
        parts = [(expected[name], x[name]) for name in names]
    else:
        if isinstance(x, dict):
            if all(isinstance(e, keras.KerasTensor) and e.name in x for e in expected):
                x = [x[e.name] for e in expected]
        if not _is_list(x, len(expected)):
            raise _mismatch(model, x)
        parts = list(zip(expected, x, strict=True))
    return [pair for spec, value in parts for pair in _paired(model, spec, value)]


def _is_list(x, length: int) -> bool:
    return isinstance(x, (list, tuple)) and len(x) == length


def _mismatch(model, x) -> ValueError:
    expected = keras.tree.map_structure(lambda t: f"{t.name} {t.shape}", input_structure(model))
    count = len(keras.tree.flatten(input_structure(model)))
    if isinstance(x, dict):
        received = f"a dict with {sorted(map(str, x))}"
    elif isinstance(x, (list, tuple)):
        received = f"{len(x)}, in a {type(x).__name__}"
    else:
        received = f"1, a {type(x).__name__}"
    return ValueError(
        f"Expected {count} inputs of model {model.name!r}, {expected}, received {received}. Pass "
        "one array for each, by name or in this order."
    )


def _as_structure(x):
    """`x` of a model that does not tell its inputs: a list of numbers is one array."""
    if isinstance(x, dict):
        return {key: _as_structure(value) for key, value in x.items()}
    if isinstance(x, (list, tuple)) and any(map(_is_array, keras.tree.flatten(x))):
        parts = [_as_structure(part) for part in x]
        return tuple(parts) if isinstance(x, tuple) else parts  # somebody's call may ask which
    return as_array(x, "x") if isinstance(x, (list, tuple)) else x


def _is_array(value) -> bool:
    return (hasattr(value, "shape") and bool(np.ndim(value))) or isinstance(value, tf.RaggedTensor)


def _loose_dtype(model, array, wanted):
    """Dtype of an input that a model does not tell: floats are cast, as by `model.predict`."""
    dtype = getattr(array, "dtype", None)
    kind = tf.as_dtype(dtype) if tf.is_tensor(array) else None
    floating = kind.is_floating if kind is not None else as_array(array, "x").dtype.kind == "f"
    return (wanted or model.compute_dtype) if floating else None


def _as_input(model, spec, value, dtype):
    floating = dtype is not None and "float" in spec.dtype
    named = f"x {tuple(value.shape)}" if hasattr(value, "shape") else "x"
    tensor = as_tensor(value, dtype if floating else spec.dtype, named)
    shape, wanted = tuple(tensor.shape), tuple(spec.shape)
    if fits(shape, wanted):
        return tensor
    # As Keras does, a last axis of 1 is taken away or added.
    if shape[-1:] == (1,) and fits(shape[:-1], wanted) and not isinstance(tensor, tf.RaggedTensor):
        return tf.squeeze(tensor, -1)
    if wanted[-1] == 1 and fits((*shape, 1), wanted):
        return tf.expand_dims(tensor, -1)
    raise ValueError(
        f"Expected inputs of shape {(None, *wanted[1:])} for model {model.name!r}, received "
        f"{shape}."
    )
