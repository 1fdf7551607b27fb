"""Warm-up requests: what the model server replays before it lets a version answer.

Without them the first request pays for the graph's optimisation. A warm-up request that fails
makes the server refuse the version, so each is built for a signature that is there.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from serving import extra
from serving.versions import WARMUP_FILE

BATCHES = (1, 64)
_DTYPES = {"serving_default": "float32", "serving_uint8": "uint8", "features": "float32"}


def check_installed() -> Any:
    """The module of TensorFlow Serving's `PredictionLog` messages.

    Raises:
        ModuleNotFoundError: It is not installed.
    """
    return extra.load(
        "tensorflow_serving.apis.prediction_log_pb2",
        wanted_by="warm-up requests",
        otherwise=", or leave the requests out (--no-warmup).",
    )


def warmup_requests(card: dict[str, Any], signatures: Iterable[str]) -> list:
    """A request for each batch size to each signature, as `PredictionLog` messages.

    Args:
        card: of the model: its name, and what its inputs are.
        signatures: names of the signatures there are.

    Returns:
        Messages in the order of `signatures`; Classify and Regress get one example each.

    Raises:
        ModuleNotFoundError: TensorFlow Serving's messages are not installed.
    """
    log = check_installed().PredictionLog
    requests = []
    for name in signatures:
        request: dict[str, Any] = {
            "model_spec": {"name": card["name"], "signature_name": name},
        }
        if name in _DTYPES:
            for rows in BATCHES:
                request["inputs"] = {"inputs": _tensor(card, _DTYPES[name], rows)}
                requests.append(log(predict_log={"request": request}))
        else:
            row = [_value(card)] * card["inputs"]["dim"]
            request["input"] = {"example_list": {"examples": [example(row)]}}
            requests.append(log(**{f"{name}_log": {"request": request}}))
    return requests


def write_warmup(
    folder: str | os.PathLike[str], card: dict[str, Any], signatures: Iterable[str]
) -> Path:
    """Writes the requests to `folder/assets.extra/tf_serving_warmup_requests`; returns its path."""
    import tensorflow as tf

    requests = warmup_requests(card, signatures)
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


def _tensor(card: dict[str, Any], dtype: str, rows: int) -> Any:
    """A tensor of one value; the message holds it once, whatever the shape."""
    import tensorflow as tf

    value = _value(card)
    shape = [rows, card["inputs"]["dim"]]
    return tf.make_tensor_proto(int(value) if dtype == "uint8" else value, dtype, shape)


def _value(card: dict[str, Any]) -> float:
    """A raw value in the middle of the range."""
    low, high = card["inputs"].get("low"), card["inputs"].get("high")
    return 0.0 if low is None or high is None else float(round((low + high) / 2))
