"""Backbones of every kind, and their features on disk, against the bare networks."""

from __future__ import annotations

import dataclasses
import importlib.machinery
import socket
import sys
import types

import keras
import numpy as np
import pytest
from backbone_models import FEATURES, save_small_resnet, small_resnet

from asym_keras.datasets import backbones, features
from asym_keras.datasets.backbones import load_backbone
from asym_keras.datasets.features import cached_features, features_folder


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).integers(0, 256, (11, 32, 32, 3)).astype("uint8")


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    return save_small_resnet(tmp_path_factory.mktemp("models") / "net.keras")


@pytest.fixture
def counted(saved):
    """A backbone that counts the images it has seen."""
    backbone = load_backbone(saved)
    seen = []
    preprocess = backbone.preprocess

    class Counted(backbones.Backbone):
        def __call__(self, images):
            seen.append(len(images))
            return super().__call__(images)

    fields = {**dataclasses.asdict(dataclasses.replace(backbone, network=None, preprocess=None))}
    return Counted(**{**fields, "network": backbone.network, "preprocess": preprocess}), seen


def pooled(network, images):
    """Features one image at a time, their mean taken in float64."""
    maps = [network(image[None].astype("float32"), training=False).numpy() for image in images]
    return np.concatenate(maps).astype("float64").mean(axis=(1, 2))


def test_saved_model_is_averaged_over_positions_in_inference(saved, images):
    values = load_backbone(saved)(images)
    assert values.dtype == np.float32
    assert values.std() > 0.05
    np.testing.assert_allclose(values, pooled(small_resnet(), images), rtol=1e-4, atol=1e-5)


def save_flat(path, dtype):
    """A network that shows the pixels it gets, 64 x 64."""
    inputs = keras.Input((64, 64, 3), dtype=dtype)
    keras.Model(inputs, keras.layers.Flatten()(inputs)).save(path)
    return str(path)


@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_saved_model_gets_resized_pixels_in_the_type_of_its_input(dtype, tmp_path, images):
    rows = load_backbone(save_flat(tmp_path / "flat.keras", dtype))(images)
    # Bilinear, pixel centres at (i + 1/2) / size: weights 3/4 and 1/4 of the two nearest.
    x = images.astype("float64")
    for axis in (1, 2):
        size = x.shape[axis]
        ahead = np.take(x, [*range(1, size), size - 1], axis)
        behind = np.take(x, [0, *range(size - 1)], axis)
        pair = np.stack([0.75 * x + 0.25 * behind, 0.75 * x + 0.25 * ahead], axis + 1)
        x = pair.reshape(*x.shape[:axis], 2 * size, *x.shape[axis + 1 :])
    rows = rows.reshape(x.shape)
    if dtype == "uint8":
        sure = x % 1 != 0.5  # ties go either way
        np.testing.assert_array_equal(rows[sure], np.round(x[sure]))
        assert sure.mean() > 0.8
    else:
        np.testing.assert_allclose(rows, x, rtol=1e-5, atol=1e-3)


@pytest.fixture
def stub_application(monkeypatch):
    calls = []

    def network(**options):
        calls.append(options)
        inputs = keras.Input(options["input_shape"])
        return keras.Model(inputs, keras.layers.AveragePooling2D(2)(inputs))

    monkeypatch.setattr(keras.applications.mobilenet_v2, "MobileNetV2", network)
    return calls


def test_application_gets_its_own_preprocessing(stub_application, images):
    backbone = load_backbone("MobileNetV2", image_size=32)
    expected = (images / 127.5 - 1.0).mean(axis=(1, 2))  # of MobileNetV2: to [-1, 1]
    np.testing.assert_allclose(backbone(images), expected, atol=1e-5)
    load_backbone("MobileNetV2")
    shapes = [call.pop("input_shape") for call in stub_application]
    assert shapes == [(32, 32, 3), (224, 224, 3)]
    assert stub_application == [{"include_top": False, "weights": "imagenet"}] * 2
    assert "mobilenet_v2.preprocess_input" in backbone.recipe["preprocessing"]


def stub_keras_hub(monkeypatch, backbone=small_resnet, **input_options):
    """A module `keras_hub` with one preset, whose converter doubles pixels and adds 1."""

    class Converter:
        image_size = (32, 32)

        def __call__(self, pixels):
            size = self.image_size
            return keras.ops.image.resize(2.0 * pixels + 1.0, size, interpolation="nearest")

        def get_config(self):
            return {"name": "converter_7", "scale": 2.0, "image_size": None}

    hub = types.ModuleType("keras_hub")
    hub.__spec__ = importlib.machinery.ModuleSpec("keras_hub", None)
    hub.models = types.SimpleNamespace(
        Backbone=types.SimpleNamespace(
            presets={"resnet_18_imagenet": {}}, from_preset=lambda name: backbone(**input_options)
        )
    )
    converter = types.SimpleNamespace(from_preset=lambda name: Converter())
    hub.layers = types.SimpleNamespace(ImageConverter=converter)
    monkeypatch.setitem(sys.modules, "keras_hub", hub)
    original = backbones._versions
    known = lambda *names: original(*(n for n in names if n != "keras-hub"))  # noqa: E731
    monkeypatch.setattr(backbones, "_versions", known)


def test_preset_gets_its_image_converter(monkeypatch, images):
    stub_keras_hub(monkeypatch)
    backbone = load_backbone()
    expected = pooled(small_resnet(), 2.0 * images + 1.0)
    np.testing.assert_allclose(backbone(images), expected, rtol=1e-4, atol=1e-5)
    assert backbone.recipe["preprocessing"] == {"scale": 2.0, "image_size": (32, 32)}


def test_preset_takes_another_image_size(monkeypatch, images):
    stub_keras_hub(monkeypatch, size=None)
    backbone = load_backbone("resnet_18_imagenet", image_size=16)
    half = 2.0 * images[:, 1::2, 1::2] + 1.0
    np.testing.assert_allclose(
        backbone(images), pooled(small_resnet(size=None), half), rtol=1e-4, atol=1e-5
    )


def test_preset_names_are_checked_before_a_download(monkeypatch):
    stub_keras_hub(monkeypatch, backbone=lambda: pytest.fail("downloads"))
    with pytest.raises(ValueError, match=r"received 'resnet_18'; try resnet_18_imagenet"):
        load_backbone("resnet_18")
    with pytest.raises(ValueError, match=r"received 'Resnet50'; try .*ResNet50"):
        load_backbone("Resnet50")


def test_missing_keras_hub_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "keras_hub", None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'asym-keras\[cifar\]'"):
        load_backbone()


@pytest.mark.parametrize("name", ["resnet_18_imagenet", "MobileNetV2"])
def test_without_network_the_error_says_what_to_do_at_once(name, monkeypatch):
    waited = []

    def fail(**options):
        waited.append(socket.getdefaulttimeout())
        raise Exception("URL fetch failure")  # what Keras raises

    stub_keras_hub(monkeypatch, backbone=fail)
    monkeypatch.setattr(keras.applications.mobilenet_v2, "MobileNetV2", fail)
    with pytest.raises(OSError, match=rf"{name}.*URL fetch failure.*connect .* \.keras file"):
        load_backbone(name)
    assert waited == [10.0]
    assert socket.getdefaulttimeout() is None


def test_bad_networks_are_refused(tmp_path, saved):
    with pytest.raises(FileNotFoundError, match=r"none\.keras, which is no file"):
        load_backbone(str(tmp_path / "none.keras"))
    (tmp_path / "text.keras").write_text("no model")
    with pytest.raises(ValueError, match=r"text\.keras, which cannot be loaded"):
        load_backbone(str(tmp_path / "text.keras"))
    with pytest.raises(ValueError, match=r"image_size: expected 32 x 32, .* received 48 x 48"):
        load_backbone(saved, image_size=48)
    with pytest.raises(ValueError, match="image_size: expected at least 1, received 0"):
        load_backbone(saved, image_size=0)
    inputs = keras.Input((8,))
    keras.Model(inputs, keras.layers.Dense(2)(inputs)).save(tmp_path / "dense.keras")
    with pytest.raises(ValueError, match=r"received inputs \[\(None, 8\)\] and 1 outputs"):
        load_backbone(str(tmp_path / "dense.keras"))


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


def test_fingerprint_of_weights_sees_one_bit():
    network = small_resnet()
    before = backbones._fingerprint(network)
    assert before == backbones._fingerprint(small_resnet())
    kernel = network.weights[0]
    kernel.assign(np.nextafter(kernel.numpy(), np.float32(9)))
    assert backbones._fingerprint(network) != before


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
    monkeypatch.setenv("ASYM_KERAS_DATA_DIR", str(tmp_path / "data"))
    assert features_folder() == tmp_path / "data" / "features"
