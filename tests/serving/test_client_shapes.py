"""What the client does not send: rows of another shape than the signature's, and no rows."""

from __future__ import annotations

import contextlib

import client_servers
import numpy as np
import pytest
from client_grpc_server import grpc_server
from client_servers import SIGNATURES, Model, rest_server

from serving.client import connect
from serving.client.signatures import Signature, TensorSpec
from serving.codes import NUMPY_DTYPES


@pytest.fixture
def model():
    return Model()


@pytest.fixture(params=["http", "grpc"])
def client(request, model):
    with contextlib.ExitStack() as stack:
        start = rest_server if request.param == "http" else grpc_server
        port = stack.enter_context(start(model))
        url = f"{request.param}://127.0.0.1:{port}"
        yield stack.enter_context(connect(url, model="m", timeout=5))


@pytest.mark.parametrize("shape", [(2, 3), (2, 5), (4,), (), (1, 2, 4), (0, 3)])
def test_a_wrong_shape_is_refused_before_it_is_sent(client, model, shape):
    with pytest.raises(ValueError, match=r"'inputs': expected shape \(n, 4\), received "):
        client.predict(np.ones(shape))
    with pytest.raises(ValueError, match=r"'b': expected shape \(n, 4\), received "):
        client.predict({"a": np.ones((2, 4)), "b": np.ones(shape)}, signature="two")
    assert not model.calls("predict")


def test_a_shape_that_fits_a_new_version_is_sent(client, model, monkeypatch):
    client.predict(np.ones((2, 4)))
    _, outputs, method = SIGNATURES["features"]
    wider = ({"inputs": ("DT_FLOAT", [-1, 6])}, outputs, method)
    monkeypatch.setitem(SIGNATURES, "features", wider)
    monkeypatch.setattr(client_servers, "WEIGHTS", np.ones((6, 3), np.float32))
    monkeypatch.setattr(Model, "predict", lambda self, name, x: {"features": x["inputs"][:, :3]})
    answer = client.predict(np.ones((2, 6)), signature="features")
    np.testing.assert_array_equal(answer["features"], np.ones((2, 3)))
    assert len(model.calls("metadata")) == 2


def test_no_rows_are_answered_from_the_signature(client, model):
    answer = client.predict(np.zeros((0, 4)))
    assert {name: (a.dtype.name, a.shape) for name, a in answer.items()} == {
        "scores": ("float32", (0, 3)),
        "classes": ("int64", (0,)),
    }
    answer = client.predict({n: np.zeros((0, 4)) for n in "ab"}, signature="two", batch_size=7)
    assert answer["features"].shape == (0, 3)
    assert client.classify([]) == client.classify(np.zeros((0, 4))) == []
    assert client.regress(np.zeros((0, 4))).dtype == client.regress([]).dtype == np.float32
    assert client.regress(np.zeros((0, 4))).shape == client.regress([]).shape == (0,)
    assert [call for call, *_ in model.requests] == ["metadata"]


@pytest.mark.parametrize(
    ("value", "received"),
    [
        ([None], r"None \(NoneType\), entry 0"),
        ([1j], "complex128"),
        (np.array(["2026-01-01"], "datetime64[D]"), r"datetime64\[D\]"),
    ],
)
def test_what_no_request_holds_is_refused_under_another_name_too(client, model, value, received):
    """Over REST such values ended in a TypeError, or went on as null."""
    with pytest.raises(ValueError, match=f"'y': .*{received}; the signature has no such input"):
        client.predict({"inputs": np.ones((1, 4)), "y": value})
    assert not model.calls("predict")


@pytest.mark.parametrize("value", [[1.5], ["a"], np.array([b"a"]), [True]])
def test_other_names_are_sent_since_the_server_judges_them(value):
    sent = Signature({"x": TensorSpec("float32", (None,))}, {}, "").arrays({"y": value})["y"]
    assert sent.tolist() == [v.encode() if isinstance(v, str) else v for v in value]
    assert sent.dtype.name in NUMPY_DTYPES.values()


def test_some_rows_beside_none_are_refused(client, model):
    with pytest.raises(ValueError, match=r"as many rows of each, received \{'a': 2, 'b': 0\}"):
        client.predict({"a": np.zeros((2, 4)), "b": np.zeros((0, 4))}, signature="two")
    assert not model.calls("predict")


@pytest.mark.parametrize(
    ("shape", "empty"), [((None, 2, None), (0, 2, 0)), (None, (0,)), ((None,), (0,))]
)
def test_lengths_that_the_signature_leaves_are_zero(shape, empty):
    inputs = {"x": TensorSpec("float32", (None, 3))}
    signature = Signature(inputs, {"y": TensorSpec("object", shape)}, "")
    answer = signature.no_answers()["y"]
    assert (answer.shape, answer.dtype) == (empty, object)


@pytest.mark.parametrize("shape", [(), (1, 3)])
def test_an_output_without_rows_cannot_be_guessed(shape):
    signature = Signature({}, {"y": TensorSpec("float32", shape)}, "")
    with pytest.raises(ValueError, match="expected at least one row, received none; output 'y'"):
        signature.no_answers()


def test_inputs_that_are_no_batch_are_sent():
    specs = {"x": TensorSpec("float32", (0, 4)), "y": TensorSpec("float32", (None, 0))}
    signature = Signature(specs, {}, "")
    arrays = signature.arrays({"x": np.zeros((0, 4)), "y": np.zeros((2, 0))})
    assert not signature.has_no_rows(arrays)
