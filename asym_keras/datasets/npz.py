"""A user's own data from one `.npz` file."""

from __future__ import annotations

import math
import os
import warnings
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from asym_keras.datasets.dataset import Dataset, class_targets, scale_pixels
from asym_keras.datasets.preprocessing import Preprocessing, pixels
from asym_keras.files import user_path

_KEYS = ("x_train", "y_train", "x_test", "y_test")
# Above this a class count beyond the number of rows is taken for a mistake: whole-number targets.
_PLAUSIBLE_CLASSES = 1_000


def load_npz(path: str | os.PathLike[str]) -> Dataset:
    """Reads `x_train`, `y_train`, `x_test`, `y_test` from an `.npz` file; further keys are ignored.

    What the arrays mean is read off their types:

    - x: images `(n, h, w)` or `(n, h, w, c)`, flattened, or vectors `(n, d)`. uint8 is divided
      by 255; floats are taken as they are.
    - y of whole numbers, `(n,)`: classes 0..K-1, made one-hot; K is the largest label of both
      parts plus 1.
    - y of floats, `(n,)` or `(n, K)`: regression targets. If K >= 2 and every row of both parts
      is one-hot, classification, with its labels.

    Args:
        path: The file, as `numpy.savez` or `numpy.savez_compressed` writes it.

    Returns:
        A `Dataset` named after the file, without transfer part; everything float32.

    Raises:
        FileNotFoundError: No such file.
        ValueError: Not an `.npz` file, or a damaged one; a key is missing; an array holds
            Python objects, another type than above, NaN or infinity; lengths or dimensions
            disagree; a label is negative, or there is only one class.

    Warns:
        UserWarning: Some test labels never occur in training.
    """
    path = user_path(path)
    arrays = _read(path)
    try:
        return _dataset(*arrays, name=path.stem, source=f"npz file {path}")
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def from_arrays(
    x_train: npt.ArrayLike,
    y_train: npt.ArrayLike,
    x_test: npt.ArrayLike,
    y_test: npt.ArrayLike,
    *,
    name: str = "data",
) -> Dataset:
    """A dataset of arrays in memory, which are read as `load_npz` reads those of a file.

    Args:
        x_train, y_train: inputs and targets, or integer classes, to train on.
        x_test, y_test: the same to test on.
        name: of the dataset.

    Raises:
        ValueError: As `load_npz`.

    Example:
        >>> x, labels = np.eye(3, dtype="float32"), np.arange(3)
        >>> asym_keras.datasets.from_arrays(x, labels, x, labels, name="unit").outputs
        3
    """
    arrays = (np.asarray(array) for array in (x_train, y_train, x_test, y_test))
    return _dataset(*arrays, name=name, source="arrays in memory")


def _dataset(
    x_train: np.ndarray,
    y_train: np.ndarray,
    x_test: np.ndarray,
    y_test: np.ndarray,
    *,
    name: str,
    source: str,
) -> Dataset:
    return Dataset(
        name=name,
        **_inputs(x_train, x_test),
        **_targets(y_train, y_test),
        source=source,
        preprocessing=_preprocessing(x_train),
    )


def _read(path: Path) -> list[np.ndarray]:
    """The arrays of `_KEYS`."""
    if not path.is_file():
        raise FileNotFoundError(
            f"expected an .npz file, received {path.absolute()}, which is no file"
        )
    if not zipfile.is_zipfile(path):  # numpy would speak of pickled data
        raise ValueError(
            f"{path}: expected an .npz file, received something else or a damaged file; "
            "write it with numpy.savez"
        )
    with open(path, "rb") as opened:  # NumPy leaves one that it can't read open
        try:
            file = np.load(opened, allow_pickle=False)
        except zipfile.BadZipFile as error:
            raise ValueError(f"{path} is damaged ({error}); write or copy it again") from error
        missing = [key for key in _KEYS if key not in file.files]
        if missing:
            raise ValueError(
                f"{path}: expected the arrays {', '.join(_KEYS)}, received "
                f"{', '.join(file.files) or 'none'}; add {', '.join(missing)}"
            )
        return [_read_array(file, key, path) for key in _KEYS]


def _read_array(file: np.lib.npyio.NpzFile, key: str, path: Path) -> np.ndarray:
    try:
        array = file[key]
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError) as error:
        raise ValueError(
            f"{path}: {key} is damaged ({error}); write or copy the file again"
        ) from error
    except ValueError as error:
        raise ValueError(
            f"{path}: expected {key} as an array of numbers, received Python objects or a "
            f"damaged array ({error}); save it with a numeric dtype, all rows of one length"
        ) from error
    if not isinstance(array, np.ndarray):  # a member that is not in the .npy format: raw bytes
        raise ValueError(f"{path}: expected {key} in .npy format; write it with numpy.savez")
    return array


def _inputs(x_train: np.ndarray, x_test: np.ndarray) -> dict[str, Any]:
    if (x_train.dtype == np.uint8) != (x_test.dtype == np.uint8):
        raise ValueError(
            f"x_test: expected {x_train.dtype} as in x_train, received {x_test.dtype}; "
            "save both as uint8 (pixels) or both as floats"
        )
    if x_train.shape[1:] != x_test.shape[1:]:
        raise ValueError(
            f"x_test: expected rows of shape {x_train.shape[1:]} as in x_train, received "
            f"{x_test.shape[1:]}; prepare both parts in the same way"
        )
    return {"x_train": _vectors(x_train, "x_train"), "x_test": _vectors(x_test, "x_test")}


def _preprocessing(x: np.ndarray) -> Preprocessing:
    """What `_vectors` does."""
    if x.dtype != np.uint8:
        return Preprocessing(kind="vector")
    if x.ndim == 2:  # bytes of which nobody says that they are an image
        return Preprocessing(kind="vector", scale=255.0, low=0.0, high=255.0)
    return pixels(x.shape[1:])


def _vectors(x: np.ndarray, name: str) -> np.ndarray:
    """float32 `(n, d)`: flattened, pixels divided by 255."""
    if x.dtype != np.uint8 and x.dtype.kind != "f":
        raise ValueError(
            f"{name}: expected uint8 pixels or floats, received {x.dtype}; "
            "convert with astype('uint8') for pixels 0 to 255, else astype('float32')"
        )
    if not 2 <= x.ndim <= 4:
        raise ValueError(
            f"{name}: expected vectors (n, d) or images (n, h, w[, c]), received shape "
            f"{x.shape}; put one example in each row"
        )
    if x.dtype == np.uint8:
        return scale_pixels(x)
    return _float32(x.reshape(len(x), math.prod(x.shape[1:])))


def _targets(y_train: np.ndarray, y_test: np.ndarray) -> dict[str, Any]:
    """The y and labels of both parts, as keyword arguments of `Dataset`."""
    kinds = {_target_kind(y_train, "y_train"), _target_kind(y_test, "y_test")}
    if len(kinds) > 1:
        raise ValueError(
            f"y_test: expected {y_train.dtype} as in y_train, received {y_test.dtype}; "
            "save both as integer labels or both as floats"
        )
    if kinds == {"labels"}:
        return _class_targets(y_train.astype(np.int64), y_test.astype(np.int64))
    train, test = (_float32(y[:, None] if y.ndim == 1 else y) for y in (y_train, y_test))
    targets = {"y_train": train, "y_test": test}
    if _is_one_hot(train) and _is_one_hot(test):
        targets["labels_train"] = train.argmax(axis=1).astype(np.int64)
        targets["labels_test"] = test.argmax(axis=1).astype(np.int64)
    return targets


def _target_kind(y: np.ndarray, name: str) -> str:
    if y.dtype.kind in "iu" and y.ndim == 1:
        return "labels"
    if y.dtype.kind == "f" and y.ndim in (1, 2):
        return "floats"
    raise ValueError(
        f"{name}: expected integer labels (n,) or float targets (n,) or (n, K), received "
        f"{y.dtype} {y.shape}; save labels with astype('int64').reshape(n), "
        "all other targets as floats"
    )


def _class_targets(labels_train: np.ndarray, labels_test: np.ndarray) -> dict[str, Any]:
    for name, labels in (("y_train", labels_train), ("y_test", labels_test)):
        if labels.size == 0:
            raise ValueError(f"{name}: expected at least one row, received none; add rows")
        if labels.min() < 0:
            row = int(np.flatnonzero(labels < 0)[0])
            raise ValueError(
                f"{name}: expected labels from 0, received {labels[row]} in row {row}; "
                "number the classes 0 to K-1"
            )
    classes = int(max(labels_train.max(), labels_test.max())) + 1
    rows = len(labels_train) + len(labels_test)
    if classes == 1 or classes > max(rows, _PLAUSIBLE_CLASSES):
        raise ValueError(
            f"y_train and y_test: expected integer labels of 2 or more classes, received a "
            f"largest label of {classes - 1} in {rows} rows; number the classes 0 to K-1, "
            "or save regression targets as floats"
        )
    unseen = np.setdiff1d(labels_test, labels_train)
    if unseen.size:
        warnings.warn(f"test labels {unseen[:10].tolist()} do not occur in y_train", stacklevel=5)
    return class_targets(labels_train, labels_test, classes)


def _is_one_hot(y: np.ndarray) -> bool:
    ones, zeros = y == 1.0, y == 0.0
    return y.shape[1] >= 2 and bool((ones | zeros).all() and (ones.sum(axis=1) == 1).all())


def _float32(array: np.ndarray) -> np.ndarray:
    with np.errstate(over="ignore", under="ignore"):  # an overflow is found as infinity, by row
        return array.astype(np.float32)
