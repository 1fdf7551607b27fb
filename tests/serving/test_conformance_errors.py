"""What TF Serving's documentation says of bad REST calls: codes, texts, connections."""

from __future__ import annotations

import http.client
import json
import socket

import pytest
from conformance import DOCUMENT, HALF, KINDS, SERVERS, documented_models, post, refusal, served

MALFORMED = "Malformed request"
LATEST = "Servable not found for request: Latest(nothing)"
SPECIFIC = "Servable not found for request: Specific(half, 99)"
TOO_LONG = "9223372036854775808"  # one above int64


@pytest.fixture(scope="module", params=SERVERS)
def server(request, tmp_path_factory):
    models = documented_models(tmp_path_factory.mktemp("models"))
    with served(request.param, models, versions=["all"], labels=["half:stable=1"]) as running:
        yield running
        assert post(running, f"{HALF}:predict", {"instances": [1.0]}).status_code == 200


PARSE = "JSON Parse error: "
ROWS = {"tag": "foo", "signal": [1, 2, 3, 4, 5], "sensor": [[1, 2], [3, 4]]}


@pytest.mark.parametrize(
    ("body", "texts"),
    [
        ("", [PARSE + "The document is empty"]),
        ("instances = [1, 2]", [PARSE + "Invalid value"]),
        ("{", [PARSE, "offset"]),
        ('{"instances": [1.0, 2.0}', [PARSE]),
        ('{"instances": [1,]}', [PARSE]),
        ("{'instances': [1]}", [PARSE]),
        ('{"instances": [01]}', [PARSE]),
        ('{"instances": [1.]}', [PARSE]),
        ('{"instances": [.5]}', [PARSE]),
        ('{"instances": [+1]}', [PARSE]),
        ('{"instances": [nan]}', [PARSE]),
        ('{"instances": [1] // one\n}', [PARSE]),
        (b"\xff\xfe\x00{", [PARSE]),
        ("[1, 2]", ["Is not object"]),
        ("3", ["Is not object"]),
        ("null", ["Is not object"]),
        ('"instances"', ["Is not object"]),
        ("{}", ["Missing 'inputs' or 'instances' key"]),
        ('{"Instances": [1]}', ["Missing 'inputs' or 'instances' key"]),
        ('{"instances": 1}', ["'instances' to be an list/array"]),
        ('{"instances": {"x": 1}}', ["to be an list"]),
        ('{"instances": null}', ["to be an list"]),
        ('{"instances": [1], "inputs": [1]}', ["only one of 'inputs' or 'instances' keys"]),
        ('{"instances": []}', ["No values in 'instances' array"]),
        ('{"signature_name": 5, "instances": [1]}', ["'signature_name' key must be a string"]),
        (
            '{"signature_name": "nope", "instances": [1]}',
            ['Serving signature name: "nope" not found in signature def'],
        ),
        ('{"instances": [[1, 2], [3, 4], [5]]}', ["Expecting tensor size: 2 but got: 1"]),
        ('{"instances": [[1, 2], [[3, 4]]]}', ["Expecting shape [2] but got: [1,2]"]),
        ('{"instances": [1, [1]]}', ["Expecting shape"]),
        ('{"instances": [[[1, 2], [3]]]}', ["Encountered list at unexpected size: 1 at level: 1"]),
        ('{"instances": [[[1, 2], 3]]}', ["found at incorrect level"]),
        ('{"instances": [[1, [2]]]}', ["Encountered list at unexpected level: 1 expected < 1"]),
        ('{"inputs": [[1, 2], [3]]}', ["Encountered list at unexpected size: 1", "size: 2"]),
        ('{"inputs": [1, [2]]}', ["unexpected level"]),
        ('{"inputs": {"z": [1]}}', ["Missing named input: x in 'inputs' object."]),
        ('{"inputs": {}}', ["Missing named input: x"]),
        ('{"instances": [{"z": 1}]}', ["does not have named input: z", "element: 0 key: z"]),
        ('{"instances": [{"x": 1, "z": 1}]}', ["does not have named input: z"]),
        ('{"instances": [{}]}', ["keys must be equal to: x"]),
        ('{"instances": [{"x": 1}, [1]]}', ["Expecting object but got list at item 1"]),
        ('{"instances": [1, {"x": 1}]}', ["Expecting value/list but got object at item 1"]),
        ('{"instances": ["a"]}', ["Type: String is not of expected type: float", "element: 0"]),
        ('{"instances": [1, true]}', ["Type: True is not of expected type: float", "element: 1"]),
        ('{"instances": [null]}', ["Type: Null is not of expected type: float"]),
        ('{"instances": [[{"a": 1}]]}', ["Type: Object is not of expected type: float"]),
        ('{"instances": [{"b64": "aGVsbG8="}]}', ["is not of expected type: float"]),
        ('{"inputs": {"b64": "aGVsbG8="}}', ["is not of expected type: float"]),
        ('{"inputs": ["1.0"]}', ['JSON Value: "1.0" Type: String is not of expected type: float']),
        ('{"inputs": null}', ["Type: Null is not of expected type: float"]),
    ],
)
def test_predict_refuses(server, body, texts):
    told = refusal(post(server, f"{HALF}:predict", body), 400)
    assert all(text in told for text in texts), told


@pytest.mark.parametrize(
    ("body", "texts"),
    [
        ({"instances": [[1]]}, ["instances is a plain list, but expecting list of objects"]),
        ({"inputs": [1]}, ["inputs is a plain value/list, but expecting an object as multiple"]),
        ({"instances": [ROWS, {"tag": "a"}]}, ["element: 1", "keys must be equal to: sensor,sig"]),
        ({"instances": [ROWS, [1]]}, ["Expecting object but got list at item 1"]),
        ({"instances": [ROWS, {**ROWS, "tag": 5}]}, ["element: 1 key: tag", "type: string"]),
        ({"instances": [{**ROWS, "tag": {"b64": "?"}}]}, ["Unable to base64 decode"]),
        ({"instances": [{**ROWS, "tag": {"b": "YQ=="}}]}, ["not formatted correctly for base64"]),
        ({"instances": [{**ROWS, "sensor": [[1.5, 2], [3, 4]]}]}, ["expected type: int32"]),
        ({"inputs": {"tag": ["a"], "signal": [[1] * 5]}}, ["Missing named input: sensor"]),
    ],
)
def test_predict_of_several_inputs_refuses(server, body, texts):
    told = refusal(post(server, f"{DOCUMENT}:predict", body), 400)
    assert all(text in told for text in texts), told


@pytest.mark.parametrize(
    ("signature", "rest", "code", "text"),
    [
        ("int32", '"instances": [1.0]', 400, "Type: Number is not of expected type: int32"),
        ("int32", '"instances": [2147483648]', 400, "not of expected type: int32"),
        ("int64", '"instances": [9223372036854775808]', 400, "not of expected type: int64"),
        ("uint32", '"instances": [-1]', 400, "not of expected type: uint32"),
        ("bool", '"instances": [1]', 400, "not of expected type: bool"),
        ("string", '"instances": [1]', 400, "not of expected type: string"),
        ("float16", '"inputs": [1.0]', 501, "to type: half"),
        ("float16", '"instances": [1.0]', 400, "to type: half"),
        ("complex64", '"inputs": [1.0]', 501, "to type: complex64"),
        ("to_half", '"instances": [1.0]', 400, "Failed to write JSON value for tensor type: half"),
        ("to_scalar", '"instances": [1.0]', 400, "has no shape information"),
        ("to_uneven", '"instances": [1.0, 2.0]', 400, "inconsistent batch size"),
        ("to_uneven", '"inputs": [1.0, 2.0]', 200, '"first": [1.0]'),
    ],
)
def test_what_json_cannot_carry(server, signature, rest, code, text):
    response = post(server, f"{KINDS}:predict", f'{{"signature_name": "{signature}", {rest}}}')
    told = response.text if code == 200 else refusal(response, code)
    assert text.replace(" ", "") in "".join(told.split())


@pytest.mark.parametrize("body", ['{"instances": [[1, 2]]}', '{"inputs": [[1, 2]]}'])
def test_wrong_inner_dimension(server, body):
    """The preview compares with the signature first, the server leaves it to the product."""
    told = refusal(post(server, f"{KINDS}:predict", body), 400)
    assert ("shape" in told) if server.kind == "preview" else ("Matrix size-incompatible" in told)


EXAMPLES = "tensorflow/serving"


@pytest.mark.parametrize(
    ("method", "signature", "rest", "text"),
    [
        ("classify", "classify_x_to_y", "", "key 'examples' is expected and was not found"),
        ("classify", "classify_x_to_y", ', "examples": 3', "Expecting 'examples' value to be an"),
        ("classify", "classify_x_to_y", ', "examples": []', "value is an empty array"),
        ("classify", "classify_x_to_y", ', "examples": [3]', "JSON object but got JSON Number"),
        ("regress", "regress_x_to_y", ', "examples": [{"x": null}]', "Feature: x has element with"),
        ("regress", "regress_x_to_y", ', "examples": [{"x": [[1.0]]}]', "JSON type: Array"),
        ("regress", "regress_x_to_y", ', "examples": [{"x": {"a": 1}}]', "JSON type: Object"),
        ("regress", "regress_x_to_y", ', "examples": [{"x": [1, 2.5]}]', "element type in feature"),
        ("regress", "regress_x_to_y", ', "context": 1, "examples": [{}]', "got JSON Number"),
        ("regress", "regress_x_to_y", ', "examples": [{"z": 1.0}]', "x"),  # a kernel's words
        ("regress", "regress_x_to_y", ', "examples": [{"x": 80}]', "x"),  # int64: whole number
        ("classify", "nope", ', "examples": [{}]', "nope"),
        ("classify", "serving_default", ', "examples": [{}]', "No classification inputs found"),
        ("regress", "serving_default", ', "examples": [{}]', "No regression inputs found"),
        ("regress", "classify_x_to_y", ', "examples": [{"x": 1.0}]', "No regression outputs found"),
    ],
)
def test_examples_refused(server, method, signature, rest, text):
    body = f'{{"signature_name": "{signature}"{rest}}}'
    assert text in refusal(post(server, f"{HALF}:{method}", body), 400)


@pytest.mark.parametrize(
    ("method", "path", "code", "text"),
    [
        ("GET", "/v1/models/nothing", 404, "Could not find any versions of model nothing"),
        ("GET", f"{HALF}?x=1", 404, "Could not find any versions of model half?x=1"),
        ("GET", "/v1/models/Half", 404, "Could not find any versions of model Half"),
        ("GET", f"{HALF}/versions/99", 404, "Could not find version 99 of model half"),
        ("GET", "/v1/models/nothing/metadata", 404, LATEST),
        ("GET", f"{HALF}/versions/99/metadata", 404, SPECIFIC),
        ("GET", f"{HALF}/labels/nope/metadata", 400, "Unrecognized servable version label: nope"),
        ("POST", "/v1/models/nothing:predict", 404, LATEST),
        ("POST", "/v1/models/nothing/versions/1:predict", 404, "Specific(nothing, 1)"),
        ("POST", f"{HALF}/versions/99:predict", 404, SPECIFIC),
        ("POST", f"{HALF}/labels/nope:predict", 400, "Unrecognized servable version label: nope"),
        ("GET", "/v1/models", 400, "Missing model name"),
        ("GET", "/v1/foo", 400, f"{MALFORMED}: GET /v1/foo"),
        ("POST", "/v1/foo", 400, f"{MALFORMED}: POST /v1/foo"),
        ("POST", "/v1/models", 400, MALFORMED),
        ("POST", HALF, 400, f"{MALFORMED}: POST {HALF}"),
        ("GET", f"{HALF}/", 400, MALFORMED),
        ("GET", f"{HALF}:predict", 400, MALFORMED),
        ("PUT", f"{HALF}:predict", 400, f"{MALFORMED}: PUT {HALF}:predict"),
        ("DELETE", HALF, 400, MALFORMED),
        ("PATCH", HALF, 400, MALFORMED),
        ("POST", f"{HALF}/metadata", 400, MALFORMED),
        ("POST", f"{HALF}:explain", 400, MALFORMED),
        ("POST", f"{HALF}:predict?x=1", 400, MALFORMED),
        ("GET", f"{HALF}/metadata?x=1", 400, MALFORMED),
        ("GET", f"{HALF}/versions/HELLO", 400, MALFORMED),
        ("GET", f"{HALF}/versions/-1", 400, MALFORMED),
        ("POST", f"{HALF}/versions/HELLO:regress", 400, MALFORMED),
        ("POST", f"{HALF}/version/1:predict", 400, MALFORMED),
        ("POST", f"{HALF}/versions/1/labels/stable:predict", 400, MALFORMED),
        ("GET", "/v1/models/../models/half/x", 400, MALFORMED),
    ],
)
def test_paths_refused(server, method, path, code, text):
    body = '{"instances": [1.0]}' if method == "POST" else None
    connection = http.client.HTTPConnection(server.rest.removeprefix("http://"), timeout=30)
    connection.request(method, path, body)  # as it is: httpx would tidy the path
    response = connection.getresponse()
    told = json.loads(response.read())
    assert (response.status, list(told)) == (code, ["error"]), told
    assert response.headers["Content-Type"] == "application/json"
    assert text in told["error"]
    connection.close()


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", f"{HALF}/versions/{TOO_LONG}"),
        ("GET", f"{HALF}/versions/{TOO_LONG}/metadata"),
        ("POST", f"{HALF}/versions/{TOO_LONG}:predict"),
    ],
)
def test_version_above_int64_has_an_empty_answer(server, method, path):
    response = server.http.request(method, path, content=b'{"instances": [1.0]}')
    assert (response.status_code, response.content) == (400, b"")


def test_body_is_read_before_the_model_is_looked_for(server):
    assert PARSE in refusal(post(server, "/v1/models/nothing:predict", "{"), 400)


@pytest.mark.parametrize("path", ["/", "/index.html", "/v2/models/half", "/monitoring"])
def test_path_outside_is_a_page_and_ends_the_connection(server, path):
    response = server.http.get(path)
    assert response.status_code == 404
    assert response.headers["content-type"].startswith("text/html")
    assert response.headers["connection"] == "close"


def test_connection_goes_on_after_errors(server):
    connection = http.client.HTTPConnection(server.rest.removeprefix("http://"), timeout=30)
    connection.connect()
    first: socket.socket = connection.sock
    for body, code in [("{", 400), ('{"instances": ["a"]}', 400), ('{"instances": [1.0]}', 200)]:
        for name in ("half", "nothing"):
            connection.request("POST", f"/v1/models/{name}:predict", body)
            response = connection.getresponse()
            response.read()
            assert response.status == (code if name == "half" or body == "{" else 404)
            assert connection.sock is first
    connection.close()
