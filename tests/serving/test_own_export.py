"""Exports of any Keras model: names, dtypes, rows to warm up on, pruning, and what is refused."""

from __future__ import annotations

import logging
import re

import keras
import numpy as np
import pytest
import tensorflow as tf
from tensorflow_serving.apis import prediction_log_pb2

import asym_keras as ak
import serving
from serving import export
from serving.card import verify
from serving.exporting.check import Served
from serving.exporting.interface import interface_of
from serving.versions import WARMUP_FILE

layers = keras.layers


def small(**options):
    """Two named inputs' worth of nothing: four floats to three scores."""
    return keras.Sequential([keras.Input((4,), name="flower", **options), layers.Dense(3)])


def ask(version, rows, signature="serving_default"):
    verify(version)
    with Served(version) as served:
        return served(signature, rows)


def versions_in(folder):
    return sorted(path.parent.name for path in folder.rglob("saved_model.pb"))


def export_file(model, folder, *argv):
    """The command, on a file of the model."""
    if not (folder / "my.keras").exists():
        model.save(folder / "my.keras")
    return export.main([str(folder / "my.keras"), "--to", str(folder / "models"), *argv])


def unbuilt():
    return keras.Sequential([layers.Dense(3)])


def with_lambda():
    return keras.Sequential([keras.Input((4,)), layers.Lambda(lambda x: x * 2), layers.Dense(3)])


REFUSED = {
    "lambda": (with_lambda, [], "received Lambda layers: lambda.*keras.layers.Layer"),
    "unbuilt": (unbuilt, [], "expected a built model, received 'sequential.*keras.Input"),
    "slash": (small, ["--name", "a/b"], "expected the name of a model .*received 'a/b'"),
    "labels": (small, ["--labels", "two.txt"], "expected 3 labels.*received 2"),
    "same labels": (small, ["--labels", "same.txt"], "a different name in each line.*line 2"),
    "no labels": (small, ["--labels", "none.txt"], "--labels: expected a file"),
    "rows": (small, ["--warm-up", "wide.npz"], r"flower of shape \(None, 4\).*received \(2, 5\)"),
    "names": (small, ["--warm-up", "names.npz"], "expected arrays flower.*received other"),
    "texts": (small, ["--warm-up", "texts.npz"], "expected float32, received <U1"),
    "no rows": (small, ["--warm-up", "empty.npz"], "at least one, as the model takes"),
    "no npz": (small, ["--warm-up", "two.txt"], "expected an .npz file"),
    "regress": (small, ["--task", "regress"], r"one output of floats \(n,\) or \(n, 1\)"),
    "labels of what": (small, ["--task", "raw", "--labels", "two.txt"], "--task classify"),
    "keep": (small, ["--keep", "2"], "--keep: expected a model with one AsymScaledDense"),
    "half": (small, ["--half"], "--half: expected a run or a packaged model"),
    "refit": (small, ["--refit"], "--refit: expected a run or a packaged model"),
    "fact": (small, ["--card", "licence"], "expected KEY=VALUE"),
    "taken fact": (small, ["--card", "files=none"], "expected other keys"),
    "module": (small, ["--import", "no_such_module_here"], "--import no_such_module_here"),
}


@pytest.mark.filterwarnings("ignore:You are saving a model that has not yet been built")
@pytest.mark.parametrize("kind", REFUSED)
def test_bad_input_is_an_error_and_makes_no_version(kind, tmp_path, monkeypatch, capsys):
    make, argv, message = REFUSED[kind]
    monkeypatch.chdir(tmp_path)
    (tmp_path / "two.txt").write_text("a\nb\n")
    (tmp_path / "same.txt").write_text("a\na\nb\n")
    np.savez("wide.npz", flower=np.zeros((2, 5)))
    np.savez("names.npz", other=np.zeros((2, 4)))
    np.savez("texts.npz", flower=np.full((2, 4), "a"))
    np.savez("empty.npz", flower=np.zeros((0, 4)))
    with pytest.raises(SystemExit):
        export_file(make(), tmp_path, *argv)
    error = capsys.readouterr().err
    assert re.search(message, error), error
    assert "Traceback" not in error
    assert versions_in(tmp_path) == []


@pytest.mark.parametrize("model", ["lambda", "unbuilt"])
def test_python_refuses_them_too(model, tmp_path):
    make, _, message = REFUSED[model]
    with pytest.raises(ValueError, match=message):
        serving.export_model(make(), "bad", tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("flag", ["--half", "--refit"])
def test_flags_that_replace_a_card_are_named(flag, tmp_path, capsys):
    file = tmp_path / "my.keras"
    file.with_suffix(".json").write_text("{}")
    with pytest.raises(SystemExit):
        export.main([str(file), flag, "--labels", "l.txt", "--task", "classify"])
    own = "--labels, --task in place of its card. Leave one out."
    assert f"{flag}: expected a run or a packaged model, received {file} with {own}" in (
        capsys.readouterr().err
    )


@pytest.mark.parametrize("kind", ["layer", "dict"])
def test_a_name_that_no_signature_has_is_told_once(kind, caplog):
    inputs = keras.Input((2,), name="x-y")
    made = layers.Dense(1, name="a-b")(inputs)
    model = keras.Model(inputs, made if kind == "layer" else {"a-b": made})
    with caplog.at_level(logging.INFO, "serving.export"):
        for _ in range(2):  # of two exports each tells it
            interface = interface_of(model)
            for _ in range(3):
                assert [*interface.answer({"x_y": tf.zeros((1, 2))})] == ["a_b"]
    told = ["input 'x-y' is called x_y in the signature"]
    told += ["output 'a-b' is called a_b in the signature"]
    assert caplog.messages == 2 * told


def test_what_is_no_keras_file_is_named(tmp_path, capsys):
    (tmp_path / "my.keras").write_bytes(b"nothing")
    with pytest.raises(SystemExit):
        export_file(None, tmp_path)
    assert "expected a Keras model in" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        export.main(["simulated_gamma1_k20", "--task", "raw"])
    assert "--task: expected a FILE.keras, received simulated_gamma1_k20" in capsys.readouterr().err


def test_rows_of_a_file_warm_up_the_server(tmp_path):
    rows = np.arange(12.0).reshape(3, 4)
    np.savez(tmp_path / "rows.npz", flower=rows)
    [path] = export_file(small(), tmp_path, "--warm-up", str(tmp_path / "rows.npz"))
    assert path == tmp_path / "models" / "my" / "1"
    records = tf.data.TFRecordDataset(str(path / WARMUP_FILE)).as_numpy_iterator()
    logs = [prediction_log_pb2.PredictionLog.FromString(record) for record in records]
    first, all_rows, example = logs
    for log, wanted in ((first, rows[:1]), (all_rows, rows)):
        assert log.predict_log.request.model_spec.name == "my"
        tensor = tf.make_ndarray(log.predict_log.request.inputs["flower"])
        np.testing.assert_array_equal(tensor, wanted.astype("float32"))
    [one] = example.classify_log.request.input.example_list.examples
    assert list(one.features.feature["flower"].float_list.value) == rows[0].tolist()
    assert verify(path)["example"] == rows[0].tolist()
    assert verify(path)["commands"] == [
        "python -m serving.export my.keras --to models --warm-up rows.npz"
    ]


def test_keep_prunes_first(tmp_path):
    model = ak.shallow_network(4, 3, width=20, gamma=0.2, alpha=0.5, seed=0)
    [path] = export_file(model, tmp_path, "--keep", "5", "--name", "few", "--no-warmup")
    x = np.random.default_rng(0).normal(size=(7, 4)).astype("float32")
    [answers] = ask(path, {"inputs": x}).values()
    np.testing.assert_allclose(answers, ak.prune(model, 5)(x), rtol=1e-5, atol=1e-6)
    assert verify(path)["kept"] == 5
    assert not (path / WARMUP_FILE).exists()


@pytest.mark.slow
def test_keep_of_nested_widths(tmp_path):
    inputs = keras.Input((4,))
    whole = keras.Model(inputs, layers.Dense(2)(layers.Dense(8, "relu")(inputs)))
    model = ak.nested(whole, widths=(2, 4, 8))
    path = serving.export_model(model, "nested", tmp_path, keep=5)
    assert verify(path)["kept"] == 4
    x = np.random.default_rng(0).normal(size=(7, 4)).astype("float32")
    [answers] = ask(path, {"inputs": x}).values()
    np.testing.assert_allclose(answers, ak.prune(model, 4)(x), rtol=1e-5, atol=1e-6)


@keras.saving.register_keras_serializable(package="own_export")
class Words(keras.Model):
    """A subclass of strings, which it does not tell; several arguments of `call`."""

    def __init__(self, **options):
        super().__init__(**options)
        self.known = layers.StringLookup(vocabulary=["yes", "no"])
        self.table = layers.Embedding(3, 2)

    def build(self, word_shape, weight_shape):
        self.table.build(word_shape)

    def call(self, word, weight):
        return self.table(self.known(word)) * weight[:, None, None]


@pytest.mark.slow
def test_a_subclass_takes_dtypes_of_its_rows(tmp_path):
    model, rows = Words(), {"word": np.array([["yes", "?"]]), "weight": np.array([2.0], "f4")}
    model(word=tf.constant(rows["word"]), weight=tf.constant(rows["weight"]))
    with pytest.raises(ValueError, match=r"--warm-up FILE.npz with an array for each of: word"):
        serving.export_model(model, "words", tmp_path)
    path = serving.export_model(model, "words", tmp_path, warmup=rows)
    arrays = {"word": np.array([[b"no", b"yes"]], object), "weight": np.array([3.0], "f4")}
    wanted = model(word=tf.constant([["no", "yes"]]), weight=tf.constant([3.0]))
    np.testing.assert_allclose(ask(path, arrays)["outputs"], wanted, rtol=1e-6)
    card = verify(path)
    assert card["inputs"]["word"] == {"dtype": "string", "shape": [None, 2]}
    assert card["task"] == "raw"


def several():
    """Every dtype that needs care, free lengths, a list of outputs and one unnamed input."""
    steps = keras.Input((None, 2), dtype="float16", name="steps")
    whole = keras.Input((3,), dtype="uint16", name="whole")
    summed = layers.GlobalAveragePooling1D(dtype="float16")(steps)
    counted = keras.ops.sum(keras.ops.cast(whole, "float32"), axis=-1)
    return keras.Model([steps, whole], [summed, counted, keras.ops.any(whole > 1, axis=-1)])


@pytest.mark.slow
def test_dtypes_cross_the_border_as_rest_carries_them(tmp_path):
    model = several()
    path = serving.export_model(model, "several", tmp_path)
    rows = {
        "steps": np.ones((2, 5, 2), "float32"),
        "whole": np.array([[1, 2, 65535], [1, 1, 1]], "int32"),
    }
    answers = ask(path, rows)
    assert sorted(a.dtype.name for a in answers.values()) == ["bool", "float32", "float32"]
    by_kind = {a.dtype.name + str(a.ndim): a for a in answers.values()}
    np.testing.assert_array_equal(by_kind["float322"], np.ones((2, 2)))
    np.testing.assert_array_equal(by_kind["float321"], [65538, 3])
    np.testing.assert_array_equal(by_kind["bool1"], [True, False])
    with pytest.raises(ValueError, match="--task classify: expected inputs of fixed sizes"):
        serving.export_model(model, "several", tmp_path, task="classify")


@pytest.mark.slow
def test_a_batch_of_fixed_size_and_text_vectorization(tmp_path):
    texts = keras.Input(batch_shape=(2,), dtype="string", name="text")
    words = layers.TextVectorization(vocabulary=["good", "food"], output_sequence_length=4)
    vectors = layers.Embedding(4, 3)(words(texts))
    score = layers.Dense(1, "sigmoid")(layers.GlobalAveragePooling1D()(vectors))
    model = keras.Model({"text": texts}, {"score": score})
    path = serving.export_model(model, "texts", tmp_path)
    rows = np.array([b"Good food!", b"none"], object)
    answers = ask(path, {"text": rows})
    wanted = model({"text": tf.constant(rows)})["score"]
    np.testing.assert_allclose(answers["score"], wanted, rtol=1e-6)
    assert verify(path)["task"] == "regress"
    assert path == serving.export_model(model, "texts", tmp_path, version=7).parent / "1"


@keras.saving.register_keras_serializable(package="own_export")
class Python(layers.Layer):
    """Runs in the process that made it alone."""

    def call(self, x):
        return tf.ensure_shape(tf.py_function(lambda x: x * 2.0, [x], tf.float32), x.shape)


@keras.saving.register_keras_serializable(package="own_export")
class Counting(layers.Layer):
    """Answers depend on how often it was asked."""

    def build(self, shape):
        self.count = self.add_weight(shape=(), initializer="zeros", trainable=False)

    def call(self, x):
        self.count.assign_add(1.0)
        return x + self.count


@pytest.mark.slow
@pytest.mark.parametrize(
    ("layer", "message"),
    [(Counting, "the same numbers"), (Python, "without Python code.*EagerPyFunc")],
)
def test_layers_that_no_server_can_run_are_refused(layer, message, tmp_path):
    model = keras.Sequential([keras.Input((4,)), layer()])
    with pytest.raises(ValueError, match=rf"{message}.*No version was made"):
        serving.export_model(model, "odd", tmp_path)
    assert versions_in(tmp_path) == []
