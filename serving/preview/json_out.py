"""Writes answers: arrays as JSON, with floats as TF Serving prints them."""

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
    """Row form: `{"predictions": [...]}`; if outputs are several, a row is an object by alias.

    Raises:
        ServingError: Outputs have no rows or not equally many, or a type that JSON can't hold.
    """
    count = None
    for alias, array in outputs.items():
        if not array.ndim:
            raise invalid(f"Tensor name: {alias} has no shape information ")
        count = len(array) if count is None else count
        if len(array) != count:
            sizes = f"batch size: {len(array)} expecting: {count}"
            raise invalid(f"Tensor name: {alias} has inconsistent {sizes}")
    columns = [_entries(alias, array) for alias, array in outputs.items()]
    if len(columns) == 1:
        rows = columns[0]
    else:
        keys = [json.dumps(alias) for alias in outputs]
        rows = [
            "{" + ", ".join(f"{k}: {v}" for k, v in zip(keys, row, strict=True)) + "}"
            for row in zip(*columns, strict=True)
        ]
    return '{"predictions": [' + ",\n".join(rows) + "]}"


def columns(outputs: Mapping[str, np.ndarray]) -> str:
    """Column form: `{"outputs": tensor}`; if there are several outputs, an object by alias.

    Raises:
        ServingError: JSON can't hold the type of an output.
    """
    texts = []
    for alias, array in outputs.items():
        entries = _entries(alias, array if array.ndim else array.reshape(1))
        tensor = "[" + ",\n".join(entries) + "]" if array.ndim else entries[0]
        texts.append(tensor if len(outputs) == 1 else f"{json.dumps(alias)}: {tensor}")
    return '{"outputs": ' + (texts[0] if len(texts) == 1 else "{" + ",\n".join(texts) + "}") + "}"


def classifications(result: Any) -> str:
    """`{"results": [[[label, score], ...], ...]}` of a `ClassificationResult`."""
    rows = []
    for row in result.classifications:
        pairs = zip(row.classes, _scores(row.classes, "score"), strict=True)
        rows.append([f"[{json.dumps(pair.label)}, {score}]" for pair, score in pairs])
    return '{"results": [' + ",\n".join(f"[{', '.join(row)}]" for row in rows) + "]}"


def regressions(result: Any) -> str:
    """`{"results": [value, ...]}` of a `RegressionResult`."""
    return '{"results": [' + ", ".join(_scores(result.regressions, "value")) + "]}"


def _scores(messages: Iterable[Any], field: str) -> list[str]:
    return decimals(np.array([getattr(message, field) for message in messages], np.float32))


def decimals(values: np.ndarray) -> list[str]:
    """Texts of floats: six digits if they are enough for the same number, else all digits.

    Args:
        values: float32 or float64, any shape.
    """
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


def _entries(alias: str, array: np.ndarray) -> Sequence[str]:
    """One text for each entry of the first axis."""
    texts = _texts(alias, array)
    for axis in range(array.ndim - 1, 0, -1):
        size, count = array.shape[axis], math.prod(array.shape[:axis])
        texts = [f"[{', '.join(texts[i * size : (i + 1) * size])}]" for i in range(count)]
    return texts


def _texts(alias: str, array: np.ndarray) -> list[str]:
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
        return [f'{{"b64": "{text}"}}' for text in coded]
    # As in TF Serving, bytes that are no UTF-8 pass unchanged.
    decoded = (value.decode("utf-8", "surrogateescape") for value in array.ravel())
    return [json.dumps(text, ensure_ascii=False) for text in decoded]
