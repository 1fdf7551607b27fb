"""Real exports against TF Serving's documentation: what a server loads, lists and answers."""

from __future__ import annotations

import json
from types import SimpleNamespace

import grpc
import numpy as np
import packaged_models
import pytest
import tensorflow as tf
from conformance import SERVERS, answer, post, refusal, served
from tensorflow.core.protobuf import config_pb2, saved_model_pb2
from tensorflow_serving.apis import prediction_log_pb2, prediction_service_pb2_grpc

from serving.export import export_model

PREDICT = "tensorflow/serving/predict"
SIGNATURES = {
    "image": {
        "serving_default": ("float32", {"scores": "float32", "classes": "int64"}, PREDICT),
        "serving_uint8": ("uint8", {"scores": "float32", "classes": "int64"}, PREDICT),
        "features": ("float32", {"features": "float32"}, PREDICT),
        "classify": (
            "string",
            {"scores": "float32", "classes": "string"},
            "tensorflow/serving/classify",
        ),
    },
    "columns, refitted": {
        "serving_default": ("float32", {"outputs": "float32"}, PREDICT),
        "features": ("float32", {"features": "float32"}, PREDICT),
        "regress": ("string", {"outputs": "float32"}, "tensorflow/serving/regress"),
    },
}
NAMES = {"image": "pixels", "columns, refitted": "columns"}


@pytest.fixture(scope="module")
def exports(tmp_path_factory):
    """A classifier of images and a regressor of columns, each exported twice."""
    models = tmp_path_factory.mktemp("saved_models")
    made = {}
    for case, name in NAMES.items():
        model, reference, card, x = packaged_models.case(case)
        card = {**card, "name": name}
        for _ in range(2):
            path = export_model(model, card, models)
        made[case] = SimpleNamespace(path=path, reference=reference, x=x, name=name)
    return SimpleNamespace(models=models, made=made)


@pytest.fixture(params=list(NAMES))
def case(request):
    return request.param


@pytest.fixture
def export(exports, case):
    return exports.made[case]


@pytest.fixture(scope="module", params=SERVERS)
def server(request, exports):
    with served(request.param, exports.models, versions=["pixels=all"]) as running:
        yield running


def test_folder_is_what_a_server_looks_for(exports, export):
    assert sorted(path.name for path in exports.models.iterdir()) == ["columns", "pixels"]
    base = export.path.parent
    assert sorted(path.name for path in base.iterdir()) == ["1", "2"]
    files = {p.relative_to(export.path).as_posix() for p in export.path.rglob("*") if p.is_file()}
    weights = {file for file in files if file.startswith("variables/")}
    warm = "assets.extra/tf_serving_warmup_requests"
    assert files - weights == {"saved_model.pb", "README.md", "card.json", warm}
    assert tf.saved_model.contains_saved_model(str(export.path))


def graph_of(export):
    message = saved_model_pb2.SavedModel()
    message.ParseFromString((export.path / "saved_model.pb").read_bytes())
    [meta] = message.meta_graphs
    return meta


def test_graph_holds_nothing_that_a_server_refuses(export):
    meta = graph_of(export)
    assert list(meta.meta_info_def.tags) == ["serve"]
    functions = meta.graph_def.library.function
    nodes = [*meta.graph_def.node, *(node for each in functions for node in each.node_def)]
    operations = {node.op for node in nodes}
    assert "MatMul" in operations
    assert "EnsureShape" in operations
    assert not {name for name in operations if "Random" in name or "PyFunc" in name}
    assert not [f for f in functions if f.attr["_XlaMustCompile"].b]


def test_signatures(export, case):
    found = dict(graph_of(export).signature_def)
    found.pop("__saved_model_init_op")
    dim = export.x.shape[1]
    assert found.keys() == SIGNATURES[case].keys()
    for name, (dtype, outputs, method) in SIGNATURES[case].items():
        signature = found[name]
        assert signature.method_name == method
        assert list(signature.inputs) == ["inputs"]
        given = signature.inputs["inputs"]
        assert tf.as_dtype(given.dtype).name == dtype
        shape = [size.size for size in given.tensor_shape.dim]
        assert shape == ([-1] if dtype == "string" else [-1, dim])
        assert {k: tf.as_dtype(v.dtype).name for k, v in signature.outputs.items()} == outputs


def test_a_server_lists_them(server, export, case):
    response = server.http.get(f"/v1/models/{export.name}/metadata").json()
    assert response["model_spec"]["version"] == "2"
    found = response["metadata"]["signature_def"]["signature_def"]
    methods = {name: found[name]["method_name"] for name in SIGNATURES[case]}
    assert methods == {name: method for name, (_, _, method) in SIGNATURES[case].items()}


def predict(server, export, body):
    return json.loads(answer(server, f"/v1/models/{export.name}:predict", body))


def test_rows_and_columns_are_those_of_the_network(server, export, case):
    expected, features = export.reference(export.x)
    rows = predict(server, export, {"instances": export.x.tolist()})["predictions"]
    columns = predict(server, export, {"inputs": {"inputs": export.x.tolist()}})["outputs"]
    if case == "image":
        np.testing.assert_allclose([row["scores"] for row in rows], expected, rtol=1e-4, atol=1e-5)
        assert [row["classes"] for row in rows] == expected.argmax(axis=1).tolist()
        assert columns["classes"] == expected.argmax(axis=1).tolist()
        uint8 = {"signature_name": "serving_uint8", "inputs": export.x.astype(int).tolist()}
        assert predict(server, export, uint8)["outputs"] == columns
    else:
        np.testing.assert_allclose(rows, expected, rtol=1e-4)
        assert columns == rows
    body = {"signature_name": "features", "instances": export.x.tolist()}
    got = predict(server, export, body)["predictions"]
    np.testing.assert_allclose(got, features, rtol=1e-4, atol=1e-5)


def test_examples(server, export, case):
    expected, _ = export.reference(export.x)
    method = "classify" if case == "image" else "regress"
    examples = [{"inputs": [float(value) for value in row]} for row in export.x]
    body = {"signature_name": method, "examples": examples}
    results = json.loads(answer(server, f"/v1/models/{export.name}:{method}", body))["results"]
    if case == "image":
        assert [label for label, _ in results[0]] == ["class0", "class1", "class2"]
        scores = [[score for _, score in row] for row in results]
        np.testing.assert_allclose(scores, expected, rtol=1e-4, atol=1e-5)
    else:
        np.testing.assert_allclose(results, expected[:, 0], rtol=1e-4)


@pytest.mark.parametrize("shape", [(2, 3), (2, 13), (5,), (1, 2, 3, 2)])
@pytest.mark.parametrize("form", ["instances", "inputs"])
def test_wrong_shapes_are_errors_and_end_nothing(server, export, shape, form):
    told = refusal(
        post(server, f"/v1/models/{export.name}:predict", {form: np.ones(shape).tolist()}), 400
    )
    # By `tf.ensure_shape` in the graph, which both servers name.
    assert "Shape of tensor _arg_serving_default_inputs_0_0 [" in told
    assert "EnsureShape" in told
    assert predict(server, export, {"instances": export.x[:1].tolist()})["predictions"]


def test_signatures_check_shapes_themselves(export, case):
    """The server does not: it hands the tensor to the graph as it came."""
    dim = export.x.shape[1]
    session = tf.compat.v1.Session(graph=tf.Graph())
    with session.graph.as_default(), session:
        meta = tf.compat.v1.saved_model.loader.load(session, ["serve"], str(export.path))
        for name, (dtype, _, _) in SIGNATURES[case].items():
            signature = meta.signature_def[name]
            options = config_pb2.CallableOptions(feed=[signature.inputs["inputs"].name])
            options.fetch.extend(tensor.name for tensor in signature.outputs.values())
            call = session._make_callable_from_options(options)  # `run` would check the shape
            wrong = [(2, 3), (4,), (2, 2, dim), ()]
            for shape in [(2, 3, 1), ()] if dtype == "string" else wrong:
                value = np.full(shape, b"" if dtype == "string" else 1, object)
                with pytest.raises(tf.errors.InvalidArgumentError, match="shape"):
                    call(value if dtype == "string" else value.astype(dtype))


def test_warm_up_requests_are_answered(server, export, case):
    path = export.path / "assets.extra" / "tf_serving_warmup_requests"
    records = list(tf.data.TFRecordDataset(str(path)).as_numpy_iterator())
    assert 0 < len(records) <= 1000
    asked = set()
    with grpc.insecure_channel(server.grpc) as channel:
        stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        calls = {
            "predict_log": stub.Predict,
            "classify_log": stub.Classify,
            "regress_log": stub.Regress,
        }
        for record in records:
            log = prediction_log_pb2.PredictionLog.FromString(record)
            kind = log.WhichOneof("log_type")
            request = getattr(log, kind).request
            assert request.model_spec.name == export.name
            asked.add(calls[kind](request, timeout=30).model_spec.signature_name)
    assert asked == SIGNATURES[case].keys()


def test_versions_serve_as_the_configuration_says(server):
    pixels = server.http.get("/v1/models/pixels").json()["model_version_status"]
    assert [each["version"] for each in pixels if each["state"] == "AVAILABLE"] == ["2", "1"]
    columns = server.http.get("/v1/models/columns").json()["model_version_status"]
    assert [each["version"] for each in columns if each["state"] == "AVAILABLE"] == ["2"]
