"""The gRPC front end: five methods of TF Serving's two services, by its own protos."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from concurrent.futures import Executor

import grpc
import numpy as np
import tensorflow as tf
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    predict_pb2,
    regression_pb2,
)

from serving.preview import core, describe
from serving.preview.errors import ServingError, invalid
from serving.preview.store import Store

logger = logging.getLogger("serving.preview")

_VALUES = 2**26  # of a tensor; as float32 they fill the largest message
# Field of a TensorProto that holds the values of a type; all narrow integers share one.
_FIELDS = {
    "float32": "float_val",
    "float64": "double_val",
    "int64": "int64_val",
    "uint32": "uint32_val",
    "uint64": "uint64_val",
    "bool": "bool_val",
    "object": "string_val",
    **dict.fromkeys(["int8", "int16", "int32", "uint8", "uint16"], "int_val"),
}


def make_server(store: Store, executor: Executor, *, timeout: float, max_bytes: int) -> grpc.Server:
    """A server without a port; methods that are not on the list are UNIMPLEMENTED.

    Args:
        store: the models.
        executor: threads that answer.
        timeout: seconds that a run may take where the client sets no deadline.
        max_bytes: size of a request. Answers have no limit.
    """
    server = grpc.server(
        executor,
        options=[
            ("grpc.max_receive_message_length", max_bytes),
            ("grpc.max_send_message_length", -1),
            ("grpc.so_reuseport", 0),  # a port in use is an error
        ],
    )
    calls = _Calls(store, timeout)
    apis = {
        "PredictionService": {
            "Predict": (calls.predict, predict_pb2.PredictRequest),
            "Classify": (calls.classify, classification_pb2.ClassificationRequest),
            "Regress": (calls.regress, regression_pb2.RegressionRequest),
            "GetModelMetadata": (calls.metadata, get_model_metadata_pb2.GetModelMetadataRequest),
        },
        "ModelService": {
            "GetModelStatus": (calls.status, get_model_status_pb2.GetModelStatusRequest)
        },
    }
    for service, methods in apis.items():
        handlers = {name: _handler(*method) for name, method in methods.items()}
        generic = grpc.method_handlers_generic_handler(f"tensorflow.serving.{service}", handlers)
        server.add_generic_rpc_handlers((generic,))
    return server


class _Calls:
    def __init__(self, store: Store, timeout: float):
        self._store = store
        self._timeout = timeout

    def predict(self, request, context):
        with self._lease(request) as version:
            inputs = {alias: _array(alias, proto) for alias, proto in request.inputs.items()}
            outputs = core.predict(
                version.servable,
                request.model_spec.signature_name,
                inputs,
                output_filter=request.output_filter,
                timeout=self._seconds(context),
            )
        response = predict_pb2.PredictResponse()
        for alias, array in outputs.items():
            _fill(response.outputs[alias], array)
        return _with_spec(response, request, version)

    def classify(self, request, context):
        return self._infer(
            core.classify, classification_pb2.ClassificationResponse, request, context
        )

    def regress(self, request, context):
        return self._infer(core.regress, regression_pb2.RegressionResponse, request, context)

    def metadata(self, request, context):
        if list(request.metadata_field) != ["signature_def"]:
            raise invalid("GetModelMetadataRequest must specify metadata_field signature_def")
        with self._lease(request) as version:
            return describe.metadata(version)

    def status(self, request, context):
        if not request.HasField("model_spec"):
            raise invalid("Missing ModelSpec")
        spec = request.model_spec
        number = spec.version.value if spec.HasField("version") else None
        return describe.status(self._store, spec.name, number)

    def _infer(self, function, response_class, request, context):
        with self._lease(request) as version:
            examples = _examples(request.input)
            name = request.model_spec.signature_name
            result = function(version.servable, name, examples, self._seconds(context))
        return _with_spec(response_class(result=result), request, version)

    def _lease(self, request):
        if not request.HasField("model_spec"):
            raise invalid("Missing ModelSpec")
        spec = request.model_spec
        if not spec.name:
            raise invalid("ModelSpec has no name specified.")
        number = spec.version.value if spec.HasField("version") else None
        return self._store.lease(spec.name, number, spec.version_label or None)

    def _seconds(self, context) -> float:
        remaining = context.time_remaining()
        return self._timeout if remaining is None else min(remaining, self._timeout)


def _handler(behaviour: Callable, request_class) -> grpc.RpcMethodHandler:
    def call(request, context):
        try:
            return behaviour(request, context)
        except ServingError as error:
            code, message = error.grpc_code, error.message
        except Exception as error:  # the server survives whatever a request holds
            logger.exception("%s failed", behaviour.__name__)
            code, message = grpc.StatusCode.INTERNAL, f"{type(error).__name__}: {error}"
        context.abort(code, message)

    return grpc.unary_unary_rpc_method_handler(
        call,
        request_deserializer=request_class.FromString,
        response_serializer=lambda response: response.SerializeToString(),
    )


def _with_spec(response, request, version):
    response.model_spec.name = version.model
    response.model_spec.version.value = version.number
    response.model_spec.signature_name = request.model_spec.signature_name or core.DEFAULT_SIGNATURE
    return response


def _array(alias: str, proto) -> np.ndarray:
    shape = [dim.size for dim in proto.tensor_shape.dim]
    # One value fills a whole shape: a small message must not take all memory.
    if proto.tensor_shape.unknown_rank or min(shape, default=0) < 0 or math.prod(shape) > _VALUES:
        raise invalid(f"tensor parsing error: {alias}")
    try:
        return tf.make_ndarray(proto)
    except (MemoryError, OverflowError, TypeError, ValueError) as error:
        raise invalid(f"tensor parsing error: {alias}") from error


def _fill(proto, array: np.ndarray) -> None:
    """Values go into the field of their type, not into `tensor_content`: as there."""
    field = _FIELDS.get(array.dtype.name)
    if field is None:  # float16 and its kind
        proto.CopyFrom(tf.make_tensor_proto(array))
        return
    proto.dtype = tf.dtypes.as_dtype(array.dtype).as_datatype_enum
    proto.tensor_shape.CopyFrom(tf.TensorShape(array.shape).as_proto())
    getattr(proto, field).extend(array.ravel().tolist())


def _examples(source) -> list[bytes]:
    if source.WhichOneof("kind") == "example_list_with_context":
        pack = source.example_list_with_context
        context = pack.context.SerializeToString()
        return [context + example.SerializeToString() for example in pack.examples]
    return [example.SerializeToString() for example in source.example_list.examples]
