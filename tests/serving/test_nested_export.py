"""A nested model as one SavedModel: a signature for each width, and one that chooses."""

from __future__ import annotations

import json
import types

import keras
import numpy as np
import packaged_models
import pytest
import serving_models
import tensorflow as tf
from crossed import some_slow

import asym_keras as ak
from asym_keras import presets
from asym_keras.nesting.sure import FirstSure
from asym_keras.runs import load_run
from serving.card import verify
from serving.client import connect
from serving.exporting import nested as nested_export
from serving.exporting import nested_packaging
from serving.exporting.exports import export_model
from serving.exporting.nested_packaging import package_nested
from trainers import nested as nested_trainer

WIDTHS = (2, 5, 8)


def nested_model(kind, outputs=3, dim=12):
    """A nested network of raw values, drawn with readouts that differ; and its raw values."""
    keras.utils.set_random_seed(0)
    before = [keras.layers.Rescaling(1 / 255)] if kind == "pixels" else []
    if kind == "cnn":
        before = [
            keras.layers.Rescaling(1 / 255),
            keras.layers.Reshape((6, 2, 1)),
            keras.layers.Conv2D(4, 3, padding="same", activation="relu"),
            keras.layers.Flatten(),
        ]
    after = [keras.layers.Rescaling(17.1, 454.0)] if outputs == 1 else []
    model = keras.Sequential(
        [
            keras.Input((dim,), name="inputs"),
            *before,
            keras.layers.Dense(8, "tanh", kernel_initializer="orthogonal"),
            keras.layers.Dense(outputs),
            *after,
        ]
    )
    many = ak.nested(model, WIDTHS)
    kernel = many.layers[-1 - len(after)].kernel
    kernel.assign(3.0 * kernel)
    return many, packaged_models.raw_values("pixels" if before else "none", dim)


def card_of(kind, model, **changes):
    outputs = model.output_shape[-1]
    task = "regression" if outputs == 1 else "classification"
    numbers = {"test_risk": 0.25} | ({} if outputs == 1 else {"test_accuracy": 0.875})
    base = packaged_models.card(
        "none" if kind == "none" else "pixels", outputs=outputs, task=task, name="many"
    )
    metrics = {"full": numbers, "widths": {str(w): numbers for w in WIDTHS}, "units": "some"}
    return base | {"widths": [*WIDTHS], "metrics": metrics, "kept": 8, "width": 8} | changes


def agree(got, expected):
    np.testing.assert_allclose(got, expected, rtol=0, atol=1e-5 * np.abs(expected).max())


def test_weights_are_rounded_to_the_nearest_of_float16():
    rng = np.random.default_rng(0)
    values = rng.normal(size=10_000) * 10.0 ** rng.uniform(-9, 4, 10_000)
    kept = {"large": np.float32([1.1, 7e4]), "double": np.float64([0.1])}
    weights = {"some": keras.Variable(values.astype("float32"))}
    weights |= {name: keras.Variable(array, dtype=array.dtype) for name, array in kept.items()}
    nested_packaging._round(types.SimpleNamespace(weights=weights.values()))
    got, exact = weights["some"].numpy(), values.astype("float32")
    np.testing.assert_array_equal(got, got.astype("float16"))
    error = np.abs(got - exact)
    assert (error <= np.maximum(np.abs(exact) / 2048, 3e-8)).all()
    assert (error[np.abs(exact) < 6e-5] <= 3e-8).all()
    assert error.max() > 0
    for name, array in kept.items():
        np.testing.assert_array_equal(weights[name].numpy(), array)


def test_more_weights_than_a_file_holds_are_refused(tmp_path, monkeypatch):
    model, _ = nested_model("pixels")
    monkeypatch.setattr("serving.exporting.network.MAX_BYTES", 400)
    with pytest.raises(ValueError, match=r"constants\. Train a narrower network"):
        export_model(model, card_of("pixels", model), tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kind", some_slow(["pixels"], ["cnn", "none"]))
def test_each_width_answers_the_same_whoever_is_asked(kind, tmp_path):
    """The cut Keras model, the signature, REST and gRPC; `anytime` is the first that is sure."""
    model, x = nested_model(kind, outputs=1 if kind == "none" else 3)
    alias = "outputs" if kind == "none" else "scores"
    anytime = None
    if kind != "none":  # some examples stop at the first width, and others don't
        sure = np.sort(keras.ops.softmax(model(x)[:, 0]).numpy().max(axis=1))
        anytime = {"threshold": float(sure[3:5].mean())}
    path = export_model(model, card_of(kind, model, anytime=anytime), tmp_path)
    verify(path)
    loaded = tf.saved_model.load(str(path)).signatures
    cut = {w: np.asarray(ak.prune(model, keep=w)(x)) for w in WIDTHS}
    wanted = {f"width_{w}": answers for w, answers in cut.items()}
    wanted["serving_default"] = cut[8]
    used = None
    if anytime:
        quick = ak.anytime(model, anytime["threshold"], from_logits=True)
        wanted["anytime"], used = quick.predict(x)
        assert len(set(used)) > 1  # or nothing would be seen of the choice
    with serving_models.running_preview(tmp_path) as server:
        clients = [connect(url, model="many") for url in (server.rest, f"grpc://{server.grpc}")]
        for name, expected in wanted.items():
            agree(loaded[name](tf.constant(x))[alias], expected)
            for client in clients:
                answers = client.predict(x, signature=name)
                agree(answers[alias], expected)
                if name == "anytime":
                    np.testing.assert_array_equal(answers["width"], used)
        for client in clients:
            client.close()


def test_narrow_signatures_do_not_compute_wide_ones(tmp_path):
    """`anytime` with a threshold that all pass is the first width; with 1, the last."""
    model, x = nested_model("pixels")
    for threshold, width in ((0.0, 2), (1.0, 8)):
        card = card_of("pixels", model, anytime={"threshold": threshold})
        found = nested_export.nested_signatures(model, card)
        answer = found["anytime"](tf.constant(x))
        assert set(answer["width"].numpy()) == {width}
        agree(answer["scores"], np.asarray(ak.prune(model, keep=width)(x)))
        assert (answer["classes"].numpy() == answer["scores"].numpy().argmax(axis=1)).all()


@pytest.mark.parametrize("threshold", [0.0, 0.9])
def test_anytime_is_never_sure_of_a_row_with_nan(threshold):
    """In the graph as in Keras: such a row goes to a wider network, and has no class."""
    nan = np.nan
    logits = np.float32(
        [
            [[nan, 0, 0], [1, 2, 3]],
            [[9, 0, 0], [0, 1, 2]],
            [[nan] * 3, [5, nan, 0]],
            [[nan] * 3] * 2,
        ]
    )
    heads = [lambda features: features[:, 0], lambda features: features[:, 1]]
    answer = nested_export._first_sure(lambda x: x, heads, [2, 8], threshold)(tf.constant(logits))
    assert answer["width"].numpy().tolist() == [8, 2, 8, 8]
    assert answer["classes"].numpy().tolist() == [2, 0, -1, -1]
    chosen = FirstSure((2, 8), threshold)(logits)
    np.testing.assert_array_equal(answer["width"], chosen["width"])
    np.testing.assert_array_equal(answer["scores"], chosen["outputs"])


@pytest.mark.slow
@pytest.mark.parametrize("fault", ["classes", "special", "width"])
def test_an_answer_to_nan_is_seen_before_there_is_a_version(fault, tmp_path, monkeypatch):
    model, _ = nested_model("pixels")
    if fault == "classes":
        nearest = nested_export.with_classes
        monkeypatch.setattr(
            nested_export,
            "with_classes",
            lambda s: nearest(s) | {"classes": tf.argmax(s, axis=-1)},
        )
    elif fault == "width":
        sure = nested_export.sureness
        monkeypatch.setattr(
            nested_export,
            "sureness",
            lambda s, logits: tf.where(tf.math.is_nan(sure(s, logits)), 1.0, sure(s, logits)),
        )
    else:
        frozen = nested_export._frozen

        def numbers(part):
            call = frozen(part)
            return lambda x: tf.where(tf.math.is_nan(call(x)), 0.0, call(x))

        monkeypatch.setattr(nested_export, "_frozen", numbers)
    told = {
        "classes": "the classes of the scores",
        "special": "no numbers where",
        "width": "sure of no row",
    }
    with pytest.raises(ValueError, match=told[fault]):
        export_model(
            model, card_of("pixels", model, anytime={"threshold": 0.9}), tmp_path, warmup=False
        )
    assert not [*(tmp_path / "many").glob("[0-9]*")]


def test_a_difference_is_seen_before_there_is_a_version(tmp_path, monkeypatch):
    model, _ = nested_model("pixels")
    frozen = nested_export._frozen

    def wrong(part):
        call = frozen(part)
        return lambda x: call(x) * (1.0001 if part.output_shape[-1] == 3 else 1.0)

    monkeypatch.setattr(nested_export, "_frozen", wrong)
    with pytest.raises(ValueError, match="within 1e-05 of the Keras model's"):
        export_model(model, card_of("pixels", model), tmp_path)
    assert not [*(tmp_path / "many").glob("[0-9]*")]


def test_widths_of_another_model_are_refused(tmp_path):
    model, _ = nested_model("pixels")
    with pytest.raises(ValueError, match=r"its card, \[2, 5\], received \[2, 5, 8\]"):
        export_model(model, card_of("pixels", model, widths=[2, 5]), tmp_path)


def test_readme_tells_the_widths(tmp_path):
    model, _ = nested_model("pixels")
    path = export_model(model, card_of("pixels", model), tmp_path, warmup=False)
    text = (path / "README.md").read_text()
    assert "| `width_5` | as `serving_default`, float32 (n, 12) | of the first 5 nodes |" in text
    assert "| the first 5 nodes | 0.875 | 0.25 |" in text
    assert "`features`" not in text


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A short run on three classes of small images."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, 120)
    x = (80 * np.eye(3)[labels].repeat(2, axis=1) + rng.integers(0, 90, (120, 6))).astype("uint8")
    folder = tmp_path_factory.mktemp("nested")
    x = x.reshape(-1, 3, 2)
    np.savez(
        folder / "three.npz", x_train=x[:80], y_train=labels[:80], x_test=x[80:], y_test=labels[80:]
    )
    flags = ["--data", str(folder / "three.npz"), "--widths", "2,5,8", "--held-out", "0.2"]
    flags += ["--epochs", "8", "--batch-size", "16", "--quiet", "--out-dir", str(folder / "run")]
    nested_trainer.main(flags)
    return folder / "run"


@pytest.mark.slow
def test_run_becomes_a_preset_with_every_width(run, tmp_path, monkeypatch):
    packaged = package_nested(load_run(run))
    file = packaged.save(tmp_path)
    monkeypatch.setattr(presets, "_FOLDER", tmp_path)
    data = np.load(run.parent / "three.npz")
    x = data["x_test"].reshape(40, 6).astype("float32")
    card = ak.preset_card("three_nested")
    assert card == json.loads(file.with_suffix(".json").read_text())
    for width in WIDTHS:
        small = ak.from_preset("three_nested", width=width)
        answers = small.predict(x, verbose=0).argmax(axis=1)
        assert card["metrics"]["widths"][str(width)]["test_accuracy"] == pytest.approx(
            float(np.mean(answers == data["y_test"]))
        )
    many, sure = ak.from_preset("three_nested"), card["anytime"]
    found = ak.anytime(many, sure["threshold"], from_logits=True).evaluate(x, data["y_test"])
    assert (sure["test_accuracy"], sure["mean_width"]) == (found["accuracy"], found["mean_width"])
    whole = np.asarray(many(x))
    agree(np.asarray(ak.from_preset("three_nested", width=5)(x)), whole[:, 1])
    weights = ak.from_preset("three_nested").get_weights()
    assert all((w == w.astype("float16").astype(w.dtype)).all() for w in weights)


@pytest.mark.slow
def test_commands_package_and_export_all_widths(run, tmp_path):
    from serving import export, package

    file = package.main([str(run), "--name", "three", "--to", str(tmp_path / "files")])
    [of_file] = export.main([str(file), "--to", str(tmp_path / "a")])
    [of_run] = export.main([str(run), "--to", str(tmp_path / "b"), "--no-warmup"])
    names = [set(tf.saved_model.load(str(p)).signatures) for p in (of_file, of_run)]
    assert names[0] == names[1] >= {"width_2", "width_8", "anytime", "serving_uint8", "classify"}
    assert verify(of_file)["metrics"]["widths"].keys() == {"2", "5", "8"}


@pytest.mark.slow
@pytest.mark.parametrize("main", ["package", "export"])
def test_keep_is_refused(main, run, tmp_path, capsys):
    import importlib

    with pytest.raises(SystemExit):
        importlib.import_module(f"serving.{main}").main(
            [str(run), "--keep", "2", "--to", str(tmp_path)]
        )
    assert "which is nested" in capsys.readouterr().err


def test_width_of_a_preset_that_has_one_is_refused():
    with pytest.raises(ValueError, match="expected a nested preset for width=5, received 'mnist_"):
        ak.from_preset("mnist_gamma0_k20", width=5)
