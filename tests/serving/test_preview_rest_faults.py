"""What the preview server's REST API refuses, with TF Serving's codes and texts."""

from __future__ import annotations

import httpx
import pytest
import serving_models
from serving_models import DENSE, TYPES, echo, error, post


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    with serving_models.rest_client(tmp_path_factory.mktemp("models")) as client:
        yield client


PREDICT_FAULTS = [
    ("", "JSON Parse error"),
    (b"\xff\xfe", "JSON Parse error"),
    ('{"instances": [1, 2', "JSON Parse error: Invalid value"),
    ("[1]", "Is not object"),
    ("{}", "Missing 'inputs' or 'instances' key"),
    ('{"instances": 1}', "to be an list"),
    ('{"instances": [], "inputs": []}', "only one of"),
    ('{"instances": []}', "No values in 'instances'"),
    ('{"inputs": []}', "is not compatible with expected shape"),
    ('{"instances": [[1, 2, 3, 4], [1, 2, 3]]}', "process element: 1 of 'instances' list. Error: "),
    ('{"instances": [[1, 2, 3, 4], [1, 2, 3]]}', "Expecting tensor size: 4 but got: 3"),
    ('{"instances": [[1, 2, 3, 4], [[1, 2], [3, 4]]]}', "Expecting shape (4,) but got: (2, 2)"),
    ('{"instances": [[1, 2, 3, [4]]]}', "unexpected level"),
    ('{"inputs": [[1, 2, 3, 4], 5]}', "found at incorrect level"),
    ('{"inputs": [[1, 2, 3, 4], [5]]}', "unexpected size: 1 at level: 1 expected size: 4"),
    ('{"instances": [[1, 2, 3]]}', "[1,3] is not compatible with expected shape [?,4]"),
    ('{"instances": [[1, 2, 3, "4"]]}', 'JSON Value: "4" Type: String is not of expected type: f'),
    ('{"instances": [[1, 2, 3, true]]}', "is not of expected type: float"),
    ('{"instances": [[1, 2, 3, null]]}', "Type: Null is not of expected type: float"),
    ('{"instances": [[1, 2, 3, {"b64": "aa"}]]}', "Type: Object is not of expected type: float"),
    ('{"instances": [{"x": [1, 2, 3, 4]}]}', "does not have named input: x"),
    ('{"instances": [{}]}', "keys must be equal to: inputs"),
    ('{"instances": [{"inputs": [1, 2, 3, 4]}, [1]]}', "Expecting object but got list at item 1"),
    ('{"inputs": {"x": [[1, 2, 3, 4]]}}', "Missing named input: inputs"),
    ('{"signature_name": "none", "instances": [[1]]}', "not found in signature def"),
    ('{"signature_name": 1, "instances": [[1]]}', "must be a string value"),
    ('{"signature_name": "__saved_model_init_op", "instances": [[1]]}', "get input map"),
]


@pytest.mark.parametrize(("body", "text"), PREDICT_FAULTS)
def test_predict_faults(client, body, text):
    assert text in error(post(client, f"{DENSE}:predict", body), 400)


TYPE_FAULTS = [
    ("echo_half", "inputs", 501, "to type: half"),
    ("echo_half", "instances", 400, "UNIMPLEMENTED: Conversion of JSON Value: 1 to type: half"),
    ("to_half", "instances", 400, "Failed to write JSON value for tensor type: half"),
    ("sum", "instances", 400, "has no shape information"),
    ("serving_default", "instances", 400, "multiple input tensors required"),
    ("serving_default", "inputs", 400, "multiple input tensors required"),
]


@pytest.mark.parametrize(("signature", "key", "status", "text"), TYPE_FAULTS)
def test_faults_of_types(client, signature, key, status, text):
    body = {"signature_name": signature, key: [1]}
    assert text in error(post(client, f"{TYPES}:predict", body), status)


@pytest.mark.parametrize(
    ("kind", "numbers"),
    [
        ("echo_uint8", "[1.0]"),
        ("echo_uint8", f"[{2**31}]"),
        ("echo_int64", f"[{2**63}]"),
        ("echo_int64", "[true]"),
        ("echo_int64", '["1"]'),
    ],
)
def test_whole_numbers_are_checked(client, kind, numbers):
    assert "is not of expected type: " in error(echo(client, numbers, kind), 400)


def test_numbers_beyond_every_range_are_no_json(client):
    assert "JSON Parse error" in error(echo(client, "1" + "0" * 400), 400)
    assert "JSON Parse error" in error(echo(client, "1" * 5000), 400)


INFER_FAULTS = [
    ("classify", "{", "JSON Parse error"),
    ("classify", '{"examples": []}', "'examples'"),
    ("classify", "{}", "'examples' is expected and was not found"),
    ("classify", '{"examples": [1]}', "Example must be JSON object but got JSON Number"),
    ("classify", '{"examples": [{"inputs": [1, 2.5]}]}', "Unexpected element type in feature"),
    ("classify", '{"examples": [{"inputs": [null]}]}', "Unexpected element type in feature"),
    ("classify", f'{{"examples": [{{"inputs": [{2**64}]}}]}}', "does not fit"),
    (
        "classify",
        '{"examples": [{"inputs": [1, 2, 3, 4]}]}',
        "Expects arg[0] to be float but string",
    ),
    ("regress", '{"signature_name": "none", "examples": [{}]}', "No signature was found"),
    ("regress", '{"signature_name": "classify", "examples": [{}]}', "No regression outputs found"),
    ("regress", '{"signature_name": "regress", "examples": [{"inputs": [1]}]}', "int64"),
]


@pytest.mark.parametrize(("method", "body", "text"), INFER_FAULTS)
def test_classify_and_regress_faults(client, method, body, text):
    assert text in error(post(client, f"{DENSE}:{method}", body), 400)


def test_classify_without_its_input_alias(client):
    body = {"signature_name": "echo", "examples": [{"inputs": [1.0]}]}
    answer = post(client, f"{TYPES}:classify", body)
    assert "No classification inputs found" in error(answer, 400)


@pytest.mark.parametrize(
    ("method", "path", "status", "text"),
    [
        ("GET", "/v1/models/none", 404, "Could not find any versions of model none"),
        ("GET", f"{DENSE}/versions/9", 404, "Could not find version 9 of model dense"),
        ("GET", "/v1/models/none/metadata", 404, "Servable not found for request: Latest(none)"),
        ("GET", f"{DENSE}/versions/9/metadata", 404, "for request: Specific(dense, 9)"),
        ("GET", f"{DENSE}/labels/none/metadata", 400, "Unrecognized servable version label: none"),
        ("POST", "/v1/models/none:predict", 404, "Servable not found for request: Latest(none)"),
        ("POST", f"{DENSE}/versions/9:predict", 404, "for request: Specific(dense, 9)"),
        ("POST", f"{DENSE}/labels/none:predict", 400, "Unrecognized servable version label: none"),
        ("GET", "/v1/models", 400, "Missing model name"),
        ("GET", "/v1/foo", 400, "Malformed request: GET /v1/foo"),
        ("PUT", f"{DENSE}:predict", 400, "Malformed request"),
        ("DELETE", DENSE, 400, "Malformed request"),
        ("OPTIONS", DENSE, 400, "Malformed request"),
        ("GET", f"{DENSE}:predict", 400, "Malformed request"),
        ("POST", f"{DENSE}/metadata", 400, "Malformed request"),
        ("POST", f"{DENSE}:predict?x=1", 400, "Malformed request"),
        ("POST", f"{DENSE}:multiInference", 400, "Malformed request"),
        ("GET", f"{DENSE}/versions/HELLO", 400, "Malformed request"),
        ("GET", "/v1/models/..%2F..%2Fetc%2Fpasswd", 404, "Could not find any versions of model"),
        ("POST", "/v1/models/dense%2F1:predict", 404, "Servable not found"),
        ("GET", "/v1/models/../dense", 400, "Malformed request"),
    ],
)
def test_paths_that_are_answered_with_an_error(client, method, path, status, text):
    request = httpx.Request(method, f"{client.base_url}", content=b'{"instances": [[1]]}')
    request.url = httpx.URL(str(client.base_url).rstrip("/")).copy_with(raw_path=path.encode())
    assert text in error(client.send(request), status)


def test_a_broken_body_is_told_before_an_unknown_model(client):
    assert "JSON Parse error" in error(post(client, "/v1/models/none:predict", "{"), 400)


def test_a_version_beyond_int64_has_an_empty_answer(client):
    answer = client.get(f"{DENSE}/versions/{2**63}")
    assert (answer.status_code, answer.text) == (400, "")
    assert client.get(f"{DENSE}/versions/{2**63 - 1}").status_code == 404
