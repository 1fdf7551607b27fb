"""The preview server's gRPC API: values, fields, codes and texts, as TF Serving gives them."""

from __future__ import annotations

import grpc
import numpy as np
import pytest
import serving_models
import tensorflow as tf
from serving_models import DIM, scores
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    inference_pb2,
    model_management_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
    regression_pb2,
)

X = np.random.default_rng(0).normal(size=(3, DIM)).astype("float32")


@pytest.fixture(scope="module")
def channel(tmp_path_factory):
    models = tmp_path_factory.mktemp("models")
    for name in ("dense", "types"):
        (models / name).mkdir()
    serving_models.save_dense(models / "dense" / "1")
    serving_models.save_dense(models / "dense" / "2", factor=2.0)
    serving_models.save_types(models / "types" / "7")
    labels = ["dense:stable=1"]
    running = serving_models.running_preview(models, versions=["all"], labels=labels)
    options = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
    with running as server, grpc.insecure_channel(server.grpc, options=options) as channel:
        yield channel


@pytest.fixture
def stub(channel):
    return prediction_service_pb2_grpc.PredictionServiceStub(channel)


@pytest.fixture
def models(channel):
    return model_service_pb2_grpc.ModelServiceStub(channel)


def request_of(inputs, name="dense", request_class=predict_pb2.PredictRequest, **spec):
    request = request_class()
    request.model_spec.name = name
    if "version" in spec:
        request.model_spec.version.value = spec.pop("version")
    for field, value in spec.items():
        setattr(request.model_spec, field, value)
    for alias, value in inputs.items():
        request.inputs[alias].CopyFrom(as_proto(value))
    return request


def as_proto(value):
    return tf.make_tensor_proto(value) if isinstance(value, (np.ndarray, list)) else value


def as_float_val(array):
    proto = tf.make_tensor_proto(array)
    proto.ClearField("tensor_content")
    proto.float_val.extend(array.ravel().tolist())
    return proto


def fails(call, request, code, text):
    with pytest.raises(grpc.RpcError) as caught:
        call(request, timeout=30)
    assert caught.value.code() == grpc.StatusCode[code], caught.value.details()
    assert text in caught.value.details()


@pytest.mark.parametrize("form", [np.asarray, as_float_val])
@pytest.mark.parametrize(
    ("spec", "version"), [({}, 2), ({"version": 1}, 1), ({"version_label": "stable"}, 1)]
)
def test_predict(stub, form, spec, version):
    response = stub.Predict(request_of({"inputs": form(X)}, **spec))
    assert response.model_spec.name == "dense"
    assert response.model_spec.version.value == version
    assert response.model_spec.signature_name == "serving_default"
    expected = scores(X, version)
    answer = response.outputs["scores"]
    assert (len(answer.float_val), answer.tensor_content) == (expected.size, b"")
    np.testing.assert_allclose(tf.make_ndarray(answer), expected, rtol=1e-6, atol=1e-6)
    assert list(response.outputs["classes"].int64_val) == expected.argmax(1).tolist()


def test_output_filter(stub):
    request = request_of({"inputs": X})
    request.output_filter.append("classes")
    assert stub.Predict(request).outputs.keys() == {"classes"}
    request.output_filter.append("classes")
    fails(stub.Predict, request, "INVALID_ARGUMENT", "duplicate output tensor alias: classes")
    request.output_filter[:] = ["none"]
    fails(stub.Predict, request, "INVALID_ARGUMENT", "not found in signature: none")


@pytest.mark.parametrize(
    ("signature", "value"),
    [
        ("echo", np.float32([[0.1, np.nan, np.inf]])),
        ("echo_double", np.array(0.1)),
        ("echo_uint8", np.uint8([0, 255])),
        ("echo_int64", np.int64([[2**63 - 1], [-1]])),
        ("echo_half", np.float16([0.1, 3.0])),
        ("echo", np.zeros((0, 2), "float32")),
    ],
)
def test_types_come_back_as_they_went(stub, signature, value):
    request = request_of({"x": value}, name="types", signature_name=signature)
    answer = tf.make_ndarray(stub.Predict(request).outputs["y"])
    assert answer.dtype == value.dtype
    np.testing.assert_array_equal(answer, value)


def test_strings_and_several_inputs(stub):
    inputs = {"whole": np.int32([1, 2]), "text": [b"\xff\x00", b"a"]}
    outputs = stub.Predict(request_of(inputs, name="types")).outputs
    assert list(outputs["text"].string_val) == [b"\xff\x00", b"a"]
    assert list(outputs["whole"].int_val) == [2, 3]
    assert list(outputs["odd"].bool_val) == [True, False]


def example_request(request_class, signature, context=False, count=2):
    request = request_of({}, request_class=request_class, signature_name=signature, version=1)
    feature = tf.train.Feature(float_list=tf.train.FloatList(value=X[0]))
    full = tf.train.Example(features=tf.train.Features(feature={"inputs": feature}))
    if context:
        request.input.example_list_with_context.context.CopyFrom(full)
        request.input.example_list_with_context.examples.extend([tf.train.Example()] * count)
    else:
        request.input.example_list.examples.extend([full] * count)
    return request


@pytest.mark.parametrize("context", [False, True])
def test_classify_and_regress(stub, context):
    expected = scores(X[0])
    request = example_request(classification_pb2.ClassificationRequest, "classify", context)
    response = stub.Classify(request)
    assert response.model_spec.signature_name == "classify"
    assert len(response.result.classifications) == 2
    for row in response.result.classifications:
        assert [pair.label.encode() for pair in row.classes] == serving_models.LABELS
        np.testing.assert_allclose([p.score for p in row.classes], expected, rtol=1e-5, atol=1e-6)
    request = example_request(regression_pb2.RegressionRequest, "regress", context)
    values = [entry.value for entry in stub.Regress(request).result.regressions]
    np.testing.assert_allclose(values, [expected[0]] * 2, rtol=1e-5, atol=1e-6)


def test_metadata_and_status(stub, models):
    request = request_of({}, request_class=get_model_metadata_pb2.GetModelMetadataRequest)
    fails(stub.GetModelMetadata, request, "INVALID_ARGUMENT", "metadata_field")
    request.metadata_field.append("signature_def")
    response = stub.GetModelMetadata(request)
    assert response.model_spec.version.value == 2
    signatures = get_model_metadata_pb2.SignatureDefMap()
    assert response.metadata["signature_def"].Unpack(signatures)
    classify = signatures.signature_def["classify"]
    assert classify.method_name == "tensorflow/serving/classify"
    assert classify.outputs.keys() == {"classes", "scores"}
    request.metadata_field.append("else")
    fails(stub.GetModelMetadata, request, "INVALID_ARGUMENT", "metadata_field")

    request = request_of({}, request_class=get_model_status_pb2.GetModelStatusRequest)
    statuses = models.GetModelStatus(request).model_version_status
    assert [(s.version, s.state, s.status.error_code) for s in statuses] == [(2, 30, 0), (1, 30, 0)]
    request.model_spec.version.value = 9
    fails(models.GetModelStatus, request, "NOT_FOUND", "Could not find version 9 of model dense")


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
    ({"inputs": X}, {"name": "none"}, "NOT_FOUND", "Servable not found for request: Latest(none)"),
    ({"inputs": X}, {"version": 9}, "NOT_FOUND", "for request: Specific(dense, 9)"),
    ({"inputs": X}, {"version_label": "none"}, "INVALID_ARGUMENT", "version label: none"),
    ({"inputs": X}, {"name": ""}, "INVALID_ARGUMENT", "ModelSpec has no name"),
    ({"inputs": X}, {"signature_name": "none"}, "FAILED_PRECONDITION", 'key "none" not found'),
    ({}, {}, "INVALID_ARGUMENT", "Missing but required: {inputs}"),
    ({"inputs": X, "x": X}, {}, "INVALID_ARGUMENT", "Sent extra: {x}"),
    ({"x": X}, {}, "INVALID_ARGUMENT", "input tensor alias not found in signature: x"),
    ({"inputs": X.astype("float64")}, {}, "INVALID_ARGUMENT", "to be float but double is provided"),
    ({"inputs": X.astype("float16")}, {}, "INVALID_ARGUMENT", "to be float but half is provided"),
    ({"inputs": X[0]}, {}, "INVALID_ARGUMENT", "[4] is not compatible with expected shape [?,4]"),
    ({"inputs": X[:, :3]}, {}, "INVALID_ARGUMENT", "[3,3] is not compatible with expected shape"),
    ({"inputs": wide_shape()}, {}, "INVALID_ARGUMENT", "tensor parsing error: inputs"),
    ({"inputs": broken_content()}, {}, "INVALID_ARGUMENT", "tensor parsing error: inputs"),
    ({"inputs": no_type()}, {}, "INVALID_ARGUMENT", "tensor parsing error: inputs"),
    ({}, {"signature_name": "__saved_model_init_op"}, "INVALID_ARGUMENT", ""),
]


@pytest.mark.parametrize(("inputs", "spec", "code", "text"), FAULTS)
def test_predict_faults(stub, inputs, spec, code, text):
    fails(stub.Predict, request_of(inputs, **spec), code, text)


def test_missing_spec(stub, models):
    code, text = "INVALID_ARGUMENT", "Missing ModelSpec"
    fails(stub.Predict, predict_pb2.PredictRequest(), code, text)
    fails(models.GetModelStatus, get_model_status_pb2.GetModelStatusRequest(), code, text)


def test_classify_faults(stub):
    make, code = classification_pb2.ClassificationRequest, "INVALID_ARGUMENT"
    fails(stub.Classify, example_request(make, "none"), code, "No signature was found")
    fails(stub.Classify, example_request(make, "classify", count=0), code, "Input is empty")
    fails(stub.Classify, example_request(make, ""), code, "to be float but string is provided")


def test_everything_else_is_unimplemented(stub, models):
    for call, request in [
        (stub.MultiInference, inference_pb2.MultiInferenceRequest()),
        (models.HandleReloadConfigRequest, model_management_pb2.ReloadConfigRequest()),
    ]:
        fails(call, request, "UNIMPLEMENTED", "")


def test_messages_above_four_megabytes_pass(stub):
    x = np.tile(X, (100_000, 1))  # 4.8 MB there, more back
    request = request_of({"inputs": x}, version=1, signature_name="features")
    answer = tf.make_ndarray(stub.Predict(request).outputs["features"])
    np.testing.assert_allclose(answer, scores(x), rtol=1e-5, atol=1e-6)


def test_a_deadline_ends_a_long_run(stub):
    request = request_of({"x": np.float32([0])}, name="types", signature_name="forever")
    with pytest.raises(grpc.RpcError) as caught:
        stub.Predict(request, timeout=0.3)
    assert caught.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED
    assert stub.Predict(request_of({"inputs": X})).outputs.keys() == {"scores", "classes"}
