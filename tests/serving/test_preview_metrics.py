"""The page for Prometheus: the names, labels and counts of TensorFlow Serving."""

from __future__ import annotations

import re
import time

import grpc
import httpx
import numpy as np
import pytest
import serving_models

from serving import model_config
from serving.client import ServingError, connect
from serving.preview import metrics

pytest.importorskip("prometheus_client", reason="no prometheus_client: make venv installs it")

COUNT, LATENCY = ":tensorflow:serving:request_count", ":tensorflow:serving:request_latency"


@pytest.fixture
def server(tmp_path):
    for name in ("dense", "types"):
        (tmp_path / name).mkdir()
    serving_models.save_dense(tmp_path / "dense" / "1")
    serving_models.save_types(tmp_path / "types" / "1")
    with serving_models.running_preview(tmp_path, grpc_max_threads=1) as server:
        yield server


def page(server):
    answer = httpx.get(server.rest + model_config.METRICS_PATH)
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain")
    return answer.text


def samples(server, name):
    found = re.findall(rf"^{name}{{(.*)}} (\S+)$", page(server), re.MULTILINE)
    return {tuple(re.findall(r'"(.*?)"', labels)): float(value) for labels, value in found}


def test_the_path_is_that_of_the_configuration():
    assert metrics.PATH == model_config.METRICS_PATH


def test_requests_are_counted_by_status_and_timed_by_protocol(server):
    x = np.zeros((2, 4))
    for url in (server.rest, f"grpc://{server.grpc}"):
        with connect(url, model="dense") as client:
            client.predict(x)
            client.classify(x)
            client.regress(x)
            with pytest.raises(ServingError):
                client.predict({"wrong": x})
        with connect(url, model="none") as client, pytest.raises(ServingError):
            client.regress(x)
    assert samples(server, COUNT) == {
        ("dense", "OK"): 6,
        ("dense", "INVALID_ARGUMENT"): 2,
        ("none", "NOT_FOUND"): 2,
    }
    words = {"REST": "predict classify regress", "GRPC": "Predict Classify Regress"}
    times = samples(server, f"{LATENCY}_sum")
    counts = samples(server, f"{LATENCY}_count")
    expected = {("dense", a, entry) for entry, apis in words.items() for a in apis.split()}
    assert {key_of(key) for key in counts} == expected
    assert set(counts.values()) == {1}
    assert all(1 < microseconds < 60e6 for microseconds in times.values())


def key_of(labels):
    """Model, API and entry point, in whichever order the page has them."""
    known = {"REST", "GRPC"}
    (entry,) = known & set(labels)
    (api,) = (label for label in labels if label.lower() in ("predict", "classify", "regress"))
    return "dense", api, entry


def test_the_page_is_in_the_form_of_the_server(server):
    with connect(server.rest, model="dense") as client:
        client.predict(np.zeros((1, 4)))
    lines = page(server).splitlines()
    assert f"# TYPE {COUNT} counter" in lines
    assert f'{COUNT}{{model_name="dense",status="OK"}} 1.0' in lines
    assert f"# TYPE {LATENCY} histogram" in lines
    assert not [line for line in lines if "_created" in line or "_total" in line]
    bounds = [line for line in lines if line.startswith(f"{LATENCY}_bucket")]
    assert len(bounds) == 34  # 10 microseconds, times 1.8 each, and one for all
    assert 'le="10.0"' in bounds[0]
    assert 'le="18.0"' in bounds[1]
    assert 'le="+Inf"' in bounds[-1]


def test_what_is_refused_for_want_of_threads_is_not_counted(server):
    """As on the server: so the share of errors does not show it."""
    request_ = {"x": np.zeros(1, np.float32)}
    with connect(f"grpc://{server.grpc}", model="types", retries=0) as client:
        client.signature("forever")
        with grpc.insecure_channel(server.grpc) as channel:
            busy = long_call(channel)
            time.sleep(0.3)
            assert not busy.done()
            with pytest.raises(ServingError, match="Threadpool Exhausted"):
                client.predict(request_, signature="echo")
            busy.cancel()
    assert ("types", "RESOURCE_EXHAUSTED") not in samples(server, COUNT)


def long_call(channel):
    from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

    request = predict_pb2.PredictRequest()
    request.model_spec.name, request.model_spec.signature_name = "types", "forever"
    request.inputs["x"].dtype = 1
    request.inputs["x"].tensor_shape.dim.add(size=1)
    request.inputs["x"].float_val.append(0.0)
    return prediction_service_pb2_grpc.PredictionServiceStub(channel).Predict.future(
        request, timeout=5
    )


def test_other_paths_of_monitoring_are_a_page_of_404(server):
    for path in ("/monitoring", model_config.METRICS_PATH + "/", "/monitoring/prometheus"):
        assert httpx.get(server.rest + path).status_code == 404


def test_without_the_library_there_is_no_page(tmp_path, monkeypatch, caplog):
    import sys

    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    (tmp_path / "dense").mkdir()
    serving_models.save_dense(tmp_path / "dense" / "1")
    with serving_models.running_preview(tmp_path) as server:
        assert httpx.get(server.rest + model_config.METRICS_PATH).status_code == 404
        body = {"instances": [[1, 2, 3, 4]]}
        assert httpx.post(f"{server.rest}/v1/models/dense:predict", json=body).status_code == 200
    assert "metrics: expected the package prometheus_client, received none" in caplog.text
