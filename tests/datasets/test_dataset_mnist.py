"""Bundled MNIST: the right images in the right splits."""

from __future__ import annotations

import importlib.resources

import numpy as np
import pytest

from asym_keras.datasets import load_mnist, mnist


@pytest.fixture(scope="module")
def dataset():
    return load_mnist()


@pytest.fixture(scope="module")
def file():
    path = importlib.resources.files("asym_keras.datasets") / "data" / "mnist.npz"
    with path.open("rb") as stream, np.load(stream, allow_pickle=False) as arrays:
        return dict(arrays)


@pytest.fixture
def damaged_package(tmp_path, monkeypatch):
    """The folder that `mnist` takes for its package; empty at first."""
    monkeypatch.setattr(mnist.importlib.resources, "files", lambda package: tmp_path)
    (tmp_path / "data").mkdir()
    return tmp_path


def test_load_mnist_begins_with_the_well_known_digits(dataset):
    np.testing.assert_array_equal(dataset.labels_train[:10], [5, 0, 4, 1, 9, 2, 1, 3, 1, 4])
    np.testing.assert_array_equal(dataset.labels_test[:10], [7, 2, 1, 0, 4, 1, 4, 9, 5, 9])
    assert dataset.x_train[0].sum() == pytest.approx(27525 / 255, rel=1e-5)  # the first 5


def test_load_mnist_has_the_shapes_of_the_protocol(dataset):
    for part in (dataset, dataset.transfer):
        for name, columns in (("x_train", 784), ("y_train", 10), ("x_test", 784), ("y_test", 10)):
            array = getattr(part, name)
            assert array.shape == (5_000, columns)
            assert array.dtype == np.float32
        assert part.labels_train.dtype == part.labels_test.dtype == np.int64
        assert part.x_train.min() == 0.0
        assert part.x_train.max() == 1.0
    assert dataset.transfer.transfer is None


@pytest.mark.parametrize("part", ["train", "test"])
def test_load_mnist_splits_are_the_rows_of_the_file(dataset, file, part):
    images = file[f"x_{part}"].reshape(10_000, 784) / np.float32(255)
    for half, rows in ((dataset, slice(0, 5_000)), (dataset.transfer, slice(5_000, 10_000))):
        np.testing.assert_array_equal(getattr(half, f"x_{part}"), images[rows])
        labels = getattr(half, f"labels_{part}")
        np.testing.assert_array_equal(labels, file[f"y_{part}"][rows])
        np.testing.assert_array_equal(getattr(half, f"y_{part}"), np.eye(10)[labels])


def test_load_mnist_keeps_its_fingerprint(dataset):
    assert dataset.fingerprint() == "9ef28921eafc70f8"


def test_load_mnist_refuses_an_unknown_source():
    with pytest.raises(ValueError, match=r"source: expected one of .*bundled.*received 'web';"):
        load_mnist("web")


def test_load_mnist_notices_a_damaged_file(damaged_package):
    (damaged_package / "data" / "mnist.npz").write_bytes(b"half a file")
    with pytest.raises(OSError, match=r"damaged: expected SHA-256 .* \(11 bytes\); reinstall"):
        load_mnist()


def test_load_mnist_notices_a_missing_file(damaged_package):
    with pytest.raises(FileNotFoundError, match=r"expected the bundled MNIST at .*; reinstall"):
        load_mnist()
