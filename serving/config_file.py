"""Reads a `models.config`, as `serving.model_config` writes it."""

from __future__ import annotations

import os
from pathlib import Path, PurePosixPath
from typing import Any

from asym_keras.files import user_path
from serving import extra


def read(path: str | os.PathLike, *, models: str | os.PathLike | None = None) -> Any:
    """The `ModelServerConfig` in a file.

    Args:
        path: text of a `ModelServerConfig` with a list of models.
        models: folder that replaces the folders in the file: of each base path only the last part
            counts. So a file that is meant for a container can be tried here.

    Raises:
        OSError: The file can't be read.
        ModuleNotFoundError: The extra `serving` is not installed.
        ValueError: The file is no such text, names no model or one model twice, or has a base path
            that is not absolute.
    """
    module = extra.load("tensorflow_serving.config.model_server_config_pb2", wanted_by="--config")
    from google.protobuf import text_format

    path = user_path(path)
    try:
        text = path.read_text(encoding="utf-8")
        config = text_format.Parse(text, module.ModelServerConfig())
    except (text_format.ParseError, UnicodeDecodeError) as error:
        expected = "expected the text of a models.config, as serving.model_config writes it"
        raise ValueError(f"{path}: {expected}, received {error}") from error
    listed = config.model_config_list.config
    if not listed:
        raise ValueError(f"{path}: expected a model_config_list of models, received none")
    names = [model.name for model in listed]
    for model in listed:
        if names.count(model.name) > 1:
            raise ValueError(f"{path}: expected each model once, received {model.name} again")
        if models is not None:
            name = PurePosixPath(model.base_path).name
            model.base_path = str(user_path(models).absolute() / name)
        elif not Path(model.base_path).is_absolute():
            received = f"received {model.base_path!r} of model {model.name}"
            raise ValueError(f"{path}: expected absolute paths, {received}")
    return config
