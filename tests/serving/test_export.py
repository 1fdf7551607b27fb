"""The command that exports: from a run, a file or a preset to a version, or to an error."""

from __future__ import annotations

import json
import logging
import signal
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import packaged_models as pm
import pytest
import tensorflow as tf
from trainer_runs import SMALL, small_data

import asym_keras as ak
from asym_keras import datasets, presets
from serving import export
from serving.card import verify
from serving.export import export_model
from serving.exporting import sources
from serving.exporting.check import Served
from serving.versions import WARMUP_FILE, find_versions
from trainers import mnist

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def keep_process_settings():
    """A trainer's `main` takes SIGTERM, both silence TensorFlow: only as long as a test lasts."""
    handler, levels = signal.getsignal(signal.SIGTERM), {}
    for name in ("absl", "tensorflow"):
        levels[name] = logging.getLogger(name).level
    yield
    signal.signal(signal.SIGTERM, handler)
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)


@pytest.fixture
def packaged_file(tmp_path):
    """WARMUP_FILE.keras and WARMUP_FILE.json, the function that they are, and raw values."""
    model, reference, card, x = pm.case("columns")
    folder = tmp_path / "files"
    folder.mkdir()
    model.save(folder / "small.keras")
    (folder / "small.json").write_text(json.dumps(card))
    return folder / "small.keras", reference, x


def assert_answers(version, x, outputs):
    verify(version)
    with Served(version) as served:
        got = served("serving_default", x)
        assert pm.share(got.get("scores", got.get("outputs")), outputs) < 1e-6


def test_export_model_writes_versions_that_verify(tmp_path, caplog):
    model, reference, card, x = pm.case("image")
    before = json.dumps(card)
    with caplog.at_level(logging.INFO, "serving.export"):
        paths = [export_model(model, card, tmp_path, command="python -m x") for _ in range(2)]
    assert paths == [tmp_path / "small" / "1", tmp_path / "small" / "2"]
    for path in paths:
        assert_answers(path, x, reference(x)[0])
    assert json.dumps(card) == before
    found = verify(paths[0])
    assert found["commands"] == ["python -m trainers.mnist", "python -m x"]
    assert found["export"]["folded"] is True
    assert found["export"]["half"] is False
    assert found["export"]["largest_difference"] <= 1e-6
    assert found["export"]["versions"]["keras"] == keras.__version__
    assert "example" not in found["inputs"]  # of an image
    assert "small/1: " in caplog.text
    assert "MB with 8 nodes in float32; the weights of all 40" in caplog.text
    assert "curl -d" in caplog.text


def test_card_of_columns_has_an_example_of_what_they_are_like(tmp_path):
    model, reference, card, _ = pm.case("columns")
    path = export_model(model, card, tmp_path)
    example = verify(path)["inputs"]["example"]
    np.testing.assert_allclose(example, pm.MEANS, rtol=1e-3)
    assert_answers(path, np.array([example], "float32"), reference(np.array([example]))[0])
    assert "curl -d '{\"instances\": [[19.75, 54.25, 1013, 73.25]]}'" in (
        (path / "README.md").read_text()
    )


def test_half_measures_what_it_costs(tmp_path, caplog):
    model, reference, card, x = pm.case("image")
    measured = []

    def measure(outputs):
        measured.append(outputs(x).numpy())
        return {"test_accuracy": 0.625}

    with caplog.at_level(logging.INFO, "serving.export"):
        path = export_model(model, card, tmp_path, half=True, measure=measure)
    assert 1e-6 < pm.share(measured[0], reference(x)[0]) < 1e-2
    with Served(path) as served:  # what was measured is what was written
        scores = served("serving_default", x)["scores"]
    np.testing.assert_allclose(scores, measured[0], rtol=0, atol=1e-6)
    assert verify(path)["metrics"]["half"] == {"test_accuracy": 0.625}
    assert "test accuracy 0.625 with float16 weights (0.75 with float32 ones)" in caplog.text
    assert "8 nodes as exported, float16 weights | 0.625 |" in (path / "README.md").read_text()


def test_warmup_is_left_out_only_when_told(tmp_path):
    model, _, card, _ = pm.case("vector")
    assert (export_model(model, card, tmp_path) / WARMUP_FILE).is_file()
    assert not (export_model(model, card, tmp_path, warmup=False) / WARMUP_FILE).exists()


def test_missing_extra_ends_before_anything_is_written(tmp_path, monkeypatch):
    def missing():
        raise ModuleNotFoundError("no package for warm-up requests")

    monkeypatch.setattr("serving.exporting.warmup.check_installed", missing)
    model, _, card, _ = pm.case("vector")
    with pytest.raises(ModuleNotFoundError):
        export_model(model, card, tmp_path)
    assert list(tmp_path.iterdir()) == []
    export_model(model, card, tmp_path, warmup=False)


def test_model_of_another_shape_is_refused(tmp_path):
    inputs = keras.Input((4, 3))
    for model in (
        keras.Model(inputs, keras.layers.Dense(2)(inputs)),
        keras.Model([inputs, keras.Input((2,))], inputs),
        "model",
    ):
        with pytest.raises(ValueError, match=r"expected a Keras model of raw values"):
            export_model(model, pm.card(), tmp_path)


def test_export_that_fails_its_check_leaves_no_version(tmp_path):
    inputs = keras.Input((12,), dtype="float32", name="inputs")
    model = keras.Model(inputs, keras.layers.Dense(3)(pm.Noise()(inputs)))
    card = pm.card("none")
    with pytest.raises(ValueError, match=r"random operations.*No version was made"):
        export_model(model, card, tmp_path)
    assert list((tmp_path / "small").iterdir()) == []


def test_full_disk_of_tensorflow_is_an_os_error(tmp_path, monkeypatch):
    def full(*_, **__):
        raise tf.errors.ResourceExhaustedError(None, None, "saved_model.pb; No space left")

    monkeypatch.setattr(tf.saved_model, "save", full)
    model, _, card, _ = pm.case("image")
    with pytest.raises(OSError, match=r"could not write a version of small \(saved_model\.pb; No"):
        export_model(model, card, tmp_path)
    assert list((tmp_path / "small").iterdir()) == []


def test_command_exports_a_file(packaged_file, tmp_path, capsys):
    file, reference, x = packaged_file
    argv = [str(file), "--to", str(tmp_path / "models"), "--name", "other"]
    [path] = export.main(argv)
    assert capsys.readouterr().out == f"{path}\n"
    assert path == tmp_path / "models" / "other" / "1"
    assert_answers(path, x, reference(x)[0])
    card = verify(path)
    assert card["name"] == "other"
    told = f"{file.name} --to models --name other"  # no folder of this machine
    assert card["commands"][-1] == f"python -m serving.export {told}"
    [path] = export.main([*argv, "--version", "7", "--half", "--no-warmup"])
    assert path.name == "7"
    assert verify(path)["export"]["half"] is True


def test_command_exports_presets(packaged_file, tmp_path, monkeypatch):
    file, reference, x = packaged_file
    monkeypatch.setattr(presets, "_FOLDER", file.parent)
    argv = ["--to", str(tmp_path / "models")]
    [one] = export.main(["small", *argv])
    [every] = export.main(["--presets", *argv])
    assert [one.name, every.name] == ["1", "2"]
    for path in (one, every):
        assert_answers(path, x, reference(x)[0])


def test_half_presets_leave_nested_ones_in_float32(monkeypatch, tmp_path, caplog):
    """Every preset is written, and it is told which are not as they were asked for."""
    cards = [{"name": "a"}, {"name": "many", "widths": [2, 8]}, {"name": "z"}]
    written = {}

    def written_as(model, card, to, *, half, **_):
        written[card["name"]] = half
        return tmp_path / card["name"]

    monkeypatch.setattr(sources, "presets", lambda: [sources.Source(None, c) for c in cards])
    monkeypatch.setattr(export, "export_model", written_as)
    with caplog.at_level(logging.INFO, "serving.export"):
        export.main(["--presets", "--half", "--to", str(tmp_path)])
    assert written == {"a": True, "many": False, "z": True}
    assert "many: float32 weights, since --half is not for nested models" in caplog.text
    assert "a: float32" not in caplog.text


def test_half_of_a_nested_run_is_refused_before_it_is_loaded(tmp_path, capsys):
    (tmp_path / "metrics.json").write_text('{"widths": {}}')
    with pytest.raises(SystemExit):
        export.main([str(tmp_path), "--half"])
    assert "--half: expected a run of one width, received" in capsys.readouterr().err


@pytest.mark.slow
def test_command_prunes_a_run(tmp_path, capsys, caplog):
    """From raw images of a small run to classes, as its trainer's own network gives them."""
    data, run = small_data(tmp_path / "digits.npz", kind="images"), tmp_path / "run"
    mnist.main([*SMALL, "--data", data, "--seed", "1", "--out-dir", str(run)])
    argv = [str(run), "--keep", "12", "--refit", "--name", "digits", "--to", str(tmp_path / "m")]
    with caplog.at_level(logging.INFO, "serving.export"):
        [path, half] = [export.main([*argv, *more])[0] for more in ([], ["--half"])]
    card, raw = verify(path), np.load(data)["x_test"].reshape(9, 6)
    assert (card["kept"], card["width"], card["refit"]) == (12, 20, True)
    loaded = datasets.load_npz(data)
    rows = loaded.x_train, loaded.y_train
    by = {"regression": "cross_entropy", "penalty": "auto"}
    whole = ak.load_run(run).load_model()
    pruned = ak.prune(whole, 12, refit=rows, seed=1, **by)
    with Served(path) as served:
        answers = served("serving_uint8", raw)
        assert pm.share(answers["scores"], pm.array(pruned(loaded.x_test))) < 1e-5
    accuracy = np.mean(answers["classes"] == loaded.labels_test)
    assert card["metrics"]["refit"]["test_accuracy"] == accuracy
    costs = verify(half)["metrics"]["half"]
    assert costs["test_risk"] == pytest.approx(card["metrics"]["refit"]["test_risk"], rel=2e-2)
    assert "test accuracy" in caplog.text
    assert capsys.readouterr().out.endswith(f"{path}\n{half}\n")


def test_no_presets_is_an_error(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(presets, "_FOLDER", tmp_path)
    assert "expected presets in the package, received none" in fails(capsys, "--presets")


def fails(capsys, *argv):
    with pytest.raises(SystemExit) as caught:
        export.main(list(argv))
    assert caught.value.code == 1
    return capsys.readouterr().err


def test_command_tells_what_is_wrong(packaged_file, tmp_path, capsys, monkeypatch):
    file, _, _ = packaged_file
    to = ["--to", str(tmp_path / "models")]
    assert "presets, received 'missing'" in fails(capsys, "missing", *to)
    assert "received no file" in fails(capsys, str(tmp_path / "a.keras"), *to)
    assert "expected a run folder" in fails(capsys, str(tmp_path), "--keep", "3", *to)
    export.main([str(file), *to, "--version", "3"])
    assert "never overwritten" in fails(capsys, str(file), *to, "--version", "3")
    file.with_suffix(".json").write_text("{")
    assert "expected JSON" in fails(capsys, str(file), *to)
    file.with_suffix(".json").write_text(json.dumps(pm.card("pixels")))
    assert "inputs.dim 4, the model's, received 12" in fails(capsys, str(file), *to)
    file.write_bytes(b"no model")
    assert "received a file that can't be read" in fails(capsys, str(file), *to)
    assert [*find_versions(tmp_path / "models" / "small")] == [3]


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        ([], "expected SOURCE or --presets"),
        (["small", "--presets"], "expected SOURCE or --presets"),
        (["--presets", "--name", "a"], "--name: expected one SOURCE"),
        (["small", "--name", "../a"], "expected the name of a model"),
        (["small", "--version", "0"], "--version: expected an integer"),
        (["small", "--keep", "3"], "--keep and --refit: expected a run folder, received small"),
        (["--presets", "--refit"], "--keep and --refit: expected a run folder, received --presets"),
        (["."], "--keep: expected the number of a run's nodes"),
    ],
)
def test_flags_that_do_not_fit_end_at_once(argv, message, capsys):
    with pytest.raises(SystemExit) as caught:
        export.main(argv)
    assert caught.value.code == 2
    assert message in capsys.readouterr().err


def test_help_loads_no_tensorflow():
    program = (
        "import sys\nfrom serving import export\ntry:\n    export.main(['--help'])\n"
        "except SystemExit:\n    pass\n"
        "print(sorted({'tensorflow', 'keras', 'numpy', 'grpc'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT)
    assert done.stdout.endswith("\n[]\n")
    assert "--no-warmup" in done.stdout
