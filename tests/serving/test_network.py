"""Networks of constants: any Keras model, weights in float16, and what is refused."""

from __future__ import annotations

import logging

import keras
import numpy as np
import packaged_models as pm
import pytest
import tensorflow as tf
from crossed import crossed, some_slow
from packaged_models import CASES, case, folder_size, write

from asym_keras.layers import AsymScaledDense
from serving.exporting.check import Served, check_saved_model
from serving.exporting.folding import fold
from serving.exporting.network import as_network


class Compiled(keras.layers.Layer):
    """A function that XLA has to compile."""

    def call(self, inputs):
        return tf.function(lambda x: x * 2.0, jit_compile=True)(inputs)


def other_model(kind):
    """A model that is no chain of a packaged network."""
    inputs = keras.Input((12,), dtype="float32", name="inputs")
    dense, nodes = keras.layers.Dense, AsymScaledDense
    if kind == "two hidden layers":
        answer = nodes(8, 3, seed=1)(dense(5, "tanh")(inputs))
    elif kind == "two branches":
        answer = nodes(8, 3, seed=1)(inputs) + dense(3)(inputs)
    elif kind == "called twice":
        layer = nodes(12, 12, seed=1)
        answer = dense(3)(layer(layer(inputs)))
    elif kind == "no nodes":
        answer = dense(3)(inputs)
    elif kind == "softmax":
        answer = dense(3, "softmax")(nodes(8, seed=1)(inputs))
    elif kind == "dropout":
        answer = dense(3)(keras.layers.Dropout(0.5)(nodes(8, seed=1)(inputs)))
    elif kind == "half precision":
        answer = nodes(8, 3, seed=1, dtype="mixed_float16")(inputs)
    elif kind == "weights in the activation":
        answer = nodes(8, 3, seed=1, activation=keras.layers.PReLU())(inputs)
    else:
        layer = {"random": pm.Noise, "compiled": Compiled}[kind]()
        answer = nodes(8, 3, seed=1)(layer(inputs))
    return keras.Model(inputs, answer, name="other")


NO_FEATURES = ("called twice", "no nodes")


OTHERS = ["two hidden layers", "two branches", "softmax", "dropout", "half precision"]
OTHERS += ["weights in the activation", *NO_FEATURES]


@pytest.mark.parametrize(("kind", "half"), crossed(OTHERS, [False, True], least=4))
def test_any_other_model_is_exported_by_its_own_call(kind, half, tmp_path, caplog):
    model, card, x = other_model(kind), pm.card("none"), pm.raw_values("none")
    assert fold(model) is None
    with caplog.at_level(logging.INFO, "serving.export"):
        network = write(model, card, tmp_path, half=half)
    assert "not folded: other is no chain" in caplog.text
    tolerance = 1e-2 if half else 1e-6
    check_saved_model(tmp_path, model, network, card, half=half)
    with Served(tmp_path) as served:
        scores = served("serving_default", x)["scores"]
        assert scores.dtype == "float32"
        if kind != "half precision":  # sums of float16 depend on their order
            assert pm.share(scores, pm.array(model(x))) < tolerance
        assert ("features" in served.signatures) == (kind not in NO_FEATURES)
        assert ("no signature features" in caplog.text) == (kind in NO_FEATURES)


def test_a_rescaling_by_zero_is_not_folded():
    """The centre of its inputs would be 0 / 0."""
    inputs = keras.Input((12,), dtype="float32", name="inputs")
    scaled = keras.layers.Rescaling(0.0)(inputs)
    assert fold(keras.Model(inputs, AsymScaledDense(8, 3, seed=1)(scaled))) is None


@pytest.mark.parametrize(
    ("kind", "message"),
    [("random", "random operations.*RandomStandardNormal"), ("compiled", "jit")],
)
def test_graphs_that_a_server_refuses_are_found(kind, message, tmp_path):
    model, card = other_model(kind), pm.card("none")
    network = write(model, card, tmp_path)
    with pytest.raises(ValueError, match=f"{message}.*No version was made"):
        check_saved_model(tmp_path, model, network, card)


def test_check_sees_other_weights(tmp_path):
    model, _, card, _ = case("image")
    network = write(model, card, tmp_path)
    kernel = model.layers[2].kernel
    kernel.assign(kernel * (1.0 + 1e-4))
    with pytest.raises(ValueError, match=r"scores of 'serving_default' within .* of the Keras"):
        check_saved_model(tmp_path, model, network, card)


def test_check_sees_other_classes_and_signatures(tmp_path):
    model, _, card, _ = case("image")
    network = write(model, card, tmp_path)
    names = card["outputs"] | {"classes": ["class 0", "class 2", "class 1"]}
    with pytest.raises(ValueError, match="'classify' to answer the classes"):
        check_saved_model(tmp_path, model, network, card | {"outputs": names})
    vector = card | {"inputs": card["inputs"] | {"kind": "vector"}}
    with pytest.raises(ValueError, match=r"expected the signatures .*serving_uint8"):
        check_saved_model(tmp_path, model, network, vector)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_weights_that_are_not_finite_are_refused(value):
    model = case("image")[0]
    kernel = model.layers[2].kernel.numpy()
    kernel[0, 0] = value
    model.layers[2].kernel.assign(kernel)
    with pytest.raises(ValueError, match="finite in float32"):
        as_network(model)


def test_more_weights_than_a_file_holds_are_refused(monkeypatch):
    monkeypatch.setattr("serving.exporting.network.MAX_BYTES", 400)
    with pytest.raises(ValueError, match="Keep fewer nodes"):
        as_network(case("image")[0])


@pytest.mark.parametrize(
    ("dtype", "half", "size"),
    [
        ("float64", False, 8 * (200 + 10)),
        ("float64", True, 2 * 200 + 8 * 10),
        ("float32", False, 4 * (200 + 10)),
        ("float32", True, 2 * 200 + 4 * 10),
        ("float16", False, 2 * (200 + 10)),
    ],
)
def test_weights_that_are_not_folded_count_as_they_are_stored(dtype, half, size, monkeypatch):
    inputs = keras.Input((20,), dtype=dtype)
    model = keras.Model(inputs, keras.layers.Dense(10, dtype=dtype)(inputs))
    monkeypatch.setattr("serving.exporting.network.MAX_BYTES", size)
    assert as_network(model, half=half).chain is None
    monkeypatch.setattr("serving.exporting.network.MAX_BYTES", size - 1)
    with pytest.raises(ValueError, match="Keep fewer nodes"):
        as_network(model, half=half)


@pytest.mark.parametrize("name", some_slow([*CASES][::2], [*CASES][1::2]))
def test_float16_weights_answer_nearly_the_same(name, tmp_path):
    model, reference, card, x = case(name)
    network = write(model, card, tmp_path, half=True)
    difference = check_saved_model(tmp_path, model, network, card, half=True)
    assert difference > 1e-6  # they are float16
    with Served(tmp_path) as served:
        key = "outputs" if card["task"] == "regression" else "scores"
        got = served("serving_default", x)[key]
        offset = 454.0 if card["task"] == "regression" else 0.0
        assert pm.share(got - offset, reference(x)[0] - offset) < 2e-3


def test_float16_weights_keep_small_and_large_columns(tmp_path):
    model, _, card, x = case("vector")
    kernel = pm.array(model.layers[1].kernel) * np.logspace(-9, 9, 8)
    model.layers[1].kernel.assign(kernel)
    write(model, card, tmp_path, half=True)
    features = np.abs(pm.array(model.layers[1].features(x)))
    with Served(tmp_path) as served:
        got = np.abs(served("features", x)["features"])
    np.testing.assert_allclose(got.max(axis=0), features.max(axis=0), rtol=2e-3)


def test_float16_weights_take_half_the_room(tmp_path):
    model = pm.packaged("pixels", dim=784, outputs=10, units=100)[0]
    for half in (False, True):
        write(model, pm.card(dim=784, outputs=10), tmp_path / str(half), half=half)
    assert folder_size(tmp_path / "False") - folder_size(tmp_path / "True") > 2 * 784 * 100 - 2000
