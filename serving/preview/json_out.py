"""Answers: arrays to JSON, with floats printed as TF Serving prints them."""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Mapping, Sequence

import numpy as np

from serving.preview.errors import invalid

_INTEGERS = "int8 int16 int32 int64 uint8 uint32 uint64".split()
_DIGITS = {"float32": 9, "float64": 17}


def predictions(outputs: Mapping[str, np.ndarray]) -> str:
    """Row form: `{"predictions": [...]}`, an object by alias a row where there are several.

    Raises:
        ServingError: Outputs without rows or with different numbers of them, or of a type that
            JSON does not carry.
    """
    count = None
    for alias, array in outputs.items():
        if not array.ndim:
            raise invalid(f"Tensor name: {alias} has no shape information ")
        count = len(array) if count is None else count
        if len(array) != count:
            raise invalid(
                f"Tensor name: {alias} has inconsistent batch size: {len(array)} expecting: {count}"
            )
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
    """Column form: `{"outputs": tensor}`, or an object by alias where there are several.

    Raises:
        ServingError: An output of a type that JSON does not carry.
    """
    texts = []
    for alias, array in outputs.items():
        entries = _entries(alias, array if array.ndim else array.reshape(1))
        tensor = "[" + ",\n".join(entries) + "]" if array.ndim else entries[0]
        texts.append(tensor if len(outputs) == 1 else f"{json.dumps(alias)}: {tensor}")
    return '{"outputs": ' + (texts[0] if len(texts) == 1 else "{" + ",\n".join(texts) + "}") + "}"


def classifications(result) -> str:
    """`{"results": [[[label, score], ...], ...]}` of a `ClassificationResult`."""
    rows = [
        [
            f"[{json.dumps(pair.label)}, {score}]"
            for pair, score in zip(row.classes, _scores(row.classes, "score"), strict=True)
        ]
        for row in result.classifications
    ]
    return '{"results": [' + ",\n".join(f"[{', '.join(row)}]" for row in rows) + "]}"


def regressions(result) -> str:
    """`{"results": [value, ...]}` of a `RegressionResult`."""
    return '{"results": [' + ", ".join(_scores(result.regressions, "value")) + "]}"


def _scores(messages, field: str) -> list[str]:
    return decimals(np.array([getattr(message, field) for message in messages], np.float32))


def decimals(values: np.ndarray) -> list[str]:
    """Texts of floats: six digits where they read back as the same number, else all of them.

    Args:
        values: float32 or float64, any shape.
    """
    numbers = values.ravel().tolist()
    texts = [f"{number:g}" for number in numbers]
    with np.errstate(over="ignore"):  # the largest floats, rounded up
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
    # Bytes that are no UTF-8 pass unchanged, as there.
    return [
        json.dumps(value.decode("utf-8", "surrogateescape"), ensure_ascii=False)
        for value in array.ravel()
    ]
