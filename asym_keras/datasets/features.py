"""Features of images under a frozen network, computed once and kept on disk."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import sys
from pathlib import Path

import numpy as np
import numpy.typing as npt

from asym_keras.datasets.backbones import Backbone
from asym_keras.datasets.dataset import Float32Array
from asym_keras.datasets.folders import cache_folder, data_folder
from asym_keras.files import atomic_path, user_path


def features_folder() -> Path:
    """Where features are kept: `features` in `ASYM_KERAS_DATA_DIR`, else in the user's cache.

    That is `$XDG_CACHE_HOME/asym_keras`, or `~/.cache/asym_keras` where it is not set.
    """
    return (data_folder() or cache_folder()) / "features"


def cached_features(
    backbone: Backbone,
    images: npt.NDArray[np.uint8],
    *,
    cache_dir: str | os.PathLike[str] | None = None,
    batch_size: int = 64,
    progress: bool = True,
) -> Float32Array:
    """Features of `images` under `backbone`, from the cache if it has them.

    The file's name is a SHA-256 of what the features depend on: the backbone's recipe (name,
    weights, preprocessing, versions) and the images. It is written whole or not at all.

    Args:
        backbone: The frozen network.
        images: uint8 `(n, h, w, 3)`.
        cache_dir: Folder of the files. None: `features_folder()`.
        batch_size: Images in one pass. It changes speed and memory, and the last bits.
        progress: Whether to show a progress bar.

    Returns:
        float32 `(n, d)`.

    Raises:
        ValueError: Not uint8 images; `batch_size` below 1; features that are not finite.
        OSError: The folder cannot be written or is full (found before the computation); or a
            file in it is damaged.
    """
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[-1] != 3 or not len(images):
        raise ValueError(
            f"images: expected uint8 (n, height, width, 3), at least one, received {images.dtype} "
            f"{images.shape}; pass pixels 0 to 255, channels last"
        )
    if batch_size < 1:
        raise ValueError(f"batch_size: expected at least 1, received {batch_size}; raise it")
    key = _key(backbone.recipe, images)
    stem = re.sub(r"[^\w.-]+", "_", Path(backbone.name).name)
    folder = features_folder() if cache_dir is None else user_path(cache_dir).absolute()
    path = folder / f"{stem}-{key[:16]}.npz"
    if path.exists():
        return _read(path, key, len(images))
    first = backbone(images[:batch_size])
    _check_folder(folder, len(images) * first[0].nbytes)
    features = _compute(backbone, images, first, batch_size, progress)
    with atomic_path(path) as temporary:
        np.savez(temporary, features=features, key=np.array(key))
    return features


def _key(recipe: dict, images: npt.NDArray[np.uint8]) -> str:
    facts = {"format": "asym_keras features 1", "recipe": recipe, "images": images.shape}
    digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode())
    digest.update(np.ascontiguousarray(images).data)
    return digest.hexdigest()


def _compute(
    backbone: Backbone, images: np.ndarray, first: Float32Array, batch_size: int, progress: bool
) -> Float32Array:
    from tqdm.auto import tqdm

    features = np.empty((len(images), first.shape[1]), np.float32)
    features[: len(first)] = first
    with tqdm(
        total=len(images),
        initial=len(first),
        desc="features",
        unit="image",
        disable=not progress or sys.stderr is None,
    ) as bar:
        for start in range(len(first), len(images), batch_size):
            batch = images[start : start + batch_size]
            features[start : start + len(batch)] = backbone(batch)
            bar.update(len(batch))
    bad = np.flatnonzero(~np.isfinite(features).all(axis=1))
    if bad.size:
        raise ValueError(
            f"backbone {backbone.name!r}: expected finite features, received NaN or infinity for "
            f"image {bad[0]} ({bad.size} such images); check the network's weights and that it "
            "takes pixels 0 to 255"
        )
    return features


def _check_folder(folder: Path, size: int) -> None:
    """Raises OSError unless `size` bytes can be written to `folder`, which is made."""
    advice = "set ASYM_KERAS_DATA_DIR or XDG_CACHE_HOME to another folder"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OSError(
            error.errno,
            f"features: expected a folder that can be written ({error.strerror}); {advice}",
            str(folder),
        ) from error
    free = shutil.disk_usage(folder).free
    if not os.access(folder, os.W_OK) or free < size:
        raise OSError(
            f"features: expected {size / 2**20:.0f} MiB that can be written in {folder}, received "
            f"{free / 2**20:.0f} MiB free, writable: {os.access(folder, os.W_OK)}; {advice}"
        )


def _read(path: Path, key: str, rows: int) -> Float32Array:
    try:
        with open(path, "rb") as opened, np.load(opened, allow_pickle=False) as file:
            features, written = file["features"], str(file["key"])
    except Exception as error:  # a damaged file makes NumPy and zipfile raise almost any
        raise OSError(
            f"{path} is damaged ({type(error).__name__}); delete it, to compute the features again"
        ) from error
    if written != key or features.dtype != np.float32 or features.shape[:1] != (rows,):
        raise OSError(
            f"{path}: expected float32 features of {rows} images, received {features.dtype} "
            f"{features.shape} of others; delete it, to compute the features again"
        )
    return features
