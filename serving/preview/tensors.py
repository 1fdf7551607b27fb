"""Requests' protos to arrays, and arrays to TensorProtos."""

from __future__ import annotations

import math

import numpy as np
import tensorflow as tf

from serving.preview.errors import invalid

_VALUES = 2**26  # of a tensor; as float32 they fill the largest message
# Field of a TensorProto that holds the values of a type; all narrow integers share one.
_FIELDS = {
    "float16": "half_val",
    "float32": "float_val",
    "float64": "double_val",
    "int64": "int64_val",
    "uint32": "uint32_val",
    "uint64": "uint64_val",
    "bool": "bool_val",
    "object": "string_val",
    **dict.fromkeys(["int8", "int16", "int32", "uint8", "uint16"], "int_val"),
}


def to_inputs(request) -> dict[str, np.ndarray]:
    """Inputs of a `PredictRequest` by alias.

    Raises:
        ServingError: INVALID_ARGUMENT, for a tensor that can't be parsed.
    """
    return {alias: _array(alias, proto) for alias, proto in request.inputs.items()}


def to_examples(source) -> list[bytes]:
    """Serialized `tf.Example`s of an `Input`, each with the context's features."""
    if source.WhichOneof("kind") == "example_list_with_context":
        pack = source.example_list_with_context
        context = pack.context.SerializeToString()
        return [context + example.SerializeToString() for example in pack.examples]
    return [example.SerializeToString() for example in source.example_list.examples]


def fill(proto, array: np.ndarray) -> None:
    """Puts an array into a TensorProto: into the field of its type, not `tensor_content`."""
    field = _FIELDS.get(array.dtype.name)
    if field is None:  # complex, bfloat16 and their kind
        proto.CopyFrom(tf.make_tensor_proto(array))
        return
    proto.dtype = tf.dtypes.as_dtype(array.dtype).as_datatype_enum
    proto.tensor_shape.CopyFrom(tf.TensorShape(array.shape).as_proto())
    bits = array.view(np.uint16) if field == "half_val" else array
    getattr(proto, field).extend(bits.ravel().tolist())


def _array(alias: str, proto) -> np.ndarray:
    shape = [dim.size for dim in proto.tensor_shape.dim]
    # One value fills a whole shape: a small message must not take all memory.
    if proto.tensor_shape.unknown_rank or min(shape, default=0) < 0 or math.prod(shape) > _VALUES:
        raise invalid(f"tensor parsing error: {alias}")
    try:
        return tf.make_ndarray(proto)
    except (MemoryError, OverflowError, TypeError, ValueError) as error:
        raise invalid(f"tensor parsing error: {alias}") from error
