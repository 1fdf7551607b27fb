"""Classify, Regress, metadata and status by gRPC, as TF Serving's documentation has them."""

from __future__ import annotations

import grpc
import pytest
import tensorflow as tf
from conformance import SERVERS
from conformance_calls import (
    INVALID,
    MISSING,
    called,
    examples,
    fill_spec,
    floats,
    refused,
    texts,
)
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    inference_pb2,
    model_management_pb2,
    regression_pb2,
)


@pytest.fixture(scope="module", params=SERVERS)
def server(request, tmp_path_factory):
    with called(request.param, tmp_path_factory.mktemp("models")) as running:
        yield running


CLASSIFY, REGRESS = classification_pb2.ClassificationRequest, regression_pb2.RegressionRequest


def test_classify(server):
    request = examples(CLASSIFY, "classify_x_to_y", {"x": floats(20)}, {"x": floats(10)})
    answer = server.predictions.Classify(request, timeout=30)
    rows = [[(c.label, c.score) for c in row.classes] for row in answer.result.classifications]
    assert rows == [[("", 13.0)], [("", 8.0)]]
    spec = answer.model_spec
    assert (spec.name, spec.version.value, spec.signature_name) == ("half", 123, "classify_x_to_y")
    labelled = {"image": texts(b"img"), "caption": texts(b"seaside")}
    answer = server.predictions.Classify(examples(CLASSIFY, "classify_image", labelled))
    rows = [[(c.label, c.score) for c in row.classes] for row in answer.result.classifications]
    assert rows == [[("img", 3.0), ("seaside", 7.0)]]


def test_regress(server):
    request = examples(REGRESS, "regress_x_to_y", {"x": floats(80)}, version=1)
    answer = server.predictions.Regress(request, timeout=30)
    assert [each.value for each in answer.result.regressions] == [42.0]
    assert answer.model_spec.version.value == 1
    request = examples(REGRESS, "regress_x_to_y", {}, {}, context=floats(2))
    answer = server.predictions.Regress(request, timeout=30)
    assert [each.value for each in answer.result.regressions] == [4.0, 4.0]


@pytest.mark.parametrize(
    ("request_", "code", "text"),
    [
        (examples(CLASSIFY, "nope", {"x": floats(1)}), INVALID, "nope"),
        (examples(REGRESS, "nope", {"x": floats(1)}), INVALID, "nope"),
        (examples(CLASSIFY, "", {}, name="document"), INVALID, "Expected one input Tensor"),
        (examples(CLASSIFY, "classify_x_to_y"), INVALID, "Input is empty"),
        (examples(REGRESS, "regress_x_to_y", {"z": floats(1)}), INVALID, "x"),
        (examples(REGRESS, "", {"x": floats(1)}, name="nothing"), MISSING, "Latest(nothing)"),
        (CLASSIFY(), INVALID, "Missing ModelSpec"),
    ],
)
def test_examples_refused(server, request_, code, text):
    is_classify = isinstance(request_, CLASSIFY)
    call = server.predictions.Classify if is_classify else server.predictions.Regress
    assert text in refused(call, request_, code)


def metadata_request(*fields, **where):
    request = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=fields)
    fill_spec(request.model_spec, **{"name": "half", **where})
    return request


def test_metadata(server):
    answer = server.predictions.GetModelMetadata(metadata_request("signature_def"), timeout=30)
    assert (answer.model_spec.name, answer.model_spec.version.value) == ("half", 123)
    found = get_model_metadata_pb2.SignatureDefMap()
    assert list(answer.metadata) == ["signature_def"]
    assert answer.metadata["signature_def"].Unpack(found)
    signature = found.signature_def["serving_default"]
    assert signature.inputs["x"].dtype == tf.float32.as_datatype_enum
    assert signature.inputs["x"].tensor_shape.unknown_rank
    assert found.signature_def["regress_x_to_y"].method_name == "tensorflow/serving/regress"


@pytest.mark.parametrize(
    ("request_", "code"),
    [
        (metadata_request(), INVALID),
        (metadata_request("weights"), INVALID),
        (get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"]), INVALID),
        (metadata_request("signature_def", name="nothing"), MISSING),
        (metadata_request("signature_def", version=99), MISSING),
        (metadata_request("signature_def", label="nope"), INVALID),
    ],
)
def test_metadata_refused(server, request_, code):
    refused(server.predictions.GetModelMetadata, request_, code)


def test_status(server):
    request = get_model_status_pb2.GetModelStatusRequest()
    assert "Missing ModelSpec" in refused(server.models.GetModelStatus, request, INVALID)
    request.model_spec.name = "half"
    states = server.models.GetModelStatus(request, timeout=30).model_version_status
    assert [(s.version, s.state, s.status.error_code) for s in states] == [(123, 30, 0), (1, 30, 0)]
    request.model_spec.version.value = 1
    states = server.models.GetModelStatus(request, timeout=30).model_version_status
    assert [state.version for state in states] == [1]
    request.model_spec.version.value = 99
    assert "version 99" in refused(server.models.GetModelStatus, request, MISSING)
    request = get_model_status_pb2.GetModelStatusRequest()
    request.model_spec.name = "nothing"
    assert "any versions" in refused(server.models.GetModelStatus, request, MISSING)


def test_rest_of_the_service_is_not_in_the_preview(server):
    if server.kind != "preview":
        pytest.skip("TensorFlow Serving has it")
    unimplemented = grpc.StatusCode.UNIMPLEMENTED
    multi = inference_pb2.MultiInferenceRequest()
    refused(server.predictions.MultiInference, multi, unimplemented)
    config = model_management_pb2.ReloadConfigRequest()
    refused(server.models.HandleReloadConfigRequest, config, unimplemented)
