"""Where data are kept: the folders that the environment names."""

from __future__ import annotations

import os
from pathlib import Path

from asym_keras.files import user_path

DATA_DIR = "ASYM_KERAS_DATA_DIR"


def data_folder() -> Path | None:
    """The folder that `ASYM_KERAS_DATA_DIR` names, if it is set."""
    given = os.environ.get(DATA_DIR)
    return user_path(given).absolute() if given else None


def cache_folder() -> Path:
    """`$XDG_CACHE_HOME/asym_keras`, or `~/.cache/asym_keras` where that is not set."""
    return user_path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").absolute() / "asym_keras"
