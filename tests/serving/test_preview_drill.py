"""Failure drills of the preview server: load, large requests, new versions, its command."""

from __future__ import annotations

import gzip
import json
import os
import signal
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
from crossed import some_slow
from preview_drills import PREDICT, body_of, models_folder
from serving_models import DIM, scores
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

from serving.preview import json_in
from serving.preview import rest as rest_api

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with serving_models.running_preview(models_folder(tmp_path_factory)) as server:
        yield server


@pytest.mark.slow
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


@pytest.mark.parametrize("clients", some_slow([16], [64]))
def test_many_clients_at_once(server, clients):
    x = np.random.default_rng(0).normal(size=(clients, 3, DIM)).astype("float32")
    start = threading.Barrier(clients)

    def ask(rows):
        start.wait(30)
        answer = httpx.post(server.rest + PREDICT, content=body_of(rows), timeout=60)
        return answer.json()["predictions"]

    with ThreadPoolExecutor(clients) as threads:
        answers = list(threads.map(ask, x))
    np.testing.assert_allclose(answers, scores(x), rtol=1e-6, atol=1e-6)


def test_a_batch_of_ten_thousand_rows(server):
    x = np.random.default_rng(0).normal(size=(10_000, DIM)).astype("float32")
    answer = httpx.post(server.rest + PREDICT, content=body_of(x), timeout=60).json()
    np.testing.assert_allclose(answer["predictions"], scores(x), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("size", ["told", "not told", "packed"])
def test_few_large_bodies_are_in_flight_at_once(server, monkeypatch, size):
    parse, lock, under_way, most = json_in.parse, threading.Lock(), [0], [0]

    def watched(body):
        with lock:
            under_way[0] += 1
            most[0] = max(most[0], *under_way)
        time.sleep(0.05)
        with lock:
            under_way[0] -= 1
        return parse(body)

    monkeypatch.setattr(json_in, "parse", watched)
    monkeypatch.setattr(rest_api, "_LARGE", 1000)
    x = np.random.default_rng(0).normal(size=(100, DIM)).astype("float32")
    body = body_of(x).encode()

    def ask(_):
        content = {"told": body, "not told": iter([body]), "packed": gzip.compress(body)}[size]
        headers = {"Content-Encoding": "gzip"} if size == "packed" else {}
        answer = httpx.post(server.rest + PREDICT, content=content, headers=headers, timeout=60)
        np.testing.assert_allclose(answer.json()["predictions"], scores(x), rtol=1e-5, atol=1e-6)

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(ask, range(8)))
    assert most == [2]


@pytest.mark.slow
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
    assert "0000 00:00:" not in log  # TensorFlow's notices
