"""Status and signatures of the models, as TF Serving's protos."""

from __future__ import annotations

from typing import Any

from google.protobuf.json_format import MessageToDict
from tensorflow.core.protobuf import error_codes_pb2
from tensorflow_serving.apis import get_model_metadata_pb2, get_model_status_pb2

from serving.preview.store import Store, Version


def status(store: Store, model: str, number: int | None) -> Any:
    """`GetModelStatusResponse` of one version, or of all known ones.

    Raises:
        ServingError: NOT_FOUND: there is no such model or version.
    """
    response = get_model_status_pb2.GetModelStatusResponse()
    for found, state, error in store.states(model, number):
        entry = response.model_version_status.add(version=found)
        entry.state = get_model_status_pb2.ModelVersionStatus.State.Value(state)
        if error:
            entry.status.error_code = error_codes_pb2.Code.Value(error.code)
        entry.status.error_message = error.message if error else ""
    return response


def signatures(version: Version) -> Any:
    """`SignatureDefMap` of a loaded version."""
    return get_model_metadata_pb2.SignatureDefMap(signature_def=version.servable.signatures)


def metadata(version: Version) -> Any:
    """`GetModelMetadataResponse` of a loaded version."""
    response = get_model_metadata_pb2.GetModelMetadataResponse()
    response.model_spec.name = version.model
    response.model_spec.version.value = version.number
    response.metadata["signature_def"].Pack(signatures(version))
    return response


def metadata_json(version: Version) -> dict[str, Any]:
    """The metadata as the REST API gives it."""
    spec = {"name": version.model, "signature_name": "", "version": str(version.number)}
    return {"model_spec": spec, "metadata": {"signature_def": as_json(signatures(version))}}


def as_json(message: Any) -> dict[str, Any]:
    """A proto as TF Serving prints it: all fields by the proto's names, int64 as strings."""
    return MessageToDict(
        message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
    )
