"""`load_npz`: each kind of file that is read, and each that is refused."""

from __future__ import annotations

import io
import warnings
import zipfile

import numpy as np
import pytest

from asym_keras.datasets import load_npz

RNG = np.random.default_rng(0)
FLOATS = {
    "x_train": RNG.normal(size=(5, 4)),
    "y_train": RNG.normal(size=5),
    "x_test": RNG.normal(size=(3, 4)),
    "y_test": RNG.normal(size=3),
}
LABELS = {"y_train": np.array([0, 2, 1, 1, 0]), "y_test": np.array([1, 2, 0])}


@pytest.fixture
def save(tmp_path):
    def save(**changes):
        """Writes FLOATS with changes; None leaves an array out."""
        path = tmp_path / "my.npz"
        arrays = {key: value for key, value in (FLOATS | changes).items() if value is not None}
        np.savez_compressed(path, **arrays)
        return path

    return save


def test_load_npz_reads_regression_of_one_output(save):
    path = save()
    dataset = load_npz(path)
    assert (dataset.name, dataset.source) == ("my", f"npz file {path}")
    assert not dataset.is_classification
    assert dataset.transfer is None
    np.testing.assert_array_equal(dataset.x_train, FLOATS["x_train"].astype(np.float32))
    np.testing.assert_array_equal(dataset.y_test, FLOATS["y_test"].astype(np.float32)[:, None])
    assert load_npz(str(path)).fingerprint() == dataset.fingerprint()


def test_load_npz_reads_regression_of_several_outputs(save):
    targets = {"y_train": RNG.normal(size=(5, 2)), "y_test": RNG.normal(size=(3, 2))}
    dataset = load_npz(save(**targets))
    assert dataset.outputs == 2
    assert not dataset.is_classification
    np.testing.assert_array_equal(dataset.y_train, targets["y_train"].astype(np.float32))


@pytest.mark.parametrize("dtype", ["uint8", "int32", "int64", "uint64"])
def test_load_npz_makes_integer_labels_one_hot(save, dtype):
    dataset = load_npz(save(**{key: value.astype(dtype) for key, value in LABELS.items()}))
    assert dataset.is_classification
    assert dataset.labels_train.dtype == np.int64
    np.testing.assert_array_equal(dataset.labels_train, LABELS["y_train"])
    np.testing.assert_array_equal(dataset.y_test, np.eye(3)[LABELS["y_test"]])


def test_load_npz_takes_one_hot_floats_for_classes(save):
    dataset = load_npz(save(**{key: np.eye(4)[value] for key, value in LABELS.items()}))
    np.testing.assert_array_equal(dataset.labels_train, LABELS["y_train"])
    np.testing.assert_array_equal(dataset.labels_test, LABELS["y_test"])
    assert dataset.outputs == 4


@pytest.mark.parametrize("shape", [(2, 3), (2, 3, 1), (2, 3, 3), (6,)])
def test_load_npz_scales_and_flattens_pixels(save, shape):
    images = {
        key: RNG.integers(0, 256, size=(rows, *shape), dtype=np.uint8)
        for key, rows in (("x_train", 5), ("x_test", 3))
    }
    dataset = load_npz(save(**images))
    expected = images["x_train"].reshape(5, -1) / 255
    np.testing.assert_allclose(dataset.x_train, expected, rtol=1e-7)
    assert dataset.x_train.dtype == np.float32


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_load_npz_takes_float_images_as_they_are(save, dtype):
    images = {key: FLOATS[key].reshape(-1, 2, 2).astype(dtype) for key in ("x_train", "x_test")}
    dataset = load_npz(save(**images))
    np.testing.assert_array_equal(dataset.x_test, images["x_test"].reshape(3, 4).astype(np.float32))


def test_load_npz_warns_of_a_test_label_unseen_in_training(save):
    path = save(y_train=LABELS["y_train"], y_test=np.array([1, 4, 0]))
    with pytest.warns(UserWarning, match=r"test labels \[4\] do not occur in y_train") as caught:
        dataset = load_npz(path)
    assert dataset.outputs == 5
    assert caught[0].filename == __file__


def test_load_npz_does_not_warn_of_a_training_label_unseen_in_test(save):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert load_npz(save(**LABELS | {"y_test": np.array([0, 0, 0])})).outputs == 3


def test_load_npz_ignores_further_arrays(save):
    assert load_npz(save(note=np.arange(3))).fingerprint() == load_npz(save()).fingerprint()


PIXELS = np.zeros((5, 4), np.uint8)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"y_test": None, "x_test": None, "labels": np.arange(2)},
            "expected the arrays x_train, .* received x_train, y_train, labels; add x_test",
        ),
        (
            {"y_train": np.array([1, "a", None, 2, 3], object)},
            "y_train as .* Python objects .*;",
        ),
        ({"x_train": FLOATS["x_train"][:4]}, "y_train: expected 4 rows as in x_train, received 5"),
        (
            {"x_test": FLOATS["x_test"][:, :3]},
            r"x_test: .* \(4,\) as in x_train, received \(3,\);",
        ),
        (
            {"x_train": FLOATS["x_train"][:, 0], "x_test": FLOATS["x_test"][:, 0]},
            r"received shape \(5,\);",
        ),
        ({"x_train": PIXELS}, "x_test: expected uint8 as in x_train, received float64;"),
        (
            {"x_train": PIXELS.astype(int)},
            "x_train: expected uint8 pixels or floats, received int64",
        ),
        ({"x_train": np.full((5, 4), np.nan)}, "x_train: expected finite .* nan in row 0 "),
        ({"x_test": np.full((3, 4), 1e300)}, "x_test: expected finite float32 .* inf in row 0 "),
        ({"y_test": np.array([0.0, np.inf, 1.0])}, "y_test: expected finite .* inf in row 1 "),
        ({"x_train": np.zeros((0, 4)), "y_train": np.zeros(0)}, "x_train: .* at least one row"),
        (LABELS | {"y_train": np.zeros(0, int)}, "y_train: expected at least one row"),
        (
            LABELS | {"y_train": np.array([0, 1, 2, -1, 0])},
            "labels from 0, received -1 in row 3;",
        ),
        (
            LABELS | {"y_train": np.array([0, 1, 2, 10**9, 0])},
            "largest label of 1000000000 in 8 rows",
        ),
        (
            {"y_train": np.zeros(5, int), "y_test": np.zeros(3, int)},
            "2 or more classes, .* label of 0 ",
        ),
        (
            {"y_train": LABELS["y_train"]},
            "y_test: expected int64 as in y_train, received float64;",
        ),
        (
            {"y_train": np.zeros((5, 1), int)},
            r"y_train: expected .* received int64 \(5, 1\); save",
        ),
        ({"y_test": np.zeros((3, 2))}, "y_test: expected 1 columns as in y_train, received 2"),
        (
            {"y_train": np.zeros(5, bool)},
            r"y_train: expected integer labels .* received bool \(5,\)",
        ),
    ],
)
def test_load_npz_refuses_what_it_cannot_read(save, changes, message):
    with pytest.raises(ValueError, match=rf"my\.npz: .*{message}"):
        load_npz(save(**changes))


def test_load_npz_refuses_a_missing_file_and_a_folder(tmp_path):
    for path in (tmp_path / "none.npz", tmp_path):
        with pytest.raises(FileNotFoundError, match=r"expected an \.npz file, received .* no file"):
            load_npz(path)


@pytest.mark.parametrize("content", [b"", b"x_train,y_train\n1,2\n", b"\x80\x04K\x01."])
def test_load_npz_refuses_files_of_another_kind(tmp_path, content):
    path = tmp_path / "other.npz"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"expected an \.npz file, received something else"):
        load_npz(path)


def test_load_npz_refuses_a_truncated_file(save):
    path = save()
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ValueError, match=r"my\.npz: expected an \.npz file, .* damaged file;"):
        load_npz(path)


def test_load_npz_refuses_a_file_with_a_flipped_byte(save):
    path = save()
    content = bytearray(path.read_bytes())
    content[150] ^= 0xFF  # within the compressed numbers of x_train
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"my\.npz: x_train is damaged \(.*\);"):
        load_npz(path)


def test_load_npz_refuses_members_that_are_no_arrays(save):
    path = save(y_test=None)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("y_test", io.BytesIO(b"1,2,3").getvalue())
    with pytest.raises(ValueError, match=r"expected y_test in \.npy format; write it with"):
        load_npz(path)


def test_file_may_be_in_the_home_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(FileNotFoundError, match=f"received {tmp_path}/none.npz, which is no file"):
        load_npz("~/none.npz")
