"""Requests over gRPC."""

from __future__ import annotations

import os
import re
import threading
from typing import Any

import numpy as np
import numpy.typing as npt
from google.protobuf.json_format import MessageToDict

from serving.client import examples as example_features
from serving.client import proto_tensors, protos
from serving.client.deadlines import Deadline
from serving.client.endpoint import Endpoint
from serving.client.examples import Features, Labelled
from serving.client.signatures import Arrays, ModelMetadata, Signature, signatures_from_json
from serving.client.status import ModelVersion, versions_from_json

_OPTIONS = (
    ("grpc.max_receive_message_length", -1),  # the default, 4 MiB, holds 100,000 rows of 10 scores
    ("grpc.max_send_message_length", -1),
    ("grpc.enable_retries", 0),  # `with_retries` tries again, as often as the caller wants
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 5000),
    # By default all channels to an address share a connection. After a fork the child would share
    # its parent's, which does not work there ("Wrong file descriptor generation").
    ("grpc.use_local_subchannel_pool", 1),
)
# What TF Serving's gRPC library answers to more calls at once than `--grpc_max_threads`. It has not
# read the request then.
_NO_THREAD = "Server Threadpool Exhausted"
# How gRPC's message begins when a connection broke within a call, which may have run. If there was
# no connection, it says "failed to connect" or "errors resolving", and nothing was sent.
_BROKEN = re.compile(
    "Stream removed|Socket closed|(recvmsg|sendmsg):|Connection (reset|aborted|dropped)|"
    "Broken pipe|GOAWAY|(Received )?RST_STREAM|Transport closed|keepalive|ping timeout",
    re.IGNORECASE,
)
_LARGEST = 2**31 - 2**20  # bytes of the inputs; the message, with names, must stay below 2 GiB
# Process and thread of each call under way. In a forked child the parent's entries never go, since
# no thread is there to remove them; so they show that the fork came within a call.
_under_way: set[tuple[int, int]] = set()


def channel_options(endpoint: Endpoint) -> list[tuple[str, int]]:
    """Options of a channel to `endpoint`. gRPC's default is a proxy even for the loopback."""
    return [*_OPTIONS, ("grpc.enable_http_proxy", int(endpoint.proxy is not None))]


class GrpcTransport:
    """Sends a request for each call, over one channel.

    Args:
        endpoint: A model at a `grpc://` or `grpcs://` address.

    Raises:
        RuntimeError: This process was forked while a thread of its parent was within a call. gRPC
            may never answer in such a process.
    """

    def __init__(self, endpoint: Endpoint):
        if any(process != os.getpid() for process, _ in _under_way.copy()):
            raise RuntimeError(
                "expected a process that gRPC works in, received one that was forked while another "
                "thread was within a call: there gRPC may wait for ever. Fork before the first "
                "call, start processes by spawn, or ask over http://"
            )
        self._protos = protos.load()
        import grpc

        self._grpc = grpc
        self._endpoint = endpoint
        self._headers = tuple(endpoint.headers.items())
        options = channel_options(endpoint)
        if endpoint.is_secure:
            credentials = grpc.ssl_channel_credentials(endpoint.authorities())
            self._channel = grpc.secure_channel(endpoint.target, credentials, options)
        else:
            self._channel = grpc.insecure_channel(endpoint.target, options)
        self._prediction = self._protos.prediction_service.PredictionServiceStub(self._channel)
        self._models = self._protos.model_service.ModelServiceStub(self._channel)

    def predict(
        self, arrays: Arrays, name: str, signature: Signature, deadline: Deadline
    ) -> dict[str, npt.NDArray]:
        """Outputs by name, in the dtypes that the server sends."""
        request = predict_request(self._protos, self._endpoint, arrays, signature=name)
        outputs = self._call(self._prediction.Predict, request, deadline).outputs
        return {n: proto_tensors.from_proto(t, self._protos) for n, t in outputs.items()}

    def classify(self, examples: Features, signature: str, deadline: Deadline) -> Labelled:
        """Label and score of every class, for each example."""
        request = self._protos.classification.ClassificationRequest()
        self._fill(request, examples, signature)
        result = self._call(self._prediction.Classify, request, deadline).result
        return [[(c.label, c.score) for c in row.classes] for row in result.classifications]

    def regress(
        self, examples: Features, signature: str, deadline: Deadline
    ) -> npt.NDArray[np.float32]:
        """One number for each example."""
        request = self._protos.regression.RegressionRequest()
        self._fill(request, examples, signature)
        result = self._call(self._prediction.Regress, request, deadline).result
        return np.array([row.value for row in result.regressions], np.float32)

    def status(self, deadline: Deadline) -> list[ModelVersion]:
        """The versions that the server knows, newest first."""
        request = self._protos.status.GetModelStatusRequest()
        fill_spec(request.model_spec, self._endpoint)
        answer = self._call(self._models.GetModelStatus, request, deadline)
        return versions_from_json(_as_json(answer))

    def metadata(self, deadline: Deadline) -> ModelMetadata:
        """Version and signatures."""
        module = self._protos.metadata
        request = module.GetModelMetadataRequest(metadata_field=["signature_def"])
        fill_spec(request.model_spec, self._endpoint)
        answer = self._call(self._prediction.GetModelMetadata, request, deadline)
        signatures = module.SignatureDefMap()
        answer.metadata["signature_def"].Unpack(signatures)
        definitions = _as_json(signatures)["signature_def"]
        return signatures_from_json(answer.model_spec.version.value, definitions)

    def close(self) -> None:
        """Closes the channel."""
        self._channel.close()

    def _fill(self, request: Any, examples: Features, signature: str) -> None:
        fill_spec(request.model_spec, self._endpoint, signature)
        for features in examples:
            example_features.to_proto(features, request.input.example_list.examples.add())

    def _call(self, method: Any, request: Any, deadline: Deadline) -> Any:
        seconds = self._endpoint.seconds_left(deadline)
        caller = os.getpid(), threading.get_ident()
        _under_way.add(caller)
        try:
            return method(request, timeout=seconds, metadata=self._headers)
        except self._grpc.RpcError as error:
            code, details = error.code().name, error.details() or ""
            retryable = code == "UNAVAILABLE" and not _BROKEN.match(details)
            busy = code == "RESOURCE_EXHAUSTED" and details == _NO_THREAD
            raise self._endpoint.error(code, details, retryable=retryable, busy=busy) from error
        finally:
            _under_way.discard(caller)


def predict_request(protos: Any, endpoint: Endpoint, arrays: Arrays, *, signature: str) -> Any:
    """The PredictRequest for `arrays`.

    Raises:
        ValueError: The arrays are larger than a message can be.
    """
    size = sum(map(_bytes_of, arrays.values()))
    if size > _LARGEST:
        raise ValueError(
            f"inputs: expected less than 2 GiB in one message of gRPC, received {size / 2**30:.2f} "
            "GiB; give a batch_size"
        )
    request = protos.predict.PredictRequest()
    fill_spec(request.model_spec, endpoint, signature)
    for name, array in arrays.items():
        request.inputs[name].CopyFrom(proto_tensors.to_proto(array, protos))
    return request


def _bytes_of(array: npt.NDArray) -> int:
    return sum(map(len, array.flat)) if array.dtype == object else array.nbytes


def fill_spec(spec: Any, endpoint: Endpoint, signature: str = "") -> None:
    """Fills a ModelSpec with model, version or label, and signature."""
    spec.name = endpoint.model
    spec.signature_name = signature
    if endpoint.version is not None:
        spec.version.value = endpoint.version
    elif endpoint.label is not None:
        spec.version_label = endpoint.label


def _as_json(message: Any) -> dict[str, Any]:
    """A message in the form of TF Serving's REST answers, so that both are read alike."""
    return MessageToDict(
        message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
    )
