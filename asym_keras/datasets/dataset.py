"""The one type that every loader of `asym_keras.datasets` returns."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import os
from typing import Any

import numpy as np
import numpy.typing as npt

from asym_keras.datasets.preprocessing import Preprocessing
from asym_keras.files import atomic_path

Float32Array = npt.NDArray[np.float32]
Int64Array = npt.NDArray[np.int64]
# The fields of a `Dataset` that are arrays.
ARRAYS = ("x_train", "y_train", "x_test", "y_test", "labels_train", "labels_test")


@dataclasses.dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class Dataset:
    """A supervised task, held in memory; checked when it is made.

    Attributes:
        name: Short name, as in run folders ("mnist").
        x_train: Training inputs, float32 `(n, d)`.
        y_train: Training targets, float32 `(n, K)`; one-hot for classification.
        x_test: Test inputs, float32 `(n_test, d)`.
        y_test: Test targets, float32 `(n_test, K)`.
        labels_train: Classes of the training rows, int64 `(n,)` in 0..K-1; None for regression.
        labels_test: The same of the test rows; given exactly if `labels_train` is.
        transfer: A further task on the same d inputs, with no row of this one; or None.
        source: Where the numbers came from, in words; recorded with each run.
        preprocessing: How they were made of raw values; None: nobody says.

    Raises:
        ValueError: An array has another dtype or rank, no row, or a non-finite entry; lengths or
            dimensions disagree, also with `preprocessing`; labels are incomplete or outside
            0..K-1. The message names the array and the first offending row, counted from 0.
    """

    name: str
    x_train: Float32Array
    y_train: Float32Array
    x_test: Float32Array
    y_test: Float32Array
    labels_train: Int64Array | None = None
    labels_test: Int64Array | None = None
    transfer: Dataset | None = None
    source: str
    preprocessing: Preprocessing | None = None

    def __post_init__(self) -> None:
        for part in ("train", "test"):
            self._check_part(part)
        for array in ("x", "y"):
            train, test = (getattr(self, f"{array}_{part}").shape[1] for part in ("train", "test"))
            if train != test:
                raise self._error(
                    f"{array}_test: expected {train} columns as in {array}_train, received {test}; "
                    "prepare both parts in the same way"
                )
        if (self.labels_train is None) != (self.labels_test is None):
            raise self._error(
                "labels_train and labels_test: expected both or neither, received one; "
                "pass both for classification"
            )
        if self.transfer is not None and self.transfer.input_dim != self.input_dim:
            raise self._error(
                f"transfer: expected input dimension {self.input_dim}, received "
                f"{self.transfer.input_dim}; build it from the same inputs"
            )
        self._check_preprocessing()

    @property
    def input_dim(self) -> int:
        """Input dimension d."""
        return self.x_train.shape[1]

    @property
    def outputs(self) -> int:
        """Target columns K; the number of classes for classification."""
        return self.y_train.shape[1]

    @property
    def is_classification(self) -> bool:
        """Whether the rows have class labels."""
        return self.labels_train is not None

    def fingerprint(self) -> str:
        """First 16 hexadecimal digits of a SHA-256 over shapes, targets and inputs.

        Equal on every machine for equal training and test numbers; `name`, `source`,
        `transfer` and `preprocessing` do not enter. A checkpoint keeps it, to refuse other data
        on resuming.
        """
        digest = hashlib.sha256()
        for name in ("x_train", "y_train", "x_test", "y_test"):
            array = getattr(self, name)
            digest.update(f"{name}{array.shape}".encode())
            digest.update(np.asarray(array, dtype="<f4").tobytes())
        return digest.hexdigest()[:16]

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes the dataset to an `.npz` file, which `load_dataset` reads."""
        parts = {"": self} | ({} if self.transfer is None else {"transfer/": self.transfer})
        arrays: dict[str, Any] = {}
        for prefix, part in parts.items():
            record = part.preprocessing
            facts: dict[str, Any] = {"name": part.name, "source": part.source}
            facts["preprocessing"] = None if record is None else record.to_dict()
            arrays[f"{prefix}facts"] = np.array(json.dumps(facts))
            arrays |= {
                f"{prefix}{name}": getattr(part, name)
                for name in ARRAYS
                if getattr(part, name) is not None
            }
        with atomic_path(path) as temporary, open(temporary, "wb") as file:
            np.savez_compressed(file, **arrays)

    def __repr__(self) -> str:
        kind = "classification" if self.is_classification else "regression"
        return (
            f"Dataset({self.name!r}, {kind}, {len(self.x_train)} train + {len(self.x_test)} test "
            f"rows, input_dim={self.input_dim}, outputs={self.outputs}, "
            f"transfer={self.transfer is not None}, source={self.source!r})"
        )

    def _check_part(self, part: str) -> None:
        x, y = (self._checked_floats(f"{array}_{part}") for array in ("x", "y"))
        if len(x) != len(y):
            raise self._error(
                f"y_{part}: expected {len(x)} rows as in x_{part}, received {len(y)}; the first "
                f"row without partner is {min(len(x), len(y))}; pair inputs and targets"
            )
        labels = getattr(self, f"labels_{part}")
        if labels is not None:
            self._check_labels(f"labels_{part}", labels, y.shape)

    def _checked_floats(self, name: str) -> Float32Array:
        array = getattr(self, name)
        if not _is_array(array, np.float32, rank=2):
            raise self._error(
                f"{name}: expected a float32 array of rank 2, received {_describe(array)}; "
                f"pass numpy.asarray({name}, 'float32').reshape(rows, columns)"
            )
        if array.size == 0:
            raise self._error(
                f"{name}: expected at least one row and one column, received shape "
                f"{array.shape}; choose a larger part of the data"
            )
        bad = np.flatnonzero(~np.isfinite(array).all(axis=1))
        if bad.size:
            row = array[bad[0]]
            raise self._error(
                f"{name}: expected finite float32 values, received {row[~np.isfinite(row)][0]} "
                f"in row {bad[0]} ({bad.size} such rows); repair or remove those rows"
            )
        return array

    def _check_labels(self, name: str, labels: Int64Array, shape: tuple[int, int]) -> None:
        rows, classes = shape
        if not _is_array(labels, np.int64, rank=1) or len(labels) != rows:
            raise self._error(
                f"{name}: expected an int64 array of shape ({rows},), received "
                f"{_describe(labels)}; pass one class per row"
            )
        bad = np.flatnonzero((labels < 0) | (labels >= classes))
        if bad.size:
            raise self._error(
                f"{name}: expected classes 0 to {classes - 1}, received {labels[bad[0]]} in row "
                f"{bad[0]}; number the classes from 0, one target column each"
            )

    def _check_preprocessing(self) -> None:
        record = self.preprocessing
        if record is None:
            return
        classes = None if record.classes is None else len(record.classes)
        for what, size, ours in (
            ("inputs", record.dim, self.input_dim),
            ("classes", classes, self.outputs if self.is_classification else None),
        ):
            if size not in (None, ours):
                raise self._error(
                    f"preprocessing: expected {ours or 'no'} {what} as in the arrays, received "
                    f"{size}; describe these arrays"
                )

    def _error(self, message: str) -> ValueError:
        return ValueError(f"dataset {self.name!r}: {message}")


def scale_pixels(images: npt.NDArray[np.uint8]) -> Float32Array:
    """Pixels / 255, float32 `(n, d)`, of images or vectors of pixels, uint8 `(n, ...)`."""
    flat = images.reshape(len(images), math.prod(images.shape[1:]))  # -1 fails for no rows
    return np.divide(flat, 255, dtype=np.float32)


def one_hot(labels: npt.NDArray[np.integer], classes: int) -> Float32Array:
    """One-hot targets, float32 `(n, classes)`, of the labels `(n,)` in 0..classes-1.

    Raises:
        ValueError: A label lies outside 0..classes-1.
    """
    bad = np.flatnonzero((labels < 0) | (labels >= classes))
    if bad.size:
        raise ValueError(
            f"labels: expected classes 0 to {classes - 1}, received {labels[bad[0]]} in row "
            f"{bad[0]}; number the classes from 0 and leave out rows without a class"
        )
    targets = np.zeros((len(labels), classes), dtype=np.float32)
    targets[np.arange(len(labels)), labels] = 1.0
    return targets


def class_targets(
    labels_train: Int64Array, labels_test: Int64Array, classes: int
) -> dict[str, Any]:
    """Labels and one-hot targets of both parts, as keyword arguments of `Dataset`."""
    return {
        "y_train": one_hot(labels_train, classes),
        "y_test": one_hot(labels_test, classes),
        "labels_train": labels_train,
        "labels_test": labels_test,
    }


def _is_array(array: object, dtype: type, *, rank: int) -> bool:
    return isinstance(array, np.ndarray) and array.dtype == dtype and array.ndim == rank


def _describe(array: object) -> str:
    if isinstance(array, np.ndarray):
        return f"{array.dtype} {array.shape}"
    return type(array).__name__
