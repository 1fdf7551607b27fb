"""Requests of the conformance suite's gRPC tests."""

from __future__ import annotations

import contextlib

import grpc
import numpy as np
import pytest
import tensorflow as tf
from conformance import documented_models, served
from tensorflow_serving.apis import (
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
)

INVALID = grpc.StatusCode.INVALID_ARGUMENT
MISSING = grpc.StatusCode.NOT_FOUND
PRECONDITION = grpc.StatusCode.FAILED_PRECONDITION
LIMIT = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]


@contextlib.contextmanager
def called(kind, models):
    """A server of the documents' models with the stubs of its services."""
    models = documented_models(models)
    with served(kind, models, versions=["all"], labels=["half:stable=1"]) as running:
        with grpc.insecure_channel(running.grpc, options=LIMIT) as channel:
            running.predictions = prediction_service_pb2_grpc.PredictionServiceStub(channel)
            running.models = model_service_pb2_grpc.ModelServiceStub(channel)
            yield running


def predict_request(name="half", version=None, label=None, signature="", only=(), **inputs):
    request = predict_pb2.PredictRequest(output_filter=only)
    fill_spec(request.model_spec, name, version, label, signature)
    for alias, value in inputs.items():
        tensor = value if hasattr(value, "tensor_shape") else proto(value)
        request.inputs[alias].CopyFrom(tensor)
    return request


def fill_spec(spec, name, version=None, label=None, signature=""):
    spec.name, spec.signature_name = name, signature
    if version is not None:
        spec.version.value = version
    if label is not None:
        spec.version_label = label


def proto(value, dtype=tf.float32):
    return tf.make_tensor_proto(value, dtype)


def refused(call, request, code):
    with pytest.raises(grpc.RpcError) as caught:
        call(request, timeout=30)
    assert caught.value.code() is code, caught.value.details()
    return caught.value.details()


def as_content(value):
    tensor = proto([0.0] * len(value))
    tensor.ClearField("float_val")
    tensor.tensor_content = np.asarray(value, "<f4").tobytes()
    return tensor


def as_values(value, shape):
    tensor = proto([0.0])
    tensor.ClearField("tensor_content")
    tensor.ClearField("float_val")
    tensor.float_val.extend(value)
    tensor.tensor_shape.CopyFrom(tf.TensorShape(shape).as_proto())
    return tensor


def examples(kind, signature, *features, name="half", context=None, **where):
    request = kind()
    fill_spec(request.model_spec, name, signature=signature, **where)
    made = [tf.train.Example(features=tf.train.Features(feature=each)) for each in features]
    if context is None:
        request.input.example_list.examples.extend(made)
    else:
        request.input.example_list_with_context.examples.extend(made)
        request.input.example_list_with_context.context.features.feature["x"].CopyFrom(context)
    return request


def floats(*values):
    return tf.train.Feature(float_list=tf.train.FloatList(value=values))


def texts(*values):
    return tf.train.Feature(bytes_list=tf.train.BytesList(value=values))
