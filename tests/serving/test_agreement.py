"""Every preset answers the same by Keras, SavedModel, REST in rows and columns, and gRPC."""

from __future__ import annotations

import json
from pathlib import Path

import grpc
import httpx
import numpy as np
import packaged_models
import pytest
import serving_models
import tensorflow as tf
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

import asym_keras as ak
from asym_keras.presets import preset_card
from serving.export import export_model
from serving.exporting.check import check_examples
from serving.exporting.network import as_network

TOLERANCE = 1e-5
SHIPPED = Path(__file__).resolve().parents[2] / "saved_models"
BY_HAND = ["image", "columns, refitted"]  # a classifier and a regressor
# One preset is enough to tell a fault of the servers; all of them, of the presets.
PRESETS = [
    pytest.param(name, marks=[pytest.mark.slow] if place else [])
    for place, name in enumerate(n for n in ak.list_presets() if "widths" not in preset_card(n))
]


def agree(got, expected):
    np.testing.assert_allclose(got, expected, rtol=0, atol=TOLERANCE * np.abs(expected).max())


def outputs_of(answer, alias):
    """Rows or columns of REST, one output of which has no name."""
    if isinstance(answer, dict):
        return answer[alias]
    return [row[alias] for row in answer] if isinstance(answer[0], dict) else answer


def check_agreement(name, models, model, card, x):
    """Compares all the ways to ask the newest version of a model in the folder `models`."""
    expected = np.asarray(model(x))
    classifies = card["task"] == "classification"
    alias = "scores" if classifies else "outputs"
    newest = max((models / name).iterdir(), key=lambda path: int(path.name))
    signature = tf.saved_model.load(str(newest)).signatures["serving_default"]
    found = {"signature": {k: v.numpy() for k, v in signature(tf.constant(x)).items()}}
    with serving_models.running_preview(models) as server:
        url = f"{server.rest}/v1/models/{name}:predict"
        for form, key in (("instances", "predictions"), ("inputs", "outputs")):
            response = httpx.post(url, content=json.dumps({form: x.tolist()}), timeout=30)
            answer = response.json()[key]
            found[form] = {alias: outputs_of(answer, alias)}
            if classifies:
                found[form]["classes"] = outputs_of(answer, "classes")
        request = predict_pb2.PredictRequest()
        request.model_spec.name = name
        request.inputs["inputs"].CopyFrom(tf.make_tensor_proto(x))
        with grpc.insecure_channel(server.grpc) as channel:
            stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
            outputs = stub.Predict(request, timeout=30).outputs
            found["grpc"] = {k: tf.make_ndarray(v) for k, v in outputs.items()}
    for answer in found.values():
        assert answer.keys() == ({"scores", "classes"} if classifies else {"outputs"})
        agree(answer[alias], expected)
        if classifies:  # whichever it is where two scores are as good as equal
            chosen = np.take_along_axis(expected, np.array(answer["classes"])[:, None], axis=1)
            agree(chosen, expected.max(axis=1, keepdims=True))
    assert len(found) == 4


@pytest.mark.parametrize("case", BY_HAND)
def test_packaged_model_answers_the_same_whoever_is_asked(case, tmp_path):
    model, _, card, x = packaged_models.case(case)
    export_model(model, card, tmp_path)
    check_agreement(card["name"], tmp_path, model, card, x)


@pytest.mark.parametrize("name", PRESETS)
def test_preset_answers_the_same_whoever_is_asked(name, tmp_path):
    model, card = ak.from_preset(name), preset_card(name)
    if (SHIPPED / name).is_dir():
        (tmp_path / name).symlink_to(SHIPPED / name)
    else:
        export_model(model, card, tmp_path)
    check_agreement(name, tmp_path, model, card, check_examples(as_network(model), card))


def test_a_difference_is_seen(tmp_path):
    model, _, card, x = packaged_models.case("image")
    export_model(model, card, tmp_path)
    weights = [weight * 1.0001 for weight in model.get_weights()]
    model.set_weights(weights)
    with pytest.raises(AssertionError, match="Not equal to tolerance"):
        check_agreement(card["name"], tmp_path, model, card, x)
