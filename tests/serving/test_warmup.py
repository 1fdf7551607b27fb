"""Warm-up requests: replayed as the model server does, each has to succeed."""

from __future__ import annotations

import sys

import numpy as np
import packaged_models as pm
import pytest
import tensorflow as tf

from serving.exporting.check import Served
from serving.exporting.warmup import BATCHES, check_installed, warmup_requests, write_warmup
from serving.versions import WARMUP_FILE

prediction_log_pb2 = pytest.importorskip("tensorflow_serving.apis.prediction_log_pb2")


def read(folder):
    records = tf.data.TFRecordDataset([str(folder / WARMUP_FILE)]).as_numpy_iterator()
    return [prediction_log_pb2.PredictionLog.FromString(record) for record in records]


def replay(served, log):
    """Model name, signature, rows and answer, or the error of the Session."""
    kind = log.WhichOneof("log_type")
    request = getattr(log, kind).request
    if kind == "predict_log":
        assert list(request.inputs) == ["inputs"]
        inputs = tf.make_ndarray(request.inputs["inputs"])
    else:
        assert request.model_spec.signature_name == kind.removesuffix("_log")
        examples = request.input.example_list.examples
        inputs = np.array([example.SerializeToString() for example in examples], object)
    signature = request.model_spec.signature_name
    wanted = served.signatures[signature].inputs["inputs"].dtype
    assert tf.dtypes.as_dtype(wanted) == tf.dtypes.as_dtype(inputs.dtype)  # the server is strict
    answer = served(signature, inputs)
    assert all(len(values) == len(inputs) for values in answer.values())
    assert all(np.isfinite(values).all() for values in answer.values() if values.dtype.kind == "f")
    return request.model_spec.name, signature, len(inputs)


@pytest.mark.parametrize(
    ("name", "predicting", "other"),
    [
        ("image", ["serving_default", "serving_uint8", "features"], "classify"),
        ("vector", ["serving_default", "features"], "classify"),
        ("columns", ["serving_default", "features"], "regress"),
    ],
)
def test_every_request_succeeds_and_every_signature_is_asked(name, predicting, other, tmp_path):
    model, _, card, _ = pm.case(name)
    pm.write(model, card, tmp_path)
    with Served(tmp_path) as served:
        assert write_warmup(tmp_path, card, list(served.signatures)) == tmp_path / WARMUP_FILE
        replayed = [replay(served, log) for log in read(tmp_path)]
    expected = {("small", s, rows) for s in predicting for rows in BATCHES}
    assert set(replayed) == expected | {("small", other, 1)}
    assert len(replayed) == len(expected) + 1


def test_requests_are_small_whatever_their_batch():
    card = pm.card(dim=784, outputs=10)
    [one, many] = warmup_requests(card, ["serving_default"])
    assert many.ByteSize() <= one.ByteSize() + 8
    pixels = tf.make_ndarray(many.predict_log.request.inputs["inputs"])
    np.testing.assert_array_equal(pixels, np.full((64, 784), 128.0, "float32"))


def test_missing_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorflow_serving", None)
    for name in [m for m in sys.modules if m.startswith("tensorflow_serving.")]:
        monkeypatch.delitem(sys.modules, name)
    with pytest.raises(ModuleNotFoundError, match=r"\[serving\].*--no-warmup"):
        check_installed()
