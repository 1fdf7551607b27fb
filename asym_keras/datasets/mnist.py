"""MNIST in the splits of the paper's experiments, from a file in the package."""

from __future__ import annotations

import hashlib
import importlib.resources
import io
from typing import Any

import numpy as np

from asym_keras.datasets.dataset import Dataset, class_targets, scale_pixels
from asym_keras.datasets.preprocessing import pixels
from asym_keras.datasets.tfds_images import load_tfds_images

_SHA256 = "3be1bb6efef62c4154f22f1c60c12b6a271e20181b29300050905b41f0045b24"
_SOURCES = ("bundled", "tfds")
_SPLIT = 5_000
_CLASSES = 10
_PREPROCESSING = pixels(
    (28, 28),
    classes=tuple(map(str, range(_CLASSES))),
    origin="MNIST (Y. LeCun and C. Cortes), canonical order",
    licence="CC BY-SA 3.0",
)


def load_mnist(source: str = "bundled") -> Dataset:
    """MNIST as in Section 6: 5,000 images each to train, test, and both again for transfer.

    Train is the first 5,000 training images in the canonical order, transfer train the next
    5,000; test is the first 5,000 test images, transfer test the last 5,000. Inputs are
    pixels / 255, float32 `(5000, 784)`; targets are one-hot, float32 `(5000, 10)`.

    Args:
        source: "bundled": the package's own file, offline and in canonical order. "tfds":
            `load_tfds_images("mnist")`, the same protocol on images in another order.

    Raises:
        ValueError: `source` is neither of these.
        OSError: The bundled file is absent or damaged; or TFDS has no MNIST and no network.
    """
    if source not in _SOURCES:
        raise ValueError(f"source: expected one of {_SOURCES}, received {source!r}; pass one")
    if source == "tfds":
        return load_tfds_images("mnist")
    data = _read_bundled()
    transfer = _part(data, slice(_SPLIT, None), name="mnist-transfer")
    return _part(data, slice(None, _SPLIT), name="mnist", transfer=transfer)


def _part(data: dict[str, np.ndarray], rows: slice, **facts: Any) -> Dataset:
    labels, labels_test = (data[key][rows].astype(np.int64) for key in ("y_train", "y_test"))
    return Dataset(
        x_train=scale_pixels(data["x_train"][rows]),
        x_test=scale_pixels(data["x_test"][rows]),
        **class_targets(labels, labels_test, _CLASSES),
        source="bundled MNIST, canonical order",
        preprocessing=_PREPROCESSING,
        **facts,
    )


def _read_bundled() -> dict[str, np.ndarray]:
    """10,000 training and 10,000 test images, uint8 `(10000, 28, 28)`, and their labels."""
    resource = importlib.resources.files("asym_keras.datasets") / "data" / "mnist.npz"
    try:
        content = resource.read_bytes()
    except FileNotFoundError as error:
        raise FileNotFoundError(
            f"expected the bundled MNIST at {resource}, received no such file; "
            "reinstall asym_keras: its package data is missing"
        ) from error
    digest = hashlib.sha256(content).hexdigest()
    if digest != _SHA256:
        raise OSError(
            f"{resource} is damaged: expected SHA-256 {_SHA256[:16]}..., received "
            f"{digest[:16]}... ({len(content)} bytes); reinstall asym_keras"
        )
    with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
        return dict(arrays)
