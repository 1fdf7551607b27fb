"""What TF Serving's documentation says of good REST calls, asked of the preview and of itself."""

from __future__ import annotations

import gzip
import json

import numpy as np
import pytest
from conformance import (
    BINARY,
    DOCUMENT,
    HALF,
    KINDS,
    SERVERS,
    answer,
    documented_models,
    post,
    served,
)

AVAILABLE = {"state": "AVAILABLE", "status": {"error_code": "OK", "error_message": ""}}
LABELS = ["half:stable=1", "half:canary=123"]


@pytest.fixture(scope="module", params=SERVERS)
def server(request, tmp_path_factory):
    models = documented_models(tmp_path_factory.mktemp("models"))
    with served(request.param, models, versions=["all"], labels=LABELS) as running:
        yield running


def test_tensorflow_serving_is_asked_the_same():
    """By every test here and in the other files of this name."""
    if BINARY not in SERVERS:
        pytest.skip(f"no {BINARY} on PATH: the suite asks the preview only")


def get(server, path):
    response = server.http.get(path)
    assert response.status_code == 200, response.text
    assert response.headers["content-type"] == "application/json"
    return response.json()


def test_status_lists_the_versions_newest_first(server):
    status = get(server, HALF)
    assert status == {"model_version_status": [{"version": v, **AVAILABLE} for v in ("123", "1")]}
    first = get(server, f"{HALF}/versions/1")
    assert first == {"model_version_status": [{"version": "1", **AVAILABLE}]}


@pytest.mark.parametrize("label", ["stable", "nowhere"])
def test_status_ignores_a_label(server, label):
    assert get(server, f"{HALF}/labels/{label}") == get(server, HALF)


@pytest.mark.parametrize(
    "path", ["/V1/Models/half", "/v1/models/ha%6cf", "/v1/MODELS/%68alf/VERSIONS/123"]
)
def test_paths_ignore_case_and_names_are_decoded(server, path):
    assert get(server, path)["model_version_status"][0]["version"] == "123"


def size(n):
    return {"size": str(n), "name": ""}


def test_metadata(server):
    metadata = get(server, f"{DOCUMENT}/metadata")
    spec = {"name": "document", "signature_name": "", "version": "7"}
    assert metadata.keys() == {"model_spec", "metadata"}
    assert metadata["model_spec"] == spec
    assert metadata["metadata"].keys() == {"signature_def"}
    signatures = metadata["metadata"]["signature_def"]["signature_def"]
    assert signatures.keys() == {"serving_default", "__saved_model_init_op"}
    signature = signatures["serving_default"]
    assert signature["method_name"] == "tensorflow/serving/predict"
    assert signature["inputs"].keys() == {"tag", "signal", "sensor"}
    assert signature["outputs"].keys() == {"name", "name_bytes", "total", "twice"}
    sensor = signature["inputs"]["sensor"]
    shape = {"dim": [size(-1), size(2), size(2)], "unknown_rank": False}
    assert sensor["dtype"] == "DT_INT32"
    assert sensor["tensor_shape"] == shape
    assert sensor["name"].endswith(":0")
    assert signature["inputs"]["tag"]["dtype"] == "DT_STRING"


@pytest.mark.parametrize(
    ("path", "version"), [("", "123"), ("/versions/1", "1"), ("/labels/stable", "1")]
)
def test_metadata_of_a_version(server, path, version):
    metadata = get(server, f"{HALF}{path}/metadata")
    assert metadata["model_spec"]["version"] == version
    signatures = metadata["metadata"]["signature_def"]["signature_def"]
    assert signatures["classify_x_to_y"]["method_name"] == "tensorflow/serving/classify"
    assert signatures["regress_x_to_y"]["method_name"] == "tensorflow/serving/regress"
    shape = signatures["serving_default"]["inputs"]["x"]["tensor_shape"]
    assert shape == {"dim": [], "unknown_rank": True}


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ('{"instances": [1.0, 2.0, 5.0]}', '{"predictions":[3.5,4.0,5.5]}'),
        ('{"instances": [[1.0, 2.0], [3.0, 4.0]]}', '{"predictions":[[3.5,4.0],[4.5,5.0]]}'),
        ('{"instances": [{"x": 1.0}, {"x": 2.0}]}', '{"predictions":[3.5,4.0]}'),
        ('{"instances": [{"x": [1.0]}]}', '{"predictions":[[3.5]]}'),
        ('{"inputs": [3.0, 4.0]}', '{"outputs":[4.5,5.0]}'),
        ('{"inputs": {"x": [[3.0], [4.0]]}}', '{"outputs":[[4.5],[5.0]]}'),
        ('{"inputs": 1.0}', '{"outputs":3.5}'),
        ('{"inputs": {"x": 1.0}}', '{"outputs":3.5}'),
        ('{"inputs": {"x": [1.0], "other": [[2], "a"]}}', '{"outputs":[3.5]}'),
        ('{"signature_name": "serving_default", "instances": [1]}', '{"predictions":[3.5]}'),
        ('{"signature_name": "", "instances": [1]}', '{"predictions":[3.5]}'),
        ('{"unknown": {"a": [1, "b"]}, "instances": [1]}', '{"predictions":[3.5]}'),
        ('{"instances": [1]} and more', '{"predictions":[3.5]}'),
        ('{"instances": [1, 1.0, 1e0, 10e-1]}', '{"predictions":[3.5,3.5,3.5,3.5]}'),
        ('  \n{"instances":\t[1]\r\n}', '{"predictions":[3.5]}'),
        ('{"instances": [NaN, Infinity, -Infinity]}', '{"predictions":[NaN,Infinity,-Infinity]}'),
        ('{"inputs": [NaN, -Infinity]}', '{"outputs":[NaN,-Infinity]}'),
        ('{"instances": [1e39, -1e39]}', '{"predictions":[Infinity,-Infinity]}'),
    ],
)
def test_predict(server, body, text):
    assert answer(server, f"{HALF}:predict", body) == text


@pytest.mark.parametrize(
    ("path", "y"),
    [
        ("", 3.5),
        ("/versions/1", 2.5),
        ("/versions/123", 3.5),
        ("/versions/00123", 3.5),
        ("/labels/stable", 2.5),
        ("/labels/canary", 3.5),
        ("/labels/st%61ble", 2.5),
    ],
)
def test_predict_of_a_version(server, path, y):
    text = answer(server, f"{HALF}{path}:predict", {"instances": [1.0]})
    assert text == f'{{"predictions":[{y}]}}'


ROWS = [
    {"tag": "foo", "signal": [1, 2, 3, 4, 5], "sensor": [[1, 2], [3, 4]]},
    {"tag": "bär", "signal": [3, 4, 1, 2, 5], "sensor": [[4, 5], [6, 8]]},
]
COLUMNS = {key: [row[key] for row in ROWS] for key in ROWS[0]}


def test_several_inputs_and_outputs_in_rows(server):
    predictions = json.loads(answer(server, f"{DOCUMENT}:predict", {"instances": ROWS}))
    foo = {"name": "foo", "name_bytes": {"b64": "Zm9v"}, "total": 15.0}
    bar = {"name": "bär", "name_bytes": {"b64": "YsOkcg=="}, "total": 15.0}
    assert predictions == {
        "predictions": [{**foo, "twice": [[2, 4], [6, 8]]}, {**bar, "twice": [[8, 10], [12, 16]]}]
    }


def test_several_inputs_and_outputs_in_columns(server):
    columns = {**COLUMNS, "unknown": None}
    outputs = json.loads(answer(server, f"{DOCUMENT}:predict", {"inputs": columns}))["outputs"]
    assert outputs == {
        "name": ["foo", "bär"],
        "name_bytes": [{"b64": "Zm9v"}, {"b64": "YsOkcg=="}],
        "total": [15.0, 15.0],
        "twice": [[[2, 4], [6, 8]], [[8, 10], [12, 16]]],
    }


@pytest.mark.parametrize("form", ["instances", "inputs"])
@pytest.mark.parametrize(
    ("kind", "values"),
    [
        ("bool", "[true,false]"),
        ("string", '["a","b\\"\\\\c"]'),
        ("int8", "[-128,127]"),
        ("int16", "[-32768,32767]"),
        ("int32", "[-2147483648,2147483647]"),
        ("int64", "[-9223372036854775808,9223372036854775807]"),
        ("uint8", "[0,255]"),
        ("uint32", "[0,4294967295]"),
        ("uint64", "[0,18446744073709551615]"),
        ("float32", "[9e+06,999999.0,0.5,0.0003,3e-05,555557.5,0.2,-0.0,16777216.0]"),
        ("float32", "[0.1,3.14159274,1.17549435e-38,3.40282347e+38]"),
        ("float64", "[[[1.0],[2.5]],[[-3.0],[0.125]]]"),
    ],
)
def test_values_come_back_as_written(server, kind, values, form):
    body = f'{{"signature_name": "{kind}", "{form}": {values}}}'
    key = {"instances": "predictions", "inputs": "outputs"}[form]
    assert answer(server, f"{KINDS}:predict", body) == f'{{"{key}":{values}}}'


def test_float64_comes_back_but_for_its_last_digit(server):
    """The server reads every tenth number one unit in the last place off."""
    values = [0.1, 0.30000000000000004, 1e300, 123456.0, 1234567.0, 1e-07]
    body = {"signature_name": "float64", "inputs": values}
    outputs = json.loads(answer(server, f"{KINDS}:predict", body))["outputs"]
    np.testing.assert_array_max_ulp(np.array(outputs), np.array(values), maxulp=1)
    nan = answer(server, f"{KINDS}:predict", '{"signature_name": "float64", "inputs": NaN}')
    assert nan == '{"outputs":NaN}'


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ('{"instances": [{"b64": "aGVsbG8="}, "b"]}', '{"predictions":["hello","b"]}'),
        ('{"instances": [[{"b64": "aGVsbG8="}]]}', '{"predictions":[["hello"]]}'),
        ('{"instances": [{"x": {"b64": "aGVsbG8="}}]}', '{"predictions":["hello"]}'),
        ('{"inputs": {"b64": "aGVsbG8="}}', '{"outputs":"hello"}'),
        ('{"inputs": {"x": [{"b64": "aGVsbG8="}]}}', '{"outputs":["hello"]}'),
    ],
)
def test_binary_strings_go_in_as_base64(server, body, text):
    assert answer(server, f"{KINDS}:predict", '{"signature_name": "string", ' + body[1:]) == text


def test_no_row_is_an_answer_in_columns(server):
    body = {"signature_name": "float32", "inputs": []}
    assert answer(server, f"{KINDS}:predict", body) == '{"outputs":[]}'


@pytest.mark.parametrize(
    ("method", "body", "text"),
    [
        (
            "regress",
            {"signature_name": "regress_x_to_y", "examples": [{"x": 80.0}, {"x": 2.0}]},
            '{"results":[43.0,4.0]}',
        ),
        (
            "regress",
            {"signature_name": "regress_x_to_y", "examples": [{"x": [80.5]}]},
            '{"results":[43.25]}',
        ),
        (
            "regress",
            {"signature_name": "regress_whole", "examples": [{"n": 3}, {"n": True}]},
            '{"results":[3.0,1.0]}',
        ),
        (
            "regress",
            {"signature_name": "regress_whole", "context": {"n": 5}, "examples": [{}, {"m": "a"}]},
            '{"results":[5.0,5.0]}',
        ),
        (
            "classify",
            {"signature_name": "classify_x_to_y", "examples": [{"x": 20.0}, {"x": 10.0}]},
            '{"results":[[["",13.0]],[["",8.0]]]}',
        ),
        (
            "classify",
            {
                "signature_name": "classify_image",
                "examples": [
                    {"image": {"b64": "aW1n"}, "caption": "seaside"},
                    {"image": "abc", "caption": ["mountains"]},
                ],
            },
            '{"results":[[["img",3.0],["seaside",7.0]],[["abc",3.0],["mountains",9.0]]]}',
        ),
    ],
)
def test_examples(server, method, body, text):
    assert answer(server, f"{HALF}:{method}", body) == text


def test_examples_of_a_version(server):
    body = {"signature_name": "regress_x_to_y", "examples": [{"x": 80.0}]}
    assert answer(server, f"{HALF}/versions/1:regress", body) == '{"results":[42.0]}'
    assert answer(server, "/V1/Models/half/LABELS/stable:regress", body) == '{"results":[42.0]}'


@pytest.mark.parametrize("kind", ["application/json", "text/plain", "image/png", ""])
def test_type_of_the_request_is_not_read(server, kind):
    headers = {"Content-Type": kind} if kind else {}
    text = answer(server, f"{HALF}:predict", {"instances": [1.0]}, headers=headers)
    assert text == '{"predictions":[3.5]}'


def test_request_may_be_compressed(server):
    body = gzip.compress(b'{"instances": [1.0]}')
    headers = {"Content-Encoding": "gzip"}
    assert answer(server, f"{HALF}:predict", body, headers=headers) == '{"predictions":[3.5]}'


def test_request_may_come_in_pieces(server):
    pieces = iter([b'{"insta', b'nces": [1', b".0]}"])
    response = server.http.post(f"{HALF}:predict", content=pieces)
    assert response.json() == {"predictions": [3.5]}


def test_brackets_in_a_key_that_nobody_reads(server):
    deep = "[" * 500_000 + "]" * 500_000
    assert post(server, f"{HALF}:predict", f'{{"a": {deep}, "instances": [1]}}').status_code == 200
