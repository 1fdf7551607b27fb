"""`Dataset`: what it tells of itself and what it refuses."""

from __future__ import annotations

import dataclasses
import subprocess
import sys

import numpy as np
import pytest

from asym_keras.datasets.dataset import Dataset, one_hot, scale_pixels


def make(**changes) -> Dataset:
    """Five training and three test rows, d = 4, of three classes."""
    rng = np.random.default_rng(0)
    labels = {"train": np.array([0, 1, 2, 0, 1]), "test": np.array([2, 2, 0])}
    arrays = {"name": "toy", "source": "a test"}
    for part, label in labels.items():
        arrays[f"x_{part}"] = rng.normal(size=(len(label), 4)).astype(np.float32)
        arrays[f"y_{part}"] = one_hot(label, 3)
        arrays[f"labels_{part}"] = label
    return Dataset(**(arrays | changes))


def spoiled(array: np.ndarray, row: int, value: float) -> np.ndarray:
    array = array.copy()
    array[row, -1] = value
    return array


def test_dataset_tells_its_dimensions_and_kind():
    classes = make()
    assert (classes.input_dim, classes.outputs, classes.is_classification) == (4, 3, True)
    assert not make(labels_train=None, labels_test=None).is_classification
    assert repr(classes) == (
        "Dataset('toy', classification, 5 train + 3 test rows, input_dim=4, outputs=3, "
        "transfer=False, source='a test')"
    )


def test_dataset_is_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        make().name = "other"


def test_fingerprint_is_stable_and_sees_every_number():
    base = make()
    assert base.fingerprint() == "4120730f2d418c4d"  # else old checkpoints would be refused
    assert make(name="other", source="elsewhere", transfer=base).fingerprint() == base.fingerprint()
    for name in ("x_train", "y_train", "x_test", "y_test"):
        array = getattr(base, name)
        assert make(**{name: spoiled(array, 1, 0.5)}).fingerprint() != base.fingerprint()
        fortran = np.asfortranarray(array)
        assert make(**{name: fortran}).fingerprint() == base.fingerprint()


def test_fingerprint_sees_the_shape():
    def zeros(rows: int, columns: int, outputs: int) -> Dataset:
        x, y = np.zeros((rows, columns), np.float32), np.zeros((rows, outputs), np.float32)
        return Dataset(name="zeros", x_train=x, y_train=y, x_test=x, y_test=y, source="a test")

    assert zeros(2, 3, 1).fingerprint() != zeros(1, 6, 2).fingerprint()  # as many bytes


BASE = make()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"x_train": spoiled(BASE.x_train, 3, np.nan)},
            r"x_train: expected finite float32 values, received nan in row 3 \(1 such rows\);",
        ),
        ({"y_test": spoiled(BASE.y_test, 2, -np.inf)}, "y_test: expected finite .*-inf in row 2"),
        (
            {"x_train": BASE.x_train.astype(np.float64)},
            r"x_train: expected a float32 array of rank 2, received float64 \(5, 4\); pass",
        ),
        ({"y_train": BASE.y_train[:, 0]}, r"y_train: .* rank 2, received float32 \(5,\);"),
        ({"x_test": [[1.0]]}, "x_test: .*received list;"),
        (
            {"y_train": BASE.y_train[:4]},
            "y_train: expected 5 rows as in x_train, received 4; .* without partner is 4;",
        ),
        ({"x_test": BASE.x_test[:0]}, r"x_test: expected at least one row .*\(0, 4\);"),
        ({"x_test": BASE.x_test[:, :3]}, "x_test: expected 4 columns as in x_train, received 3"),
        (
            {"y_test": BASE.y_test[:, :2], "labels_test": np.array([1, 1, 0])},
            "y_test: expected 3 columns as in y_train, received 2;",
        ),
        ({"labels_test": None}, "labels_train and labels_test: expected both or neither"),
        ({"labels_test": np.array([0, 3, -1])}, "labels_test: .*0 to 2, received 3 in row 1;"),
        (
            {"labels_train": np.array([0, 1])},
            r".* int64 array of shape \(5,\), received int64 \(2,\)",
        ),
        ({"labels_test": np.ones(3, np.int32)}, r".* an int64 .* received int32 \(3,\);"),
        (
            {"transfer": make(x_train=BASE.x_train[:, :2], x_test=BASE.x_test[:, :2])},
            "transfer: expected input dimension 4, received 2;",
        ),
    ],
)
def test_dataset_refuses_inconsistent_arrays(changes, message):
    with pytest.raises(ValueError, match=f"dataset 'toy': {message}"):
        make(**changes)


def test_one_hot_places_the_ones():
    targets = one_hot(np.array([2, 0]), 3)
    assert targets.dtype == np.float32
    np.testing.assert_array_equal(targets, [[0, 0, 1], [1, 0, 0]])


@pytest.mark.parametrize("label", [-1, 3])
def test_one_hot_refuses_labels_outside_the_classes(label):
    with pytest.raises(ValueError, match=f"classes 0 to 2, received {label} in row 1;"):
        one_hot(np.array([0, label]), 3)


def test_scale_pixels_flattens_and_divides():
    vectors = scale_pixels(np.array([[[0, 51], [102, 255]]], np.uint8))
    assert vectors.dtype == np.float32
    np.testing.assert_array_equal(vectors, np.float32([[0.0, 0.2, 0.4, 1.0]]))


def test_importing_datasets_loads_neither_tfds_nor_tensorflow():
    code = (
        "import sys, asym_keras.datasets; "
        "sys.exit(' '.join({'tensorflow', 'tensorflow_datasets', 'keras'} & set(sys.modules)) or 0)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
