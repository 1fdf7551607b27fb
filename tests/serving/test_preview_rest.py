"""What the preview server's REST API does beside what `test_conformance*` asks of every server."""

from __future__ import annotations

import gzip
import json

import httpx
import numpy as np
import pytest
import serving_models
from serving_models import DENSE, TYPES, echo, error, post, scores

from serving.preview import json_out


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    with serving_models.rest_client(tmp_path_factory.mktemp("models")) as client:
        yield client


def test_it_names_itself(client):
    assert client.get(DENSE).headers["server"] == "asym_keras-preview"


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_printed_floats_read_back_as_the_same_number(dtype):
    bits = np.random.default_rng(0).integers(0, 2**63, 2000, dtype="uint64")
    values = (bits if dtype == "float64" else bits.astype("uint32")).view(dtype)
    values = values[~(abs(values) < np.finfo(dtype).tiny)]
    texts = json_out.decimals(values)
    np.testing.assert_array_equal(np.array([float(text) for text in texts], dtype), values)
    for text, value in zip(texts, values, strict=True):
        short = f"{value:g}" if np.isfinite(value) else text
        assert len(text) <= len(short) + 2 or np.dtype(dtype).type(short) != value


def test_narrow_integers_wrap_and_empty_lists_are_tensors(client):
    assert echo(client, "[0, 255, 256]", "echo_uint8").json()["outputs"] == [0, 255, 0]
    assert echo(client, "[[], []]").json() == {"outputs": [[], []]}


def test_a_string_without_axes_keeps_its_last_zeros(client):
    body = {"signature_name": "echo_string", "inputs": {"b64": "YQAA"}}
    assert post(client, f"{TYPES}:predict", body).json() == {"outputs": "a\0\0"}


def test_broken_gzip(client):
    headers = {"Content-Encoding": "gzip"}
    broken = post(client, f"{DENSE}:predict", b"no gzip", headers=headers)
    assert "can't be read" in error(broken, 400)
    short = gzip.compress(b'{"instances": [[1, 2, 3, 4]]}')[:-12]
    assert post(client, f"{DENSE}:predict", short, headers=headers).status_code == 400


def test_deep_nesting_in_a_key_that_is_read(client):
    deep = '{"instances": ' + "[" * 5000 + "1" + "]" * 5000 + "}"
    assert "unexpected level" in error(post(client, f"{DENSE}:predict", deep), 400)
    assert "JSON Parse error" in error(post(client, f"{DENSE}:predict", "[" * 100_000), 400)
    body = '{"unused": ' + "[" * 5000 + '"]"' + "]" * 5000 + ', "instances": [[1, 2, 3, 4]]}'
    answer = post(client, f"{DENSE}/versions/1:predict", body)
    assert answer.json()["predictions"][0]["scores"] == scores([1, 2, 3, 4]).tolist()


def test_connections_outlive_a_body_that_nobody_reads(client):
    with httpx.Client(base_url=client.base_url, limits=httpx.Limits(max_connections=1)) as one:
        streams = []
        for _ in range(3):
            with one.stream("PUT", DENSE, content=b"x" * 10_000) as response:
                streams.append(response.extensions["network_stream"])
                assert response.status_code == 400
                response.read()
    assert len({id(stream) for stream in streams}) == 1


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ('{"inputs": []}', "[0] is not compatible with expected shape [?,4]"),
        ('{"inputs": 1}', "[] is not compatible with expected shape [?,4]"),
        ('{"instances": [[1, 2, 3]]}', "[1,3] is not compatible with expected shape [?,4]"),
        ('{"signature_name": "__saved_model_init_op", "instances": [[1]]}', "get input map"),
    ],
)
def test_shapes_are_compared_with_the_signature(client, body, text):
    assert text in error(post(client, f"{DENSE}:predict", body), 400)


def test_numbers_beyond_every_range_are_no_json(client):
    assert "JSON Parse error" in error(echo(client, "1" + "0" * 400), 400)
    assert "JSON Parse error" in error(echo(client, "1" * 5000), 400)


@pytest.mark.parametrize(
    ("method", "body", "text"),
    [
        ("classify", f'{{"examples": [{{"inputs": [{2**64}]}}]}}', "does not fit"),
        ("classify", '{"examples": [{"\\ud800": [1]}]}', "does not fit"),
        ("classify", '{"examples": [{"inputs": 1.0}]}', "Expects arg[0] to be float but string"),
        ("regress", '{"signature_name": "regress", "examples": [{"inputs": [1]}]}', "int64"),
    ],
)
def test_examples_that_do_not_fit(client, method, body, text):
    assert text in error(post(client, f"{DENSE}:{method}", body), 400)


@pytest.mark.parametrize(
    ("method", "path", "status", "text"),
    [
        ("GET", "/v1/models/..%2F..%2Fetc%2Fpasswd", 404, "Could not find any versions of model"),
        ("POST", "/v1/models/dense%2F1:predict", 404, "Servable not found"),
        ("GET", "/v1/models/../dense", 400, "Malformed request"),
        ("GET", "/v1/models/%FF%00", 404, "Could not find any versions of model"),
    ],
)
def test_no_path_leads_out_of_the_models(client, method, path, status, text):
    request = httpx.Request(method, f"{client.base_url}", content=b'{"instances": [[1]]}')
    request.url = httpx.URL(str(client.base_url).rstrip("/")).copy_with(raw_path=path.encode())
    assert text in error(client.send(request), status)


def test_rows_are_named_where_one_does_not_fit(client):
    rows = [[1, 2, 3, 4]] * 500 + [[1, 2, 3, "4"]]
    told = error(post(client, f"{DENSE}:predict", json.dumps({"instances": rows})), 400)
    assert "Failed to process element: 500 of 'instances' list." in told
