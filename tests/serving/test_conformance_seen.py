"""What TensorFlow Serving 2.20 was seen to answer, where its documentation does not tell."""

from __future__ import annotations

import json

import grpc
import numpy as np
import pytest
import tensorflow as tf
from conformance import (
    DOCUMENT,
    HALF,
    KINDS,
    SERVERS,
    answer,
    documented_models,
    post,
    refusal,
    served,
)
from conformance_calls import (
    INVALID,
    LIMIT,
    PRECONDITION,
    examples,
    fill_spec,
    floats,
    predict_request,
    proto,
    refused,
)
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    prediction_service_pb2_grpc,
    regression_pb2,
)

CLASSIFY, REGRESS = classification_pb2.ClassificationRequest, regression_pb2.RegressionRequest


@pytest.fixture(scope="module", params=SERVERS)
def server(request, tmp_path_factory):
    models = documented_models(tmp_path_factory.mktemp("models"))
    where = {"versions": ["all"], "labels": ["half:stable=1"]}
    with served(request.param, models, **where, timeout=0.75) as running:
        with grpc.insecure_channel(running.grpc, options=LIMIT) as channel:
            running.predictions = prediction_service_pb2_grpc.PredictionServiceStub(channel)
            yield running


@pytest.mark.parametrize("method", ["PREDICT", "Predict", "Classify", "REGRESS"])
def test_case_counts_after_the_colon(server, method):
    for path in (HALF, HALF.upper(), f"{HALF}/labels/stable"):
        told = refusal(post(server, f"{path}:{method}", {"instances": [1.0]}), 400)
        assert f"Malformed request: POST {path}:{method}" in told


@pytest.mark.parametrize("path", ["/versions/1", "/labels/stable", "/labels/nowhere", ""])
def test_metadata_in_capitals_is_the_status(server, path):
    for word in ("METADATA", "Metadata"):
        status = server.http.get(f"{HALF}{path}")
        assert server.http.get(f"{HALF}{path}/{word}").json() == status.json()
        assert "model_version_status" in status.json()


@pytest.mark.parametrize(
    ("request_", "text"),
    [
        (examples(CLASSIFY, "", {"x": floats(1)}), "No classification inputs found"),
        (examples(REGRESS, "", {"x": floats(1)}), "No regression inputs found"),
        (examples(CLASSIFY, "regress_x_to_y", {"x": floats(1)}), "classes"),
        (examples(REGRESS, "classify_x_to_y", {"x": floats(1)}), "No regression outputs found"),
    ],
)
def test_examples_for_another_signature_are_invalid(server, request_, text):
    is_classify = isinstance(request_, CLASSIFY)
    call = server.predictions.Classify if is_classify else server.predictions.Regress
    assert text in refused(call, request_, INVALID)


SMALLEST = np.float32([1.4e-45, 1.1754942e-38, -1e-40, 1.1754944e-38])


def test_float32_denormals_are_zero_by_rest_alone(server):
    values = "[1.4e-45,1.1754942e-38,1.17549435e-38]"
    body = f'{{"signature_name": "float32", "inputs": {values}}}'
    assert answer(server, f"{KINDS}:predict", body) == '{"outputs":[0.0,0.0,1.17549435e-38]}'
    request = predict_request("kinds", signature="float32", x=proto(SMALLEST))
    outputs = server.predictions.Predict(request, timeout=30).outputs
    np.testing.assert_array_equal(tf.make_ndarray(outputs["y"]), SMALLEST)


@pytest.mark.parametrize(
    "body",
    [
        '{"instances": [1e999]}',
        '{"inputs": [-1E+309]}',
        '{"instances": [1' + 400 * "0" + "]}",
        '{"instances": [1], "nobody reads this": [2, 1.5e400]}',
    ],
)
def test_numbers_beyond_double_are_no_json(server, body):
    told = refusal(post(server, f"{HALF}:predict", body), 400)
    assert "JSON Parse error: Number too big to be stored in double." in told


@pytest.mark.parametrize("body", ['{"instances": [1e308, 1e-999]}', '{"a": "1e999", "inputs": 1}'])
def test_numbers_within_double_are_json(server, body):
    assert post(server, f"{HALF}:predict", body).status_code == 200


@pytest.mark.parametrize("coding", ["br", "deflate", "zstd", "identity", "anything"])
def test_other_codings_of_the_body_are_ignored(server, coding):
    headers = {"Content-Encoding": coding}
    text = answer(server, f"{HALF}:predict", {"instances": [1.0]}, headers=headers)
    assert text == '{"predictions":[3.5]}'


def test_a_byte_order_mark_is_passed_over(server):
    body = b'\xef\xbb\xbf{"instances": [1.0]}'
    assert answer(server, f"{HALF}:predict", body) == '{"predictions":[3.5]}'
    for body in (b"\xef\xbb\xbf", b'{"instances": [\xef\xbb\xbf1.0]}'):
        assert "JSON Parse error" in refusal(post(server, f"{HALF}:predict", body), 400)


def test_an_empty_label_is_an_unknown_label(server):
    label = "Unrecognized servable version label"
    request = predict_request(label="", x=[1.0])
    assert label in refused(server.predictions.Predict, request, INVALID)
    request = examples(REGRESS, "regress_x_to_y", {"x": floats(80)}, label="")
    assert label in refused(server.predictions.Regress, request, INVALID)


def test_metadata_field_may_be_named_twice(server):
    request = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=2 * ["signature_def"])
    fill_spec(request.model_spec, "half")
    answer = server.predictions.GetModelMetadata(request, timeout=30)
    assert list(answer.metadata) == ["signature_def"]
    request.metadata_field.append("weights")
    refused(server.predictions.GetModelMetadata, request, INVALID)


def test_predict_on_the_initialiser_is_out_of_range(server):
    request = predict_request("kinds", signature="__saved_model_init_op")
    told = refused(server.predictions.Predict, request, grpc.StatusCode.OUT_OF_RANGE)
    assert "does not have output 0" in told
    request = predict_request("kinds", signature="__saved_model_init_op", x=[1.0])
    refused(server.predictions.Predict, request, INVALID)
    request = predict_request("kinds", signature="no such")
    refused(server.predictions.Predict, request, PRECONDITION)


@pytest.mark.parametrize(
    ("method", "body"),
    [
        ("predict", {"instances": [1.0, 2.0]}),
        ("predict", {"inputs": [[1.0], [2.0]]}),
        ("regress", {"signature_name": "regress_x_to_y", "examples": [{"x": 80.0}]}),
        ("classify", {"signature_name": "classify_x_to_y", "examples": [{"x": 20.0}]}),
        ("predict", {"instances": ["a"]}),
        ("predict", {"instances": {"x": [1.0, {"y": 2.0}]}}),
    ],
)
def test_json_has_line_breaks(server, method, body):
    response = post(server, f"{HALF}:{method}", body)
    assert response.text.startswith('{\n    "')
    assert response.text.endswith("\n}")
    if response.status_code != 200 and isinstance(body["instances"], dict):
        assert "\n" in response.json()["error"]  # it repeats the request in the same way


def test_status_and_metadata_have_line_breaks(server):
    for path in (HALF, f"{DOCUMENT}/metadata"):
        text = server.http.get(path).text
        assert len(text.splitlines()) > 10
        json.loads(text)


@pytest.mark.parametrize("path", [HALF, f"{HALF}:predict", f"{HALF}/metadata", "/v1/models"])
def test_options_have_an_empty_answer(server, path):
    response = server.http.options(path)
    assert (response.status_code, response.content) == (400, b"")


@pytest.mark.parametrize("form", ["instances", "inputs"])
def test_what_takes_too_long_has_timed_out(server, form):
    body = f'{{"signature_name": "forever", "{form}": [0]}}'
    told = refusal(post(server, f"{KINDS}:predict", body), 504)
    assert "Timed out waiting for notification" in told
