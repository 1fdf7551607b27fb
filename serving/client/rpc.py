"""Requests over gRPC."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from serving.client import examples as example_features
from serving.client import proto_tensors, protos
from serving.client.deadlines import Deadline
from serving.client.endpoint import Endpoint
from serving.client.errors import ServingError
from serving.client.signatures import ModelMetadata, Signature, signatures_from_proto
from serving.client.status import ModelVersion

CHANNEL_OPTIONS = (
    ("grpc.max_receive_message_length", -1),  # 4 MiB otherwise: 100,000 scores of ten classes
    ("grpc.max_send_message_length", -1),
    ("grpc.enable_retries", 0),  # ours are the only ones, so that their number is known
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 5000),
)


class GrpcTransport:
    """One request for one answer, over one channel.

    Args:
        endpoint: A model at a `grpc://` or `grpcs://` address.
    """

    def __init__(self, endpoint: Endpoint):
        self._protos = protos.load()
        import grpc

        self._grpc = grpc
        self._endpoint = endpoint
        self._headers = tuple(endpoint.headers.items())
        if endpoint.is_secure:
            credentials = grpc.ssl_channel_credentials(endpoint.authorities())
            self._channel = grpc.secure_channel(endpoint.target, credentials, CHANNEL_OPTIONS)
        else:
            self._channel = grpc.insecure_channel(endpoint.target, CHANNEL_OPTIONS)
        self._prediction = self._protos.prediction_service.PredictionServiceStub(self._channel)
        self._models = self._protos.model_service.ModelServiceStub(self._channel)

    def predict(
        self, arrays: Mapping[str, npt.NDArray], name: str, signature: Signature, deadline: Deadline
    ) -> dict[str, npt.NDArray]:
        """Outputs by name, in the dtypes that the server sends."""
        request = predict_request(self._protos, self._endpoint, arrays, signature=name)
        answer = self._call(self._prediction.Predict, request, deadline)
        return {
            alias: proto_tensors.from_proto(tensor, self._protos)
            for alias, tensor in answer.outputs.items()
        }

    def classify(
        self, examples: Sequence[Mapping[str, list]], signature: str, deadline: Deadline
    ) -> list[list[tuple[str, float]]]:
        """Label and score of every class, for each example."""
        request = self._protos.classification.ClassificationRequest()
        self._fill(request, examples, signature)
        answer = self._call(self._prediction.Classify, request, deadline)
        return [[(c.label, c.score) for c in row.classes] for row in answer.result.classifications]

    def regress(
        self, examples: Sequence[Mapping[str, list]], signature: str, deadline: Deadline
    ) -> npt.NDArray[np.float32]:
        """One number for each example."""
        request = self._protos.regression.RegressionRequest()
        self._fill(request, examples, signature)
        answer = self._call(self._prediction.Regress, request, deadline)
        return np.array([row.value for row in answer.result.regressions], np.float32)

    def status(self, deadline: Deadline) -> list[ModelVersion]:
        """The versions that the server knows, newest first."""
        module = self._protos.status
        request = module.GetModelStatusRequest()
        fill_spec(request.model_spec, self._endpoint)
        answer = self._call(self._models.GetModelStatus, request, deadline)
        state_name = module.ModelVersionStatus.State.Name
        return [
            ModelVersion(
                version=entry.version,
                state=state_name(entry.state),
                code=_code_name(self._grpc, entry.status.error_code),
                message=entry.status.error_message,
            )
            for entry in answer.model_version_status
        ]

    def metadata(self, deadline: Deadline) -> ModelMetadata:
        """Version and signatures."""
        module = self._protos.metadata
        request = module.GetModelMetadataRequest(metadata_field=["signature_def"])
        fill_spec(request.model_spec, self._endpoint)
        answer = self._call(self._prediction.GetModelMetadata, request, deadline)
        signatures = module.SignatureDefMap()
        answer.metadata["signature_def"].Unpack(signatures)
        return signatures_from_proto(
            answer.model_spec.version.value, signatures.signature_def, self._protos.types
        )

    def close(self) -> None:
        """Closes the channel."""
        self._channel.close()

    def _fill(self, request: Any, examples: Sequence[Mapping[str, list]], signature: str) -> None:
        fill_spec(request.model_spec, self._endpoint, signature)
        for features in examples:
            example_features.to_proto(features, request.input.example_list.examples.add())

    def _call(self, method: Any, request: Any, deadline: Deadline) -> Any:
        seconds = deadline.remaining()
        if seconds <= 0:
            raise self._error("DEADLINE_EXCEEDED", f"no answer within {deadline.seconds:g} s")
        try:
            return method(request, timeout=seconds, metadata=self._headers)
        except self._grpc.RpcError as error:
            code = error.code().name
            raise self._error(code, error.details() or "") from error

    def _error(self, code: str, message: str) -> ServingError:
        return ServingError(
            code,
            message,
            model=self._endpoint.model_name,
            address=self._endpoint.address,
            retryable=code == "UNAVAILABLE",
        )


def predict_request(
    protos: Any, endpoint: Endpoint, arrays: Mapping[str, npt.NDArray], *, signature: str
) -> Any:
    """The PredictRequest for `arrays`."""
    request = protos.predict.PredictRequest()
    fill_spec(request.model_spec, endpoint, signature)
    for name, array in arrays.items():
        request.inputs[name].CopyFrom(proto_tensors.to_proto(array, protos))
    return request


def fill_spec(spec: Any, endpoint: Endpoint, signature: str = "") -> None:
    """Writes model, version or label, and signature into a ModelSpec."""
    spec.name = endpoint.model
    spec.signature_name = signature
    if endpoint.version is not None:
        spec.version.value = endpoint.version
    elif endpoint.label is not None:
        spec.version_label = endpoint.label


def _code_name(grpc: Any, number: int) -> str:
    return next((code.name for code in grpc.StatusCode if code.value[0] == number), "UNKNOWN")
