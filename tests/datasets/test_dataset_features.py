"""Features on disk: computed once, told apart, whole or not there."""

from __future__ import annotations

import dataclasses
import types

import numpy as np
import pytest
from backbone_models import FEATURES, pooled, save_small_resnet, small_resnet

from asym_keras.datasets import features
from asym_keras.datasets.backbones import Backbone, load_backbone
from asym_keras.datasets.features import cached_features, features_folder


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).integers(0, 256, (11, 32, 32, 3)).astype("uint8")


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    return save_small_resnet(tmp_path_factory.mktemp("models") / "net.keras")


@pytest.fixture
def counted(saved):
    """A backbone, and the sizes of the batches that it has seen."""
    seen = []

    class Counted(Backbone):
        def __call__(self, images):
            seen.append(len(images))
            return super().__call__(images)

    backbone = load_backbone(saved)
    fields = {f.name: getattr(backbone, f.name) for f in dataclasses.fields(backbone)}
    return Counted(**fields), seen


def test_features_are_computed_in_batches_once(counted, images, tmp_path):
    backbone, seen = counted
    options = {"cache_dir": tmp_path / "new" / "folder", "batch_size": 4, "progress": False}
    first = cached_features(backbone, images, **options)
    assert seen == [4, 4, 3]
    np.testing.assert_allclose(first, pooled(small_resnet(), images), rtol=1e-4, atol=1e-5)
    second = cached_features(backbone, images, **options)
    assert seen == [4, 4, 3]
    np.testing.assert_array_equal(first, second)
    (file,) = (tmp_path / "new" / "folder").iterdir()
    assert file.name.startswith("net.keras-")


def test_features_of_other_images_networks_or_sizes_are_others(counted, images, saved, tmp_path):
    def files_after(backbone, images):
        cached_features(backbone, images, cache_dir=tmp_path, progress=False)
        return len(list(tmp_path.iterdir()))

    backbone, _ = counted
    assert files_after(backbone, images) == 1
    assert files_after(load_backbone(saved), images) == 1  # the same, loaded anew
    changed = images.copy()
    changed[-1, 0, 0, 0] ^= 1
    assert files_after(backbone, changed) == 2
    assert files_after(backbone, images.reshape(11, 16, 64, 3).reshape(11, 32, 32, 3)) == 2
    assert files_after(backbone, images[:5]) == 3
    save_small_resnet(tmp_path.parent / "net.keras", seed=1)
    other = load_backbone(str(tmp_path.parent / "net.keras"))
    assert files_after(other, images) == 4
    recipe = {**backbone.recipe, "keras": "0"}
    assert files_after(dataclasses.replace(other, recipe=recipe), images) == 5


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError])
def test_interrupted_computation_leaves_no_file(counted, images, tmp_path, error, monkeypatch):
    backbone, seen = counted
    original = type(backbone).__call__

    def interrupted(self, batch):
        if len(seen) == 2:
            raise error
        return original(self, batch)

    with monkeypatch.context() as patch:
        patch.setattr(type(backbone), "__call__", interrupted)
        with pytest.raises(error):
            cached_features(backbone, images, cache_dir=tmp_path, batch_size=4, progress=False)
    assert list(tmp_path.iterdir()) == []


def test_damaged_file_is_told(counted, images, tmp_path):
    backbone, _ = counted
    cached_features(backbone, images, cache_dir=tmp_path, progress=False)
    (file,) = tmp_path.iterdir()
    whole = file.read_bytes()
    file.write_bytes(whole[:-30])
    with pytest.raises(OSError, match=r"is damaged \(.*\); delete it"):
        cached_features(backbone, images, cache_dir=tmp_path, progress=False)
    np.savez(file, features=np.zeros((11, 6), "float32"), key="other")
    with pytest.raises(OSError, match="of others; delete it"):
        cached_features(backbone, images, cache_dir=tmp_path, progress=False)


def test_unusable_folder_is_told_before_the_computation(counted, images, tmp_path, monkeypatch):
    backbone, seen = counted
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match=r"expected a folder that can be written .*XDG_CACHE_HOME"):
        cached_features(
            backbone, images, cache_dir=tmp_path / "file" / "x", batch_size=2, progress=False
        )
    usage = types.SimpleNamespace(free=11 * FEATURES * 4 - 1)
    monkeypatch.setattr(features.shutil, "disk_usage", lambda folder: usage)
    with pytest.raises(OSError, match="expected 0 MiB that can be written"):
        cached_features(backbone, images, cache_dir=tmp_path, batch_size=2, progress=False)
    assert seen == [2, 2]  # the first batch tells the size


def test_features_that_are_not_finite_are_refused(saved, images, tmp_path):
    backbone = load_backbone(saved)
    bias = next(w for w in backbone.network.weights if w.path.endswith("bias"))
    bias.assign(np.full(FEATURES, np.nan))
    with pytest.raises(ValueError, match=r"NaN or infinity for image 0 \(11 such images\)"):
        cached_features(backbone, images, cache_dir=tmp_path, progress=False)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "bad", [np.zeros((2, 4, 4, 3)), np.zeros((2, 48), "u1"), np.zeros((0, 4, 4, 3), "u1")]
)
def test_other_arrays_than_images_are_refused(counted, bad, tmp_path):
    with pytest.raises(ValueError, match="images: expected uint8"):
        cached_features(counted[0], bad, cache_dir=tmp_path)


def test_folder_is_of_the_environment(monkeypatch, tmp_path):
    for name in ("ASYM_KERAS_DATA_DIR", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert features_folder() == tmp_path / ".cache" / "asym_keras" / "features"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert features_folder() == tmp_path / "cache" / "asym_keras" / "features"
    monkeypatch.setenv("XDG_CACHE_HOME", "~/elsewhere")
    assert features_folder() == tmp_path / "elsewhere" / "asym_keras" / "features"
    monkeypatch.setenv("ASYM_KERAS_DATA_DIR", str(tmp_path / "data"))
    assert features_folder() == tmp_path / "data" / "features"
    monkeypatch.setenv("ASYM_KERAS_DATA_DIR", "~/x")
    assert features_folder() == tmp_path / "x" / "features"


def test_folder_of_the_features_may_be_in_the_home_folder(counted, images, monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    cached_features(counted[0], images, cache_dir="~/kept", progress=False)
    assert len(list((tmp_path / "kept").iterdir())) == 1
