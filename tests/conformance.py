"""Models and servers of the conformance suite, written from TF Serving's public documentation.

The models are after those of its documents: half plus two, half plus three, three named inputs. A
test asks the preview server, and `tensorflow_model_server` where that is installed.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace

import httpx
import serving_models
import tensorflow as tf

BINARY = "tensorflow_model_server"
SERVERS = ["preview", *([BINARY] if shutil.which(BINARY) else [])]
HALF, DOCUMENT, KINDS = "/v1/models/half", "/v1/models/document", "/v1/models/kinds"
DTYPES = "bool string int8 int16 int32 int64 uint8 uint32 uint64 float32 float64".split()
STRINGS = [tf.TensorSpec((None,), tf.string, name="inputs")]


class Half(tf.Module):
    """Half of x, plus an offset: by tensor, and by `tf.Example` as the documents have it."""

    def __init__(self, offset):
        self.offset = tf.Variable(float(offset))

    @tf.function(input_signature=[tf.TensorSpec(None, tf.float32, name="x")])
    def serving_default(self, x):
        return {"y": x / 2 + self.offset}

    @tf.function(input_signature=STRINGS)
    def regress_x_to_y(self, inputs):
        return {"outputs": self._feature(inputs, "x", tf.float32) / 2 + self.offset}

    @tf.function(input_signature=STRINGS)
    def regress_whole(self, inputs):
        return {"outputs": tf.cast(self._feature(inputs, "n", tf.int64)[:, 0], tf.float32)}

    @tf.function(input_signature=STRINGS)
    def classify_x_to_y(self, inputs):
        return {"scores": self._feature(inputs, "x", tf.float32) / 2 + self.offset}

    @tf.function(input_signature=STRINGS)
    def classify_image(self, inputs):
        captions = [self._feature(inputs, name, tf.string) for name in ("image", "caption")]
        labels = tf.concat(captions, axis=1)
        return {"classes": labels, "scores": tf.cast(tf.strings.length(labels), tf.float32)}

    @staticmethod
    def _feature(inputs, name, dtype):
        return tf.io.parse_example(inputs, {name: tf.io.FixedLenFeature((1,), dtype)})[name]


class Document(tf.Module):
    """The three named inputs of the page on the REST API, and several outputs."""

    @tf.function(
        input_signature=[
            tf.TensorSpec((None,), tf.string, name="tag"),
            tf.TensorSpec((None, 5), tf.float32, name="signal"),
            tf.TensorSpec((None, 2, 2), tf.int32, name="sensor"),
        ]
    )
    def serving_default(self, tag, signal, sensor):
        total = tf.reduce_sum(signal, axis=1)
        return {"name": tag, "name_bytes": tag, "total": total, "twice": 2 * sensor}


class Kinds(tf.Module):
    """Tensors of every kind as they come, and some that REST can't write."""

    def __init__(self):
        for name in [*DTYPES, "float16", "complex64"]:
            spec = tf.TensorSpec(None, tf.as_dtype(name), name="x")
            setattr(self, name, tf.function(self._same, input_signature=[spec]))

    def _same(self, x):
        return {"y": tf.identity(x)}

    @tf.function(input_signature=[tf.TensorSpec((None,), tf.float32, name="x")])
    def to_half(self, x):
        return {"y": tf.cast(x, tf.float16)}

    @tf.function(input_signature=[tf.TensorSpec((None,), tf.float32, name="x")])
    def to_scalar(self, x):
        return {"y": tf.reduce_sum(x)}

    @tf.function(input_signature=[tf.TensorSpec((None,), tf.float32, name="x")])
    def to_uneven(self, x):
        return {"y": x, "first": x[:1]}

    @tf.function(input_signature=[tf.TensorSpec((None,), tf.float32, name="x")])
    def forever(self, x):
        start = (x, tf.constant(False))
        return {"y": tf.while_loop(lambda y, end: ~end, lambda y, end: (y + 1, end), start)[0]}

    @tf.function(input_signature=[tf.TensorSpec((None, 3), tf.float32, name="x")])
    def serving_default(self, x):
        return {"y": x @ tf.constant([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])}


@functools.cache
def saved(kind, *arguments):
    """A folder with a SavedModel; written once in a process."""
    module = {"half": Half, "document": Document, "kinds": Kinds}[kind](*arguments)
    found = {name: getattr(module, name, None) for name in dir(module)}
    signatures = {name: f for name, f in found.items() if isinstance(f, SIGNATURE)}
    folder = tempfile.TemporaryDirectory()
    tf.saved_model.save(module, folder.name, signatures=signatures)
    methods = tf.compat.v1.saved_model.signature_def_utils.MethodNameUpdater(folder.name)
    for name in signatures:
        if (method := name.partition("_")[0]) in ("classify", "regress"):
            methods.replace_method_name(name, f"tensorflow/serving/{method}")
    methods.save()
    return folder


SIGNATURE = type(tf.function(lambda: None))


def put(kind, *arguments, version: Path):
    """Puts a SavedModel into a version's folder as the documents say: beside it, then renamed."""
    version.parent.mkdir(exist_ok=True)
    beside = version.parent / f".{version.name}"
    shutil.copytree(saved(kind, *arguments).name, beside)
    os.rename(beside, version)
    return version


def documented_models(folder: Path) -> Path:
    """Two versions of `half` (plus two, plus three), and one of each of the others."""
    put("half", 2, version=folder / "half" / "1")
    put("half", 3, version=folder / "half" / "00000123")
    put("document", version=folder / "document" / "7")
    put("kinds", version=folder / "kinds" / "7")
    return folder


@contextlib.contextmanager
def served(kind, models: Path, *, versions=(), labels=(), timeout=30.0):
    """A server of the folder, and a client of its REST API: `.rest`, `.grpc`, `.http`, `.kind`."""
    start = serving_models.running_preview if kind == "preview" else real_server
    started = start(models, versions=versions, labels=labels, timeout=timeout)
    with started as server, httpx.Client(base_url=server.rest, timeout=30) as http:
        yield SimpleNamespace(rest=server.rest, grpc=server.grpc, http=http, kind=kind)


@contextlib.contextmanager
def real_server(models, *, versions, labels, timeout):
    """TensorFlow Serving itself, by this project's own command."""
    flags = [flag for text in versions for flag in ("--versions", text)]
    flags += [flag for text in labels for flag in ("--label", text)]
    command = [sys.executable, "-m", "serving.serve", "--models", str(models), *flags]
    command += ["--rest-port", "0", "--grpc-port", "0", "--poll-seconds", "1"]
    command += ["--timeout", str(timeout)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        told = json.loads(process.stdout.readline())
        host = told["host"]
        yield SimpleNamespace(
            rest=f"http://{host}:{told['rest_port']}", grpc=f"{host}:{told['grpc_port']}"
        )
    finally:
        process.terminate()
        process.wait(30)
        process.stdout.close()


def post(server, path, body, **options):
    """A body that is text or bytes goes as it is."""
    content = body if isinstance(body, (str, bytes)) else json.dumps(body)
    return server.http.post(path, content=content, **options)


def answer(server, path, body, **options):
    """The text of a good answer, less its white space."""
    response = post(server, path, body, **options)
    assert response.status_code == 200, response.text
    assert response.headers["content-type"] == "application/json"
    return "".join(response.text.split())


def refusal(response, code):
    """The text of an error."""
    assert response.status_code == code, response.text
    assert response.headers["content-type"] == "application/json"
    assert list(response.json()) == ["error"]
    return response.json()["error"]
