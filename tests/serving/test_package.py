"""Packaged networks: raw values through them, beside a slow reference on prepared rows."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys

import keras
import numpy as np
import pytest
from crossed import crossed
from trainer_runs import read_json

import asym_keras as ak
from serving.exporting import packaging as package_module
from serving.package import Packaged, main, package
from trainers import cifar10, mnist, regression

SMALL = ("--width", "20", "--steps", "40", "--records", "2", "--ntg-examples", "0", "--quiet")
SMALL = (*SMALL, "--gamma", "0.3", "--seed", "2", "--solver", "descent")
RNG = np.random.default_rng(0)


@dataclasses.dataclass(frozen=True)
class Made:
    """A small run, its data file and its raw test rows."""

    path: object
    file: object
    raw: np.ndarray
    outputs: int

    @property
    def run(self):
        return ak.load_run(self.path)


def images(folder):
    arrays = {}
    for part, n in (("train", 30), ("test", 12)):
        arrays[f"x_{part}"] = RNG.integers(0, 256, (n, 3, 2)).astype("uint8")
        arrays[f"y_{part}"] = np.arange(n) % 3
    np.savez(folder / "digits.npz", **arrays)
    flags = ["--data", str(folder / "digits.npz")]
    return mnist.main, flags, folder / "digits.npz", arrays["x_test"].reshape(12, 6), 3


def table(folder):
    values = RNG.normal([5.0, 1000.0, 0.02, 400.0], [2.0, 6.0, 0.01, 20.0], (60, 4))
    values[:, 3] += 5.0 * values[:, 0]
    path = folder / "my table.csv"
    np.savetxt(path, values, delimiter=",", header="a,b,c,load", comments="", fmt="%.17g")
    test = values[np.random.RandomState(10).permutation(60)[48:], :3]
    return regression.main, ["--data", str(path), "--target", "load"], path, test, 1


def features(folder):
    arrays = {}
    for part, n in (("train", 40), ("test", 20)):
        arrays[f"x_{part}"] = RNG.normal(size=(n, 5)).astype("float16")
        arrays[f"y_{part}"] = np.arange(n) % 10
    np.savez(folder / "f.npz", **arrays)
    flags = ["--features", str(folder / "f.npz"), "--dtype", "float64"]
    return cifar10.main, flags, folder / "f.npz", arrays["x_test"], 10


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """One small run of each kind: images, columns, vectors (float64, cross-entropy)."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("asym_keras.plotting.learning_curves", lambda folder, **_: [])
        runs = {}
        for kind, make in (("image", images), ("columns", table), ("vector", features)):
            folder = tmp_path_factory.mktemp(kind)
            trainer, flags, file, raw, outputs = make(folder)
            trainer([*SMALL, *flags, "--out-dir", str(folder / "run")])
            runs[kind] = Made(folder / "run", file, raw, outputs)
        return runs


KINDS = pytest.mark.parametrize("kind", ["image", "columns", "vector"])


def reference(made, data, *, keep, refit):
    """Outputs on the prepared test rows, in float64: masked nodes, or a regression on the rest.

    Few rows are told apart without an error, and then logits grow until the regression stops, where
    rounding decides. So `prune` itself is the reference there; its own tests compare regressions.
    """
    if refit and data.labels_train is not None:
        rows = data.x_train, data.y_train
        whole, by = made.run.load_model(), {"regression": "cross_entropy", "penalty": "auto"}
        small = ak.prune(whole, keep, refit=rows, seed=made.run.config["seed"], **by)
        return small(data.x_test).numpy().astype("float64")
    layer = made.run.load_model().get_layer("asym_scaled_dense")
    w, scalings = layer.kernel.numpy().astype("float64"), layer.scalings
    order = np.argsort(-scalings * np.sum(w**2, axis=0))[:keep]

    def phi(x):
        z = x.astype("float64") @ w[:, order] / np.sqrt(x.shape[1])
        return np.sqrt(scalings[order]) * np.maximum(z, 0.0)

    if not refit:
        return phi(data.x_test) @ layer.readout.numpy()[order]
    [fit] = ak.pruning.refit_readouts(phi(data.x_train), data.y_train)
    return phi(data.x_test) @ fit.kernel + fit.bias


def in_units(outputs, data):
    return outputs * data.preprocessing.target_scale + data.preprocessing.target_shift


@pytest.mark.parametrize(("kind", "refit"), crossed(["image", "columns", "vector"], [True, False]))
def test_raw_values_give_the_answers_of_the_pruned_network(made, kind, refit, tmp_path):
    of = made[kind]
    data = package_module._reload(of.run)
    packaged = package(of.run, keep=7, refit=refit)
    wanted = reference(of, data, keep=7, refit=refit)
    scale = data.preprocessing.target_scale
    for model in (
        packaged.model,
        keras.models.load_model(packaged.save(tmp_path), safe_mode=True),
    ):
        assert (model.input.name, model.input.dtype) == ("inputs", "float32")
        assert model.input_shape == (None, of.raw.shape[1])
        answers = model(of.raw.astype("float32")).numpy()
        assert (answers.shape, answers.dtype) == ((len(of.raw), of.outputs), np.float32)
        np.testing.assert_allclose(
            answers / scale,
            in_units(wanted, data) / scale,
            rtol=1e-5,
            atol=2e-5 * max(1.0, np.abs(wanted).max()),
        )
        assert model.get_layer("asym_scaled_dense").units == 7
        assert {weight.dtype for weight in model.weights} == {"float32"}


@KINDS
def test_card_tells_the_metrics_of_each_network(made, kind):
    of = made[kind]
    data = package_module._reload(of.run)
    card = package(of.run, keep=7, refit=True).card
    for name, keep, refit in (("full", 20, False), ("pruned", 7, False), ("refit", 7, True)):
        f, y = reference(of, data, keep=keep, refit=refit), data.y_test.astype("float64")
        if kind == "vector" or (kind == "image" and refit):
            top = f.max(axis=1)
            risk = np.mean(top + np.log(np.exp(f - top[:, None]).sum(1)) - (f * y).sum(1))
        else:
            risk = np.mean((f - y) ** 2)
        assert card["metrics"][name]["test_risk"] == pytest.approx(risk, rel=1e-5)
        hits = None if kind == "columns" else np.mean(f.argmax(1) == data.labels_test)
        assert card["metrics"][name].get("test_accuracy") == hits
    assert (
        card["metrics"]["units"]
        == {
            "image": "mean squared error, one-hot targets; refitted: cross-entropy of the outputs "
            "as logits",
            "columns": "mean squared error, standardised targets",
            "vector": "cross-entropy of the outputs as logits",
        }[kind]
    )
    assert of.run.metrics["test_risk"] == pytest.approx(
        card["metrics"]["full"]["test_risk"], rel=1e-5
    )


def test_card_tells_where_the_network_is_from(made):
    card = package(made["columns"].run, keep=5).card
    assert json.loads(json.dumps(card)) == card
    assert card["inputs"] == {
        **{"kind": "columns", "dim": 3, "shape": None, "names": ["a", "b", "c"]},
        **{"low": None, "high": None},
    }
    assert card["outputs"] == {"classes": None, "target": "load"}
    assert (card["name"], card["task"]) == ("my_table_gamma0.3_k5", "regression")
    assert "refit" not in card["metrics"]
    assert (card["width"], card["kept"], card["refit"], card["seed"]) == (20, 5, False, 2)
    assert card["data"]["fingerprint"] == made["columns"].run.facts["dataset"]["fingerprint"]
    assert card["data"]["examples"] == [24, 12]
    assert card["commands"][0].startswith("python -m trainers.regression --width 20 ")
    assert "--keep 5 --name my_table_gamma0.3_k5" in card["commands"][1]
    assert card["title"].startswith("my table: 5 of 20 nodes, gamma = 0.3, alpha = 0.4; test risk")
    image = package(made["image"].run, keep=5).card
    assert (image["task"], image["inputs"]["shape"]) == ("classification", [3, 2])
    assert (image["inputs"]["low"], image["inputs"]["high"]) == (0.0, 255.0)


def test_old_run_without_preprocessing(made, tmp_path, monkeypatch):
    of = made["image"]
    run = of.run
    del run.facts["dataset"]["preprocessing"]
    old = package(run, keep=4)
    new = package(of.run, keep=4)
    assert old.card == new.card
    x = of.raw.astype("float32")
    np.testing.assert_array_equal(old.model(x), new.model(x))
    data = dataclasses.replace(package_module._reload(run), preprocessing=None)
    with pytest.raises(ValueError, match=r"made of raw values, received none\. Fill Dataset"):
        package(run, keep=4, data=data)


def test_without_data_nothing_is_measured_in_silence(made):
    of = made["image"]
    moved = of.file.rename(of.file.with_suffix(".moved"))
    try:
        for options in ({}, {"measure": False, "refit": True}):
            with pytest.raises(ValueError, match=r"no such file.*or package without measuring"):
                package(of.run, keep=4, **options)
        unmeasured = package(of.run, keep=4, measure=False)
    finally:
        moved.rename(of.file)
    assert unmeasured.card["metrics"] == {}
    assert unmeasured.card["title"] == "digits: 4 of 20 nodes, gamma = 0.3, alpha = 0.4"
    x = of.raw.astype("float32")
    np.testing.assert_array_equal(unmeasured.model(x), package(of.run, keep=4).model(x))


def test_data_may_be_given_and_must_be_the_runs(made, monkeypatch):
    of = made["image"]
    data = package_module._reload(of.run)
    monkeypatch.setattr(package_module, "_reload", None)
    assert package(of.run, keep=4, data=data).card["metrics"]["full"]
    other = dataclasses.replace(data, x_test=data.x_test + np.float32(0.5))
    with pytest.raises(ValueError, match="expected the data of the run"):
        package(of.run, keep=4, data=other)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"keep": 21}, "from 1 to 20, received 21"),
        ({"keep": 4, "name": "../evil"}, r"expected the name of a model .*'\.\./evil'"),
        ({"keep": 4, "name": ".hidden"}, "expected the name of a model"),
    ],
)
def test_bad_arguments_are_told_before_data_are_loaded(made, monkeypatch, options, message):
    monkeypatch.setattr(package_module, "_reload", None)
    with pytest.raises(ValueError, match=message):
        package(made["image"].path, **options)


def test_save_is_whole_or_not_at_all(made, tmp_path, monkeypatch):
    packaged = package(made["image"].path, keep=4, name="m", measure=False)
    monkeypatch.setattr(packaged.model, "save", lambda path: path.write_bytes(b"x" * 9) and 1 / 0)
    with pytest.raises(ZeroDivisionError):
        packaged.save(tmp_path / "new")
    assert list((tmp_path / "new").iterdir()) == []
    monkeypatch.undo()
    path = packaged.save(tmp_path / "new")
    assert path == tmp_path / "new" / "m.keras"
    assert read_json(path.with_suffix(".json")) == packaged.card
    before = path.read_bytes()
    with pytest.raises(FileExistsError, match=r"expected no file .*m\.keras, received one"):
        packaged.save(tmp_path / "new")
    unwritable = Packaged(packaged.model, {**packaged.card, "versions": object()})
    with pytest.raises(TypeError):
        unwritable.save(tmp_path / "new", overwrite=True)
    assert path.read_bytes() == before
    assert sorted(p.name for p in path.parent.iterdir()) == ["m.json", "m.keras"]
    packaged.save(tmp_path / "new", overwrite=True)
    (tmp_path / "file").touch()
    with pytest.raises(NotADirectoryError, match=r"received a file.*choose another --to"):
        packaged.save(tmp_path / "file")


def test_command_line(made, tmp_path, capsys):
    flags = [str(made["columns"].path), "--keep", "3", "--refit", "--to", str(tmp_path)]
    path = main([*flags, "--name", "small"])
    assert path == tmp_path / "small.keras"
    assert capsys.readouterr().out.endswith(f"{path}\n")
    card = read_json(tmp_path / "small.json")
    assert (card["kept"], card["refit"]) == (3, True)
    assert keras.models.load_model(path).name == "small"
    for argv, message in ((flags[1:], "run"), ([*flags, "--name", "small"], "expected no file")):
        with pytest.raises(SystemExit) as caught:
            main(argv)
        assert caught.value.code in (1, 2)
        assert message in capsys.readouterr().err


def test_help_loads_nothing_heavy():
    script = (
        "import sys\nfrom serving.package import main\n"
        "try:\n    main(['--help'])\n"
        "finally:\n    print(*sys.modules, file=sys.stderr)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0
    assert not {"tensorflow", "keras", "numpy", "scipy"} & set(done.stderr.split())
    assert "--unmeasured" in done.stdout
