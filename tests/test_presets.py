"""Presets: names, models and cards; each card's metric is what preset and SavedModel give."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from crossed import crossed

import asym_keras as ak
from asym_keras import datasets, presets
from asym_keras.presets import from_preset, list_presets, preset_card
from serving.card import verify
from serving.exporting.check import Served
from serving.versions import find_versions
from trainers.mnist import load_images

SAVED_MODELS = Path(__file__).resolve().parents[1] / "saved_models"
HEAVY = {"tensorflow", "keras", "numpy", "asym_keras.training", "asym_keras.datasets"}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Two presets, half a third and another file."""
    monkeypatch.setattr(presets, "_FOLDER", tmp_path)
    for name in ("mnist_gamma0_k20", "mnist_gamma0.5_alpha0.7_k100"):
        ak.shallow_network(3, width=4, gamma=0.5, alpha=0.5, seed=1).save(
            tmp_path / f"{name}.keras"
        )
        card = {"name": name, "title": f"Title of {name}", "kept": 4}
        (tmp_path / f"{name}.json").write_text(json.dumps(card), encoding="utf-8")
    (tmp_path / "half_k20.json").write_text("{}")
    (tmp_path / "README.md").touch()
    return tmp_path


def test_presets_are_listed_by_name_with_titles(folder):
    assert list(list_presets().items()) == [
        ("mnist_gamma0.5_alpha0.7_k100", "Title of mnist_gamma0.5_alpha0.7_k100"),
        ("mnist_gamma0_k20", "Title of mnist_gamma0_k20"),
    ]
    assert preset_card("mnist_gamma0_k20")["kept"] == 4


def test_model_has_its_weights(folder):
    x = np.random.default_rng(0).normal(size=(5, 3)).astype("float32")
    model = from_preset("mnist_gamma0_k20")
    expected = ak.shallow_network(3, width=4, gamma=0.5, alpha=0.5, seed=1)
    np.testing.assert_array_equal(model(x), expected(x))


@pytest.mark.parametrize("read", [from_preset, preset_card])
def test_unknown_names_are_told_with_those_that_are_near(folder, read):
    with pytest.raises(ValueError, match=r"2 presets, .*'mnist_k20'\. Did you mean mnist_gamma0_k"):
        read("mnist_k20")
    for name in ("xyz", "half_k20", "../mnist_gamma0_k20", ""):
        with pytest.raises(ValueError, match=r"asym_keras\.list_presets\(\) has them|Did you mean"):
            read(name)


def test_damaged_files_are_told(folder):
    path = folder / "mnist_gamma0_k20.keras"
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(ValueError, match=r"file mnist_gamma0_k20\.keras as it was installed"):
        from_preset("mnist_gamma0_k20")
    for text in ("{", "[]", "{}"):
        (folder / "mnist_gamma0_k20.json").write_text(text)
        with pytest.raises(ValueError, match=r"file mnist_gamma0_k20\.json as it was installed"):
            preset_card("mnist_gamma0_k20")


def loaded(folder, code):
    """The modules of a process that runs `code`."""
    script = (
        "import sys, pathlib\nfrom asym_keras import presets\n"
        f"presets._FOLDER = pathlib.Path({str(folder)!r})\n{code}\nprint(*sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split())


def test_list_is_immediate(folder):
    code = "presets.list_presets(); presets.preset_card('mnist_gamma0_k20')"
    assert not HEAVY & loaded(folder, code)


@pytest.mark.slow
def test_models_need_no_training_code(folder):
    modules = loaded(folder, "presets.from_preset('mnist_gamma0_k20')")
    ours = {name.split(".")[1] for name in modules if name.startswith("asym_keras.")}
    assert ours == {"checks", "initializers", "layers", "models", "presets", "scaling"}


def data_of(card, shared_data):
    """The data that a preset of the package was trained on."""
    name = card["data"]["name"]
    if name == "mnist" and "widths" in card:
        return load_images(card["data"]["examples"][0])
    if name == "mnist":
        return datasets.load_mnist()
    if name == "simulated":
        return datasets.load_simulated()
    if name == "cifar10":
        train, test = card["data"]["examples"]
        path = shared_data / "features" / "cifar10_efficientnet_lite0.npz"
        return datasets.load_cifar10_features(path, train=train, test=test)
    return datasets.load_uci(name, data_dir=shared_data)


def by_preset(name, x):
    return preset_card(name), from_preset(name).predict(x, verbose=0)


def by_saved_model(name, x):
    """As the model server answers, from what is shipped; its files are what its card says."""
    versions = find_versions(SAVED_MODELS / name)
    folder = versions[max(versions)]
    card = verify(folder)
    with Served(folder) as served:
        answers = served("serving_default", x)
    return card, answers["scores" if card["task"] == "classification" else "outputs"]


NESTED = [name for name in list_presets() if "widths" in preset_card(name)]
OF_ONE_WIDTH = [name for name in list_presets() if name not in NESTED]


@pytest.mark.parametrize(
    ("name", "answer"), crossed(OF_ONE_WIDTH, [by_saved_model, by_preset], least=8)
)
def test_metric_of_the_card_is_what_the_network_gives(name, answer, shared_data):
    card = preset_card(name)
    data = data_of(card, shared_data)
    assert card["data"]["fingerprint"] == data.fingerprint()
    record = data.preprocessing
    raw = data.x_test.astype("float64") * record.scale + record.shift
    told, outputs = answer(name, raw.astype("float32"))
    assert told["metrics"] == card["metrics"]
    outputs = (outputs.astype("float64") - record.target_shift) / record.target_scale
    metrics = card["metrics"]["refit" if card["refit"] else "pruned"]
    if card["task"] == "classification":
        assert metrics["test_accuracy"] == np.mean(outputs.argmax(axis=1) == data.labels_test)
    y = data.y_test.astype("float64")
    units = card["metrics"]["units"]
    if units.startswith("cross-entropy") or (card["refit"] and "refitted: cross" in units):
        risk = np.mean(np.log(np.exp(outputs).sum(axis=1)) - (outputs * y).sum(axis=1))
    else:
        risk = np.mean((outputs - y) ** 2)
    assert metrics["test_risk"] == pytest.approx(risk, rel=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("name", NESTED)
def test_each_width_of_a_nested_preset_has_the_metric_of_the_card(name, shared_data):
    card = preset_card(name)
    try:
        data = data_of(card, shared_data)
    except (ImportError, OSError, ValueError) as error:  # 60,000 images are not in the package
        pytest.skip(str(error))
    assert card["data"]["fingerprint"] == data.fingerprint()
    record, whole = data.preprocessing, from_preset(name)
    raw = (data.x_test.astype("float64") * record.scale + record.shift).astype("float32")
    outputs = whole.predict(raw, verbose=0)
    few = slice(0, 50)
    for place, width in enumerate(card["widths"]):
        small = from_preset(name, width=width).predict(raw[few], verbose=0)
        np.testing.assert_allclose(
            small, outputs[few, place], rtol=0, atol=1e-5 * np.abs(outputs).max()
        )
        f = (outputs[:, place].astype("float64") - record.target_shift) / record.target_scale
        told = card["metrics"]["widths"][str(width)]
        if card["task"] == "classification":
            assert told["test_accuracy"] == np.mean(f.argmax(axis=1) == data.labels_test)
        else:
            assert told["test_risk"] == pytest.approx(np.mean((f - data.y_test) ** 2), rel=1e-4)
