"""Packages of the extra `serving`, imported where they are first needed."""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Iterator
from typing import Any

from asym_keras.extras import install_command


@contextlib.contextmanager
def needed(by: str, *, otherwise: str = "") -> Iterator[None]:
    """Names the extra, if an import within the block finds that a package is not installed.

    Args:
        by: what needs the package, for the message.
        otherwise: how to do without it, for the end of the message.

    Raises:
        ModuleNotFoundError: In place of the import's own.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"{by}: expected the package {error.name}, received none. Install it with: "
            f"{install_command('serving')}{otherwise}",
            name=error.name,
        ) from error


def load(module: str, *, wanted_by: str, otherwise: str = "") -> Any:
    """Imports and returns a module of such a package; for the arguments and errors see `needed`."""
    with needed(wanted_by, otherwise=otherwise):
        return importlib.import_module(module)
