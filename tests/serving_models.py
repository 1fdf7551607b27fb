"""Tiny SavedModels with known weights, and a preview server in a thread, for the serving tests."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import json
import os
import shutil
import tempfile
import time
from pathlib import Path

import httpx
import numpy as np
import tensorflow as tf
from loopback import loop_thread

DENSE, TYPES = "/v1/models/dense", "/v1/models/types"
DIM, CLASSES = 4, 3
WEIGHTS = np.arange(DIM * CLASSES, dtype=np.float32).reshape(DIM, CLASSES) / 8 - 0.5
LABELS = [b"a", b"b", b"c"]


def scores(x, factor=1.0):
    """What the model `dense` answers."""
    return np.asarray(x, np.float32) @ (WEIGHTS * np.float32(factor))


class Dense(tf.Module):
    """Scores and classes of rows; examples; types; a long call."""

    def __init__(self, factor):
        self.weights = tf.Variable(WEIGHTS * np.float32(factor))

    @tf.function(input_signature=[tf.TensorSpec((None, DIM), tf.float32, name="inputs")])
    def predict(self, inputs):
        answers = inputs @ self.weights
        return {"scores": answers, "classes": tf.argmax(answers, axis=1)}

    @tf.function(input_signature=[tf.TensorSpec((None, DIM), tf.float32, name="inputs")])
    def features(self, inputs):
        return {"features": inputs @ self.weights}

    @tf.function(input_signature=[tf.TensorSpec((None,), tf.string, name="inputs")])
    def classify(self, inputs):
        answers = self._of_examples(inputs)
        labels = tf.tile(tf.constant([LABELS]), [tf.shape(answers)[0], 1])
        return {"classes": labels, "scores": answers}

    @tf.function(input_signature=[tf.TensorSpec((None,), tf.string, name="inputs")])
    def regress(self, inputs):
        return {"outputs": self._of_examples(inputs)[:, :1]}

    def _of_examples(self, inputs):
        spec = {"inputs": tf.io.FixedLenFeature((DIM,), tf.float32)}
        return tf.io.parse_example(inputs, spec)["inputs"] @ self.weights


class Types(tf.Module):
    """Identity of every type that REST carries, of one that it does not, and two inputs."""

    @tf.function(
        input_signature=[
            tf.TensorSpec((None,), tf.int32, name="whole"),
            tf.TensorSpec((None,), tf.string, name="text"),
        ]
    )
    def pair(self, whole, text):
        return {"whole": whole + 1, "text": text, "text_bytes": text, "odd": whole % 2 == 1}

    @tf.function(input_signature=[tf.TensorSpec(None, tf.float32, name="x")])
    def echo(self, x):
        return {"y": tf.identity(x)}

    @tf.function(input_signature=[tf.TensorSpec(None, tf.float64, name="x")])
    def echo_double(self, x):
        return {"y": tf.identity(x)}

    @tf.function(input_signature=[tf.TensorSpec(None, tf.uint8, name="x")])
    def echo_uint8(self, x):
        return {"y": tf.identity(x)}

    @tf.function(input_signature=[tf.TensorSpec(None, tf.int64, name="x")])
    def echo_int64(self, x):
        return {"y": tf.identity(x)}

    @tf.function(input_signature=[tf.TensorSpec(None, tf.string, name="x")])
    def echo_string(self, x):
        return {"y": tf.identity(x)}

    @tf.function(input_signature=[tf.TensorSpec((None,), tf.float16, name="x")])
    def echo_half(self, x):
        return {"y": tf.identity(x)}

    @tf.function(input_signature=[tf.TensorSpec((None,), tf.float32, name="x")])
    def to_half(self, x):
        return {"y": tf.cast(x, tf.float16)}

    @tf.function(input_signature=[tf.TensorSpec((None,), tf.float32, name="x")])
    def sum(self, x):
        return {"y": tf.reduce_sum(x)}

    @tf.function(input_signature=[tf.TensorSpec((None,), tf.float32, name="x")])
    def forever(self, x):
        return {
            "y": tf.while_loop(lambda y: tf.reduce_sum(y) < 1e30, lambda y: (y + 0 * x,), (x,))[0]
        }


def save_dense(folder: Path, factor: float = 1.0) -> Path:
    """Puts the model into the version folder, whole: beside it first, then renamed."""
    return _put(_dense(factor), folder)


def save_types(folder: Path) -> Path:
    """Puts the model `types` into the version folder."""
    return _put(_types(), folder)


@functools.cache
def _dense(factor):
    module = Dense(factor)
    names = ("features", "classify", "regress")
    return _saved(module, {"serving_default": module.predict}, names)


@functools.cache
def _types():
    module = Types()
    names = (
        "echo echo_double echo_uint8 echo_int64 echo_string echo_half to_half sum forever".split()
    )
    return _saved(module, {"serving_default": module.pair}, names)


def _saved(module, signatures, names):
    folder = tempfile.TemporaryDirectory()
    signatures = signatures | {name: getattr(module, name) for name in names}
    tf.saved_model.save(module, folder.name, signatures=signatures)
    updater = tf.compat.v1.saved_model.signature_def_utils.MethodNameUpdater(folder.name)
    for name in {"classify", "regress"} & signatures.keys():
        updater.replace_method_name(signature_key=name, method_name=f"tensorflow/serving/{name}")
    updater.save()
    return folder


def _put(saved, folder):
    beside = folder.parent / f".{folder.name}"
    shutil.copytree(saved.name, beside)
    os.rename(beside, folder)
    return folder


def until(condition, seconds=30.0):
    """Waits until something is so."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)


@dataclasses.dataclass
class Running:
    """A started preview server."""

    server: object

    @property
    def rest(self) -> str:
        return f"http://127.0.0.1:{self.server.rest_port}"

    @property
    def grpc(self) -> str:
        return f"127.0.0.1:{self.server.grpc_port}"


@contextlib.contextmanager
def running_preview(models: Path, *, versions=(), labels=(), reread=None, **options):
    """A preview server of the folder `models`, on free ports, in a thread of this process."""
    from serving import model_config
    from serving.preview.server import Options, PreviewServer

    config = reread() if reread else model_config.build(models, versions=versions, labels=labels)
    options = Options(**{"rest_port": 0, "grpc_port": 0, "poll_seconds": 0.05, **options})
    server = PreviewServer(config, options, reread)
    with loop_thread(seconds=60) as run:
        run(server.start())
        try:
            yield Running(server)
        finally:
            run(server.stop())


@contextlib.contextmanager
def rest_client(models: Path):
    """A client of a preview server of two versions of `dense`, one labelled, and of `types`."""
    for name in ("dense", "types"):
        (models / name).mkdir()
    save_dense(models / "dense" / "1")
    save_dense(models / "dense" / "00000002", factor=2.0)
    save_types(models / "types" / "7")
    labels = ["dense:stable=1"]
    with running_preview(models, versions=["all"], labels=labels) as server:
        with httpx.Client(base_url=server.rest, timeout=30) as client:
            yield client


def post(client, path, body, **options):
    """A body that is text or bytes goes as it is."""
    content = body if isinstance(body, (str, bytes)) else json.dumps(body)
    return client.post(path, content=content, **options)


def echo(client, numbers, kind="echo"):
    """What the model `types` makes of a tensor in JSON."""
    return post(client, f"{TYPES}:predict", f'{{"signature_name": "{kind}", "inputs": {numbers}}}')


def error(response, status):
    """The text of an error in TF Serving's form."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/json"
    assert response.json().keys() == {"error"}
    return response.json()["error"]
