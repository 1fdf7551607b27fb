"""Preprocessing: that each loader tells truly how raw values became its numbers."""

from __future__ import annotations

import dataclasses
import importlib.resources
import json

import numpy as np
import pytest

from asym_keras import datasets
from asym_keras.datasets.preprocessing import Preprocessing, pixels

RNG = np.random.default_rng(0)
COLUMNS = {"names": ("a", "b"), "shift": (1.0, 2.0), "scale": (3.0, 4.0)}


def prepared(raw, record):
    """The record's formula, in float64, then the one cast."""
    flat = np.asarray(raw, "float64").reshape(len(raw), -1)
    return ((flat - np.asarray(record.shift)) / np.asarray(record.scale)).astype("float32")


def assert_inputs_are_of(dataset, raw, *, part="train"):
    record = dataset.preprocessing
    x = getattr(dataset, f"x_{part}")
    assert prepared(raw, record).shape == x.shape
    np.testing.assert_allclose(prepared(raw, record), x, rtol=2e-7, atol=0)  # one last bit


def through_json(record):
    return Preprocessing.from_dict(json.loads(json.dumps(record.to_dict())))


@pytest.fixture
def save(tmp_path):
    def save(**arrays):
        np.savez(tmp_path / "my.npz", **arrays)
        return tmp_path / "my.npz"

    return save


def test_mnist_is_pixels_over_255():
    dataset = datasets.load_mnist()
    file = importlib.resources.files("asym_keras.datasets") / "data" / "mnist.npz"
    with importlib.resources.as_file(file) as path, np.load(path) as arrays:
        assert_inputs_are_of(dataset, arrays["x_train"][:5000])
        assert_inputs_are_of(dataset.transfer, arrays["x_test"][5000:], part="test")
    record = dataset.preprocessing
    assert (record.kind, record.shape, record.dim) == ("image", (28, 28), 784)
    assert (record.low, record.high, record.licence) == (0.0, 255.0, "CC BY-SA 3.0")
    assert record.classes == tuple("0123456789")
    assert through_json(record) == record


@pytest.mark.parametrize(
    ("name", "first", "target"),
    [
        ("concrete", "cement (kg/m³)", "compressive strength (MPa)"),
        ("energy", "relative compactness", "heating load (kWh/m²)"),
        ("airfoil", "frequency (Hz)", "sound pressure level (dB)"),
        ("plant", "temperature (°C)", "energy output (MW)"),
    ],
)
def test_uci_sets_tell_columns_and_units(shared_data, name, first, target):
    dataset = datasets.load_uci(name, data_dir=shared_data)
    table = np.loadtxt(shared_data / "uci" / f"{name}.csv", delimiter=",", skiprows=1)
    rows = table[np.random.RandomState(10).permutation(len(table))]
    d, n = dataset.input_dim, len(dataset.x_train)
    assert_inputs_are_of(dataset, rows[:n, :d])
    assert_inputs_are_of(dataset, rows[-len(dataset.x_test) :, :d], part="test")
    record = dataset.preprocessing
    answers = dataset.y_test[:, 0].astype("float64") * record.target_scale + record.target_shift
    np.testing.assert_allclose(answers, rows[-len(dataset.x_test) :, d], rtol=1e-6, atol=1e-6)
    assert (record.kind, record.names[0], record.target) == ("columns", first, target)
    assert len(record.names) == record.dim == d
    assert (record.licence, record.classes) == ("CC BY 4.0", None)
    assert str(shared_data) not in record.origin  # holds on every machine
    assert dataset.transfer.preprocessing == record
    assert through_json(record) == record


def test_table_tells_the_columns_that_are_left(tmp_path):
    values = RNG.normal([5.0, 1.0, -3e4, 7.0], [2.0, 0.0, 0.1, 3.0], (30, 4))
    header = "u,constant,v w,y"
    np.savetxt(tmp_path / "t.csv", values, "%.17g", ",", header=header, comments="")
    dataset = datasets.load_table(tmp_path / "t.csv", target="y")
    rows = values[np.random.RandomState(10).permutation(30)]
    assert_inputs_are_of(dataset, rows[:12][:, [0, 2]])
    record = dataset.preprocessing
    assert (record.names, record.target, record.licence) == (("u", "v w"), "y", None)
    assert record.target_shift == pytest.approx(rows[:12, 3].mean(), rel=1e-12)
    assert record.target_scale == pytest.approx(rows[:12, 3].std(), rel=1e-12)


@pytest.mark.parametrize("shape", [(3, 2), (3, 2, 1), (3, 2, 3)])
def test_npz_images_are_pixels(save, shape):
    x = RNG.integers(0, 256, (5, *shape), dtype="uint8")
    dataset = datasets.load_npz(
        save(x_train=x, x_test=x, y_train=np.arange(5) % 2, y_test=np.arange(5) % 2)
    )
    assert_inputs_are_of(dataset, x)
    record = dataset.preprocessing
    assert (record.kind, record.shape) == ("image", (3, 2, 3) if shape[-1] == 3 else (3, 2))
    assert record.classes is None


def test_npz_vectors_are_as_they_are_or_bytes(save):
    y = RNG.normal(size=5)
    for x, high in ((RNG.normal(size=(5, 4)), None), (np.arange(20, dtype="uint8"), 255.0)):
        raw = x.reshape(5, 4)
        dataset = datasets.load_npz(save(x_train=raw, x_test=raw, y_train=y, y_test=y))
        assert_inputs_are_of(dataset, raw)
        record = dataset.preprocessing
        assert (record.kind, record.shape, record.high) == ("vector", None, high)
        assert record.rescales == (high is not None)
        assert (record.target_scale, record.target_shift) == (1.0, 0.0)


def test_float_images_are_vectors(save):
    x = RNG.normal(size=(5, 3, 2))
    dataset = datasets.load_npz(
        save(x_train=x, x_test=x, y_train=np.arange(5) % 2, y_test=np.arange(5) % 2)
    )
    assert dataset.preprocessing == Preprocessing(kind="vector")
    assert_inputs_are_of(dataset, x)


def test_tfds_images_name_their_classes(shared_data):
    pytest.importorskip("tensorflow_datasets")
    folder = shared_data / "tensorflow_datasets"
    digits = datasets.load_tfds_images("mnist", data_dir=folder, train=5, test=5).preprocessing
    assert (digits.shape, digits.classes[:3]) == ((28, 28), ("0", "1", "2"))
    images = datasets.load_tfds_images("cifar10", data_dir=folder, train=5, test=5)
    assert images.preprocessing.shape == (32, 32, 3)
    x = np.rint(images.x_train.astype("float64") * 255)
    assert_inputs_are_of(images, x)


def test_features_of_cifar10_are_as_they_are(save):
    x = RNG.normal(size=(20, 4)).astype("float16")
    labels = np.arange(20) % 10
    dataset = datasets.load_cifar10_features(
        save(x_train=x, x_test=x, y_train=labels, y_test=labels)
    )
    assert_inputs_are_of(dataset, x)
    record = dataset.preprocessing
    assert (record.kind, record.rescales) == ("vector", False)
    assert record.classes[3] == "cat"
    assert record.origin == "CIFAR-10 (A. Krizhevsky, 2009), features in my.npz"


def test_names_of_cifar10_are_those_of_tfds(shared_data):
    pytest.importorskip("tensorflow_datasets")
    folder = shared_data / "tensorflow_datasets"
    theirs = datasets.load_tfds_images("cifar10", data_dir=folder, train=5, test=5)
    ready = shared_data / "features" / "cifar10_efficientnet_lite0.npz"
    ours = datasets.load_cifar10_features(ready, train=20, test=20)
    assert ours.preprocessing.classes == theirs.preprocessing.classes


@pytest.mark.parametrize("load", [datasets.load_simulated, datasets.load_orthogonal])
def test_generated_data_are_vectors(load):
    record = load(examples=2).preprocessing
    assert (record.kind, record.rescales, record.target) == ("vector", False, None)
    assert "no licence is needed" in record.licence


def test_fingerprint_does_not_see_it():
    dataset = datasets.load_simulated(examples=3)
    bare = dataclasses.replace(dataset, preprocessing=None)
    other = dataclasses.replace(dataset, preprocessing=Preprocessing(kind="vector", scale=2.0))
    assert bare.fingerprint() == dataset.fingerprint() == other.fingerprint()


def test_one_channel_is_no_axis():
    assert pixels((4, 5, 1)) == pixels((4, 5))
    assert pixels((4, 5, 3)).dim == 60


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"kind": "sound"}, "kind to be one of .*received 'sound'"),
        ({"kind": "image"}, "shape of kind 'image', received none"),
        ({"kind": "columns"}, "names of kind 'columns', received none"),
        ({"kind": "vector", "scale": 0.0}, "scale to be positive, received 0.0"),
        ({"kind": "vector", "scale": (1.0, -2.0)}, "scale to be positive"),
        ({"kind": "vector", "target_scale": -1.0}, "target_scale to be positive"),
        ({"kind": "vector", "shift": float("nan")}, "shift to be finite"),
        ({"kind": "columns", **COLUMNS, "shift": (1.0,)}, r"of one size, received \[1, 2\]"),
        ({"kind": "image", "shape": (2, 2), "scale": (1.0, 1.0)}, r"received \[2, 4\]"),
    ],
)
def test_senseless_records_are_refused(fields, message):
    with pytest.raises(ValueError, match=f"preprocessing: expected .*{message}"):
        Preprocessing(**fields)


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ({"kind": "vector", "gain": 1.0}, "received gain as well"),
        ({"scale": 1.0}, "kind among them, received none"),
        ({"kind": "vector", "target_scale": [1.0]}, "target_scale to be a single value"),
    ],
)
def test_from_dict_refuses_what_is_no_record(record, message):
    with pytest.raises(ValueError, match=message):
        Preprocessing.from_dict(record)


@pytest.mark.parametrize(
    ("record", "message"),
    [
        (
            Preprocessing(kind="columns", **COLUMNS),
            "expected 50 inputs as in the arrays, received 2",
        ),
        (Preprocessing(kind="vector", classes=("a",)), "expected no classes"),
    ],
)
def test_dataset_refuses_a_record_of_other_arrays(record, message):
    with pytest.raises(ValueError, match=f"dataset 'simulated': preprocessing: {message}"):
        dataclasses.replace(datasets.load_simulated(examples=2), preprocessing=record)
