"""Examples for `classify` and `regress`: features by name, as tf.Example holds them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias, cast

import numpy as np
import numpy.typing as npt

from serving.texts import array_of, as_bytes

Example = Mapping[str, Any]  # by feature: a number, text or bytes, or a flat sequence of them
Features: TypeAlias = Sequence[Mapping[str, list]]  # of each example, from `as_features`
Labelled: TypeAlias = list[list[tuple[str, float]]]  # for each example, label and score by class
_LISTS = {bytes: "bytes_list", int: "int64_list", float: "float_list"}  # of a tf.train.Feature


def as_features(examples: npt.ArrayLike | Sequence[Example]) -> list[dict[str, list]]:
    """Each example as a dict of lists of floats, ints, or bytes.

    Args:
        examples: Dicts; or an array `(n, d)` of numbers, whose rows become the feature "inputs" as
            floats.

    Raises:
        ValueError: A feature is nested, or holds neither numbers alone nor texts alone.
    """
    dicts: list[Any] = [] if isinstance(examples, np.ndarray) else list(cast("Any", examples))
    if not isinstance(examples, np.ndarray) and all(
        isinstance(example, Mapping) for example in dicts
    ):
        return [{name: _values(name, v) for name, v in example.items()} for example in dicts]
    rows = np.asarray(examples)
    if rows.ndim != 2 or rows.dtype.kind not in "buif":
        expected = "dicts of features, or numbers of shape (n, d)"
        received = f"{rows.dtype} of shape {rows.shape}"
        raise ValueError(f"examples: expected {expected}, received {received}")
    return [{"inputs": row} for row in rows.astype(float).tolist()]


def to_proto(features: Mapping[str, list], example: Any) -> None:
    """Adds `features` to the tf.Example `example`."""
    for name, values in features.items():
        kind = _LISTS[type(values[0]) if values else float]
        getattr(example.features.feature[name], kind).value.extend(values)


def _values(name: str, value: Any) -> list:
    array = array_of(value)
    values = array.ravel().tolist()
    texts = [as_bytes(v) if isinstance(v, (str, bytes)) else v for v in values]
    if array.ndim <= 1:
        if array.dtype.kind in "bui":
            return [int(v) for v in values]
        if array.dtype.kind == "f":
            return values
        if array.dtype.kind in "SUO" and all(isinstance(v, bytes) for v in texts):
            return texts
    expected = f"feature {name!r} to be numbers or texts in a flat list"
    received = f"{array.dtype} of shape {array.shape}"
    raise ValueError(f"examples: expected {expected}, received {received}")
