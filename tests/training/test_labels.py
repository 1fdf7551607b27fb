"""Class labels in training, risks and accuracies."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from crossed import crossed
from wild_layers import examples, rng, seeded, sequential, two_steps, two_steps_of_keras

from asym_keras import shallow_network
from asym_keras.training import RiskProbe

layers = keras.layers
X = examples()


@pytest.mark.parametrize(("shape", "kind"), crossed([(8,), (8, 1)], ["int64", "float32", "uint8"]))
def test_labels_train_a_loss_that_takes_them(shape, kind):
    def make():
        return sequential(layers.Dense(3, "softmax"))

    labels = (np.arange(8) % 3).astype(kind).reshape(shape)
    loss = "sparse_categorical_crossentropy"
    ours = two_steps(seeded(make), X, labels, loss=loss)
    theirs = two_steps_of_keras(seeded(make), X, labels, loss)
    for one, other in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(one, other, rtol=2e-5, atol=1e-6)


def test_labels_of_sequences_train():
    model = sequential(layers.Dense(3, "softmax"), shape=(5, 2))
    x, labels = rng().normal(size=(4, 5, 2)), rng(1).integers(0, 3, (4, 5))
    risk = RiskProbe("t", x, labels, loss="sparse_categorical_crossentropy")(model)["t_risk"]
    model.compile(loss="sparse_categorical_crossentropy")
    assert risk == pytest.approx(model.evaluate(x, labels, verbose=0), rel=1e-5)


def classifier():
    return shallow_network(4, 3, width=50, seed=0)


LABELS = np.arange(8) % 3


@pytest.mark.parametrize(
    "labels", [LABELS, LABELS[:, None], LABELS.astype("float32"), list(LABELS)]
)
def test_accuracy_by_labels_in_any_shape(labels):
    model = classifier()
    row = RiskProbe("t", X, np.eye(3)[LABELS], labels=labels)(model)
    assert row["t_accuracy"] == np.mean(np.argmax(model(X), 1) == LABELS)


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        (LABELS + 1, "from 0 to 2, .* from 1 to 3"),
        (LABELS - 1, "received values from -1"),
        (LABELS[:5], r"8 integers, .* received shape \(5,\)"),
        (LABELS + 0.5, "integers from 0 to 2"),
        (np.eye(3)[LABELS], r"received shape \(8, 3\)"),
        (np.array(["cat"] * 8), "received shape .* of <U3"),
    ],
)
def test_labels_that_are_none_are_refused(labels, words):
    with pytest.raises(ValueError, match=words):
        RiskProbe("t", X, np.eye(3)[LABELS], labels=labels)(classifier())


@pytest.mark.parametrize(
    ("loss", "threshold"),
    [
        ("mse", 0.5),
        ("binary_crossentropy", 0.5),
        (keras.losses.BinaryCrossentropy(from_logits=True), 0.0),
    ],
)
def test_accuracy_of_one_output_is_by_a_threshold(loss, threshold):
    model = seeded(lambda: sequential(layers.Dense(1, "sigmoid" if threshold else None)))
    outputs = np.asarray(model(X))[:, 0]
    assert ((outputs > 0.0) != (outputs > 0.5)).any()  # or the threshold would not matter
    labels = np.arange(8) % 2
    row = RiskProbe("t", X, labels, labels=labels, loss=loss)(model)
    assert row["t_accuracy"] == np.mean((outputs > threshold) == labels)
