"""Rows to try a model on: random ones that fit its inputs, or those in a file of the user."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf
from keras import layers

from asym_keras.files import user_path
from asym_keras.graphs import layers_of
from serving.client.signatures import Signature, TensorSpec

ROWS = 16
FREE = 32  # length of the rows along an axis that may have any length
_WORDS = 50  # most entries that are taken from a vocabulary


def drawn_rows(
    model: Any, specs: Mapping[str, tf.TensorSpec], rows: int = ROWS
) -> dict[str, np.ndarray]:
    """Random rows: normal floats, bytes, and integers and words of which the model knows some.

    Args:
        model: its lookup layers say which words and integers it knows.
        specs: by input name.
        rows: number of rows, unless the model was made for a fixed number.
    """
    rng = np.random.default_rng(0)
    words, numbers = _vocabularies(model)
    return {name: _drawn(spec, rows, rng, words, numbers) for name, spec in specs.items()}


def _drawn(spec: Any, rows: int, rng: Any, words: list[bytes], numbers: list[int]) -> np.ndarray:
    shape, kind = [rows if spec.shape[0] is None else spec.shape[0]], spec.dtype
    shape += [n or FREE for n in spec.shape[1:]]
    if kind.is_floating:
        return rng.normal(size=shape).astype(kind.name)
    if kind == tf.bool:
        return rng.random(shape) < 0.5
    if kind == tf.string:
        picked = rng.choice(np.array(words, object), [2, *shape])
        return np.where(rng.random(shape) < 0.5, picked[0], picked[0] + b" " + picked[1])
    if kind == tf.uint8:
        return rng.integers(0, 256, shape, "uint8")
    return rng.choice(np.array(numbers), shape).astype(kind.name)


def _vocabularies(model: Any) -> tuple[list[bytes], list[int]]:
    words: list[bytes] = [b"a"]
    numbers: list[int] = [0, 1]
    for layer in layers_of(model):
        if isinstance(layer, (layers.StringLookup, layers.TextVectorization)):
            known = layer.get_vocabulary(include_special_tokens=False)[:_WORDS]
            words += [word.encode() for word in known if isinstance(word, str)]
        elif isinstance(layer, layers.IntegerLookup):
            known = layer.get_vocabulary(include_special_tokens=False)[:_WORDS]
            numbers += [int(number) for number in known]
    return words, numbers


def middle_rows(specs: Mapping[str, tf.TensorSpec], rows: int) -> dict[str, np.ndarray]:
    """Rows of zeros, False and the word "a". A request with equal values holds the value once."""
    found = {}
    for name, spec in specs.items():
        shape = [spec.shape[0] or rows, *(n or FREE for n in spec.shape[1:])]
        value = b"a" if spec.dtype == tf.string else 0
        dtype = object if spec.dtype == tf.string else spec.dtype.name
        found[name] = np.full(shape, value, dtype)
    return found


def read_rows(path: str | os.PathLike[str]) -> dict[str, np.ndarray]:
    """The arrays of an .npz file, by name.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The file is no .npz file, or has objects in it.
    """
    file = user_path(path)
    if not file.is_file():
        raise FileNotFoundError(f"--warm-up: expected a file, received {file}, which is none.")
    try:
        content = np.load(file, allow_pickle=False)
        if isinstance(content, np.ndarray):
            raise ValueError("it holds one array without a name")
        return dict(content)
    except (OSError, ValueError, EOFError) as error:
        cure = "Write it with numpy.savez(FILE, NAME=rows, ...)."
        raise ValueError(
            f"--warm-up: expected an .npz file, received {file}: {error}. {cure}"
        ) from error


def dtypes_of(rows: Mapping[str, np.ndarray]) -> dict[str, str]:
    """Dtypes of rows by input name, for a model that does not tell those of its inputs.

    Floats are left out, since the model converts them to the dtype in which it computes.
    """
    kinds = {"S": "string", "U": "string", "O": "string", "b": "bool"}
    return {
        name: kinds.get(array.dtype.kind, array.dtype.name)
        for name, array in rows.items()
        if array.dtype.kind != "f"
    }


def fitted_rows(
    rows: Mapping[str, np.ndarray], specs: Mapping[str, tf.TensorSpec]
) -> dict[str, np.ndarray]:
    """`rows` in the dtypes of the inputs, and in their order.

    Raises:
        ValueError: Names, shapes or dtypes are not those of the inputs, or there are not equally
            many rows of each.
    """
    if rows.keys() != specs.keys():
        raise _unfit(f"arrays {', '.join(specs)}", ", ".join(rows) or "none")
    for name, spec in specs.items():
        if not spec.shape.is_compatible_with(rows[name].shape):
            raise _unfit(f"{name} of shape {spec.shape}", f"{rows[name].shape}")
    counts = {len(array) for array in rows.values()}
    if len(counts) != 1 or 0 in counts:
        raise _unfit("equally many rows of each input, at least one", f"{sorted(counts)}")
    plain = {n: TensorSpec(_dtype(s), tuple(s.shape)) for n, s in specs.items()}
    try:
        fitted = Signature(plain, {}, "").arrays(rows)
    except ValueError as error:
        raise ValueError(f"--warm-up: {error}.") from error
    return {name: fitted[name] for name in specs}


def _dtype(spec: tf.TensorSpec) -> str:
    return "object" if spec.dtype == tf.string else spec.dtype.name


def _unfit(expected: str, received: str) -> ValueError:
    return ValueError(f"--warm-up: expected {expected}, as the model takes, received {received}.")
