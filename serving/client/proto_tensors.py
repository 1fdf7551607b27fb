"""Arrays as TensorProto, without `tf.make_tensor_proto`, which would load TensorFlow."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from serving.client.signatures import NUMPY_DTYPES

_TYPE_NAMES = {dtype: name for name, dtype in NUMPY_DTYPES.items()}

# The repeated field that holds the values where there is no `tensor_content`.
_FIELDS = {
    "DT_FLOAT": "float_val",
    "DT_DOUBLE": "double_val",
    "DT_HALF": "half_val",
    "DT_INT64": "int64_val",
    "DT_UINT32": "uint32_val",
    "DT_UINT64": "uint64_val",
    "DT_BOOL": "bool_val",
    "DT_STRING": "string_val",
}


def to_proto(array: npt.NDArray, protos: Any) -> Any:
    """`array` as TensorProto: raw bytes, or `string_val` for an array of bytes.

    Raises:
        ValueError: The dtype has no counterpart.
    """
    name = _TYPE_NAMES.get(array.dtype.name)
    if name is None:
        raise ValueError(
            f"inputs: expected numbers, booleans or strings, received {array.dtype}; convert them"
        )
    proto = protos.tensor.TensorProto(dtype=protos.types.DataType.Value(name))
    for length in array.shape:
        proto.tensor_shape.dim.add(size=length)
    if name == "DT_STRING":
        values = array.ravel().tolist()
        proto.string_val.extend(v.encode() if isinstance(v, str) else v for v in values)
    else:
        little = array.dtype.newbyteorder("<")
        proto.tensor_content = np.ascontiguousarray(array, dtype=little).tobytes()
    return proto


def from_proto(proto: Any, protos: Any) -> npt.NDArray:
    """TensorProto as array, whichever way it holds its values; strings as an array of bytes.

    Raises:
        ValueError: A dtype that NumPy does not know.
    """
    name = protos.types.DataType.Name(proto.dtype)
    dtype = NUMPY_DTYPES.get(name)
    if dtype is None:
        raise ValueError(f"outputs: expected a dtype that NumPy knows, received {name}")
    shape = [dim.size for dim in proto.tensor_shape.dim]
    if proto.tensor_content:
        return np.frombuffer(proto.tensor_content, dtype).reshape(shape).copy()
    field = getattr(proto, _FIELDS.get(name, "int_val"))
    if name == "DT_HALF":
        values = np.array(field, np.uint16).view(np.float16)  # bit patterns
    else:
        values = np.array(field, dtype)
    size = math.prod(shape)
    if 0 < values.size < size:  # the last value stands for the rest
        values = np.concatenate([values, np.repeat(values[-1:], size - values.size)])
    return values.reshape(shape)
