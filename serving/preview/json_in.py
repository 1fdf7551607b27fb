"""Reads request bodies: JSON with bare NaN and Infinity, to arrays and `tf.Example`s."""

from __future__ import annotations

import base64
import json
import math
import re
from collections.abc import Mapping
from itertools import chain
from typing import Any

import numpy as np
from tensorflow.core.example import example_pb2
from tensorflow.core.framework import types_pb2

from serving.codes import NUMPY_DTYPES
from serving.preview.errors import ServingError, invalid
from serving.preview.json_out import flushed
from serving.preview.servable import type_name

_TOO_BIG = "JSON Parse error: Number too big to be stored in double."
_TOKEN = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"|[\[\]{}]', re.DOTALL)
_DEEPEST = 300  # levels of JSON that are parsed; a tensor has at most 254 axes
_MOST_AXES = 32  # most axes of an array in the oldest NumPy
_SHOWN = 200  # most characters of a value in an error message

# The types that TF Serving reads from JSON. It reads narrow integers as int32, so they wrap around.
_READ = {t: dtype for t, dtype in NUMPY_DTYPES.items() if t not in ("DT_HALF", "DT_UINT16")}
_READ_AS = _READ | dict.fromkeys(("DT_INT8", "DT_INT16", "DT_UINT8"), "int32")
# Python types of the JSON values that fit a dtype, by its kind.
_FITTING: dict[str, set[type]] = dict(f={int, float}, i={int}, u={int}, b={bool}, O={str, dict})
_KINDS = {dict: "Object", list: "Array", str: "String", type(None): "Null"}


def parse(body: bytes) -> dict:
    """The JSON object at the start of a body. Text after it is ignored.

    Raises:
        ServingError: The body begins with no JSON object.
    """
    try:
        text = body.decode("utf-8-sig").lstrip(" \t\r\n")
        if not text:
            raise invalid("JSON Parse error: The document is empty")
        try:
            document, _ = _DECODER.raw_decode(text)
        except RecursionError:
            document, _ = _DECODER.raw_decode(_shallow(text))
    except json.JSONDecodeError as error:
        problem = f"Invalid value. {error.msg} at offset: {error.pos}"
        raise invalid(f"JSON Parse error: {problem}") from error
    except ValueError as error:  # no UTF-8, or a number with thousands of digits
        raise invalid(f"JSON Parse error: {error}") from error
    if not isinstance(document, dict):
        raise _misformed(document, "Is not object")
    if not isinstance(document.get("signature_name", ""), str):
        problem = "not formatted correctly. 'signature_name' key must be a string value."
        raise _misformed(document, problem)
    return document


def to_inputs(document: dict, infos: Mapping[str, Any]) -> tuple[dict[str, np.ndarray], bool]:
    """Inputs of a signature by alias, and whether they came by row ("instances").

    Args:
        document: from `parse`.
        infos: `TensorInfo` by alias.

    Raises:
        ServingError: Keys, types or shapes do not fit.
    """
    if "instances" in document and "inputs" in document:
        problem = "Not formatted correctly expecting only one of 'inputs' or 'instances' keys"
        raise _misformed(document, f"{problem} to exist ")
    if "inputs" in document:
        return _from_columns(document["inputs"], infos), False
    if "instances" not in document:
        raise invalid("Missing 'inputs' or 'instances' key")
    if not isinstance(document["instances"], list):
        raise _misformed(document, "Expecting 'instances' to be an list/array")
    if not document["instances"]:
        raise _misformed(document, "No values in 'instances' array")
    return _from_rows(document["instances"], infos), True


def to_examples(document: dict) -> list[bytes]:
    """Serialized `tf.Example`s of a classify or regress request; each has the context's features.

    Raises:
        ServingError: There is no list of objects, or a feature can't hold its values.
    """
    # The bytes of two messages, one after the other, are the bytes of the merged message.
    context = _example(document["context"]) if "context" in document else b""
    if "examples" not in document:
        problem = "When method is classify, key 'examples' is expected and was not found"
        raise _misformed(document, problem)
    if not isinstance(document["examples"], list):
        raise _misformed(document, "Expecting 'examples' value to be an list/array")
    if not document["examples"]:
        raise _misformed(document, "'examples' value is an empty array")
    return [context + _example(example) for example in document["examples"]]


def _from_rows(rows: list, infos: Mapping[str, Any]) -> dict[str, np.ndarray]:
    if not isinstance(rows[0], dict) or _is_base64(rows[0]):
        alias = _only(infos, "instances is a plain list, but expecting list of objects")
        return {alias: _stack(rows, infos[alias].dtype, "")}
    aliases = set(infos)
    for place, row in enumerate(rows):
        if not isinstance(row, dict):
            raise invalid(f"Expecting object but got list at item {place} of input list")
        for strange in row.keys() - aliases:
            problem = invalid(f"JSON object: does not have named input: {strange}")
            raise _in_element(place, f" key: {strange}", problem)
        if row.keys() != aliases:
            expected = f"keys must be equal to: {','.join(sorted(aliases))}"
            element = f"Failed to process element: {place} of 'instances' list."
            raise invalid(f"{element} JSON object: {_shown(row)} {expected}")
    columns = {alias: [row[alias] for row in rows] for alias in infos}
    return {a: _stack(column, infos[a].dtype, f" key: {a}") for a, column in columns.items()}


def _from_columns(value: Any, infos: Mapping[str, Any]) -> dict[str, np.ndarray]:
    if not isinstance(value, dict) or _is_base64(value):
        alias = _only(infos, "inputs is a plain value/list, but expecting an object")
        return {alias: _array(value, infos[alias].dtype)}
    for alias in infos.keys() - value.keys():
        raise invalid(f"Missing named input: {alias} in 'inputs' object.")
    return {alias: _array(value[alias], info.dtype) for alias, info in infos.items()}


def _only(infos: Mapping[str, Any], problem: str) -> str:
    if len(infos) > 1:
        raise invalid(f"{problem} as multiple input tensors required as per tensorinfo_map")
    return next(iter(infos))


def _stack(rows: list, dtype: int, key: str) -> np.ndarray:
    """Converts all rows at once. If that fails, converts row by row to name the one at fault."""
    try:
        return _array(rows, dtype)
    except ServingError:
        first = None
        for place, row in enumerate(rows):
            if not key and isinstance(row, dict) and not _is_base64(row):
                problem = f"Expecting value/list but got object at item {place} of input list"
                raise invalid(problem) from None
            try:
                array = _array(row, dtype)
                first = array if first is None else first
                if array.size != first.size:
                    raise invalid(f"Expecting tensor size: {first.size} but got: {array.size}")
                if array.shape != first.shape:
                    shapes = (str(list(a.shape)).replace(" ", "") for a in (first, array))
                    raise invalid("Expecting shape {} but got: {}".format(*shapes))
            except ServingError as error:
                raise _in_element(place, key, error) from error
        raise


def _in_element(place: int, key: str, error: ServingError) -> ServingError:
    element = f"Failed to process element: {place}{key} of 'instances' list."
    return invalid(f"{element} Error: {error.code}: {error.message}")


def _array(value: Any, dtype: int) -> np.ndarray:
    shape: list[int] = []
    level = [value]
    while level and isinstance(level[0], list):
        for odd in (v for v in level if not isinstance(v, list)):
            raise _misformed(odd, f"found at incorrect level: {len(shape) + 1} in the JSON DOM.")
        for odd in (v for v in level if len(v) != len(level[0])):
            sizes = f"size: {len(odd)} at level: {len(shape)} expected size: {len(level[0])}"
            raise invalid(f"Encountered list at unexpected {sizes}")
        shape.append(len(level[0]))
        level = list(chain.from_iterable(level))
    kinds = set(map(type, level))
    if list in kinds or len(shape) > _MOST_AXES:
        axes = len(shape)
        raise invalid(f"Encountered list at unexpected level: {axes} expected < {axes}")
    return _leaves(level, kinds, dtype).reshape(shape)


def _leaves(values: list, kinds: set[type], dtype: int) -> np.ndarray:
    name = types_pb2.DataType.Name(dtype)
    if name not in _READ:
        shown = _shown(values[0]) if values else ""
        problem = f"Conversion of JSON Value: {shown} to type: {type_name(dtype)}"
        raise ServingError("UNIMPLEMENTED", problem)
    read_as = np.dtype(_READ_AS[name])
    fitting = _FITTING[read_as.kind]
    for odd in (v for v in values if type(v) not in fitting) if kinds - fitting else ():
        raise _not_of_type(odd, dtype)
    if read_as.kind == "O":
        strings = np.empty(len(values), np.object_)
        strings[:] = list(map(_bytes, values))
        return strings
    if read_as.kind in "iu" and values:
        limits = np.iinfo(read_as)
        for odd in (min(values), max(values)):
            if not limits.min <= odd <= limits.max:
                raise _not_of_type(odd, dtype)
    try:
        with np.errstate(over="ignore"):  # as in TF Serving, floats beyond the range are infinite
            array = np.array(values, read_as).astype(_READ[name])
    except OverflowError as error:
        raise invalid(_TOO_BIG) from error
    return flushed(array) if name == "DT_FLOAT" else array


def _example(value: Any) -> bytes:
    if not isinstance(value, dict):
        raise invalid(f"Example must be JSON object but got JSON {_kind(value)}")
    example = example_pb2.Example()
    for name, content in value.items():
        values = content if isinstance(content, list) else [content]
        kinds = set(map(type, values))
        try:
            feature = example.features.feature[name]
            for odd in values if kinds & {type(None), list, dict} else ():
                if odd is None or (isinstance(odd, (list, dict)) and not _is_base64(odd)):
                    problem = f"has element with unexpected JSON type: {_kind(odd)}"
                    raise invalid(f"Feature: {name} {problem}")
            if not kinds:
                continue
            if kinds == {float}:
                feature.float_list.value.extend(values)
            elif kinds <= {int, bool}:
                feature.int64_list.value.extend(map(int, values))
            elif kinds <= {str, dict}:
                feature.bytes_list.value.extend(map(_bytes, values))
            else:
                raise invalid(f"Unexpected element type in feature: {name}: {_shown(values)}")
        except ValueError as error:  # a number beyond int64, or a name that is no UTF-8
            raise invalid(f"Feature: {_shown(name)} has an element that does not fit") from error
    return example.SerializeToString()


def _bytes(value: str | dict) -> bytes:
    if isinstance(value, dict) and not _is_base64(value):
        raise _misformed(value, "not formatted correctly for base64 data")
    try:
        if isinstance(value, str):
            return value.encode("utf-8")
        text = value["b64"].strip()
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except ValueError as error:  # the text holds a lone surrogate, or is no base64
        problem = "JSON Parse error: The surrogate pair in string is invalid."
        raise invalid(problem if isinstance(value, str) else "Unable to base64 decode") from error


def _finite(text: str) -> float:
    value = float(text)
    if math.isinf(value):
        raise invalid(_TOO_BIG)
    return value


# The standard library reads NaN and Infinity, as TF Serving does; orjson and msgspec refuse them.
_DECODER = json.JSONDecoder(parse_float=_finite)


def _is_base64(value: Any) -> bool:
    return isinstance(value, dict) and value.keys() == {"b64"} and isinstance(value["b64"], str)


def _misformed(value: Any, problem: str) -> ServingError:
    return invalid(f"JSON Value: {_shown(value)} {problem}")


def _not_of_type(value: Any, dtype: int) -> ServingError:
    return _misformed(value, f"Type: {_kind(value)} is not of expected type: {type_name(dtype)}")


def _kind(value: Any) -> str:
    return str(value) if isinstance(value, bool) else _KINDS.get(type(value), "Number")


def _shown(value: Any) -> str:
    text = json.dumps(value, indent=4)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."


def _shallow(text: str) -> str:
    """`text` with null in place of all that is nested too deep for a tensor and for the parser."""
    pieces, depth, start = [], 0, 0
    for token in _TOKEN.finditer(text):
        if token[0] in ("[", "{"):
            depth += 1
            if depth == _DEEPEST:
                pieces.append(text[start : token.start()])
                start = len(text)  # until a bracket closes it
        elif token[0] in ("]", "}"):
            if depth == _DEEPEST:
                pieces.append("null")
                start = token.end()
            depth -= 1
    return "".join([*pieces, text[start:]])
