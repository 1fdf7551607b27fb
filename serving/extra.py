"""Packages of the extra `serving`, imported where they are first needed."""

from __future__ import annotations

import importlib
from typing import Any


def load(package: str, *, wanted_by: str) -> Any:
    """The package.

    Raises:
        ModuleNotFoundError: It is not installed; the message names the extra.
    """
    try:
        return importlib.import_module(package)
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"{wanted_by}: expected the package {error.name}, received none. Install it with: "
            "pip install 'asym-keras[serving]'",
            name=error.name,
        ) from error
