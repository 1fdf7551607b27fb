"""The demo in front of the preview server: the list, and answers as the model gives them."""

from __future__ import annotations

import json
import urllib.request

import numpy as np
import pytest
import tensorflow as tf
from fake_tf_serving import PIXELS, WEIGHTS, running, scores
from serving_models import running_preview

from serving.demo.app import make_app
from serving.demo.settings import Settings

FEATURES = 30


class Digits(tf.Module):
    """The stand-in's linear map as a model, and a few features."""

    @tf.function(input_signature=[tf.TensorSpec((None, PIXELS), tf.float32, name="inputs")])
    def predict(self, inputs):
        answers = inputs @ tf.constant(WEIGHTS, tf.float32)
        return {"scores": answers, "classes": tf.argmax(answers, axis=1)}

    @tf.function(input_signature=[tf.TensorSpec((None, PIXELS), tf.float32, name="inputs")])
    def features(self, inputs):
        return {"features": inputs[:, :FEATURES]}


@pytest.fixture
def demo(tmp_path):
    module = Digits()
    signatures = {"serving_default": module.predict, "features": module.features}
    tf.saved_model.save(module, str(tmp_path / "digits" / "4"), signatures=signatures)
    with running_preview(tmp_path, labels=["digits:stable=4"]) as preview:
        settings = Settings(server=preview.rest, models=("digits", "none"), models_dir=tmp_path)
        with running(make_app(settings)) as url:
            yield url


def ask(url, content=None):
    body = None if content is None else json.dumps(content).encode()
    with urllib.request.urlopen(urllib.request.Request(url, body), timeout=30) as answer:
        return json.load(answer)


def test_demo_shows_and_asks_what_the_preview_server_serves(demo):
    digits, missing = ask(f"{demo}/models.json")["models"]
    assert (digits["version"], digits["nodes"], digits["problem"]) == (4, FEATURES, None)
    assert (missing["version"], "not" in missing["problem"]) == (None, True)
    row = np.random.default_rng(1).integers(0, 256, PIXELS).tolist()
    for path in ("digits:predict", "digits/versions/4:predict", "digits/labels/stable:predict"):
        (prediction,) = ask(f"{demo}/v1/models/{path}", {"instances": [row]})["predictions"]
        np.testing.assert_allclose(prediction["scores"], scores(row), rtol=1e-5, atol=1e-5)
        assert prediction["classes"] == scores(row).argmax()
