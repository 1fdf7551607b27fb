"""CIFAR-10 images, their features by a frozen network, and ready features."""

from __future__ import annotations

import shutil

import keras
import numpy as np
import pytest
from backbone_models import FEATURES, save_small_resnet

from asym_keras.datasets import load_cifar10, load_cifar10_features, tfds_images
from asym_keras.datasets.cifar10 import augmented, load_cifar10_images


@pytest.fixture(scope="module")
def ready(shared_data):
    return shared_data / "features" / "cifar10_efficientnet_lite0.npz"


@pytest.fixture(scope="module")
def images(shared_data):
    pytest.importorskip("tensorflow_datasets")
    return load_cifar10_images(shared_data / "tensorflow_datasets")


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    return save_small_resnet(tmp_path_factory.mktemp("models") / "net.keras")


@pytest.fixture
def options(shared_data, tmp_path):
    pytest.importorskip("tensorflow_datasets")
    folder = shared_data / "tensorflow_datasets"
    return {"data_dir": folder, "cache_dir": tmp_path / "cache", "progress": False}


def write(path, **changes):
    """Features of 20 and 10 images with all ten classes, but for `changes`."""
    generator = np.random.default_rng(0)
    arrays = {
        "x_train": generator.normal(size=(20, 4)).astype("float16"),
        "y_train": np.arange(20) % 10,
        "x_test": generator.normal(size=(10, 4)).astype("float16"),
        "y_test": np.arange(10),
    }
    arrays |= changes
    np.savez(path, **{name: array for name, array in arrays.items() if array is not None})
    return path


@pytest.mark.slow
def test_images_are_in_the_order_of_the_ready_features(images, ready):
    with np.load(ready) as file:
        np.testing.assert_array_equal(images.labels_train, file["y_train"])
        np.testing.assert_array_equal(images.labels_test, file["y_test"])
    assert images.x_train.shape == (10_000, 32, 32, 3)
    assert images.x_test.shape == (2_000, 32, 32, 3)
    assert images.x_train.dtype == np.uint8
    assert images.source == "TFDS cifar10/3.0.2, train[:10000], test[:2000] by id"


@pytest.mark.slow
def test_images_keep_their_labels(images, shared_data):
    # TFDS's own order, read in another way: by image, the label must be the same.
    other = tfds_images.load_tfds_images(
        "cifar10", data_dir=shared_data / "tensorflow_datasets", train=200, test=1
    )
    known = dict(zip(map(bytes, images.x_train), images.labels_train, strict=True))
    pixels = np.rint(other.x_train * 255).astype("uint8")
    labels = [known[bytes(image)] for image in pixels]
    np.testing.assert_array_equal(labels, other.labels_train)
    assert not np.array_equal(other.labels_train, images.labels_train[:200])


@pytest.mark.slow
def test_features_are_of_the_first_images_in_order(images, saved, options):
    dataset = load_cifar10(saved, train=300, test=100, **options)
    assert (dataset.name, dataset.input_dim, dataset.outputs) == ("cifar10", FEATURES, 10)
    assert dataset.transfer is None
    network = keras.models.load_model(saved)
    for part, count in (("train", 300), ("test", 100)):
        pixels = getattr(images, f"x_{part}")[:count].astype("float32")
        maps = network.predict(pixels, batch_size=7, verbose=0).astype("float64")
        x = getattr(dataset, f"x_{part}")
        np.testing.assert_allclose(x, maps.mean(axis=(1, 2)), rtol=1e-4, atol=1e-5)
        labels = getattr(images, f"labels_{part}")[:count]
        np.testing.assert_array_equal(getattr(dataset, f"labels_{part}"), labels)
        np.testing.assert_array_equal(getattr(dataset, f"y_{part}"), np.eye(10)[labels])
    assert dataset.source.endswith(f"train[:300], test[:100] by id, features of {saved}")


@pytest.mark.slow
def test_features_come_from_the_cache(saved, options, monkeypatch):
    first = load_cifar10(saved, train=20, test=10, **options)
    assert len(list(options["cache_dir"].iterdir())) == 2
    monkeypatch.setattr("asym_keras.datasets.features._compute", None)
    assert load_cifar10(saved, train=20, test=10, **options).fingerprint() == first.fingerprint()


@pytest.mark.slow
def test_views_are_rows_of_their_own_in_training_alone(images, saved, options):
    plain = load_cifar10(saved, train=20, test=10, **options)
    dataset = load_cifar10(saved, train=20, test=10, views=3, **options)
    assert dataset.x_train.shape == (60, FEATURES)
    network = keras.models.load_model(saved)
    for view in range(3):
        pixels = augmented(images.x_train[:20], seed=view).astype("float32")
        maps = network.predict(pixels, verbose=0)
        rows = slice(20 * view, 20 * (view + 1))
        np.testing.assert_allclose(
            dataset.x_train[rows], maps.mean(axis=(1, 2)), rtol=1e-4, atol=1e-5
        )
        np.testing.assert_array_equal(dataset.labels_train[rows], plain.labels_train)
    np.testing.assert_array_equal(dataset.x_test, plain.x_test)
    assert dataset.source.endswith("3 views")
    with pytest.raises(ValueError, match="views: expected at least 0, received -1"):
        load_cifar10(saved, views=-1, **options)


def test_augmented_views_are_all_crops_and_flips_equally_often():
    images = np.random.default_rng(0).integers(1, 256, (900, 6, 5, 3)).astype("uint8")
    views = augmented(images, seed=1)
    found = np.zeros((9, 9, 2), int)
    for image, view in zip(images, views, strict=True):
        padded = np.zeros((14, 13, 3), "uint8")
        padded[4:10, 4:9] = image
        matches = [
            (top, left, flip)
            for top in range(9)
            for left in range(9)
            for flip in (0, 1)
            if np.array_equal(padded[top : top + 6, left : left + 5][:, :: 1 - 2 * flip], view)
        ]
        assert matches
        found[matches[0]] += len(matches) == 1
    assert found.sum() > 890  # two that match: nearly nothing of the image is left
    counts = [found.sum((1, 2)), found.sum((0, 2)), found.sum((0, 1))]
    for count in counts:  # within five standard deviations of equal shares
        share = 1 / len(count)
        spread = 5 * np.sqrt(900 * share * (1 - share))
        np.testing.assert_allclose(count, 900 * share, atol=spread)


def test_augmented_views_are_of_the_seed():
    images = np.random.default_rng(0).integers(0, 256, (50, 32, 32, 3)).astype("uint8")
    before = images.copy()
    np.testing.assert_array_equal(augmented(images, seed=4), augmented(images, seed=4))
    same = (augmented(images, seed=4) == augmented(images, seed=5)).all(axis=(1, 2, 3))
    assert same.mean() < 0.1
    np.testing.assert_array_equal(images, before)


def test_ready_features_are_read_as_they_are(ready):
    dataset = load_cifar10_features(ready, train=500)
    assert dataset.name == "cifar10"
    with np.load(ready) as file:
        np.testing.assert_array_equal(dataset.x_train, file["x_train"][:500].astype("float32"))
        np.testing.assert_array_equal(dataset.x_test, file["x_test"].astype("float32"))
        np.testing.assert_array_equal(dataset.labels_train, file["y_train"][:500])
        np.testing.assert_array_equal(dataset.y_test, np.eye(10)[file["y_test"]])


def test_ready_features_have_ten_classes_even_if_some_are_absent(tmp_path):
    path = write(tmp_path / "f.npz", y_train=np.arange(20) % 7, y_test=np.arange(10) % 7)
    assert load_cifar10_features(path).y_train.shape == (20, 10)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"y_test": np.arange(1, 11)}, "integer labels 0 to 9, received labels up to 10"),
        ({"y_train": np.arange(20) - 1}, "expected labels from 0, received -1 in row 0"),
        ({"y_train": np.ones(20), "y_test": np.ones(10)}, "0 to 9, received real targets"),
        ({"x_train": np.full((20, 4), np.nan, "f4")}, "expected finite .* received nan in row 0"),
        ({"x_test": np.zeros((10, 5), "f4")}, r"rows of shape \(4,\)"),
        ({"y_train": np.arange(19) % 10}, "expected 20 rows"),
        ({"x_test": None}, "add x_test"),
    ],
)
@pytest.mark.filterwarnings("ignore:test labels")
def test_bad_ready_features_are_told(tmp_path, changes, message):
    with pytest.raises(ValueError, match=message):
        load_cifar10_features(write(tmp_path / "f.npz", **changes))


@pytest.mark.parametrize("counts", [{"train": 21}, {"train": 0}, {"test": 11}])
def test_counts_beyond_the_data_are_told(tmp_path, counts, shared_data):
    pytest.importorskip("tensorflow_datasets")
    ((name, count),) = counts.items()
    path = write(tmp_path / "f.npz")
    with pytest.raises(ValueError, match=f"{name}: expected 1 to .0 images, received {count}"):
        load_cifar10_features(path, **counts)
    folder = shared_data / "tensorflow_datasets"
    with pytest.raises(ValueError, match=f"{name}: expected 1 to .*000 images, received"):
        load_cifar10_images(folder, **{name: count and 20_000})


def test_without_network_or_images_the_error_says_what_to_do(saved, tmp_path, monkeypatch):
    pytest.importorskip("tensorflow_datasets")

    def refuse(*args, **kwargs):
        raise OSError("no network in this test")

    monkeypatch.setattr(tfds_images.socket, "create_connection", refuse)
    monkeypatch.setattr(tfds_images.urllib.request, "getproxies", lambda: {"no": "localhost"})
    with pytest.raises(ConnectionError, match=r"cifar10: expected a prepared set .*TFDS_DATA_DIR"):
        load_cifar10(saved, data_dir=tmp_path)


def test_damaged_files_are_told(shared_data, tmp_path):
    pytest.importorskip("tensorflow_datasets")
    source = shared_data / "tensorflow_datasets" / "cifar10" / "3.0.2"
    folder = tmp_path / "cifar10" / "3.0.2"
    shutil.copytree(source, folder, copy_function=shutil.copyfile)
    folder.chmod(0o755)
    for file in folder.glob("*train.tfrecord*"):
        file.write_bytes(file.read_bytes()[:10_000])
    with pytest.raises(OSError, match=r"3\.0\.2: cannot be read .*; delete that folder"):
        load_cifar10_images(tmp_path, train=1, test=1)


def test_backbone_is_checked_before_the_images(tmp_path, monkeypatch):
    monkeypatch.setattr(tfds_images, "builder_of", lambda *a: pytest.fail("reads images"))
    with pytest.raises(FileNotFoundError, match="which is no file"):
        load_cifar10(str(tmp_path / "none.keras"))
