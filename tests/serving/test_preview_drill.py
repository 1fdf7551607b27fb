"""Failure drills of the preview server: load, limits, slow and hostile clients."""

from __future__ import annotations

import gzip
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import httpx
import numpy as np
import pytest
import serving_models
import tensorflow as tf
from serving_models import DIM, scores
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

ROOT = Path(__file__).resolve().parents[2]
PREDICT = "/v1/models/dense:predict"
LIMIT = 100_000


def models_folder(tmp_path_factory):
    models = tmp_path_factory.mktemp("models")
    for name in ("dense", "types"):
        (models / name).mkdir()
    serving_models.save_dense(models / "dense" / "1")
    serving_models.save_types(models / "types" / "1")
    return models


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


def body_of(x):
    return json.dumps({"signature_name": "features", "instances": np.asarray(x).tolist()})


def alive(server):
    answer = httpx.post(server.rest + PREDICT, content=body_of([[1, 0, 0, 0]]), timeout=20)
    assert answer.json() == {"predictions": [scores([1, 0, 0, 0]).tolist()]}
    return True


def test_a_new_version_under_load_fails_no_request(tmp_path):
    base = tmp_path / "dense"
    base.mkdir()
    serving_models.save_dense(base / "1")
    stop = threading.Event()
    x = [[1.0, 2.0, 3.0, 4.0]]
    known = {1: scores(x).tolist(), 2: scores(x, 2.0).tolist(), 3: scores(x, 3.0).tolist()}

    def rest(url):
        seen = []
        with httpx.Client(base_url=url, timeout=30) as client:
            while not stop.is_set():
                answer = client.post(PREDICT, content=body_of(x))
                assert answer.status_code == 200, answer.text
                seen.append(next(v for v, y in known.items() if y == answer.json()["predictions"]))
        return seen

    def rpc(target):
        seen = []
        request = predict_pb2.PredictRequest()
        request.model_spec.name = "dense"
        request.inputs["inputs"].CopyFrom(tf.make_tensor_proto(np.float32(x)))
        with grpc.insecure_channel(target) as channel:
            stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
            while not stop.is_set():
                response = stub.Predict(request, timeout=30)
                seen.append(response.model_spec.version.value)
                answer = tf.make_ndarray(response.outputs["scores"])
                np.testing.assert_array_equal(answer, known[seen[-1]])
        return seen

    with serving_models.running_preview(tmp_path) as server, ThreadPoolExecutor(6) as threads:
        clients = [threads.submit(rest, server.rest) for _ in range(3)]
        clients += [threads.submit(rpc, server.grpc) for _ in range(3)]
        try:
            for number in (2, 3):
                time.sleep(0.3)
                serving_models.save_dense(base / str(number), factor=float(number))
                (base / str(number + 10)).mkdir()  # a damaged one beside it
                deadline = time.monotonic() + 20
                while server.server.store.available() != {"dense": [number]}:
                    assert time.monotonic() < deadline, "not loaded"
                    time.sleep(0.02)
            time.sleep(0.3)
        finally:
            stop.set()
        for client in clients:
            seen = client.result()
            assert seen == sorted(seen)
            assert seen[-1] == 3
        assert len({version for client in clients for version in client.result()}) == 3


def test_64_clients_at_once(server):
    x = np.random.default_rng(0).normal(size=(64, 3, DIM)).astype("float32")
    start = threading.Barrier(64)

    def ask(rows):
        start.wait(30)
        answer = httpx.post(server.rest + PREDICT, content=body_of(rows), timeout=60)
        return answer.json()["predictions"]

    with ThreadPoolExecutor(64) as threads:
        answers = list(threads.map(ask, x))
    np.testing.assert_allclose(answers, scores(x), rtol=1e-6, atol=1e-6)


def test_a_batch_of_ten_thousand_rows(server):
    x = np.random.default_rng(0).normal(size=(10_000, DIM)).astype("float32")
    answer = httpx.post(server.rest + PREDICT, content=body_of(x), timeout=60).json()
    np.testing.assert_allclose(answer["predictions"], scores(x), rtol=1e-5, atol=1e-6)


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


def test_the_command_says_where_it_serves_and_stops_on_a_signal(tmp_path):
    (tmp_path / "dense").mkdir()
    serving_models.save_dense(tmp_path / "dense" / "1")
    command = [sys.executable, "-m", "serving.serve", "--models", str(tmp_path), "--preview"]
    ports = ["--rest-port", "0", "--grpc-port", "0"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen([*command, *ports], cwd=tmp_path, env=environment, **pipes) as process:
        try:
            line = json.loads(process.stdout.readline())
            assert line | {"rest_port": 0, "grpc_port": 0} == {
                "ready": True,
                "server": "preview",
                "host": "127.0.0.1",
                "rest_port": 0,
                "grpc_port": 0,
                "models": ["dense"],
            }
            url = f"http://127.0.0.1:{line['rest_port']}{PREDICT}"
            answer = httpx.post(url, content=body_of([[1, 0, 0, 0]]))
            assert answer.json()["predictions"] == [scores([1, 0, 0, 0]).tolist()]
            with grpc.insecure_channel(f"127.0.0.1:{line['grpc_port']}") as channel:
                grpc.channel_ready_future(channel).result(20)
            process.send_signal(signal.SIGTERM)
            _, log = process.communicate(timeout=30)
        finally:
            process.kill()
    assert process.returncode == 0
    assert "preview of TensorFlow Serving, for development and tests only" in log
    assert "Traceback" not in log
