"""Refits by the cross-entropy that is the model's loss, against regressions on its features."""

from __future__ import annotations

import functools

import keras
import numpy as np
import pruning_models as models
import pytest

from asym_keras import prune
from asym_keras.importance import find_layer
from asym_keras.pruning import pruning_curve, refit_logits

losses = keras.losses
N = 40
PENALTY = 1e-3  # a readout without one may be infinite


def problem(kind, loss, end=None):
    """A model with three outputs, compiled; examples; labels, one-hot targets or multi-hot ones."""
    model = models.build(models.features, "float64")
    model.layers[-1].activation = keras.activations.get(end)
    model.compile("sgd", loss)
    x, rng = models.examples(model, N), np.random.default_rng(1)
    labels = rng.integers(0, 3, N)
    targets = rng.integers(0, 2, (N, 3)) if kind == "multi-hot" else np.eye(3)[labels]
    return model, x, labels if kind == "labels" else targets, targets.astype("float64")


@pytest.mark.parametrize("kind", ["one-hot", "multi-hot", "labels"])
@pytest.mark.parametrize(
    "loss",
    [
        losses.BinaryCrossentropy(from_logits=True),
        losses.BinaryFocalCrossentropy(from_logits=True),
        functools.partial(losses.binary_crossentropy, from_logits=True),
    ],
    ids=["class", "focal", "function"],
)
def test_a_binary_cross_entropy_is_one_of_each_output(kind, loss):
    model, x, y, targets = problem(kind, loss)
    small = prune(model, models.UNITS, refit=(x, y), penalty=PENALTY)
    features = find_layer(small).features(x).numpy()
    [fit] = refit_logits(features, targets, link="sigmoid", penalty=PENALTY)
    expected = features @ fit.kernel + fit.bias
    np.testing.assert_allclose(models.outputs(small, x), expected, rtol=1e-4, atol=1e-4)
    risk = np.mean(np.logaddexp(0.0, expected) - targets * expected)
    options = {"loss": loss, "refit": True, "pruned": [0], "penalty": PENALTY}
    [row] = pruning_curve(model, x, targets, x, targets, **options)
    if not isinstance(loss, losses.BinaryFocalCrossentropy):
        assert row["test_risk_refit"] == pytest.approx(risk, rel=1e-6)
    assert row["test_risk_refit"] < row["test_risk"]


@pytest.mark.parametrize("end", [None, "softmax", "sigmoid"])
@pytest.mark.parametrize("kind", ["one-hot", "labels"])
def test_label_smoothing_is_the_loss_s(end, kind):
    """A part .3 of each target is spread: the refit has the least loss, where its slope is 0."""
    of = losses.BinaryCrossentropy if end == "sigmoid" else losses.CategoricalCrossentropy
    loss = of(from_logits=end is None, label_smoothing=0.3)
    model, x, y, targets = problem(kind, loss, end)
    smooth = 0.7 * targets + 0.3 * (0.5 if end == "sigmoid" else 1 / 3)
    small = prune(model, models.UNITS, refit=(x, y), penalty=PENALTY)
    outputs = models.outputs(small, x)
    probabilities = np.asarray(keras.ops.softmax(outputs)) if end is None else outputs
    # The slope by the bias, which has no penalty.
    np.testing.assert_allclose(probabilities.mean(axis=0), smooth.mean(axis=0), rtol=1e-4)
    link = "sigmoid" if end == "sigmoid" else "softmax"
    features = find_layer(small).features(x).numpy()
    [fit] = refit_logits(features, smooth, link=link, penalty=PENALTY)
    logits = features @ fit.kernel + fit.bias
    expected = logits if end is None else np.asarray(getattr(keras.ops, end)(logits))
    np.testing.assert_allclose(outputs, expected, rtol=1e-6)
    options = {"loss": loss, "refit": True, "pruned": [0], "penalty": PENALTY}
    [row] = pruning_curve(model, x, y, x, y, **options)
    assert row["train_risk_refit"] == pytest.approx(float(loss(targets, expected)), rel=1e-4)
