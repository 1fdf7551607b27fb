"""Writes arrays as JSON answers, with the float formats and line breaks of TF Serving."""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from serving.preview.errors import invalid

_INTEGERS = "int8 int16 int32 int64 uint8 uint32 uint64".split()
_DIGITS = {"float32": 9, "float64": 17}


def predictions(outputs: Mapping[str, np.ndarray]) -> str:
    """Row form: `{"predictions": [...]}`. With several outputs each row is an object by alias.

    Raises:
        ServingError: The outputs have no rows or not equally many, or JSON can't hold their type.
    """
    count = None
    for alias, array in outputs.items():
        if not array.ndim:
            raise invalid(f"Tensor name: {alias} has no shape information ")
        count = len(array) if count is None else count
        if len(array) != count:
            sizes = f"batch size: {len(array)} expecting: {count}"
            raise invalid(f"Tensor name: {alias} has inconsistent {sizes}")
    columns = [_rows(alias, array) for alias, array in outputs.items()]
    if len(columns) == 1:
        return _document("predictions", _listed(columns[0]))
    keys = [json.dumps(alias) for alias in outputs]
    rows = [
        _object([f"{k}: {v}" for k, v in zip(keys, row, strict=True)], depth=2)
        for row in zip(*columns, strict=True)
    ]
    return _document("predictions", _list(rows, depth=1))


def columns(outputs: Mapping[str, np.ndarray]) -> str:
    """Column form: `{"outputs": tensor}`. Several outputs are an object of tensors by alias.

    Raises:
        ServingError: JSON can't hold the type of an output.
    """
    if len(outputs) == 1:
        ((alias, array),) = outputs.items()
        return _document("outputs", _tensor(alias, array, depth=1))
    members = [f"{json.dumps(a)}: {_tensor(a, array, depth=2)}" for a, array in outputs.items()]
    return _document("outputs", _object(members, depth=1))


def classifications(result: Any) -> str:
    """`{"results": [[[label, score], ...], ...]}` of a `ClassificationResult`."""
    rows = []
    for row in result.classifications:
        pairs = zip(row.classes, _scores(row.classes, "score"), strict=True)
        rows.append(_one_line(f"[{json.dumps(pair.label)}, {score}]" for pair, score in pairs))
    return _document("results", _listed(rows))


def regressions(result: Any) -> str:
    """`{"results": [value, ...]}` of a `RegressionResult`."""
    return _document("results", _one_line(_scores(result.regressions, "value")))


def _scores(messages: Iterable[Any], field: str) -> list[str]:
    return decimals(np.array([getattr(message, field) for message in messages], np.float32))


def decimals(values: np.ndarray) -> list[str]:
    """Texts of floats: six digits if they give the same number, else all digits.

    Args:
        values: float32 or float64, any shape. Denormal float32 are written as zeros.
    """
    values = flushed(values) if values.dtype == np.float32 else values
    numbers = values.ravel().tolist()
    texts = [f"{number:g}" for number in numbers]
    with np.errstate(over="ignore"):  # six digits of the largest floats may round up to infinity
        same = np.array(list(map(float, texts)), values.dtype) == values.ravel()
    for place in np.flatnonzero(~same).tolist():
        texts[place] = f"{numbers[place]:.{_DIGITS[values.dtype.name]}g}"
    texts = [text if "." in text or "e" in text else text + ".0" for text in texts]
    for place in np.flatnonzero(~np.isfinite(values.ravel())).tolist():
        number = numbers[place]
        texts[place] = "NaN" if math.isnan(number) else "Infinity" if number > 0 else "-Infinity"
    return texts


def flushed(values: np.ndarray) -> np.ndarray:
    """float32 with zeros for denormals, as the server's threads for REST compute."""
    return np.where(abs(values) < np.finfo(np.float32).tiny, np.copysign(0, values), values)


# TF Serving writes each value of a list on a line of its own, but all values of a row on one line.


def _document(key: str, value: str) -> str:
    return _object([f'"{key}": {value}'], depth=0)


def _object(members: Sequence[str], *, depth: int) -> str:
    return "{" + _lines(members, depth) + "}"


def _list(items: Sequence[str], *, depth: int) -> str:
    return f"[{_lines(items, depth)}]" if items else "[]"


def _one_line(items: Iterable[str]) -> str:
    return f"[{', '.join(items)}]"


def _listed(rows: Sequence[str]) -> str:
    """The rows of a single output, in one line; only the closing bracket has its own line."""
    return f"[{', '.join(rows)}\n    ]" if rows else "[]"


def _lines(items: Sequence[str], depth: int) -> str:
    start = f"\n{'    ' * (depth + 1)}"
    return start + f",{start}".join(items) + f"\n{'    ' * depth}"


def _rows(alias: str, array: np.ndarray) -> Sequence[str]:
    """The JSON of each entry along the first axis."""
    texts = _texts(alias, array, depth=array.ndim + 1)
    for axis in range(array.ndim - 1, 0, -1):
        texts = [_one_line(part) for part in _parts(texts, array.shape, axis)]
    return texts


def _tensor(alias: str, array: np.ndarray, *, depth: int) -> str:
    texts = _texts(alias, array, depth=depth + array.ndim)
    for axis in range(array.ndim - 1, -1, -1):
        parts = _parts(texts, array.shape, axis)
        texts = [_list(part, depth=depth + axis) for part in parts]
    return texts[0]


def _parts(texts: Sequence[str], shape: Sequence[int], axis: int) -> list[Sequence[str]]:
    """Splits `texts`, the entries along an axis, into the lists to which they belong."""
    size, count = shape[axis], math.prod(shape[:axis])
    return [texts[i * size : (i + 1) * size] for i in range(count)]


def _texts(alias: str, array: np.ndarray, *, depth: int) -> list[str]:
    if array.dtype.name in _DIGITS:
        return decimals(array)
    if array.dtype.name in _INTEGERS:
        return list(map(str, array.ravel().tolist()))
    if array.dtype.name == "bool":
        return ["true" if value else "false" for value in array.ravel()]
    if array.dtype.name != "object":
        name = "half" if array.dtype.name == "float16" else array.dtype.name
        raise invalid(f"Failed to write JSON value for tensor type: {name}")
    if alias.endswith("_bytes"):
        coded = (base64.b64encode(value).decode() for value in array.ravel())
        return [_object([f'"b64": "{text}"'], depth=depth) for text in coded]
    # As in TF Serving, bytes that are no UTF-8 pass unchanged.
    decoded = (value.decode("utf-8", "surrogateescape") for value in array.ravel())
    return [json.dumps(text, ensure_ascii=False) for text in decoded]
