"""Losses in every form, asked once, and known again in the next process."""

from __future__ import annotations

import functools
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops

from asym_keras.losses import ExampleLoss

Y = np.eye(3, dtype="float32")[[0, 1, 2, 1]]
F = np.random.default_rng(0).uniform(0.1, 0.9, (4, 3)).astype("float32")


def squared(y, f):
    return ops.mean((y - f) ** 2, axis=-1)


class Callable:
    def __init__(self, factor=1.0):
        self.factor = factor

    def __call__(self, y, f):
        return self.factor * ops.mean((y - f) ** 2, axis=-1)


class OwnLoss(keras.losses.Loss):
    def call(self, y, f):
        return ops.mean((y - f) ** 2, axis=-1)


class Weighted(keras.losses.Loss):
    """Its configuration does not tell its number."""

    def __init__(self, factor):
        super().__init__()
        self.factor = factor

    def call(self, y, f):
        return self.factor * ops.mean((y - f) ** 2, axis=-1)


def around(loss):
    return lambda y, f: loss.call(y, f)


def in_a_set(y, f):
    return squared(y, f) if str(y.dtype) in {"float16", "float32", "float64"} else 0.0


class WholeLoss(keras.losses.Loss):
    def __call__(self, y, f, sample_weight=None):
        return ops.mean((y - f) ** 2, axis=-1)


@pytest.mark.parametrize(
    "loss",
    [
        *("mse", "MSE", "mean_squared_error", "MeanSquaredError"),
        *(keras.losses.MeanSquaredError(), keras.losses.MeanSquaredError(reduction="sum")),
        *(keras.losses.MeanSquaredError, keras.losses.mean_squared_error, squared),
        *(lambda y, f: ops.mean((y - f) ** 2, -1), functools.partial(squared), Callable()),
        *(Callable().__call__, OwnLoss(), WholeLoss()),
    ],
)
def test_every_form_gives_a_value_an_example(loss):
    loss = ExampleLoss(loss)
    loss.check(tf.constant(Y), (3,), labels=False)
    np.testing.assert_allclose(loss(Y, F), np.mean((Y - F) ** 2, axis=1), rtol=1e-6)


@pytest.mark.parametrize(("name", "classes"), [("crossentropy", 3), ("ce", 3)])
def test_crossentropy_is_chosen_by_the_shapes(name, classes):
    loss, labels = ExampleLoss(name), np.array([0, 1, 2, 1])
    expected = -np.log(np.sum(Y * F, 1) / F.sum(1))
    np.testing.assert_allclose(loss(Y, F), expected, rtol=1e-5)
    np.testing.assert_allclose(loss(labels, F), expected, rtol=1e-5)
    binary = loss(Y[:, :1], F[:, :1])
    np.testing.assert_allclose(
        binary, keras.losses.binary_crossentropy(Y[:, :1], F[:, :1]), rtol=1e-6
    )


def test_names_mean_what_they_mean_in_compile():
    model = keras.Sequential([keras.Input((3,)), keras.layers.Identity()])
    model.compile(loss="categorical_crossentropy")
    expected = model.evaluate(F, Y, verbose=0)
    assert float(np.mean(ExampleLoss("categorical_crossentropy")(Y, F))) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("loss", "words"),
    [
        (lambda y, f: ops.mean((y - f) ** 2), "one value per example, received <lambda>"),
        (lambda y, f: (y - f)[:1, 0], "one value per example"),
        (lambda y, f: ops.ones(ops.shape(f)[0]) * ops.mean((y - f) ** 2), "depend on the other"),
        (lambda y, f: ops.sum(y @ f), "fails on them"),
        (lambda y: y, "fails on them"),
    ],
)
def test_other_losses_are_refused(loss, words):
    with pytest.raises(ValueError, match=words):
        ExampleLoss(loss).check(tf.constant(Y), (3,), labels=False)


def test_losses_that_leave_examples_out_are_refused():
    loss = keras.losses.SparseCategoricalCrossentropy(ignore_class=1)
    with pytest.raises(ValueError, match=r"counts all examples, .* leaves some out"):
        ExampleLoss(loss).check(tf.constant([0, 1, 2]), (3,), labels=True)


@pytest.mark.parametrize("loss", ["mse", "categorical_crossentropy", "hinge", squared])
@pytest.mark.parametrize("classes", [2, 3, 4])
def test_labels_are_refused_where_a_loss_wants_one_hot(loss, classes):
    with pytest.raises(ValueError, match=r"one-hot .* takes no integer labels.*to_categorical"):
        ExampleLoss(loss).check(tf.constant([0.0, 1.0, 0.0]), (classes,), labels=True)


@pytest.mark.parametrize(
    "loss",
    [
        "sparse_categorical_crossentropy",
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        lambda y, f: squared(ops.one_hot(ops.cast(y, "int32"), 3), f),
    ],
)
def test_labels_are_taken_where_a_loss_takes_them(loss):
    ExampleLoss(loss).check(tf.constant([0.0, 1.0, 2.0]), (3,), labels=True)


def test_unknown_names_are_refused():
    with pytest.raises(ValueError, match="nonsense"):
        ExampleLoss("nonsense")
    with pytest.raises(ValueError, match="name or a function"):
        ExampleLoss(None)


def test_targets_and_predictions_meet_in_the_dtype_of_the_risk():
    half = tf.cast(F, "bfloat16")
    for dtype in ("float32", "float64"):
        assert (
            ExampleLoss(lambda y, f: tf.reduce_mean((y - f) ** 2, -1), dtype)(Y, half).dtype
            == dtype
        )


SCALE = 2.0


def scaled(y, f):
    return SCALE * squared(y, f)


def of(factor):
    return lambda y, f: factor * squared(y, f)


DIFFERENT = {
    "one lambda": lambda y, f: squared(y, f),
    "another": lambda y, f: 2 * squared(y, f),
    "of 2": of(2.0),
    "of 3": of(3.0),
    "global": scaled,
    "partial": functools.partial(scaled),
    "partial of 2": functools.partial(Callable(2.0)),
    "object": Callable(2.0),
    "other object": Callable(3.0),
    "own": OwnLoss(name="own"),
    "own of 2": Weighted(2.0),
    "own of 3": Weighted(3.0),
    "huber": keras.losses.Huber(0.1),
    "huber of 5": keras.losses.Huber(5.0),
    "around one": around(keras.losses.Huber(0.1)),
    "around another": around(keras.losses.Huber(5.0)),
    "in a set": in_a_set,
    "logits": keras.losses.CategoricalCrossentropy(from_logits=True),
    "probabilities": keras.losses.CategoricalCrossentropy(),
    "name": "mse",
}


def identities():
    return {name: repr(ExampleLoss(loss).identity) for name, loss in DIFFERENT.items()}


def test_different_losses_have_different_identities(monkeypatch):
    found = identities()
    assert len(set(found.values())) == len(found), found
    assert found == identities()
    assert ExampleLoss(Weighted(2.0)).identity == ExampleLoss(Weighted(2.0)).identity
    monkeypatch.setitem(globals(), "SCALE", 3.0)
    assert identities()["global"] != found["global"]


@pytest.mark.slow
def test_identity_is_that_of_another_process():
    code = "import sys; sys.path[:0] = sys.argv[1:]; import test_losses as t; print(t.identities())"
    folder = Path(__file__).parent
    done = subprocess.run(
        [sys.executable, "-c", code, str(folder), str(folder.parent)],
        capture_output=True,
        text=True,
        check=True,
    )
    theirs = eval(done.stdout.strip().splitlines()[-1])
    # The module's name differs by how a test is imported.
    assert theirs == {k: v.replace(__name__, "test_losses") for k, v in identities().items()}


@pytest.mark.parametrize(
    ("loss", "logits"),
    [
        (keras.losses.BinaryCrossentropy(from_logits=True), True),
        (keras.losses.BinaryCrossentropy(), False),
        (functools.partial(keras.losses.binary_crossentropy, from_logits=True), True),
        ("mse", False),
        (squared, False),
    ],
)
def test_logits_are_told(loss, logits):
    assert ExampleLoss(loss).takes_logits is logits


@pytest.mark.parametrize(
    ("loss", "link"),
    [
        ("binary_crossentropy", "sigmoid"),
        ("SparseCategoricalCrossentropy", "softmax"),
        (keras.losses.BinaryFocalCrossentropy(), "sigmoid"),
        (functools.partial(keras.losses.categorical_crossentropy, from_logits=True), "softmax"),
        *(("ce", None), ("mse", None), (squared, None), (Callable(), None)),
    ],
)
def test_what_a_cross_entropy_takes_logits_for_is_told(loss, link):
    assert ExampleLoss(loss).link == link
