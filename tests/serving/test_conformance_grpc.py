"""What TF Serving's documentation says of Predict by gRPC, asked of the preview and of itself."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from conformance import SERVERS
from conformance_calls import (
    INVALID,
    MISSING,
    PRECONDITION,
    as_content,
    as_values,
    called,
    predict_request,
    proto,
    refused,
)
from tensorflow_serving.apis import predict_pb2


@pytest.fixture(scope="module", params=SERVERS)
def server(request, tmp_path_factory):
    with called(request.param, tmp_path_factory.mktemp("models")) as running:
        yield running


@pytest.mark.parametrize(
    ("where", "version", "y"),
    [({}, 123, 3.5), ({"version": 1}, 1, 2.5), ({"label": "stable"}, 1, 2.5)],
)
def test_predict(server, where, version, y):
    answer = server.predictions.Predict(predict_request(x=[1.0], **where), timeout=30)
    spec = answer.model_spec
    assert (spec.name, spec.version.value) == ("half", version)
    assert spec.signature_name == "serving_default"
    assert list(answer.outputs) == ["y"]
    tensor = answer.outputs["y"]
    assert tensor.dtype == tf.float32.as_datatype_enum
    assert list(tensor.float_val) == [y]
    assert tensor.tensor_content == b""
    assert [dim.size for dim in tensor.tensor_shape.dim] == [1]


@pytest.mark.parametrize(
    ("tensor", "y"),
    [
        (as_content([1.0, np.nan, np.inf]), [3.5, np.nan, np.inf]),
        (as_values([1.0, 2.0], [2, 1]), [[3.5], [4.0]]),
        (as_values([1.0], [3]), [3.5, 3.5, 3.5]),  # the last value fills the rest
        (as_values([], [0, 2]), np.zeros((0, 2))),
        (as_values([1.0], []), 3.5),
    ],
)
def test_tensors_of_every_form(server, tensor, y):
    answer = server.predictions.Predict(predict_request(x=tensor), timeout=30)
    got = tf.make_ndarray(answer.outputs["y"])
    assert got.shape == np.shape(y)
    assert got.dtype == np.float32
    np.testing.assert_array_equal(got, np.asarray(y, np.float32))


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("bool", [True, False]),
        ("string", [b"\xff\x00", b"a"]),
        ("int8", [-128]),
        ("uint8", [[0, 255]]),
        ("uint32", [2**32 - 1]),
        ("uint64", [2**64 - 1]),
        ("int64", [-(2**63)]),
        ("float16", [0.5, -2.0]),
        ("float64", [0.1]),
        ("complex64", [1 + 2j]),
    ],
)
def test_values_of_every_kind(server, kind, value):
    request = predict_request("kinds", signature=kind, x=proto(value, tf.as_dtype(kind)))
    answer = server.predictions.Predict(request, timeout=30)
    assert answer.model_spec.signature_name == kind
    tensor = answer.outputs["y"]
    assert tensor.tensor_content == b""
    dtype = object if kind == "string" else kind
    np.testing.assert_array_equal(tf.make_ndarray(tensor), np.array(value, dtype))


def test_several_inputs_and_a_filter(server):
    sensor, tag = proto([[[1, 2], [3, 4]]], tf.int32), proto([b"foo"], tf.string)
    inputs = {"tag": tag, "signal": [[1.0, 2, 3, 4, 5]], "sensor": sensor}
    every = server.predictions.Predict(predict_request("document", **inputs), timeout=30).outputs
    assert every.keys() == {"name", "name_bytes", "total", "twice"}
    np.testing.assert_array_equal(tf.make_ndarray(every["twice"]), [[[2, 4], [6, 8]]])
    request = predict_request("document", only=["total", "name"], **inputs)
    some = server.predictions.Predict(request, timeout=30).outputs
    assert some.keys() == {"name", "total"}
    assert some["total"].float_val == [15.0]
    assert some["name"].string_val == [b"foo"]


BROKEN = proto([0.0, 0.0])
BROKEN.tensor_content = b"abc"
HALVES = proto([1.0], tf.float16)


@pytest.mark.parametrize(
    ("request_", "code", "text"),
    [
        (predict_request("nothing", x=[1.0]), MISSING, "Servable not found for request: Latest(n"),
        (predict_request(version=99, x=[1.0]), MISSING, "Specific(half, 99)"),
        (predict_request(label="nope", x=[1.0]), INVALID, "Unrecognized servable version label"),
        (predict_pb2.PredictRequest(), INVALID, "Missing ModelSpec"),
        (predict_request("", x=[1.0]), INVALID, ""),
        (
            predict_request(signature="nope", x=[1.0]),
            PRECONDITION,
            'Serving signature key "nope" not found.',
        ),
        (predict_request(), INVALID, "input size does not match signature: 0!=1"),
        (predict_request(x=[1.0], z=[1.0]), INVALID, "Sent extra: {z}"),
        (predict_request(z=[1.0]), INVALID, "x"),
        (predict_request(only=["z"], x=[1.0]), INVALID, "output tensor alias not found in signat"),
        (predict_request(only=["y", "y"], x=[1.0]), INVALID, "duplicate output tensor alias: y"),
        (predict_request(x=BROKEN), INVALID, ""),
        (predict_request(x=HALVES), INVALID, "float"),
        (predict_request("kinds", x=[[1.0, 2.0]]), INVALID, ""),
        (predict_request("kinds", x=[1.0, 2.0, 3.0]), INVALID, ""),
    ],
)
def test_predict_refuses(server, request_, code, text):
    assert text in refused(server.predictions.Predict, request_, code)


def test_messages_above_four_megabytes(server):
    x = np.arange(3_000_000, dtype=np.float32)
    answer = server.predictions.Predict(predict_request(x=x), timeout=60)
    np.testing.assert_array_equal(tf.make_ndarray(answer.outputs["y"]), x / 2 + 3)
