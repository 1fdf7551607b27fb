"""Image classification sets of TensorFlow Datasets (TFDS) in the paper's MNIST protocol."""

from __future__ import annotations

import contextlib
import difflib
import os
import re
import socket
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from asym_keras.datasets.dataset import Dataset, class_targets, scale_pixels
from asym_keras.datasets.preprocessing import pixels
from asym_keras.files import user_path

if TYPE_CHECKING:
    import tensorflow_datasets as tfds

_BATCH = 1_000
_CONNECT_SECONDS = 5.0


def load_tfds_images(
    name: str,
    *,
    data_dir: str | os.PathLike[str] | None = None,
    train: int = 5_000,
    test: int = 5_000,
    transfer: bool = True,
) -> Dataset:
    """A TFDS image classification set: the splits of the paper's MNIST experiment (Section 6).

    Train is the first `train` training images in the order of the prepared files, transfer train
    the next `train`; test is the first `test` test images, transfer test the last `test`. A set
    with fewer images gives what it has. Inputs are pixels / 255, flattened.

    TFDS shuffles when it prepares: the first 5,000 images of its MNIST are others than those of
    `load_mnist()`, which are in the canonical order. Compare with published numbers there.

    Args:
        name: A TFDS name ("mnist", "fashion_mnist", "cifar10"), also with version
            ("cifar10:3.0.2") or configuration ("mnist_corrupted/fog").
        data_dir: Where prepared sets are. None: `TFDS_DATA_DIR`, else TFDS's own folder. A set
            that is not there is downloaded to it.
        train: Training images, at least 1; at most that many are read.
        test: Test images, at least 1.
        transfer: Whether to add the transfer part. It is None where the set has fewer than
            `2 * train` training or `2 * test` test images: the parts must not overlap.

    Returns:
        A `Dataset`: x float32 `(n, h * w * c)` in [0, 1], one-hot y float32 `(n, K)`, labels.

    Raises:
        ValueError: Unknown name or version; not uint8 images of one shape with a class each;
            no "train" or no "test" split; rows without a class; a size below 1.
        OSError: The set is not in `data_dir` and could not be prepared (`ConnectionError` where
            no download host answers); or its files are damaged.
    """
    for key, size in (("train", train), ("test", test)):
        if size < 1:
            raise ValueError(f"{key}: expected at least 1 image, received {size}; ask for more")
    builder = builder_of(name, data_dir)
    _check_features(builder)  # before a download
    prepare(builder)
    splits = builder.info.splits
    if "train" not in splits or "test" not in splits:
        raise ValueError(
            f"{name}: expected splits 'train' and 'test', received {sorted(splits)}; "
            "choose another dataset"
        )
    label = builder.info.features["label"]
    if len(label.names) != label.num_classes:
        raise _damaged(builder.data_dir, f"{len(label.names)} names of {label.num_classes} classes")
    n_train, n_test = splits["train"].num_examples, splits["test"].num_examples
    further = None
    if transfer and n_train >= 2 * train and n_test >= 2 * test:
        split = f"train[{train}:{2 * train}]", f"test[{n_test - test}:{n_test}]"
        further = _dataset(builder, *split, transfer=None)
    split = f"train[:{min(train, n_train)}]", f"test[:{min(test, n_test)}]"
    return _dataset(builder, *split, transfer=further)


def builder_of(name: str, data_dir: str | os.PathLike[str] | None) -> tfds.core.DatasetBuilder:
    """The builder of a TFDS set; an unknown name is told with those that are near."""
    import tensorflow_datasets as tfds  # here: half a second, and TensorFlow as soon as it reads

    # TFDS looks at the environment only once, when it is imported.
    folder = os.environ.get("TFDS_DATA_DIR") if data_dir is None else os.fspath(data_dir)
    if folder and "://" not in folder:
        folder = str(user_path(folder).absolute())
    try:
        return tfds.builder(name, data_dir=folder)
    except Exception as error:  # a bad name, or a file that is damaged: almost any
        base = Path(folder or tfds.core.constants.DATA_DIR)
        place = _damaged_place(name, base, error)
        if place is not None:
            raise _damaged(place, error) from error
        known = tfds.list_builders(with_community_datasets=False)
        stem = name.replace(":", "/").split("/")[0]
        if stem in known:
            raise ValueError(f"name: TFDS cannot build {name!r}: {error}") from error
        near = difflib.get_close_matches(stem.lower(), known, n=3)
        hint = f"try {' or '.join(near)}" if near else "look it up with tfds.list_builders()"
        if stem and (base / stem).is_dir():
            hint = f"{base / stem} holds no such version with a features.json"
        # Not chained: TFDS's own message lists all its thousand names.
        raise ValueError(f"name: expected a TFDS dataset, received {name!r}; {hint}") from None


def _damaged_place(name: str, base: Path, error: Exception) -> Path | None:
    """The folder in `base` whose files made TFDS fail.

    None if TFDS fails in an empty folder, too: then the name is at fault.
    """
    import tensorflow_datasets as tfds

    elsewhere = base / ".elsewhere"
    try:
        return base / Path(tfds.builder(name, data_dir=elsewhere).data_dir).relative_to(elsewhere)
    except Exception as other:
        return None if type(other) is type(error) else base / name.replace(":", "/")


def _damaged(folder: str | os.PathLike[str], error: object) -> OSError:
    # Less TensorFlow's names of its own nodes.
    reason = re.sub(r"\{\{.*?\}\}|\[Op:.*", "", str(getattr(error, "message", error)))
    reason = " ".join(reason.split())
    return OSError(
        f"{folder}: cannot be read ({reason}); delete that folder and prepare the set again"
    )


@contextlib.contextmanager
def reading(builder: tfds.core.DatasetBuilder) -> Iterator[None]:
    """Makes whatever damaged files raise an OSError that names the set's folder."""
    try:
        yield
    except MemoryError:
        raise
    except Exception as error:  # TensorFlow and TFDS raise almost any
        raise _damaged(builder.data_dir, error) from error


def _check_features(builder: tfds.core.DatasetBuilder) -> None:
    import tensorflow_datasets as tfds

    features = builder.info.features
    keys = features if isinstance(features, tfds.features.FeaturesDict) else {}
    image, label = (keys[key] if key in keys else None for key in ("image", "label"))
    if not (
        isinstance(image, tfds.features.Image)
        and isinstance(label, tfds.features.ClassLabel)
        and None not in image.shape
        and image.np_dtype == np.uint8
        and label.num_classes
    ):
        received = " ".join(repr(features).split())  # on one line
        raise ValueError(
            f"{builder.name}: expected an image classification set ('image': uint8 of one fixed "
            f"shape, 'label': a class), received {received}; choose another dataset"
        )


def prepare(builder: tfds.core.DatasetBuilder) -> None:
    """Downloads and prepares the set unless `builder.data_dir` has it."""
    if builder.data_path.exists():
        if not builder.info.splits:
            raise _damaged(builder.data_dir, "no splits in a dataset_info.json there")
        return
    advice = (
        "set TFDS_DATA_DIR (or data_dir) to a folder that holds the prepared set, "
        "or connect to the network and try again"
    )
    wanted = f"{builder.name}: expected a prepared set in {builder.data_dir}"
    hosts = _silent_hosts(builder)
    if hosts:  # TFDS itself would retry for minutes
        raise ConnectionError(
            f"{wanted}, received no such folder, and {', '.join(hosts)} cannot be reached; {advice}"
        )
    try:
        builder.download_and_prepare()
    except Exception as error:  # whatever a builder's own code and its downloads raise
        raise OSError(f"{wanted}; preparing it failed ({error}); {advice}") from error


def _silent_hosts(builder: tfds.core.DatasetBuilder) -> list[str]:
    """The set's download hosts if none of them answers, else none."""
    if urllib.request.getproxies().keys() - {"no"}:
        return []  # behind a proxy a direct connection says nothing
    urls = [urllib.parse.urlsplit(url) for url in builder.url_infos]
    hosts = {url.hostname: 443 if url.scheme == "https" else 80 for url in urls if url.hostname}
    for host, port in hosts.items():
        try:
            socket.create_connection((host, port), timeout=_CONNECT_SECONDS).close()
        except OSError:
            continue
        return []
    return list(hosts)


def _dataset(
    builder: tfds.core.DatasetBuilder, train: str, test: str, transfer: Dataset | None
) -> Dataset:
    x_train, labels_train = _read(builder, train)
    x_test, labels_test = _read(builder, test)
    features = builder.info.features
    classes = features["label"].num_classes
    return Dataset(
        name=builder.name,
        x_train=x_train,
        x_test=x_test,
        **class_targets(labels_train, labels_test, classes),
        transfer=transfer,
        source=f"TFDS {builder.info.full_name}, {train}, {test}",
        preprocessing=pixels(
            features["image"].shape,
            classes=tuple(features["label"].names),
            origin=f"TFDS {builder.info.full_name}",
        ),
    )


def _read(builder: tfds.core.DatasetBuilder, split: str) -> tuple[np.ndarray, np.ndarray]:
    """Inputs float32 `(n, d)` and labels int64 `(n,)` of a split, in the order of its files."""
    import tensorflow_datasets as tfds

    with reading(builder):
        rows = builder.as_dataset(
            split=split,
            batch_size=_BATCH,
            shuffle_files=False,
            read_config=tfds.ReadConfig(interleave_cycle_length=1),  # one file after the other
            decoders=tfds.decode.PartialDecoding({"image": True, "label": True}),
        )
        batches = list(tfds.as_numpy(rows))
        images = np.concatenate([batch["image"] for batch in batches])
        labels = np.concatenate([batch["label"] for batch in batches]).astype(np.int64)
    return scale_pixels(images), labels
