"""The preview server's REST API: paths, bodies, numbers and errors, as TF Serving gives them."""

from __future__ import annotations

import gzip
import json

import httpx
import numpy as np
import pytest
import serving_models
from serving_models import CLASSES, DENSE, DIM, TYPES, echo, error, post, scores

from serving.preview import json_out


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    with serving_models.rest_client(tmp_path_factory.mktemp("models")) as client:
        yield client


def test_status_lists_versions_newest_first(client):
    answer = client.get(DENSE)
    fine = {"error_code": "OK", "error_message": ""}
    assert answer.json() == {
        "model_version_status": [
            {"version": "2", "state": "AVAILABLE", "status": fine},
            {"version": "1", "state": "AVAILABLE", "status": fine},
        ]
    }
    assert answer.headers["server"] == "asym_keras-preview"
    one = client.get(f"{DENSE}/versions/1").json()["model_version_status"]
    assert [status["version"] for status in one] == ["1"]


def test_metadata_gives_signatures_by_alias_type_and_shape(client):
    answer = client.get(f"{DENSE}/labels/stable/metadata").json()
    assert answer["model_spec"] == {"name": "dense", "signature_name": "", "version": "1"}
    signatures = answer["metadata"]["signature_def"]["signature_def"]
    assert {"serving_default", "features", "classify", "regress"} < signatures.keys()
    assert signatures["classify"]["method_name"] == "tensorflow/serving/classify"
    signature = signatures["serving_default"]
    assert signature["method_name"] == "tensorflow/serving/predict"
    info = signature["inputs"]["inputs"]
    assert info.pop("name").endswith(":0")
    sizes = [{"size": "-1", "name": ""}, {"size": str(DIM), "name": ""}]
    assert info == {"dtype": "DT_FLOAT", "tensor_shape": {"dim": sizes, "unknown_rank": False}}
    assert signature["outputs"].keys() == {"scores", "classes"}


@pytest.mark.parametrize(
    ("path", "factor"),
    [
        (f"{DENSE}:predict", 2),
        (f"{DENSE}/versions/1:predict", 1),
        (f"{DENSE}/versions/2:predict", 2),
        (f"{DENSE}/labels/stable:predict", 1),
        ("/V1/Models/dense/Versions/1:Predict", 1),
        ("/v1/models/%64ense/labels/st%61ble:predict", 1),
    ],
)
def test_rows_columns_and_paths_give_the_numbers(client, path, factor):
    x = np.random.default_rng(0).normal(size=(3, DIM)).astype("float32")
    expected = scores(x, factor)
    rows = post(client, path, {"instances": x.tolist()}).json()["predictions"]
    np.testing.assert_allclose([row["scores"] for row in rows], expected, rtol=1e-6, atol=1e-6)
    assert [row["classes"] for row in rows] == expected.argmax(1).tolist()
    named = {"instances": [{"inputs": row} for row in x.tolist()]}
    assert post(client, path, named).json()["predictions"] == rows
    columns = post(client, path, {"inputs": x.tolist()}).json()["outputs"]
    assert columns["scores"] == [row["scores"] for row in rows]
    named = {"inputs": {"inputs": x.tolist(), "unknown": 3}}
    assert post(client, path, named).json()["outputs"] == columns


def test_one_output_has_no_name(client):
    body = {"signature_name": "features", "instances": [[1, 0, 0, 0]]}
    answer = post(client, f"{DENSE}/versions/1:predict", body).json()
    assert answer == {"predictions": [scores([1, 0, 0, 0]).tolist()]}
    body = {"signature_name": "features", "inputs": [[1, 0, 0, 0]]}
    answer = post(client, f"{DENSE}/versions/1:predict", body).json()
    assert answer == {"outputs": [scores([1, 0, 0, 0]).tolist()]}


@pytest.mark.parametrize(
    ("sent", "printed"),
    [
        ("0.2", "0.2"),
        ("1", "1.0"),
        ("1e0", "1.0"),
        ("-0.0", "-0.0"),
        ("9000000", "9e+06"),
        ("555557.5", "555557.5"),
        ("16777216", "16777216.0"),
        ("0.1234567891", "0.123456791"),
        ("NaN", "NaN"),
        ("Infinity", "Infinity"),
        ("-Infinity", "-Infinity"),
        ("1e39", "Infinity"),
        ("3.4028235e38", "3.40282347e+38"),
        ("1e-45", "1.4013e-45"),
    ],
)
def test_floats_are_printed_as_tf_serving_prints_them(client, sent, printed):
    assert echo(client, sent).text == f'{{"outputs": {printed}}}'
    assert echo(client, f"[[{sent}]]").text == f'{{"outputs": [[{printed}]]}}'


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_printed_floats_read_back_as_the_same_number(dtype):
    bits = np.random.default_rng(0).integers(0, 2**63, 2000, dtype="uint64")
    values = (bits if dtype == "float64" else bits.astype("uint32")).view(dtype)
    texts = json_out.decimals(values)
    np.testing.assert_array_equal(np.array([float(text) for text in texts], dtype), values)
    for text, value in zip(texts, values, strict=True):
        short = f"{value:g}" if np.isfinite(value) else text
        assert len(text) <= len(short) + 2 or np.dtype(dtype).type(short) != value


def test_other_types_pass(client):
    assert echo(client, "0.1234567891234567", "echo_double").json()["outputs"] == 0.1234567891234567
    assert echo(client, "[0, 255, 256]", "echo_uint8").json()["outputs"] == [0, 255, 0]  # wraps
    assert echo(client, f"[{2**63 - 1}]", "echo_int64").json()["outputs"] == [2**63 - 1]
    assert echo(client, "[]").json() == {"outputs": []}
    assert echo(client, "[[], []]").json() == {"outputs": [[], []]}
    rows = [{"whole": 3, "text": "é"}, {"whole": -4, "text": {"b64": "aGk="}}]
    assert post(client, f"{TYPES}:predict", {"instances": rows}).json()["predictions"] == [
        {"whole": 4, "odd": True, "text": "é", "text_bytes": {"b64": "w6k="}},
        {"whole": -3, "odd": False, "text": "hi", "text_bytes": {"b64": "aGk="}},
    ]


@pytest.mark.parametrize("context", [False, True])
def test_classify_and_regress_take_examples(client, context):
    feature = {"inputs": [1.0, 2.0, -3.0, 0.5]}
    body = {"context": feature, "examples": [{}, {}]} if context else {"examples": [feature] * 2}
    path = f"{DENSE}/versions/1"
    expected = scores(feature["inputs"]).tolist()
    answer = post(client, f"{path}:classify", body | {"signature_name": "classify"}).json()
    labels = [label.decode() for label in serving_models.LABELS]
    row = [[label, score] for label, score in zip(labels, expected, strict=True)]
    assert answer == {"results": [row, row]}
    answer = post(client, f"{path}:regress", body | {"signature_name": "regress"}).json()
    assert answer == {"results": [expected[0]] * 2}


def test_gzip_bodies_and_trailing_bytes_are_read(client):
    body = json.dumps({"instances": [[1, 2, 3, 4]]})
    plain = post(client, f"{DENSE}:predict", body + " } trailing").json()
    packed = gzip.compress(body.encode())
    headers = {"Content-Encoding": "gzip", "Content-Type": "text/nonsense"}
    assert post(client, f"{DENSE}:predict", packed, headers=headers).json() == plain
    broken = post(client, f"{DENSE}:predict", b"no gzip", headers=headers)
    assert "can't be read" in error(broken, 400)


def test_deep_nesting_in_an_unused_key_is_fine(client):
    body = '{"unused": ' + "[" * 500_000 + "]" * 500_000 + ', "instances": [[1, 2, 3, 4]]}'
    answer = post(client, f"{DENSE}/versions/1:predict", body)
    assert answer.json()["predictions"][0]["scores"] == scores([1, 2, 3, 4]).tolist()
    deep = '{"instances": ' + "[" * 5000 + "1" + "]" * 5000 + "}"
    assert "unexpected level" in error(post(client, f"{DENSE}:predict", deep), 400)
    assert "JSON Parse error" in error(post(client, f"{DENSE}:predict", "[" * 100_000), 400)


def test_other_paths_are_a_page_and_the_end_of_the_connection(client):
    answer = client.get("/metrics")
    assert answer.status_code == 404
    assert answer.headers["content-type"].startswith("text/html")
    assert answer.headers["connection"] == "close"


def test_connections_outlive_errors(client):
    for response in (client.get("/v1/models/none"), post(client, f"{DENSE}:predict", "{")):
        assert response.headers.get("connection") != "close"
    with httpx.Client(base_url=client.base_url, limits=httpx.Limits(max_connections=1)) as one:
        streams = []
        for _ in range(3):
            with one.stream("PUT", DENSE, content=b"x" * 10_000) as response:
                streams.append(response.extensions["network_stream"])
                assert response.status_code == 400
                response.read()
    assert len({id(stream) for stream in streams}) == 1


def test_the_classes_are_those_of_the_model(client):
    body = {"inputs": np.eye(DIM).tolist()}
    outputs = post(client, f"{DENSE}/versions/1:predict", body).json()["outputs"]
    assert np.shape(outputs["scores"]) == (DIM, CLASSES)
    assert outputs["scores"] == serving_models.WEIGHTS.tolist()
