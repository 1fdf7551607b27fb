"""The client against the preview server: REST and gRPC, a real SavedModel behind both."""

from __future__ import annotations

import json

import numpy as np
import pytest

from benchmarks.load.measure import measure
from benchmarks.load.plan import Plan
from serving.client import ServingError, connect
from serving.client.__main__ import main
from serving.client.endpoint import parse_endpoint

pytest.importorskip("serving.preview.server", reason="no preview server")
models = pytest.importorskip("serving_models", reason="no helpers to start the preview server")

X = np.random.default_rng(0).normal(size=(300, models.DIM)).astype(np.float32)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    (folder / "m").mkdir()
    models.save_dense(folder / "m" / "3")
    with models.running_preview(folder) as server:
        yield server


@pytest.fixture(params=["REST", "gRPC"])
def url(request, server):
    return server.rest if request.param == "REST" else f"grpc://{server.grpc}"


@pytest.fixture
def client(url):
    with connect(url, model="m") as client:
        yield client


@pytest.mark.parametrize("batch_size", [None, 7])
def test_predict_equals_the_model(client, batch_size):
    answer = client.predict(X, batch_size=batch_size)
    expected = models.scores(X)
    np.testing.assert_allclose(answer["scores"], expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(answer["classes"], answer["scores"].argmax(axis=1))
    assert answer["scores"].dtype == np.float32
    assert answer["classes"].dtype == np.int64


def test_not_a_number_and_infinity_pass(client):
    x = np.array([[np.nan, 0, 0, 0], [np.inf, 0, 0, 0], [1, 2, 3, 4]], np.float32)
    with np.errstate(invalid="ignore"):
        expected = models.scores(x)
    scores = client.predict(x)["scores"]
    np.testing.assert_allclose(scores, expected, rtol=1e-5)


def test_single_output_has_its_name(client):
    (name,) = client.predict(X, signature="features")
    assert name == "features"


def test_classify_and_regress(client):
    rows = client.classify(X[:3])
    assert [[label for label, _ in row] for row in rows] == [["a", "b", "c"]] * 3
    scores = np.array([[score for _, score in row] for row in rows])
    np.testing.assert_allclose(scores, models.scores(X[:3]), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(client.regress(X), models.scores(X)[:, 0], rtol=1e-5, atol=1e-6)


def test_both_protocols_tell_the_same_of_the_model(server):
    with (
        connect(server.rest, model="m") as rest,
        connect(f"grpc://{server.grpc}", model="m", version=3) as grpc,
    ):
        assert rest.metadata() == grpc.metadata()
        assert rest.status() == grpc.status()
        assert [v.version for v in rest.status() if v.is_available] == [3]


@pytest.mark.parametrize(
    ("model", "inputs", "options", "code"),
    [
        ("other", X, {}, "NOT_FOUND"),
        ("m", {"wrong": X}, {}, "INVALID_ARGUMENT"),
        ("m", X, {"signature": "nope"}, "FAILED_PRECONDITION"),
    ],
)
def test_errors_have_the_same_codes(url, model, inputs, options, code):
    with connect(url, model=model) as client, pytest.raises(ServingError) as error:
        client.predict(inputs, **options)
    assert error.value.code == code


def test_command_line(url, tmp_path, capsys):
    np.save(tmp_path / "x.npy", X[:2])
    assert main(["predict", "--url", url, "--model", "m", "--input", str(tmp_path / "x.npy")]) == 0
    scores = json.loads(capsys.readouterr().out)["scores"]
    np.testing.assert_allclose(scores, models.scores(X[:2]), rtol=1e-5, atol=1e-6)


def test_no_request_of_a_load_fails(url):
    plan = Plan(clients=4, warmup=0, duration=0.3, rounds=1)
    (one,) = measure({"m": parse_endpoint(url, "m")}, plan, inputs=X)
    assert one.requests > 0
    assert not one.errors
