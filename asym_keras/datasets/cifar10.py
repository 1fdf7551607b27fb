"""CIFAR-10 as features of a frozen ImageNet network, as in Section 6 of the paper."""

from __future__ import annotations

import dataclasses
import functools
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from asym_keras.datasets import tfds_images
from asym_keras.datasets.backbones import DEFAULT_BACKBONE, load_backbone
from asym_keras.datasets.dataset import Dataset, Float32Array, Int64Array, class_targets
from asym_keras.datasets.features import cached_features
from asym_keras.datasets.npz import load_npz
from asym_keras.datasets.preprocessing import Preprocessing

CLASSES = 10
_NAMES = "airplane automobile bird cat deer dog frog horse ship truck"
_BATCH = 1_000
_PADDING = 4


@dataclasses.dataclass(frozen=True, eq=False)
class Cifar10Images:
    """The images in their canonical order, and where they came from, in words."""

    x_train: npt.NDArray[np.uint8]  # (n, 32, 32, 3)
    labels_train: Int64Array  # (n,) in 0..9
    x_test: npt.NDArray[np.uint8]
    labels_test: Int64Array
    source: str


def load_cifar10(
    backbone: str | None = None,
    *,
    image_size: int | None = None,
    views: int = 0,
    data_dir: str | os.PathLike[str] | None = None,
    train: int | None = None,
    test: int | None = None,
    cache_dir: str | os.PathLike[str] | None = None,
    progress: bool = True,
) -> Dataset:
    """CIFAR-10, each image the features that a frozen network computes of it.

    The paper takes a ResNet-18 trained on ImageNet, which makes 512 numbers of an image. Its
    text tells of no augmentation; `views` adds the usual one, see `augmented`.

    Args:
        backbone, image_size: Of `load_backbone`. None: a ResNet-18 trained on ImageNet.
        views: V. 0: the training images as they are. Otherwise the training rows are V random
            views of each image, all first views first; test images stay as they are. Each view
            costs a pass of the network over the images.
        data_dir: Of `load_cifar10_images`.
        train: The first so many training images. None: all.
        test: The same of the test images.
        cache_dir: Of `cached_features`.
        progress: Whether to show progress bars.

    Returns:
        A `Dataset`: x float32 `(n, d)`, one-hot y float32 `(n, 10)`, labels; no transfer part.
        n counts views.

    Raises:
        ValueError: A count out of range, or what `load_backbone` refuses.
        ModuleNotFoundError: The backbone needs KerasHub, which is not installed.
        OSError: No images, no weights, or a cache that cannot be used.
    """
    if views < 0:
        raise ValueError(f"views: expected at least 0, received {views}; pass 0 for none")
    name = DEFAULT_BACKBONE if backbone is None else backbone
    network = load_backbone(name, image_size=image_size)  # fails before images are read
    images = load_cifar10_images(data_dir, train=train, test=test)
    features = functools.partial(cached_features, network, cache_dir=cache_dir, progress=progress)
    x_train: Iterable[npt.NDArray[np.uint8]] = [images.x_train]
    if views:
        x_train = (augmented(images.x_train, seed=view) for view in range(views))
    source = f"{images.source}, features of {name}"
    return _dataset(
        np.concatenate([features(view) for view in x_train]),
        np.tile(images.labels_train, views or 1),
        features(images.x_test),
        images.labels_test,
        source=f"{source}, {views} views" if views else source,
        of=f"features of {Path(name).name}",
    )


def load_cifar10_features(
    path: str | os.PathLike[str], *, train: int | None = None, test: int | None = None
) -> Dataset:
    """CIFAR-10 from ready features.

    Args:
        path: An `.npz` file with `x_train` and `x_test`, floats `(n, d)`, and `y_train` and
            `y_test`, integer labels `(n,)` in 0..9.
        train: The first so many training rows. None: all.
        test: The same of the test rows.

    Returns:
        A `Dataset`: x float32 `(n, d)`, one-hot y float32 `(n, 10)`, labels; no transfer part.

    Raises:
        FileNotFoundError: No such file.
        ValueError: What `load_npz` refuses (missing arrays, other lengths, NaN); regression
            targets, or labels above 9; a count out of range.
    """
    data = load_npz(path)
    if data.labels_train is None or data.labels_test is None or data.outputs > CLASSES:
        received = f"labels up to {data.outputs - 1}" if data.is_classification else "real targets"
        raise ValueError(
            f"{path}: expected y_train and y_test as integer labels 0 to {CLASSES - 1}, received "
            f"{received}; for other data there is trainers.mnist --data"
        )
    rows = _first(train, len(data.x_train), "train")
    test_rows = _first(test, len(data.x_test), "test")
    return _dataset(
        data.x_train[rows],
        data.labels_train[rows],
        data.x_test[test_rows],
        data.labels_test[test_rows],
        source=data.source,
        of=f"features in {Path(path).name}",
    )


def load_cifar10_images(
    data_dir: str | os.PathLike[str] | None = None,
    *,
    train: int | None = None,
    test: int | None = None,
) -> Cifar10Images:
    """The images of CIFAR-10 through TFDS, put back into their canonical order by their `id`.

    Args:
        data_dir: Where prepared sets are. None: `TFDS_DATA_DIR`, else TFDS's own folder. A set
            that is not there is downloaded to it.
        train: The first so many training images. None: all that the prepared set has.
        test: The same of the test images.

    Raises:
        ValueError: A count below 1 or above what there is.
        OSError: The set is not in `data_dir` and could not be prepared (`ConnectionError` where
            no download host answers); or its files are damaged.
    """
    builder = tfds_images.builder_of("cifar10", data_dir)
    tfds_images.prepare(builder)
    with tfds_images.reading(builder):
        sizes = {part: builder.info.splits[part].num_examples for part in ("train", "test")}
    rows = _first(train, sizes["train"], "train")
    test_rows = _first(test, sizes["test"], "test")
    return Cifar10Images(
        *_read(builder, "train", rows),
        *_read(builder, "test", test_rows),
        f"TFDS {builder.info.full_name}, train[:{rows.stop}], test[:{test_rows.stop}] by id",
    )


def augmented(images: npt.NDArray[np.uint8], *, seed: int) -> npt.NDArray[np.uint8]:
    """One random view of each image `(n, h, w, c)`: a crop of it padded by 4 zeros, flipped or not.

    The same seed gives the same views.
    """
    generator = np.random.default_rng(seed)
    count, height, width, _ = images.shape
    margin = (_PADDING, _PADDING)
    padded = np.pad(images, ((0, 0), margin, margin, (0, 0)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (height, width), axis=(1, 2))
    top, left = generator.integers(0, 2 * _PADDING + 1, (2, count))
    views = np.moveaxis(windows[np.arange(count), top, left], 1, -1)
    flips = generator.integers(0, 2, count).astype(bool)
    return np.where(flips[:, None, None, None], views[:, :, ::-1], views)


def _first(count: int | None, available: int, name: str) -> slice:
    if count is not None and not 1 <= count <= available:
        raise ValueError(
            f"{name}: expected 1 to {available} images, received {count}; ask for as many as "
            "there are"
        )
    return slice(0, available if count is None else count)


def _read(builder: Any, split: str, rows: slice) -> tuple[npt.NDArray[np.uint8], Int64Array]:
    """Images and labels of a split, sorted by `id`: TFDS shuffles when it prepares."""
    import tensorflow_datasets as tfds

    later = {"image": tfds.decode.SkipDecoding()}  # only the rows wanted are decoded
    decode = builder.info.features["image"].decode_example
    with tfds_images.reading(builder):
        examples = builder.as_dataset(split=split, batch_size=_BATCH, decoders=later)
        batches = list(tfds.as_numpy(examples))
        data = {key: np.concatenate([b[key] for b in batches]) for key in ("id", "image", "label")}
        order = np.argsort(data["id"])[rows]
        images = np.stack([decode(png).numpy() for png in data["image"][order]])
    return images, data["label"][order].astype(np.int64)


def _dataset(
    x_train: Float32Array,
    labels_train: Int64Array,
    x_test: Float32Array,
    labels_test: Int64Array,
    *,
    source: str,
    of: str,
) -> Dataset:
    return Dataset(
        name="cifar10",
        x_train=x_train,
        x_test=x_test,
        **class_targets(labels_train, labels_test, CLASSES),
        source=source,
        preprocessing=Preprocessing(
            kind="vector",
            classes=tuple(_NAMES.split()),
            origin=f"CIFAR-10 (A. Krizhevsky, 2009), {of}",
            licence="none stated by its authors",
        ),
    )
