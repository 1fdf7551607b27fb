"""Runs the warm-up requests of a version when it is loaded. If one fails, the loading fails."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import tensorflow as tf
from google.protobuf.message import DecodeError
from tensorflow_serving.apis import prediction_log_pb2

from serving.preview import core, tensors
from serving.preview.errors import ServingError, from_tensorflow, invalid
from serving.preview.servable import Servable
from serving.versions import WARMUP_FILE

_MOST = 1000  # records in the file


def warm(servable: Servable, folder: Path) -> None:
    """Runs the requests in `assets.extra/tf_serving_warmup_requests`, if the version has that file.

    Raises:
        ServingError: The version does not answer a request, or the file is damaged.
    """
    if not (folder / WARMUP_FILE).is_file():
        return
    try:
        records = tf.data.TFRecordDataset(str(folder / WARMUP_FILE)).take(_MOST + 1)
        parse = prediction_log_pb2.PredictionLog.FromString
        logs = [parse(record) for record in records.as_numpy_iterator()]
    except tf.errors.OpError as error:
        raise from_tensorflow(error) from error
    except DecodeError as error:
        raise invalid(f"Failed to parse warmup record: {error}") from error
    if len(logs) > _MOST:
        raise invalid(f"Number of warmup records exceeds the maximum: {_MOST}")
    for log in logs:
        _run(servable, log)


def _run(servable: Servable, log: Any) -> None:
    kind = log.WhichOneof("log_type")
    request: Any = getattr(log, kind).request if kind else None
    if kind == "predict_log":
        inputs, name = tensors.to_inputs(request), request.model_spec.signature_name
        core.predict(servable, name, inputs, output_filter=request.output_filter)
    elif kind in ("classify_log", "regress_log"):
        call = core.classify if kind == "classify_log" else core.regress
        call(servable, request.model_spec.signature_name, tensors.to_examples(request.input))
    elif kind not in (None, "multi_inference_log"):  # the preview does not have that call
        raise ServingError("UNIMPLEMENTED", f"Unsupported log_type for warmup: {kind}")
