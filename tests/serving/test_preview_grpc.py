"""What the preview's gRPC API does beside what `test_conformance_grpc` asks of every server."""

from __future__ import annotations

import grpc
import numpy as np
import pytest
import serving_models
import tensorflow as tf
from serving_models import DIM
from tensorflow_serving.apis import (
    classification_pb2,
    predict_pb2,
    prediction_service_pb2_grpc,
)

from serving.client import connect

X = np.random.default_rng(0).normal(size=(3, DIM)).astype("float32")


@pytest.fixture(scope="module")
def stub(tmp_path_factory):
    models = tmp_path_factory.mktemp("models")
    for name in ("dense", "types"):
        (models / name).mkdir()
    serving_models.save_dense(models / "dense" / "1")
    serving_models.save_types(models / "types" / "7")
    running = serving_models.running_preview(models)
    with running as server, grpc.insecure_channel(server.grpc) as channel:
        yield prediction_service_pb2_grpc.PredictionServiceStub(channel)


def request_of(inputs, **spec):
    request = predict_pb2.PredictRequest(model_spec={"name": "dense", **spec})
    for alias, value in inputs.items():
        request.inputs[alias].CopyFrom(as_proto(value))
    return request


def as_proto(value):
    return tf.make_tensor_proto(value) if isinstance(value, np.ndarray) else value


def fails(call, request, code, text):
    with pytest.raises(grpc.RpcError) as caught:
        call(request, timeout=30)
    assert caught.value.code() == grpc.StatusCode[code], caught.value.details()
    assert text in caught.value.details()


def wide_shape():
    proto = tf.make_tensor_proto(np.ones((1, 1), "float32"))
    for dim in proto.tensor_shape.dim:
        dim.size = 2**20
    return proto


def broken_content():
    proto = tf.make_tensor_proto(X)
    proto.tensor_content = b"abc"
    return proto


def no_type():
    proto = tf.make_tensor_proto(X)
    proto.dtype = 0
    return proto


FAULTS = [
    ({"inputs": X}, {"name": ""}, "ModelSpec has no name"),
    ({}, {}, "Missing but required: {inputs}"),
    ({"x": X}, {}, "input tensor alias not found in signature: x"),
    ({"inputs": X.astype("float64")}, {}, "to be float but double is provided"),
    ({"inputs": X.astype("float16")}, {}, "to be float but half is provided"),
    ({"inputs": X[0]}, {}, "[4] is not compatible with expected shape [?,4]"),
    ({"inputs": X[:, :3]}, {}, "[3,3] is not compatible with expected shape"),
    ({"inputs": wide_shape()}, {}, "tensor parsing error: inputs"),
    ({"inputs": broken_content()}, {}, "tensor parsing error: inputs"),
    ({"inputs": no_type()}, {}, "tensor parsing error: inputs"),
]


@pytest.mark.parametrize(("inputs", "spec", "text"), FAULTS)
def test_predict_faults(stub, inputs, spec, text):
    fails(stub.Predict, request_of(inputs, **spec), "INVALID_ARGUMENT", text)


def test_classify_of_a_signature_that_takes_numbers(stub):
    request = classification_pb2.ClassificationRequest()
    request.model_spec.name = "dense"
    request.input.example_list.examples.add()
    fails(stub.Classify, request, "INVALID_ARGUMENT", "to be float but string is provided")


def test_half_comes_back_in_its_own_field(stub):
    value = np.float16([0.1, -3.0, np.inf])
    request = request_of({"x": value}, name="types", signature_name="echo_half")
    answer = stub.Predict(request).outputs["y"]
    assert list(answer.half_val) == value.view("uint16").tolist()
    np.testing.assert_array_equal(tf.make_ndarray(answer), value)


def test_calls_beyond_the_threads_are_refused_as_the_server_refuses_them(tmp_path):
    (tmp_path / "types").mkdir()
    serving_models.save_types(tmp_path / "types" / "1")
    where = {"name": "types", "signature_name": "forever"}
    request = request_of({"x": np.float32([0])}, **where)
    running = serving_models.running_preview(tmp_path, grpc_max_threads=2)
    with running as server, grpc.insecure_channel(server.grpc) as channel:
        predict = prediction_service_pb2_grpc.PredictionServiceStub(channel).Predict
        calls = [predict.future(request, timeout=2) for _ in range(8)]
        codes = [call.exception().code() for call in calls]
        texts = {call.exception().details() for call in calls}
        assert codes.count(grpc.StatusCode.DEADLINE_EXCEEDED) == 2
        assert codes.count(grpc.StatusCode.RESOURCE_EXHAUSTED) == 6
        assert "Server Threadpool Exhausted" in texts
        url = f"grpc://{server.grpc}"
        with connect(url, model="types") as client:  # the two may not have ended here yet
            assert client.predict([0.0], signature="echo")["y"].tolist() == [0.0]


def test_a_deadline_ends_a_long_run(stub):
    request = request_of({"x": np.float32([0])}, name="types", signature_name="forever")
    with pytest.raises(grpc.RpcError) as caught:
        stub.Predict(request, timeout=0.3)
    assert caught.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED
    assert stub.Predict(request_of({"inputs": X})).outputs.keys() == {"scores", "classes"}
