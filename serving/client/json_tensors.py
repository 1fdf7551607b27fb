"""Arrays as JSON, the way TensorFlow Serving reads and writes it.

Requests are in column form (`"inputs"`), since an answer in row form takes twice as long to read if
it has several outputs.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from serving.client.signatures import Signature, TensorSpec


def encode_request(arrays: Mapping[str, npt.NDArray], *, signature: str) -> bytes:
    """Body of `:predict` in column form."""
    columns = ",".join(f"{json.dumps(name)}:{encode(array)}" for name, array in arrays.items())
    return f'{{"signature_name":{json.dumps(signature)},"inputs":{{{columns}}}}}'.encode()


def encode(array: npt.NDArray) -> str:
    """An array as nested lists; NaN and the infinities as bare tokens, bytes in base 64.

    float32 is written with nine digits, which hold it exactly. For 64 images of 784 floats the text
    is 40 % smaller than the json module's, which has 17 digits, and takes a third of the time.
    """
    if array.dtype == np.float32 and np.isfinite(array).all():
        template = "%.9g"
        for length in reversed(array.shape):
            template = f"[{','.join([template] * length)}]"
        return template % tuple(array.ravel().tolist())
    if array.dtype.kind in "OSU":
        return json.dumps(array.tolist(), default=encode_bytes)
    return json.dumps(array.tolist(), separators=(",", ":"))


def decode_answer(answer: Mapping[str, Any], signature: Signature) -> dict[str, npt.NDArray]:
    """Outputs by name. The server leaves out the name of a single output."""
    values = answer["outputs"]
    if len(signature.outputs) == 1:
        values = {next(iter(signature.outputs)): values}
    unknown = TensorSpec(None, None)
    return {n: decode(value, signature.outputs.get(n, unknown)) for n, value in values.items()}


def decode(value: Any, spec: TensorSpec) -> npt.NDArray:
    """Nested lists, or one value, as an array of the dtype of `spec`."""
    if spec.dtype == "object":
        return np.array(_as_bytes(value), dtype=object)
    array = np.array(value, dtype=spec.dtype)
    if array.size == 0 and spec.shape is not None and len(spec.shape) > array.ndim:
        # An empty list in JSON does not say that its shape is (0, 10); the signature does.
        array = array.reshape(*array.shape, *(n or 0 for n in spec.shape[array.ndim :]))
    return array


def encode_bytes(value: Any) -> dict[str, str]:
    """The form of bytes in JSON, base 64: `default` of `json.dumps`, for what it can't write."""
    if not isinstance(value, bytes):
        raise ValueError(f"expected text or bytes, received {type(value).__name__}")
    return {"b64": base64.b64encode(value).decode("ascii")}


def _as_bytes(value: Any) -> Any:
    if isinstance(value, list):
        return [_as_bytes(part) for part in value]
    return base64.b64decode(value["b64"]) if isinstance(value, dict) else value.encode()
