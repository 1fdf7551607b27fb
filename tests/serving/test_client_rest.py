"""The client over REST, against a small server whose answers are known."""

from __future__ import annotations

import contextlib
import json
import logging
import socket
import threading
import time

import client_servers
import numpy as np
import pytest
from client_servers import WEIGHTS, Model, rest_server
from loopback import refused_port

from serving.client import ModelVersion, ServingError, connect

SOON = 5.0  # seconds: far more than the deadlines below, far less than what they cut off
X = np.array([[1.5, 0, -2, 255], [0.1, 3e-7, 1 / 3, 0], [9, 8, 7, 6]])


@pytest.fixture
def model():
    return Model()


@pytest.fixture
def port(model):
    with rest_server(model) as port:
        yield port


@pytest.fixture
def client(port):
    with connect(f"http://127.0.0.1:{port}", model="m", timeout=5) as client:
        yield client


def test_predict_equals_the_model(client):
    answer = client.predict(X)
    expected = X.astype(np.float32) @ WEIGHTS
    assert set(answer) == {"scores", "classes"}
    assert answer["scores"].dtype == np.float32
    assert answer["classes"].dtype == np.int64
    np.testing.assert_array_equal(answer["scores"], expected)
    np.testing.assert_array_equal(answer["classes"], expected.argmax(axis=1))


def test_single_output_has_its_name(client):
    answer = client.predict({"inputs": X}, signature="features")
    assert list(answer) == ["features"]
    np.testing.assert_array_equal(answer["features"], X.astype(np.float32) @ WEIGHTS)


def test_several_inputs_go_by_name(client):
    answer = client.predict({"a": X, "b": -X}, signature="two")
    np.testing.assert_array_equal(answer["features"], np.zeros((3, 3), np.float32))
    with pytest.raises(ValueError, match="dict with the names a, b"):
        client.predict(X, signature="two")


@pytest.mark.parametrize("batch_size", [1, 2, 3, 100])
def test_batches_give_the_same_in_order(client, model, batch_size):
    whole = client.predict(X)
    model.requests.clear()
    parts = client.predict(X, batch_size=batch_size)
    assert len(model.calls("predict")) == -(-3 // batch_size)
    for name in whole:
        np.testing.assert_array_equal(parts[name], whole[name])
        assert parts[name].dtype == whole[name].dtype


def test_integers_must_fit(client):
    pixels = np.array([[0, 1, 2, 255]])
    answer = client.predict(pixels, signature="serving_uint8")["features"]
    np.testing.assert_array_equal(answer, pixels.astype(np.float32) @ WEIGHTS)
    for wrong in (pixels + 1, pixels + 0.5, pixels.astype(str)):
        with pytest.raises(ValueError, match="expected uint8"):
            client.predict(wrong, signature="serving_uint8")


def test_signature_is_read_once_and_again_after_an_error(client, model):
    assert client.predict(X).keys() == client.predict(X).keys()
    assert len(model.calls("metadata")) == 1
    model.faults += [("INVALID_ARGUMENT", "Matrix size-incompatible")]
    with pytest.raises(ServingError, match="INVALID_ARGUMENT: Matrix size-incompatible"):
        client.predict(X)
    client.predict(X)
    assert len(model.calls("metadata")) == 2


def test_unknown_signature_names_those_there_are(client):
    with pytest.raises(ServingError, match="features, serving_default, serving_uint8, two") as e:
        client.predict(X, signature="nope")
    assert e.value.code == "FAILED_PRECONDITION"


def test_classify_and_regress(client, model):
    assert client.classify(X[:2]) == [
        [("a", 0.25), ("b", 1.5)],
        [("a", 0.25), ("b", pytest.approx(0.1))],
    ]
    np.testing.assert_allclose(client.regress(X), X.sum(axis=1), rtol=1e-6)
    client.classify([{"inputs": [2.0, 1], "name": "é", "count": 3, "raw": b"\xff"}])
    (example,) = model.calls("classify")[-1][2]["examples"]
    # Whole floats keep their point: without it TF Serving makes them int64 features.
    assert json.dumps(example["inputs"]) == "[2.0, 1.0]"
    assert example["count"] == [3]
    assert example["name"] == [{"b64": "w6k="}]
    assert example["raw"] == [{"b64": "/w=="}]
    with pytest.raises(ValueError, match="feature 'inputs' to be numbers or texts"):
        client.classify([{"inputs": [[1.0]]}])


def test_status_and_metadata_are_plain_data(client):
    assert client.status() == [ModelVersion(7, "AVAILABLE", "OK", "")]
    metadata = client.metadata()
    assert json.loads(json.dumps(metadata)) == metadata
    assert metadata["version"] == 7
    assert set(metadata["signatures"]) == {"serving_default", "features", "serving_uint8", "two"}
    assert metadata["signatures"]["serving_default"] == {
        "inputs": {"inputs": {"dtype": "float32", "shape": [None, 4]}},
        "outputs": {
            "classes": {"dtype": "int64", "shape": [None]},
            "scores": {"dtype": "float32", "shape": [None, 3]},
        },
        "method": "tensorflow/serving/predict",
    }


@pytest.mark.parametrize(
    ("where", "code"),
    [({"version": 8}, "NOT_FOUND"), ({"label": "canary"}, "INVALID_ARGUMENT")],
)
def test_version_and_label_are_asked_for(port, where, code):
    url = f"http://127.0.0.1:{port}"
    with connect(url, model="m", version=7) as a, connect(url, model="m", label="stable") as b:
        np.testing.assert_array_equal(a.predict(X)["scores"], b.predict(X)["scores"])
    with connect(url, model="m", **where) as wrong, pytest.raises(ServingError) as error:
        wrong.predict(X)
    assert error.value.code == code


def test_error_says_who_where_what_and_what_to_do(port):
    with connect(f"http://127.0.0.1:{port}", model="a/b ü") as client:
        with pytest.raises(ServingError) as error:
            client.status()
    assert (error.value.code, error.value.model) == ("NOT_FOUND", "a/b ü")
    text = str(error.value)
    assert text.startswith(f"model 'a/b ü' at http://127.0.0.1:{port}: NOT_FOUND: Servable not")
    assert text.endswith("see status() for the versions there are, and the server's list of models")


def test_unavailable_is_tried_again(client, model):
    client.metadata()
    model.faults += [("UNAVAILABLE", "loading"), ("UNAVAILABLE", "<html>busy</html>")]
    np.testing.assert_array_equal(client.predict(X)["scores"], X.astype(np.float32) @ WEIGHTS)
    assert len(model.calls("predict")) == 3


def test_unavailable_is_tried_no_more_than_asked(port, model):
    model.faults += [("UNAVAILABLE", "loading")] * 10
    with connect(f"http://127.0.0.1:{port}", model="m", retries=2) as client:
        with pytest.raises(ServingError, match="UNAVAILABLE: loading"):
            client.predict(X)
    assert len(model.calls("predict")) == 3


@pytest.mark.parametrize("code", ["INTERNAL", "INVALID_ARGUMENT", "NOT_FOUND"])
def test_nothing_else_is_tried_again(client, model, code):
    model.faults += [(code, "no")]
    with pytest.raises(ServingError) as error:
        client.predict(X)
    assert error.value.code == code
    assert len(model.calls("predict")) == 1


def test_refused_connection_is_tried_again_until_the_server_is_there(model):
    with refused_port() as port:
        client = connect(f"http://127.0.0.1:{port}", model="m", timeout=20, retries=50)
        answers = []
        thread = threading.Thread(target=lambda: answers.append(client.predict(X)), daemon=True)
        thread.start()
        time.sleep(0.3)
    with client, rest_server(model, port=port):
        thread.join(30)
    np.testing.assert_array_equal(answers[0]["scores"], X.astype(np.float32) @ WEIGHTS)


def test_deadline_bounds_the_retries():
    start = time.monotonic()
    with refused_port() as port:
        url = f"http://127.0.0.1:{port}"
        with connect(url, model="m", timeout=0.5, retries=99) as client:
            with pytest.raises(ServingError, match=r"UNAVAILABLE.*refused"):
                client.status()
    assert time.monotonic() - start < SOON


def test_deadline_of_a_slow_answer(client, model):
    client.metadata()
    model.faults += [60]
    start = time.monotonic()
    with pytest.raises(ServingError, match=r"DEADLINE_EXCEEDED: no answer within 0\.2 s"):
        client.predict(X, timeout=0.2)
    assert time.monotonic() - start < SOON
    assert len(model.calls("predict")) == 1


def test_deadline_covers_all_batches(client, model):
    client.metadata()
    model.faults += [0.2] * 3
    with pytest.raises(ServingError, match="DEADLINE_EXCEEDED"):
        client.predict(X, batch_size=1, timeout=0.45)


@contextlib.contextmanager
def raw_server(*pieces: bytes, wait: float):
    """Answers the first connection with `pieces`, a pause before each but the first."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(10)

        def serve():
            connection, _ = listener.accept()
            with connection, contextlib.suppress(OSError):
                connection.recv(65536)
                for place, piece in enumerate(pieces):
                    time.sleep(wait if place else 0)
                    connection.sendall(piece)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield listener.getsockname()[1]
        thread.join(10)
        assert not thread.is_alive(), "expected a client that reads or hangs up"


@pytest.mark.parametrize("wait", [0.15, pytest.param(0.7, marks=pytest.mark.slow)])
def test_deadline_of_an_answer_that_trickles(wait):
    head = b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n"
    with raw_server(head, *[b"x"] * 99, wait=wait) as port:
        start = time.monotonic()
        with connect(f"http://127.0.0.1:{port}", model="m", timeout=0.4) as client:
            with pytest.raises(ServingError, match="DEADLINE_EXCEEDED"):
                client.status()
            assert time.monotonic() - start < SOON


def test_dropped_connection_is_no_refused_one():
    with raw_server(b"", wait=0) as port, connect(f"http://127.0.0.1:{port}", model="m") as client:
        with pytest.raises(ServingError) as error:
            client.status()
    assert error.value.code == "UNAVAILABLE"
    assert not error.value.retryable


@pytest.mark.parametrize("body", [b"<html>", b"[]", b'{"model_version_status": [{}]}'])
def test_answer_of_another_form_is_an_error_of_the_family(body):
    head = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(body)
    with raw_server(head + body, wait=0) as port:
        with connect(f"http://127.0.0.1:{port}", model="m") as client:
            with pytest.raises(ServingError, match="UNKNOWN: the answer is not in TF Serving's"):
                client.status()


def test_token_and_headers_arrive_and_are_never_shown(port, model, caplog):
    caplog.set_level(logging.DEBUG)
    with connect(
        f"http://127.0.0.1:{port}", model="m", token="s3cret", headers={"X-Team": "blue"}
    ) as client:
        client.predict(X)
        model.faults += [("INTERNAL", "no")]
        with pytest.raises(ServingError) as error:
            client.predict(X)
    assert len(model.requests) == 3
    for _, headers, _ in model.requests:
        assert headers["Authorization" if "Authorization" in headers else "authorization"] == (
            "Bearer s3cret"
        )
        assert headers.get("x-team", headers.get("X-Team")) == "blue"
    shown = caplog.text + repr(client) + repr(client.endpoint) + str(error.value)
    assert "s3cret" not in shown


def test_tls_trusts_the_given_authority_and_no_other(model, tmp_path):
    certificate = client_servers.self_signed(tmp_path)
    with rest_server(model, certificate=certificate) as port:
        url = f"https://127.0.0.1:{port}"
        with connect(url, model="m", ca_file=certificate[0], token="s3cret") as client:
            np.testing.assert_array_equal(
                client.predict(X)["scores"], X.astype(np.float32) @ WEIGHTS
            )
        count = len(model.requests)
        with connect(url, model="m") as client, pytest.raises(ServingError) as error:
            client.predict(X)
    assert "CERTIFICATE_VERIFY_FAILED" in str(error.value)
    assert not error.value.retryable
    assert len(model.requests) == count
