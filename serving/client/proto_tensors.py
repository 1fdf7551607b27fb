"""Arrays as TensorProto. `tf.make_tensor_proto` does the same, but loads TensorFlow."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from serving.codes import NUMPY_DTYPES, VALUE_FIELDS
from serving.texts import as_bytes

_TYPE_NAMES = {dtype: name for name, dtype in NUMPY_DTYPES.items()}


def to_proto(array: npt.NDArray, protos: Any) -> Any:
    """`array` as TensorProto: raw bytes, or `string_val` for an array of bytes.

    Raises:
        ValueError: TensorFlow has no dtype like that of `array`.
    """
    name = _TYPE_NAMES.get(array.dtype.name)
    if name is None:
        received = f"{array.dtype}; convert them"
        raise ValueError(f"inputs: expected numbers, booleans or strings, received {received}")
    proto = protos.tensor.TensorProto(dtype=protos.types.DataType.Value(name))
    for length in array.shape:
        proto.tensor_shape.dim.add(size=length)
    if name == "DT_STRING":
        proto.string_val.extend(map(as_bytes, array.ravel().tolist()))
    else:
        little = array.dtype.newbyteorder("<")
        proto.tensor_content = np.ascontiguousarray(array, dtype=little).tobytes()
    return proto


def from_proto(proto: Any, protos: Any) -> npt.NDArray:
    """A TensorProto as an array, whichever field holds its values. Strings become bytes.

    Raises:
        ValueError: NumPy does not know the dtype.
    """
    name = protos.types.DataType.Name(proto.dtype)
    dtype = NUMPY_DTYPES.get(name)
    if dtype is None:
        raise ValueError(f"outputs: expected a dtype that NumPy knows, received {name}")
    shape = [dim.size for dim in proto.tensor_shape.dim]
    if proto.tensor_content:
        return np.frombuffer(proto.tensor_content, dtype).reshape(shape).copy()
    field = getattr(proto, VALUE_FIELDS[dtype])
    if name == "DT_HALF":
        values = np.array(field, np.uint16).view(np.float16)  # the field holds bits
    else:
        values = np.array(field, dtype)
    size = math.prod(shape)
    if 0 < values.size < size:  # the last value stands for all that are missing
        values = np.concatenate([values, np.repeat(values[-1:], size - values.size)])
    return values.reshape(shape)
