"""Backbones of every kind against the bare networks."""

from __future__ import annotations

import contextlib
import importlib.machinery
import re
import socket
import sys
import types

import keras
import numpy as np
import pytest
from backbone_models import pooled, save_small_resnet, small_resnet

from asym_keras.datasets import backbones
from asym_keras.datasets.backbones import load_backbone
from asym_keras.extras import install_command


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).integers(0, 256, (11, 32, 32, 3)).astype("uint8")


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    return save_small_resnet(tmp_path_factory.mktemp("models") / "net.keras")


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
    with pytest.raises(ModuleNotFoundError, match=re.escape(install_command("cifar"))):
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


def test_saved_networks_may_be_in_the_home_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(FileNotFoundError, match=f"received {tmp_path}/none.keras, which is no"):
        load_backbone("~/none.keras")


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


def test_fingerprint_of_weights_sees_one_bit():
    network = small_resnet()
    before = backbones._fingerprint(network)
    assert before == backbones._fingerprint(small_resnet())
    kernel = network.weights[0]
    kernel.assign(np.nextafter(kernel.numpy(), np.float32(9)))
    assert backbones._fingerprint(network) != before


def test_constructors_that_their_public_module_lacks(monkeypatch):
    made = []
    monkeypatch.setattr(keras.applications, "MobileNetV3Small", fake := lambda **o: made.append(o))
    fake.__module__ = "keras.src.applications.mobilenet_v3"
    with contextlib.suppress(AttributeError):  # what it makes is no network
        load_backbone("MobileNetV3Small", image_size=40)
    assert made[0]["input_shape"] == (40, 40, 3)


def test_an_image_size_that_a_network_does_not_take_is_no_fault_of_the_connection():
    with pytest.raises(ValueError, match=r"ResNet50.*at least 32x32"):
        load_backbone("ResNet50", image_size=16)
