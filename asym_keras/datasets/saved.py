"""A `Dataset` that was written to a file."""

from __future__ import annotations

import json
import os
from typing import Any

import numpy as np

from asym_keras.datasets.dataset import ARRAYS, Dataset
from asym_keras.datasets.preprocessing import Preprocessing
from asym_keras.files import user_path


def load_dataset(path: str | os.PathLike[str]) -> Dataset:
    """Reads what `Dataset.save` wrote: the same arrays, bit for bit, and what was said of them.

    Raises:
        FileNotFoundError: No such file.
        ValueError: Not such a file, or a damaged one.

    Example:
        >>> data = asym_keras.datasets.load_simulated(examples=5, test_examples=4, input_dim=3)
        >>> data.save("data.npz")
        >>> asym_keras.datasets.load_dataset("data.npz").fingerprint() == data.fingerprint()
        True
    """
    path = user_path(path)
    if not path.is_file():
        raise FileNotFoundError(f"expected a file that Dataset.save wrote, received none: {path}")
    try:
        with open(path, "rb") as opened, np.load(opened, allow_pickle=False) as file:
            arrays = dict(file)
        part = _read(arrays, "transfer/") if "transfer/facts" in arrays else None
        return _read(arrays, "", transfer=part)
    except Exception as error:  # a flipped bit can make NumPy and zipfile raise almost any
        raise ValueError(
            f"{path}: expected what Dataset.save wrote, received a file that can't be read "
            f"({type(error).__name__}: {error}). Write it again; datasets.load_npz reads arrays "
            "x_train, y_train, x_test, y_test of your own."
        ) from error


def _read(arrays: dict[str, np.ndarray], prefix: str, transfer: Dataset | None = None) -> Dataset:
    facts = json.loads(str(arrays[f"{prefix}facts"]))
    record = facts.pop("preprocessing")
    if record is not None:
        facts["preprocessing"] = Preprocessing.from_dict(record)
    parts: dict[str, Any] = {
        name: arrays[f"{prefix}{name}"] for name in ARRAYS if f"{prefix}{name}" in arrays
    }
    return Dataset(**parts, **facts, transfer=transfer)
