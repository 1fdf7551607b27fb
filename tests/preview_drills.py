"""What the failure drills of the preview server share."""

from __future__ import annotations

import json

import httpx
import numpy as np
import serving_models

PREDICT = "/v1/models/dense:predict"


def models_folder(tmp_path_factory):
    models = tmp_path_factory.mktemp("models")
    for name in ("dense", "types"):
        (models / name).mkdir()
    serving_models.save_dense(models / "dense" / "1")
    serving_models.save_types(models / "types" / "1")
    return models


def body_of(x):
    return json.dumps({"signature_name": "features", "instances": np.asarray(x).tolist()})


def alive(server):
    answer = httpx.post(server.rest + PREDICT, content=body_of([[1, 0, 0, 0]]), timeout=20)
    assert answer.json() == {"predictions": [serving_models.scores([1, 0, 0, 0]).tolist()]}
    return True
