"""Arrays and tensors from what users have: tables, lists, datasets; numbers, text, all finite."""

from __future__ import annotations

import numbers
from typing import Any

import keras
import numpy as np
import tensorflow as tf


def as_array(value, name: str) -> np.ndarray:
    """`value` as an array of numbers, truth values or text."""
    try:
        array = np.asarray(value)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"Expected {name} as an array of one shape, received {type(value).__name__}: {error}. "
            "Pad rows of several lengths, or pass a tf.RaggedTensor."
        ) from None
    if array.dtype.kind == "O":  # a data frame of several types, or text
        flat = array.ravel()
        others = [a for a in flat if not isinstance(a, (numbers.Number, np.bool_))]
        if not others:
            return array.astype("float64")
        if all(isinstance(a, (str, bytes)) for a in flat):
            return array.astype("S" if all(isinstance(a, bytes) for a in flat) else "U")
        # Text among numbers is strange only where nothing else is.
        strange = next((a for a in others if not isinstance(a, (str, bytes))), others[0])
        raise ValueError(
            f"Expected {name} as an array of numbers, received {type(value).__name__} with entries "
            f"such as {strange!r} ({type(strange).__name__}). Of a generator, pass np.concatenate "
            "of its batches; fill in what is missing."
        )
    if array.dtype.kind in "mM":
        raise ValueError(
            f"Expected {name} as an array of numbers, received {array.dtype}. Give days or seconds "
            "as numbers."
        )
    return array


def as_tensor(value, dtype, name: str) -> Any:
    """`value` as a tensor of `dtype`, None: its own; `value` itself, not a copy, if it is that."""
    if isinstance(value, np.ndarray) or not tf.is_tensor(value):
        value = as_array(value, name)
        own = tf.string if value.dtype.kind in "SU" else tf.as_dtype(value.dtype)
    else:
        own = value.dtype
    wanted = own if dtype is None else tf.as_dtype(dtype)
    if (own is tf.string) != (wanted is tf.string):
        raise ValueError(
            f"Expected {name} as an array of {'text' if wanted is tf.string else 'numbers'}, "
            f"received {'text' if own is tf.string else f'numbers ({own.name})'}."
        )
    require_finite(value, name)
    if own is wanted:
        return tf.convert_to_tensor(value) if isinstance(value, np.ndarray) else value
    if isinstance(value, np.ndarray) and own.is_floating and wanted.is_floating:
        with np.errstate(over="ignore"):  # infinity, which is refused below
            value = value.astype(wanted.as_numpy_dtype)  # faster than TensorFlow's
    cast = tf.cast(value, wanted)
    require_finite(cast, f"{name} in {wanted.name}")  # too large for it
    return cast


def bytes_of(array) -> memoryview:
    """The bytes of an array, to be hashed; a view of them, where they lie one after the other."""
    return np.ascontiguousarray(array).reshape(-1).view("uint8").data


def require_finite(value, name: str) -> None:
    """Raises ValueError for NaN or infinity among the examples of an array or tensor."""
    dense = not isinstance(value, (tf.RaggedTensor, tf.SparseTensor))
    if isinstance(value, tf.RaggedTensor):
        value = value.flat_values
    array = np.asarray(value.values if isinstance(value, tf.SparseTensor) else value)
    if array.dtype.kind != "f" and array.dtype.name != "bfloat16":
        return
    if array.dtype.name in ("float32", "float64"):
        # A sum of squares is quicker, and needs no room; where it overflows nothing is known.
        flat = array.reshape(-1)
        with np.errstate(over="ignore", invalid="ignore"):
            if np.isfinite(np.dot(flat, flat)):
                return
    finite = np.isfinite(array)
    if not finite.all():
        rows = np.argwhere(~finite)[:, 0] if array.ndim else [0]
        where = f" in {len(np.unique(rows))} rows, the first being {rows[0]}" if dense else ""
        raise ValueError(
            f"Expected finite numbers, received {name} with NaN or infinity{where}. Repair or drop "
            "them."
        )


def fits(shape: tuple, wanted: tuple) -> bool:
    """Whether the axes of each example have the sizes that are wanted; None: any size."""
    return len(shape) == len(wanted) and all(
        b is None or a is None or a == b for a, b in zip(shape[1:], wanted[1:], strict=True)
    )


def materialised(x, y):
    """`x` and `y` of a `tf.data.Dataset` of batches (x, y), as arrays; others as they are.

    Raises:
        ValueError: The dataset is empty, without end, or not of batches of pairs; or y is given
            beside it.
    """
    if not isinstance(x, tf.data.Dataset):
        return x, y
    if y is not None:
        raise ValueError("Expected no y beside a tf.data.Dataset of batches (x, y), received one.")
    if x.cardinality() == tf.data.INFINITE_CARDINALITY:
        raise ValueError(
            "Expected a tf.data.Dataset that ends, received one that repeats: take(k)."
        )
    spec = x.element_spec
    single = [s for s in keras.tree.flatten(spec) if s.shape.rank == 0]
    if not isinstance(spec, tuple) or len(spec) != 2 or single:
        raise ValueError(
            "Expected a tf.data.Dataset of batches (x, y), received elements of "
            f"{keras.tree.map_structure(lambda s: s.shape, spec)}. Call batch(n) on single pairs."
        )
    batches = list(x)
    if not batches:
        raise ValueError("Expected a tf.data.Dataset of at least one batch, received none.")
    return keras.tree.map_structure(lambda *parts: tf.concat(parts, 0), *batches)
