"""The gRPC front end: five methods of TF Serving's two services, by its own protos."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import Executor
from contextlib import AbstractContextManager
from functools import partial
from typing import Any, TypeAlias

import grpc
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    predict_pb2,
    regression_pb2,
)

from serving.preview import core, describe, tensors
from serving.preview.errors import ServingError, invalid
from serving.preview.metrics import Metrics
from serving.preview.store import Store, Version

logger = logging.getLogger("serving.preview")

_Function: TypeAlias = Callable[..., Any]


def make_server(
    store: Store,
    executor: Executor,
    *,
    timeout: float,
    max_bytes: int,
    max_calls: int,
    metrics: Metrics | None = None,
) -> grpc.Server:
    """A server that has no port yet. Methods other than the five below are UNIMPLEMENTED.

    Args:
        store: the models.
        executor: threads that answer. It needs more than `max_calls`: the others refuse calls.
        timeout: seconds that a run may take, unless the client sets an earlier deadline.
        max_bytes: largest size of a request. Answers have no limit.
        max_calls: most calls at the same time. Further ones are refused.
        metrics: counts Predict, Classify and Regress. None: they are not counted.
    """
    slots = threading.Semaphore(max_calls)

    def count(api: str, request: Any, code: str, seconds: float) -> None:
        if metrics and api in ("Predict", "Classify", "Regress"):
            model = request.model_spec.name
            metrics.count(model, code, api=api, entrypoint="GRPC", seconds=seconds)

    server = grpc.server(
        executor,
        options=[
            ("grpc.max_receive_message_length", max_bytes),
            ("grpc.max_send_message_length", -1),
            ("grpc.so_reuseport", 0),  # so that a port in use is an error
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
        handlers = {
            name: _handler(*method, slots, partial(count, name)) for name, method in methods.items()
        }
        generic = grpc.method_handlers_generic_handler(f"tensorflow.serving.{service}", handlers)
        server.add_generic_rpc_handlers((generic,))
    return server


class _Calls:
    def __init__(self, store: Store, timeout: float):
        self._store = store
        self._timeout = timeout

    def predict(self, request: Any, context: grpc.ServicerContext) -> Any:
        with self._lease(request) as version:
            name, inputs = request.model_spec.signature_name, tensors.to_inputs(request)
            how: Any = {"output_filter": request.output_filter, "timeout": self._seconds(context)}
            outputs = core.predict(version.servable, name, inputs, **how)
        response = predict_pb2.PredictResponse()
        for alias, array in outputs.items():
            tensors.fill(response.outputs[alias], array)
        return _with_spec(response, request, version)

    def classify(self, request: Any, context: grpc.ServicerContext) -> Any:
        kind = classification_pb2.ClassificationResponse
        return self._infer(core.classify, kind, request, context)

    def regress(self, request: Any, context: grpc.ServicerContext) -> Any:
        return self._infer(core.regress, regression_pb2.RegressionResponse, request, context)

    def metadata(self, request: Any, context: grpc.ServicerContext) -> Any:
        if set(request.metadata_field) != {"signature_def"}:
            raise invalid("GetModelMetadataRequest must specify metadata_field signature_def")
        with self._lease(request) as version:
            return describe.metadata(version)

    def status(self, request: Any, context: grpc.ServicerContext) -> Any:
        name, number, _ = _spec(request)
        return describe.status(self._store, name, number)

    def _infer(
        self, function: _Function, response: _Function, request: Any, context: grpc.ServicerContext
    ) -> Any:
        with self._lease(request) as version:
            examples = tensors.to_examples(request.input)
            name = request.model_spec.signature_name
            result = function(version.servable, name, examples, self._seconds(context))
        return _with_spec(response(result=result), request, version)

    def _lease(self, request: Any) -> AbstractContextManager[Version]:
        name, number, label = _spec(request)
        if not name:
            raise invalid("ModelSpec has no name specified.")
        return self._store.lease(name, number, label)

    def _seconds(self, context: grpc.ServicerContext) -> float:
        remaining = context.time_remaining()
        return self._timeout if remaining is None else min(remaining, self._timeout)


def _spec(request: Any) -> tuple[str, int | None, str | None]:
    """Name, version and label of the model that a request names."""
    if not request.HasField("model_spec"):
        raise invalid("Missing ModelSpec")
    spec = request.model_spec
    number = spec.version.value if spec.HasField("version") else None
    # A label that is set but empty is kept: no version has it, so it is an error.
    label = spec.version_label if spec.HasField("version_label") else None
    return spec.name, number, label


def _handler(
    behaviour: _Function, request_class: Any, slots: threading.Semaphore, count: _Function
) -> grpc.RpcMethodHandler:
    def call(request: Any, context: grpc.ServicerContext) -> Any:
        if not slots.acquire(blocking=False):  # TF Serving has no queue for gRPC either
            context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "Server Threadpool Exhausted")
        start, code, message = time.perf_counter(), grpc.StatusCode.OK, ""
        try:
            return behaviour(request, context)
        except ServingError as error:
            code, message = error.grpc_code, error.message
        except Exception as error:  # an error of one request must not stop the server
            logger.exception("%s failed", behaviour.__name__)
            code, message = grpc.StatusCode.INTERNAL, f"{type(error).__name__}: {error}"
        finally:
            slots.release()
            count(request, code.name, time.perf_counter() - start)
        context.abort(code, message)

    return grpc.unary_unary_rpc_method_handler(
        call,
        request_deserializer=request_class.FromString,
        response_serializer=lambda response: response.SerializeToString(),
    )


def _with_spec(response: Any, request: Any, version: Version) -> Any:
    response.model_spec.name = version.model
    response.model_spec.version.value = version.number
    response.model_spec.signature_name = request.model_spec.signature_name or core.DEFAULT_SIGNATURE
    return response
