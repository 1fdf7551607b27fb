"""The client over gRPC, against a small server whose answers are known."""

from __future__ import annotations

import logging
import threading
import time

import client_servers
import numpy as np
import pytest
from client_grpc_server import grpc_server
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
    with grpc_server(model) as port:
        yield port


@pytest.fixture
def client(port):
    with connect(f"grpc://127.0.0.1:{port}", model="m", timeout=5) as client:
        yield client


def test_predict_equals_the_model(client):
    answer = client.predict(X)
    expected = X.astype(np.float32) @ WEIGHTS
    assert set(answer) == {"scores", "classes"}
    assert answer["scores"].dtype == np.float32
    assert answer["classes"].dtype == np.int64
    np.testing.assert_array_equal(answer["scores"], expected)
    np.testing.assert_array_equal(answer["classes"], expected.argmax(axis=1))


def test_not_a_number_and_infinity_pass(client):
    x = np.array([[np.nan, 0, 0, 0], [np.inf, 1, 0, 0]], np.float32)
    with np.errstate(invalid="ignore"):
        expected = x @ WEIGHTS
    np.testing.assert_array_equal(client.predict(x)["scores"], expected)


def test_several_inputs_and_other_dtypes(client):
    answer = client.predict({"a": X, "b": -X}, signature="two")
    np.testing.assert_array_equal(answer["features"], np.zeros((3, 3), np.float32))
    pixels = np.array([[0, 1, 2, 255]])
    answer = client.predict(pixels, signature="serving_uint8")["features"]
    np.testing.assert_array_equal(answer, pixels.astype(np.float32) @ WEIGHTS)


def test_batches_give_the_same_in_order(client, model):
    whole = client.predict(X)
    parts = client.predict(X, batch_size=2)
    assert len(model.calls("predict")) == 1 + 2
    for name in whole:
        np.testing.assert_array_equal(parts[name], whole[name])


def test_both_protocols_agree(client, model):
    with rest_server(model) as port, connect(f"http://127.0.0.1:{port}", model="m") as rest:
        assert client.metadata() == rest.metadata()
        assert client.status() == rest.status()
        for name, array in rest.predict(X).items():
            np.testing.assert_array_equal(array, client.predict(X)[name])
        np.testing.assert_array_equal(client.regress(X), rest.regress(X))
        assert client.regress(X).dtype == rest.regress(X).dtype
        ours, theirs = client.classify(X), rest.classify(X)
    for row, other in zip(ours, theirs, strict=True):
        assert [label for label, _ in row] == [label for label, _ in other]
        np.testing.assert_allclose([s for _, s in row], [s for _, s in other], rtol=1e-6)


def test_features_have_the_kinds_of_tf_example(client, model):
    client.classify([{"inputs": [2.0, 1], "name": "é", "count": 3, "raw": b"\xff"}])
    (example,) = model.calls("classify")[-1][2].input.example_list.examples
    features = example.features.feature
    assert list(features["inputs"].float_list.value) == [2.0, 1.0]
    assert list(features["name"].bytes_list.value) == ["é".encode()]
    assert list(features["count"].int64_list.value) == [3]
    assert list(features["raw"].bytes_list.value) == [b"\xff"]


def test_large_messages_pass(client):
    x = np.zeros((400_000, 4), np.float32)  # 6.4 MB there, 4.8 MB of scores back
    x[-1] = 1
    answer = client.predict(x, timeout=60)
    np.testing.assert_array_equal(answer["scores"][-1], x[-1] @ WEIGHTS)


def test_status_is_plain_data(client):
    assert client.status() == [ModelVersion(7, "AVAILABLE", "OK", "")]
    assert client.status()[0].is_available


@pytest.mark.parametrize(
    ("where", "code"),
    [({"version": 8}, "NOT_FOUND"), ({"label": "canary"}, "INVALID_ARGUMENT")],
)
def test_version_and_label_are_asked_for(port, where, code):
    url = f"grpc://127.0.0.1:{port}"
    with connect(url, model="m", version=7) as a, connect(url, model="m", label="stable") as b:
        np.testing.assert_array_equal(a.predict(X)["scores"], b.predict(X)["scores"])
    with connect(url, model="m", **where) as wrong, pytest.raises(ServingError) as error:
        wrong.predict(X)
    assert error.value.code == code


def test_error_says_who_where_what_and_what_to_do(port):
    with connect(f"grpc://127.0.0.1:{port}", model="other") as client:
        with pytest.raises(ServingError) as error:
            client.predict(X)
    text = str(error.value)
    assert text.startswith(f"model 'other' at grpc://127.0.0.1:{port}: NOT_FOUND: Servable not")
    assert text.endswith("see status() for the versions there are, and the server's list of models")


def test_unavailable_is_tried_again(client, model):
    client.metadata()
    model.faults += [("UNAVAILABLE", "loading")] * 2
    np.testing.assert_array_equal(client.predict(X)["scores"], X.astype(np.float32) @ WEIGHTS)
    assert len(model.calls("predict")) == 3


def test_unavailable_is_tried_no_more_than_asked(port, model):
    model.faults += [("UNAVAILABLE", "loading")] * 10
    with connect(f"grpc://127.0.0.1:{port}", model="m", retries=2) as client:
        with pytest.raises(ServingError, match="UNAVAILABLE: loading"):
            client.predict(X)
    assert len(model.calls("predict")) == 3


def test_a_server_without_a_free_thread_is_asked_again(client, model):
    client.metadata()
    model.faults += [("RESOURCE_EXHAUSTED", "Server Threadpool Exhausted")] * 6  # above `retries`
    np.testing.assert_array_equal(client.predict(X)["scores"], X.astype(np.float32) @ WEIGHTS)
    assert len(model.calls("predict")) == 7


def test_a_server_without_threads_is_an_error_at_once_without_retries(port, model):
    with connect(f"grpc://127.0.0.1:{port}", model="m", retries=0) as client:
        client.metadata()
        model.faults += [("RESOURCE_EXHAUSTED", "Server Threadpool Exhausted")]
        with pytest.raises(ServingError, match="Exhausted; give a longer timeout") as error:
            client.predict(X)
    assert error.value.busy
    assert error.value.code == "RESOURCE_EXHAUSTED"
    assert len(model.calls("predict")) == 1


def test_a_server_without_threads_is_an_error_in_the_end(client, model):
    client.metadata()
    model.faults += [("RESOURCE_EXHAUSTED", "Server Threadpool Exhausted")] * 1000
    start = time.monotonic()
    with pytest.raises(ServingError, match=r"Exhausted|DEADLINE_EXCEEDED"):
        client.predict(X, timeout=0.5)
    assert time.monotonic() - start < SOON


def test_32_clients_of_8_threads_are_all_answered(model):
    failed, asked = ask_of_a_pool(model, seconds=0.5)
    assert failed == []
    assert asked >= 32


@pytest.mark.drill
def test_32_clients_of_8_threads_are_all_answered_for_ten_seconds(model):
    failed, asked = ask_of_a_pool(model, seconds=10)
    print(f"{asked} requests answered, {len(failed)} failed")
    assert failed == []


def ask_of_a_pool(model, *, seconds, clients=32, pool=8):
    """What failed, and how many were answered; each client has a channel of its own."""
    failed, answered = [], []
    delay = model.receive

    def receive(call, *arguments, **where):
        delay(call, *arguments, **where)
        time.sleep(0.005)  # the threads are busy, though no core is

    model.receive = receive
    with grpc_server(model, pool=pool) as port:
        end = time.monotonic() + seconds
        barrier = threading.Barrier(clients)

        def ask(number):
            x = np.float32([[number, 1, 2, 3]])
            with connect(f"grpc://127.0.0.1:{port}", model="m", timeout=30) as client:
                barrier.wait()
                while time.monotonic() < end:
                    try:
                        scores = client.predict(x)["scores"]
                    except ServingError as error:
                        failed.append(str(error))
                    else:
                        np.testing.assert_array_equal(scores, x @ WEIGHTS)
                        answered.append(number)

        threads = [threading.Thread(target=ask, args=(n,), daemon=True) for n in range(clients)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
    assert set(answered) == set(range(clients))
    return failed, len(answered)


@pytest.mark.parametrize("code", ["INTERNAL", "RESOURCE_EXHAUSTED", "ABORTED"])
def test_nothing_else_is_tried_again(client, model, code):
    model.faults += [(code, "no")]
    with pytest.raises(ServingError) as error:
        client.predict(X)
    assert error.value.code == code
    assert len(model.calls("predict")) == 1


@pytest.mark.slow
def test_server_that_comes_late_is_reached(model):
    with refused_port() as port:
        client = connect(f"grpc://127.0.0.1:{port}", model="m", timeout=20, retries=50)
        answers = []
        thread = threading.Thread(target=lambda: answers.append(client.predict(X)), daemon=True)
        thread.start()
        time.sleep(0.3)
    with client, grpc_server(model, port=port):
        thread.join(30)
    np.testing.assert_array_equal(answers[0]["scores"], X.astype(np.float32) @ WEIGHTS)


def test_deadline_bounds_the_retries():
    start = time.monotonic()
    with refused_port() as port:
        url = f"grpc://127.0.0.1:{port}"
        with connect(url, model="m", timeout=0.5, retries=99) as client:
            with pytest.raises(ServingError, match=r"UNAVAILABLE|DEADLINE_EXCEEDED"):
                client.status()
    assert time.monotonic() - start < SOON


def test_deadline_of_a_slow_answer(client, model):
    client.metadata()
    model.faults += [60]
    start = time.monotonic()
    with pytest.raises(ServingError, match="DEADLINE_EXCEEDED"):
        client.predict(X, timeout=0.2)
    assert time.monotonic() - start < SOON


def test_deadline_covers_all_batches(client, model):
    client.metadata()
    model.faults += [0.2] * 3
    with pytest.raises(ServingError, match="DEADLINE_EXCEEDED"):
        client.predict(X, batch_size=1, timeout=0.45)


def test_token_and_headers_arrive_and_are_never_shown(port, model, caplog):
    caplog.set_level(logging.DEBUG)
    with connect(
        f"grpc://127.0.0.1:{port}", model="m", token="s3cret", headers={"X-Team": "blue"}
    ) as client:
        client.predict(X)
        model.faults += [("INTERNAL", "no")]
        with pytest.raises(ServingError) as error:
            client.predict(X)
    assert len(model.requests) == 3
    for _, headers, _ in model.requests:
        assert headers["authorization"] == "Bearer s3cret"
        assert headers["x-team"] == "blue"
    assert "s3cret" not in caplog.text + repr(client) + repr(client.endpoint) + str(error.value)


def test_tls_trusts_the_given_authority_and_no_other(model, tmp_path):
    certificate = client_servers.self_signed(tmp_path)
    with grpc_server(model, certificate=certificate) as port:
        url = f"grpcs://localhost:{port}"
        with connect(url, model="m", ca_file=certificate[0], token="s3cret") as client:
            np.testing.assert_array_equal(
                client.predict(X)["scores"], X.astype(np.float32) @ WEIGHTS
            )
        count = len(model.requests)
        with connect(url, model="m", retries=0) as client, pytest.raises(ServingError) as error:
            client.predict(X)
    assert error.value.code == "UNAVAILABLE"
    assert len(model.requests) == count
