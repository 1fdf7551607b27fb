"""What TF Serving's documentation says of folders, versions, labels and warm-up requests."""

from __future__ import annotations

import shutil
import time

import pytest
import tensorflow as tf
from conformance import HALF, SERVERS, answer, post, put, refusal, served
from tensorflow_serving.apis import (
    classification_pb2,
    predict_pb2,
    prediction_log_pb2,
    regression_pb2,
)

Log = prediction_log_pb2.PredictionLog
SECONDS = 60


@pytest.fixture(params=SERVERS)
def kind(request):
    return request.param


def states(server, name="half"):
    response = server.http.get(f"/v1/models/{name}")
    found = response.json().get("model_version_status", [])
    return {int(each["version"]): each["state"] for each in found}


def until(condition):
    end = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < end, f"expected it within {SECONDS} s"
        time.sleep(0.02)


def half(server, path=""):
    """What the model makes of 0: its offset."""
    text = answer(server, f"{HALF}{path}:predict", '{"instances": [0]}')
    return float(text.removeprefix('{"predictions":[').removesuffix("]}"))


def test_newest_serves_and_versions_come_and_go(kind, tmp_path):
    put("half", 1, version=tmp_path / "half" / "1")
    put("half", 9, version=tmp_path / "half" / "0009")
    with served(kind, tmp_path) as server:
        assert half(server) == 9
        assert states(server).get(9) == "AVAILABLE"
        assert states(server).get(1) != "AVAILABLE"
        put("half", 10, version=tmp_path / "half" / "10")  # by number, not by letters
        until(lambda: half(server) == 10)  # each call has an answer
        until(lambda: states(server)[9] == "END")
        assert list(states(server))[:2] == [10, 9]
        told = refusal(post(server, f"{HALF}/versions/9:predict", '{"instances": [0]}'), 404)
        assert "Servable not found for request: Specific(half, 9)" in told
        shutil.rmtree(tmp_path / "half" / "10")
        until(lambda: half(server) == 9)


def test_only_whole_numbers_are_versions(kind, tmp_path):
    base = tmp_path / "half"
    put("half", 1, version=base / "1")
    for name in (".2", "2.tmp", "v3", "4a", "tmp", "-"):
        put("half", 9, version=base / name)
    (base / "README.md").write_text("about")
    with served(kind, tmp_path, versions=["all"]) as server:
        put("half", 5, version=base / "5")
        until(lambda: states(server).get(5) == "AVAILABLE")
        assert states(server).keys() == {1, 5}


def test_empty_base_unloads_all(kind, tmp_path):
    put("half", 1, version=tmp_path / "half" / "1")
    with served(kind, tmp_path) as server:
        shutil.move(tmp_path / "half" / "1", tmp_path / "half" / ".1")
        until(lambda: states(server)[1] == "END")
        told = refusal(post(server, f"{HALF}:predict", '{"instances": [0]}'), 404)
        assert "Servable not found for request: Latest(half)" in told
        shutil.move(tmp_path / "half" / ".1", tmp_path / "half" / "1")
        until(lambda: states(server)[1] == "AVAILABLE")
        assert half(server) == 1


def test_specific_versions_serve_and_labels_name_them(kind, tmp_path):
    for offset in (41, 42, 43, 44):
        put("half", offset, version=tmp_path / "half" / str(offset))
    labels = ["half:stable=42", "half:canary=43"]
    with served(kind, tmp_path, versions=["half=42,43"], labels=labels) as server:
        assert [v for v, state in states(server).items() if state == "AVAILABLE"] == [43, 42]
        assert (half(server), half(server, "/versions/42")) == (43, 42)
        assert (half(server, "/labels/stable"), half(server, "/labels/canary")) == (42, 43)
        for version in (41, 44):
            refusal(post(server, f"{HALF}/versions/{version}:predict", '{"instances": [0]}'), 404)


def test_latest_few_serve(kind, tmp_path):
    for offset in (1, 2, 3):
        put("half", offset, version=tmp_path / "half" / str(offset))
    with served(kind, tmp_path, versions=["latest:2"]) as server:
        assert [v for v, state in states(server).items() if state == "AVAILABLE"] == [3, 2]
        put("half", 4, version=tmp_path / "half" / "4")
        until(lambda: half(server) == 4)  # version 2 goes before 4 comes
        assert states(server)[2] == "END"
        assert half(server, "/versions/3") == 3


def test_damaged_version_leaves_the_good_one(kind, tmp_path):
    put("half", 1, version=tmp_path / "half" / "1")
    with served(kind, tmp_path) as server:
        damaged = put("half", 2, version=tmp_path / "half" / ".2")
        (damaged / "saved_model.pb").write_bytes(b"no model")
        damaged.rename(tmp_path / "half" / "2")
        until(lambda: 2 in states(server) and states(server)[2] != "AVAILABLE")
        time.sleep(0.3)
        assert half(server) == 1
        assert states(server)[1] == "AVAILABLE"


def predict_log(value=1.0, dtype="float32", alias="x", signature=""):
    request = predict_pb2.PredictRequest()
    request.model_spec.name = "another name"  # not looked at
    request.model_spec.signature_name = signature
    request.inputs[alias].CopyFrom(tf.make_tensor_proto([value], dtype))
    return Log(predict_log=prediction_log_pb2.PredictLog(request=request))


def example_log(kind, signature):
    request = {"classify": classification_pb2.ClassificationRequest}.get(
        kind, regression_pb2.RegressionRequest
    )()
    request.model_spec.signature_name = signature
    feature = {"x": tf.train.Feature(float_list=tf.train.FloatList(value=[1.0]))}
    example = tf.train.Example(features=tf.train.Features(feature=feature))
    request.input.example_list.examples.append(example)
    if kind == "classify":
        return Log(classify_log=prediction_log_pb2.ClassifyLog(request=request))
    return Log(regress_log=prediction_log_pb2.RegressLog(request=request))


def put_warmed(records, version):
    """A version whose warm-up file holds the records; bytes are the file itself."""
    hidden = put("half", 2, version=version.with_name(".warm"))
    path = hidden / "assets.extra" / "tf_serving_warmup_requests"
    path.parent.mkdir()
    if isinstance(records, bytes):
        path.write_bytes(records)
    else:
        with tf.io.TFRecordWriter(str(path)) as writer:
            for record in records:
                writer.write(record.SerializeToString())
    hidden.rename(version)


GOOD = [
    predict_log(),
    predict_log(signature="serving_default"),
    example_log("classify", "classify_x_to_y"),
    example_log("regress", "regress_x_to_y"),
]


@pytest.mark.parametrize(
    ("records", "state"),
    [
        (GOOD, "AVAILABLE"),
        ([], "AVAILABLE"),
        ([predict_log()] * 1000, "AVAILABLE"),
        ([*GOOD, predict_log(dtype="float16")], "END"),
        ([predict_log(alias="x:0")], "END"),
        ([predict_log(signature="nope")], "END"),
        ([example_log("classify", "regress_x_to_y")], "END"),
        ([Log(session_run_log=prediction_log_pb2.SessionRunLog())], "END"),
        ([Log()], "AVAILABLE"),  # an empty record is none
        ([predict_log()] * 1001, "END"),
        (b"no records, but much else", "END"),
    ],
    ids=lambda value: str(len(value)) if isinstance(value, list) else None,
)
def test_warm_up_requests_are_run_and_a_bad_one_fails_the_version(kind, tmp_path, records, state):
    put("half", 1, version=tmp_path / "half" / "1")
    with served(kind, tmp_path, versions=["all"]) as server:
        put_warmed(records, tmp_path / "half" / "2")
        if kind == "preview" or state == "AVAILABLE":
            until(lambda: states(server).get(2) == state)
        else:  # it tries again for minutes before it tells
            time.sleep(5)
        if kind == "preview":
            assert failed(server) == (state == "END")
        assert half(server) == (2 if state == "AVAILABLE" else 1)


def failed(server):
    """Whether version 2 has an error, and says which."""
    for each in server.http.get(HALF).json()["model_version_status"]:
        if each["version"] == "2" and each["status"]["error_code"] != "OK":
            return bool(each["status"]["error_message"])
    return False
