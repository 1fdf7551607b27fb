"""Reads a user's own Keras model: its file, the code it needs, and the names of its classes."""

from __future__ import annotations

import importlib
import importlib.util
import json
import os
import sys
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from asym_keras.files import user_path

if TYPE_CHECKING:
    import keras


def load_own(path: str | Path, modules: Iterable[str] = ()) -> keras.Model:
    """The model in a .keras file.

    Args:
        path: of the file.
        modules: Python modules, or .py files, that register the classes of the model.

    Raises:
        FileNotFoundError: There is no such file.
        ImportError: A module can't be imported.
        ValueError: The file is no Keras model, holds Lambda layers, or needs a class that is not
            known.
    """
    file = user_path(path)
    if not file.is_file():
        raise FileNotFoundError(f"expected a Keras model, received no file {file}.")
    config = _config(file)
    _refuse_lambdas(config)
    import keras

    # Importing them registers this package's classes, without which Keras can't read its layers.
    from asym_keras import initializers, layers, nesting  # noqa: F401

    for module in modules:
        _import(module)
    try:
        return keras.models.load_model(file, compile=False)
    except Exception as error:  # for a damaged file Keras raises errors of many kinds
        raise _unreadable(file, error) from error


def read_labels(path: str | os.PathLike[str]) -> list[str]:
    """Names of classes, one a line.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The file is no text, is empty, or has an empty or repeated line.
    """
    file = user_path(path)
    if not file.is_file():
        raise FileNotFoundError(f"--labels: expected a file, received {file}, which is none.")
    try:
        labels = [line.strip() for line in file.read_text("utf-8-sig").rstrip().splitlines()]
    except UnicodeDecodeError as error:
        raise ValueError(
            f"--labels: expected a text in UTF-8, received {file}: {error}."
        ) from error
    odd = [number for number, label in enumerate(labels, 1) if labels.index(label) != number - 1]
    odd = odd or [number for number, label in enumerate(labels, 1) if not label]
    if not labels or odd:
        received = f"line {odd[0]} of {file}" if odd else f"{file}, which is empty"
        raise ValueError(f"--labels: expected a different name in each line, received {received}.")
    return labels


def _config(file: Path) -> Any:
    """The configuration in a .keras file, which describes the model's layers."""
    try:
        with zipfile.ZipFile(file) as archive:
            return json.loads(archive.read("config.json"))
    except (OSError, KeyError, ValueError, zipfile.BadZipFile) as error:
        raise _unreadable(file, error) from error


def _refuse_lambdas(config: Any) -> None:
    from serving.exporting.interface import lambda_error

    found = [c["config"].get("name", "lambda") for c in _objects(config)
             if c.get("class_name") == "Lambda" and isinstance(c.get("config"), dict)]  # fmt: skip
    if found:
        raise lambda_error(found)


def _objects(config: Any) -> Iterator[dict]:
    if isinstance(config, dict):
        yield config
    parts = config.values() if isinstance(config, dict) else config
    if isinstance(config, (dict, list)):
        for part in parts:
            yield from _objects(part)


def _import(module: str) -> None:
    try:
        if not module.endswith(".py"):
            importlib.import_module(module)
            return
        file = user_path(module)
        spec = importlib.util.spec_from_file_location(file.stem, file)
        assert spec is not None
        assert spec.loader is not None
        sys.modules[file.stem] = found = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(found)
    except Exception as error:  # the user's own code may raise anything
        told = f"{type(error).__name__}: {error}"
        raise ImportError(
            f"--import {module}: expected Python code that runs, received {told}."
        ) from error


def _unreadable(file: Path, error: Exception) -> ValueError:
    told = (str(error).strip().splitlines() or [""])[0]
    cure = "Put back a good copy."
    if "register_keras_serializable" in str(error):
        told = told.partition(". Make sure")[0]
        cure = "Name the module or file that registers its classes: --import MODULE."
    received = f"one that can't be read ({type(error).__name__}: {told})"
    return ValueError(f"expected a Keras model in {file}, received {received}. {cure}")
