"""TFDS images against the prepared folder, and each failure without a network."""

from __future__ import annotations

import functools
import json
import shutil

import numpy as np
import pytest

from asym_keras.datasets import load_mnist, load_tfds_images, tfds_images
from asym_keras.datasets.cifar10 import load_cifar10_images

pytest.importorskip("tensorflow_datasets")


@pytest.fixture
def data_dir(shared_data):
    return shared_data / "tensorflow_datasets"


@pytest.fixture
def no_network(monkeypatch):
    def refuse(*args, **kwargs):
        raise OSError("no network in this test")

    monkeypatch.setattr(tfds_images.socket, "create_connection", refuse)
    monkeypatch.setattr(tfds_images.urllib.request, "getproxies", lambda: {"no": "localhost"})


def known_images(*, train: bool) -> dict[bytes, int]:
    """Label by image, of all bundled MNIST images of one kind."""
    known = {}
    for part in (load_mnist(), load_mnist().transfer):
        x, labels = (part.x_train, part.labels_train) if train else (part.x_test, part.labels_test)
        known |= {image.tobytes(): label for image, label in zip(x, labels, strict=True)}
    return known


@pytest.mark.slow
def test_load_tfds_images_test_digits_are_canonical_ones_in_another_order(data_dir):
    dataset = load_tfds_images("mnist", data_dir=data_dir, train=10, transfer=False)
    known = known_images(train=False)
    for image, label in zip(dataset.x_test, dataset.labels_test, strict=True):
        assert known[image.tobytes()] == label
    assert not np.array_equal(dataset.labels_test, load_mnist().labels_test)


def test_load_tfds_images_training_digits_agree_with_the_canonical_ones(data_dir):
    dataset = load_tfds_images("mnist", data_dir=data_dir, train=1_200, test=10, transfer=False)
    known = known_images(train=True)
    pairs = zip(dataset.x_train, dataset.labels_train, strict=True)
    shared = [(known[image.tobytes()], label) for image, label in pairs if image.tobytes() in known]
    assert 140 < len(shared) < 260  # the package has 10,000 of the 60,000: 200 expected, sd 13
    assert all(ours == theirs for ours, theirs in shared)


@pytest.mark.slow
def test_load_tfds_images_follows_the_protocol(data_dir):
    dataset = load_tfds_images("mnist", data_dir=str(data_dir))
    assert (dataset.name, dataset.input_dim, dataset.outputs) == ("mnist", 784, 10)
    assert dataset.source == "TFDS mnist/3.0.1, train[:5000], test[:5000]"
    assert dataset.transfer.source == "TFDS mnist/3.0.1, train[5000:10000], test[5000:10000]"
    images = set()
    for part in (dataset, dataset.transfer):
        for x, y, labels in (
            (part.x_train, part.y_train, part.labels_train),
            (part.x_test, part.y_test, part.labels_test),
        ):
            assert x.shape == (5_000, 784)
            assert x.dtype == y.dtype == np.float32
            assert x.min() == 0.0
            assert x.max() == 1.0
            np.testing.assert_array_equal(y, np.eye(10)[labels])
            images |= {image.tobytes() for image in x}
    assert len(images) == 20_000  # no image in two parts


@pytest.mark.slow
def test_load_tfds_images_slices_are_windows_on_one_order(data_dir):
    small = load_tfds_images("mnist", data_dir=data_dir, train=30, test=20)
    large = load_tfds_images("mnist", data_dir=data_dir, train=60, test=10_000)
    np.testing.assert_array_equal(small.x_train, large.x_train[:30])
    np.testing.assert_array_equal(small.transfer.x_train, large.x_train[30:])
    np.testing.assert_array_equal(small.x_test, large.x_test[:20])
    np.testing.assert_array_equal(small.transfer.labels_test, large.labels_test[-20:])
    assert large.transfer is None  # all test images are taken


@pytest.mark.slow
def test_load_tfds_images_takes_what_a_smaller_set_has(data_dir, shared_data):
    dataset = load_tfds_images("cifar10", data_dir=data_dir, train=20_000)
    assert dataset.x_train.shape == (10_000, 3_072)
    assert dataset.x_test.shape == (2_000, 3_072)
    assert dataset.transfer is None
    with np.load(shared_data / "features" / "cifar10_efficientnet_lite0.npz") as features:
        for part in ("train", "test"):  # the same images, there in canonical order
            counts = np.bincount(getattr(dataset, f"labels_{part}"), minlength=10)
            np.testing.assert_array_equal(counts, np.bincount(features[f"y_{part}"], minlength=10))


@pytest.mark.slow
def test_load_tfds_images_reads_the_folder_of_the_environment(data_dir, monkeypatch):
    monkeypatch.setenv("TFDS_DATA_DIR", str(data_dir))
    explicit = load_tfds_images("cifar10:3.0.2", data_dir=data_dir, train=5, test=5)
    assert load_tfds_images("cifar10", train=5, test=5).fingerprint() == explicit.fingerprint()
    assert load_mnist("tfds").source.startswith("TFDS mnist")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "fashion-mnist",
            "expected a TFDS dataset, received 'fashion-mnist'; try fashion_mnist",
        ),
        ("CIFAR-10", "received 'CIFAR-10'; try cifar10"),
        ("qqqqqqqq", "received 'qqqqqqqq'; look it up with tfds.list_builders"),
        ("mnist:9.9.9", "TFDS cannot build 'mnist:9.9.9': .*only: 3.0.1"),
        ("", "received ''; look it up"),
    ],
)
def test_load_tfds_images_refuses_unknown_names(tmp_path, name, message):
    with pytest.raises(ValueError, match=message) as caught:
        load_tfds_images(name, data_dir=tmp_path)
    assert len(str(caught.value)) < 1_000  # not the list of all names


@pytest.mark.parametrize("name", ["iris", "imdb_reviews", "cats_vs_dogs"])
def test_load_tfds_images_refuses_sets_of_another_kind_before_a_download(
    tmp_path, no_network, name
):
    with pytest.raises(ValueError, match=f"{name}: expected an image classification set .*;"):
        load_tfds_images(name, data_dir=tmp_path)


@pytest.mark.parametrize("size", ["train", "test"])
def test_load_tfds_images_refuses_empty_parts(size):
    with pytest.raises(ValueError, match=f"{size}: expected at least 1 image, received 0;"):
        load_tfds_images("mnist", **{size: 0})


def test_load_tfds_images_without_network_says_what_to_do_at_once(tmp_path, no_network):
    with pytest.raises(
        ConnectionError,
        match=r"fashion_mnist: expected a prepared set in .* cannot be reached; set "
        r"TFDS_DATA_DIR \(or data_dir\) .* or connect",
    ):
        load_tfds_images("fashion_mnist", data_dir=tmp_path)


def test_load_tfds_images_wraps_a_failed_preparation(tmp_path, monkeypatch):
    import tensorflow_datasets as tfds

    def fail(self):
        raise RuntimeError("checksum mismatch")

    monkeypatch.setattr(tfds_images, "_silent_hosts", lambda builder: [])
    monkeypatch.setattr(tfds.core.DatasetBuilder, "download_and_prepare", fail)
    with pytest.raises(OSError, match=r"preparing it failed \(checksum mismatch\); set TFDS_DA"):
        load_tfds_images("fashion_mnist", data_dir=tmp_path)


def test_load_tfds_images_asks_no_host_behind_a_proxy(no_network, monkeypatch):
    monkeypatch.setattr(tfds_images.urllib.request, "getproxies", lambda: {"https": "proxy"})
    assert tfds_images._silent_hosts(None) == []


def set_info(folder, **changes):
    path = folder / "dataset_info.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def cut_records(folder, size):
    for file in folder.glob("*train.tfrecord*"):
        file.write_bytes(file.read_bytes()[:size])


DAMAGE = {
    "no info": lambda folder: (folder / "dataset_info.json").unlink(),
    "info cut off": lambda folder: (folder / "dataset_info.json").write_text("{"),
    "empty info": lambda folder: (folder / "dataset_info.json").write_text(""),
    "info of nothing": lambda folder: (folder / "dataset_info.json").write_text("{}"),
    "info not UTF-8": lambda folder: (folder / "dataset_info.json").write_bytes(b"\xff"),
    "no splits": lambda folder: set_info(folder, splits=[]),
    "other version": lambda folder: set_info(folder, version="x"),
    "other format": lambda folder: set_info(folder, fileFormat="x"),
    "empty folder": lambda folder: [path.unlink() for path in folder.iterdir()],
    "a file": lambda folder: (shutil.rmtree(folder), folder.touch()),
    "no records": lambda folder: [path.unlink() for path in folder.glob("*.tfrecord*")],
    "records cut off": lambda folder: cut_records(folder, 10_000),
    "empty records": lambda folder: cut_records(folder, 0),
}
FEATURES = {
    "cut off": lambda folder: (folder / "features.json").write_text("{"),
    "of nothing": lambda folder: (folder / "features.json").write_text("{}"),
    "not UTF-8": lambda folder: (folder / "features.json").write_bytes(b"\xff"),
    "other names": lambda folder: (folder / "label.labels.txt").write_text("a\nb\n"),
}


@pytest.fixture
def prepared(data_dir, tmp_path):
    folder = tmp_path / "cifar10" / "3.0.2"
    shutil.copytree(data_dir / "cifar10" / "3.0.2", folder, copy_function=shutil.copyfile)
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(tmp_path)  # 27 MB


@pytest.mark.parametrize("damage", DAMAGE)
def test_damaged_files_are_told_with_their_folder(prepared, tmp_path, damage):
    DAMAGE[damage](prepared)
    message = rf"^{prepared}: cannot be read \((?!.*{{{{).+\); delete that folder"
    with pytest.raises(OSError, match=message):
        load_tfds_images("cifar10", data_dir=tmp_path, train=100, test=10)
    with pytest.raises(OSError, match=message):
        load_cifar10_images(tmp_path, train=100, test=10)


@pytest.mark.parametrize("damage", FEATURES)
def test_damaged_features_are_told_with_their_folder(prepared, tmp_path, damage):
    FEATURES[damage](prepared)
    with pytest.raises(OSError, match=rf"^{prepared}: cannot be read .+; delete that folder"):
        load_tfds_images("cifar10:3.0.2", data_dir=tmp_path, train=100, test=10)


def test_a_set_that_tfds_does_not_know_is_read_and_its_faults_are_told(prepared, tmp_path):
    folder = prepared.rename(tmp_path / "my_set")
    (folder / "1.0.0").mkdir()
    set_info(folder, name="my_set", version="1.0.0")
    for path in folder.iterdir():
        if path.is_file():
            path.rename(folder / "1.0.0" / path.name.replace("cifar10-", "my_set-"))
    load = functools.partial(load_tfds_images, data_dir=tmp_path, train=5, test=5)
    assert load("my_set").source == "TFDS my_set/1.0.0, train[:5], test[:5]"
    with pytest.raises(ValueError, match=rf"received 'my_set:2.0.0'; {folder} holds no such"):
        load("my_set:2.0.0")
    (folder / "1.0.0" / "dataset_info.json").write_text("{")
    with pytest.raises(OSError, match=rf"^{folder}/1\.0\.0: cannot be read .* delete that folder"):
        load("my_set:1.0.0")


def test_data_folder_may_be_in_the_home_folder(prepared, tmp_path, monkeypatch, no_network):
    monkeypatch.setenv("HOME", str(tmp_path.parent))
    folder = f"~/{tmp_path.name}"
    explicit = load_tfds_images("cifar10", data_dir=folder, train=5, test=5)
    monkeypatch.setenv("TFDS_DATA_DIR", folder)
    assert load_tfds_images("cifar10", train=5, test=5).fingerprint() == explicit.fingerprint()
    with pytest.raises(ConnectionError, match=f"a prepared set in {tmp_path}/fashion_mnist/"):
        load_tfds_images("fashion_mnist", train=5, test=5)
