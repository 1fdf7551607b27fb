"""Warm-up requests: what the model server replays before it lets a version answer.

The first request otherwise pays for the graph's optimisation. One that fails makes the server
refuse the version, so each is built from the signatures that are there.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

FILE = Path("assets.extra", "tf_serving_warmup_requests")
BATCHES = (1, 64)
_DTYPES = {"serving_default": "float32", "serving_uint8": "uint8", "features": "float32"}


def check_installed() -> None:
    """Looks for the messages of TensorFlow Serving's APIs.

    Raises:
        ModuleNotFoundError: They are not installed.
    """
    try:
        import tensorflow_serving.apis.prediction_log_pb2  # noqa: F401
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "expected the messages of TensorFlow Serving for the warm-up requests, received no "
            f"{error.name}. Install them (pip install 'asym-keras[serving]'), or leave the "
            "requests out (--no-warmup)."
        ) from error


def warmup_requests(card: dict[str, Any], signatures: Iterable[str]) -> list:
    """One request a signature and batch size, as `PredictionLog` messages.

    Args:
        card: of the model: its name, and what its inputs are.
        signatures: names of the signatures there are.

    Returns:
        Messages in the order of `signatures`.

    Raises:
        ModuleNotFoundError: TensorFlow Serving's messages are not installed.
    """
    check_installed()
    return [
        _predict(card, name, rows) if name in _DTYPES else _examples(card, name)
        for name in signatures
        for rows in (BATCHES if name in _DTYPES else BATCHES[:1])
    ]


def write_warmup(
    folder: str | os.PathLike[str], card: dict[str, Any], signatures: Iterable[str]
) -> Path:
    """Writes the requests to `folder/assets.extra/tf_serving_warmup_requests`; returns its path."""
    import tensorflow as tf

    requests = warmup_requests(card, signatures)
    path = Path(folder) / FILE
    path.parent.mkdir(parents=True)
    with tf.io.TFRecordWriter(os.fspath(path)) as file:
        for request in requests:
            file.write(request.SerializeToString())
    return path


def _spec(card, signature: str) -> dict:
    return {"name": card["name"], "signature_name": signature}


def _value(card) -> float:
    """A raw value in the middle of the range."""
    low, high = card["inputs"].get("low"), card["inputs"].get("high")
    return 0.0 if low is None or high is None else float(round((low + high) / 2))


def _predict(card, signature: str, rows: int):
    import tensorflow as tf
    from tensorflow_serving.apis import predict_pb2, prediction_log_pb2

    shape = [rows, card["inputs"]["dim"]]
    dtype, value = _DTYPES[signature], _value(card)
    # The message holds the value once, whatever the shape.
    inputs = tf.make_tensor_proto(int(value) if dtype == "uint8" else value, dtype, shape)
    request = predict_pb2.PredictRequest(
        model_spec=_spec(card, signature), inputs={"inputs": inputs}
    )
    return prediction_log_pb2.PredictionLog(
        predict_log=prediction_log_pb2.PredictLog(request=request)
    )


def _examples(card, signature: str):
    import tensorflow as tf
    from tensorflow_serving.apis import (
        classification_pb2,
        input_pb2,
        prediction_log_pb2,
        regression_pb2,
    )

    values = [_value(card)] * card["inputs"]["dim"]
    feature = tf.train.Feature(float_list=tf.train.FloatList(value=values))
    example = tf.train.Example(features=tf.train.Features(feature={"inputs": feature}))
    parts = {
        "model_spec": _spec(card, signature),
        "input": input_pb2.Input(example_list=input_pb2.ExampleList(examples=[example])),
    }
    if signature == "classify":
        log = prediction_log_pb2.ClassifyLog(
            request=classification_pb2.ClassificationRequest(**parts)
        )
        return prediction_log_pb2.PredictionLog(classify_log=log)
    log = prediction_log_pb2.RegressLog(request=regression_pb2.RegressionRequest(**parts))
    return prediction_log_pb2.PredictionLog(regress_log=log)
