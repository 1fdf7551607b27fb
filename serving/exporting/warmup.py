"""Warm-up requests, which the model server replays before a version answers its clients.

Without them the first request has to wait while TensorFlow optimises the graph. If a warm-up
request fails, the server refuses the version. So requests are made only for signatures that the
version has.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from serving import extra
from serving.versions import WARMUP_FILE

BATCHES = (1, 64)  # numbers of rows in the requests
_OF_EXAMPLES = ("classify", "regress")  # signatures that take serialized tf.Example


def check_installed() -> Any:
    """Returns the module of TensorFlow Serving's `PredictionLog` messages.

    Raises:
        ModuleNotFoundError: tensorflow-serving-api is not installed.
    """
    module = "tensorflow_serving.apis.prediction_log_pb2"
    otherwise = ", or leave the requests out (--no-warmup)."
    return extra.load(module, wanted_by="warm-up requests", otherwise=otherwise)


def warmup_requests(card: dict[str, Any], signatures: Iterable[str]) -> list:
    """A request for each batch size to each signature, as `PredictionLog` messages.

    Args:
        card: of the model, for its name and its inputs.
        signatures: names of the signatures in the version.

    Returns:
        Messages in the order of `signatures`. Classify and Regress get one example each.

    Raises:
        ModuleNotFoundError: tensorflow-serving-api is not installed.
    """
    import tensorflow as tf

    log = check_installed().PredictionLog
    low, high = (card["inputs"].get(key) for key in ("low", "high"))
    middle = 0.0 if low is None or high is None else float(round((low + high) / 2))
    dim = card["inputs"]["dim"]
    requests = []
    for name in signatures:
        request: dict[str, Any] = {"model_spec": {"name": card["name"], "signature_name": name}}
        if name not in _OF_EXAMPLES:
            dtype = "uint8" if name == "serving_uint8" else "float32"
            value = int(middle) if dtype == "uint8" else middle
            for rows in BATCHES:  # each message holds the value once, whatever its shape
                tensor = tf.make_tensor_proto(value, dtype, [rows, dim])
                filled = {**request, "inputs": {"inputs": tensor}}
                requests.append(log(predict_log={"request": filled}))
        else:
            request["input"] = {"example_list": {"examples": [example([middle] * dim)]}}
            requests.append(log(**{f"{name}_log": {"request": request}}))
    return requests


def write_warmup(
    folder: str | os.PathLike[str], card: dict[str, Any], signatures: Iterable[str]
) -> Path:
    """Writes the requests to `folder/assets.extra/tf_serving_warmup_requests`; returns its path."""
    return write_requests(folder, warmup_requests(card, signatures))


def write_requests(folder: str | os.PathLike[str], requests: Iterable[Any]) -> Path:
    """Writes `PredictionLog` messages where the server looks for them; returns the path."""
    import tensorflow as tf

    path = Path(folder) / WARMUP_FILE
    path.parent.mkdir(parents=True)
    with tf.io.TFRecordWriter(os.fspath(path)) as file:
        for request in requests:
            file.write(request.SerializeToString())
    return path


def example(row: Iterable[float]) -> Any:
    """A `tf.Example` with the floats of `row` as its feature `inputs`."""
    import tensorflow as tf

    feature = tf.train.Feature(float_list={"value": row})
    return tf.train.Example(features={"feature": {"inputs": feature}})
