"""Packages of the extra `serving`, imported where they are first needed."""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Iterator
from typing import Any

from asym_keras.extras import install_command


@contextlib.contextmanager
def needed(by: str, *, otherwise: str = "") -> Iterator[None]:
    """Says how to install the extra if an import within the block finds a package missing.

    Args:
        by: what needs the package. The message begins with it.
        otherwise: how to do without the package. The message ends with it.

    Raises:
        ModuleNotFoundError: A package is missing; in place of the import's own error.
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
    """Imports and returns a module of the extra; its arguments and errors are those of `needed`."""
    with needed(wanted_by, otherwise=otherwise):
        return importlib.import_module(module)
