"""A model's answers as JSON, or in a file."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from asym_keras.files import atomic_path, write_text
from serving.client import json_tensors
from serving.client.signatures import Arrays


def as_json(outputs: Arrays) -> str:
    """Nested lists by name; NaN and the infinities as bare tokens, bytes in base 64."""
    items = sorted(outputs.items())
    lines = (f"{json.dumps(name)}: {json_tensors.encode(array)}" for name, array in items)
    return "{" + ",\n ".join(lines) + "}\n"


def check_path(path: Path, *suffixes: str) -> None:
    """Checks the name and folder of `path` before the long work.

    Raises:
        ValueError: `path` ends in none of the `suffixes`.
        FileNotFoundError: Its folder does not exist.
    """
    if path.suffix not in suffixes:
        expected = " or ".join(suffixes)
        raise ValueError(f"--output: expected a name that ends in {expected}, received {path}")
    if not path.absolute().parent.is_dir():
        received = f"{path.parent}; make it first"
        raise FileNotFoundError(f"--output: expected an existing folder, received {received}")


def write(path: Path, outputs: Arrays) -> None:
    """Writes a `.json` or `.npz` file. In a `.npz` file strings are bytes of one length."""
    if path.suffix == ".json":
        write_text(path, as_json(outputs))
        return
    plain = {n: a.astype("S") if a.dtype == object else a for n, a in outputs.items()}
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        np.savez(file, **plain)  # type: ignore[arg-type]
