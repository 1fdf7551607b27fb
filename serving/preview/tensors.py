"""Converts the protos of requests to arrays, and arrays to TensorProtos."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import tensorflow as tf

from serving.codes import VALUE_FIELDS
from serving.preview.errors import invalid

_VALUES = 2**26  # most values of a tensor: as many as the largest request, 256 MB, holds as float32


def to_inputs(request: Any) -> dict[str, np.ndarray]:
    """Inputs of a `PredictRequest` by alias.

    Raises:
        ServingError: INVALID_ARGUMENT: a tensor can't be parsed.
    """
    return {alias: _array(alias, proto) for alias, proto in request.inputs.items()}


def to_examples(source: Any) -> list[bytes]:
    """Serialized `tf.Example`s of an `Input`; each has the context's features, if there are any."""
    if source.WhichOneof("kind") == "example_list_with_context":
        pack = source.example_list_with_context
        context = pack.context.SerializeToString()
        return [context + example.SerializeToString() for example in pack.examples]
    return [example.SerializeToString() for example in source.example_list.examples]


def fill(proto: Any, array: np.ndarray) -> None:
    """Puts an array into a TensorProto, in the field of its type, as the model server does."""
    field = VALUE_FIELDS.get(array.dtype.name)
    if field is None:  # such as complex64 and bfloat16
        proto.CopyFrom(tf.make_tensor_proto(array))
        return
    proto.dtype = tf.dtypes.as_dtype(array.dtype).as_datatype_enum
    proto.tensor_shape.CopyFrom(tf.TensorShape(array.shape).as_proto())
    bits = array.view(np.uint16) if field == "half_val" else array
    getattr(proto, field).extend(bits.ravel().tolist())


def _array(alias: str, proto: Any) -> np.ndarray:
    shape = [dim.size for dim in proto.tensor_shape.dim]
    # A tensor of equal values holds one of them, so a small message could fill all memory.
    if proto.tensor_shape.unknown_rank or min(shape, default=0) < 0 or math.prod(shape) > _VALUES:
        raise invalid(f"tensor parsing error: {alias}")
    try:
        return tf.make_ndarray(proto)
    except (MemoryError, OverflowError, TypeError, ValueError) as error:
        raise invalid(f"tensor parsing error: {alias}") from error
