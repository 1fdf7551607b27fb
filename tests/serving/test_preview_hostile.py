"""Failure drills of the preview server: limits, slow and hostile clients."""

from __future__ import annotations

import gzip
import http.client
import socket
import time

import grpc
import httpx
import numpy as np
import pytest
import serving_models
import tensorflow as tf
from preview_drills import PREDICT, alive, body_of, models_folder
from serving_models import DIM
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

LIMIT = 100_000


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with serving_models.running_preview(models_folder(tmp_path_factory)) as server:
        yield server


@pytest.fixture(scope="module")
def strict(tmp_path_factory):
    """A server with little patience: half a second, 100 kB."""
    models = models_folder(tmp_path_factory)
    with serving_models.running_preview(models, timeout=0.5, max_bytes=LIMIT) as server:
        yield server


def test_oversized_bodies(strict):
    big = b" " * (LIMIT + 1)
    zeros = gzip.compress(b" " * 50_000_000)
    assert len(zeros) < LIMIT
    for body, headers in [
        (big, {}),
        (iter([big]), {}),  # chunked: the size is not known before
        (zeros, {"Content-Encoding": "gzip"}),
    ]:
        answer = httpx.post(strict.rest + PREDICT, content=body, headers=headers, timeout=20)
        assert answer.status_code == 413, answer.text
        assert answer.json() == {"error": f"Body is larger than {LIMIT} bytes"}
        assert answer.headers["connection"] == "close"
    assert alive(strict)


def test_oversized_messages(strict):
    request = predict_pb2.PredictRequest()
    request.model_spec.name = "dense"
    request.inputs["inputs"].CopyFrom(tf.make_tensor_proto(np.zeros((LIMIT, DIM), "float32")))
    with grpc.insecure_channel(strict.grpc) as channel:
        stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        with pytest.raises(grpc.RpcError) as caught:
            stub.Predict(request, timeout=20)
    assert caught.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
    assert alive(strict)


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"", b""),
        (b"POST /v1/models/dense:predict HTTP/1.1\r\nHost: a\r\nX-", b""),
        (
            b"POST /v1/models/dense:predict HTTP/1.1\r\nHost: a\r\nContent-Length: 50\r\n\r\n{",
            b"HTTP/1.1 408",
        ),
    ],
)
def test_slow_clients_are_cut_off_and_hold_up_nobody(strict, sent, status):
    connections = [socket.create_connection(strict.rest[7:].split(":"), 20) for _ in range(40)]
    for connection in connections:
        connection.sendall(sent)
    assert alive(strict)
    for connection in connections:
        received = b""
        while data := connection.recv(4096):
            received += data
        assert received.startswith(status)
        assert status or not received
        connection.close()


def test_long_calls_are_answered_in_time(strict):
    body = {"signature_name": "forever", "instances": [0.0]}
    started = time.monotonic()
    answer = httpx.post(f"{strict.rest}/v1/models/types:predict", json=body, timeout=20)
    assert answer.status_code == 504, answer.text
    assert answer.json().keys() == {"error"}
    assert time.monotonic() - started < 5
    assert alive(strict)


def test_random_bytes_and_broken_requests(server):
    rng = np.random.default_rng(0)
    good = body_of(rng.normal(size=(2, DIM)).round(2)).encode()
    with httpx.Client(base_url=server.rest, timeout=20) as client:
        for _ in range(300):
            body = bytearray(good)
            for place in rng.integers(0, len(body), rng.integers(1, 6)):
                body[place] = rng.integers(0, 256)
            method = ("predict", "classify", "regress")[rng.integers(3)]
            answer = client.post(f"/v1/models/dense:{method}", content=bytes(body))
            assert answer.status_code in (200, 400), answer.text
            assert answer.content
    host = server.rest[7:].split(":")
    connection = http.client.HTTPConnection(*host, timeout=20)
    for _ in range(50):
        path = bytes(rng.integers(33, 127, rng.integers(1, 40), dtype="uint8")).decode()
        connection.request("GET", f"/v1/{path}")
        answer = connection.getresponse()
        answer.read()
        assert answer.status in (400, 404)
    connection.close()
    for _ in range(50):
        with socket.create_connection(host, 20) as connection:
            connection.sendall(rng.bytes(rng.integers(1, 500)) + b"\r\n\r\n")
            connection.shutdown(socket.SHUT_WR)
            while connection.recv(4096):
                pass
    assert alive(server)


def test_random_messages(server):
    rng = np.random.default_rng(0)
    request = predict_pb2.PredictRequest()
    request.model_spec.name = "dense"
    request.inputs["inputs"].CopyFrom(tf.make_tensor_proto(np.zeros((2, DIM), "float32")))
    good = request.SerializeToString()
    codes = set()
    with grpc.insecure_channel(server.grpc) as channel:
        for method in ("PredictionService/Predict", "ModelService/GetModelStatus"):
            call = channel.unary_unary(f"/tensorflow.serving.{method}")
            for _ in range(200):
                message = bytearray(good)
                for place in rng.integers(0, len(message), rng.integers(1, 6)):
                    message[place] = rng.integers(0, 256)
                try:
                    call(bytes(message), timeout=20)
                except grpc.RpcError as error:
                    codes.add(error.code().name)
    # INTERNAL: the bytes are no message of the type.
    assert codes <= {"INVALID_ARGUMENT", "NOT_FOUND", "FAILED_PRECONDITION", "INTERNAL"}
    assert "INVALID_ARGUMENT" in codes
    assert alive(server)


def test_clients_that_go_away(server):
    head = b"POST /v1/models/dense:predict HTTP/1.1\r\nHost: a\r\nContent-Length: 500\r\n\r\n{"
    for _ in range(20):
        connection = socket.create_connection(server.rest[7:].split(":"), 20)
        connection.sendall(head)
        connection.close()
    assert alive(server)


@pytest.mark.slow
def test_clients_that_do_not_read_their_answer_hold_up_nobody(server):
    body = body_of(np.zeros((20_000, DIM))).encode()
    head = f"POST {PREDICT} HTTP/1.1\r\nHost: a\r\nContent-Length: {len(body)}\r\n\r\n"
    connections = [socket.create_connection(server.rest[7:].split(":"), 20) for _ in range(8)]
    for connection in connections:
        connection.sendall(head.encode() + body)
    assert alive(server)
    for connection in connections:
        connection.close()
    assert alive(server)
