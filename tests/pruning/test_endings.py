"""Models that end in more than a linear readout: curves against the pruned models' own outputs."""

from __future__ import annotations

import keras
import numpy as np
import pruning_models as models
import pytest
import tensorflow as tf
from crossed import crossed, some_slow

from asym_keras import AsymScaledDense, prune
from asym_keras.importance import find_layer
from asym_keras.pruning import pruning_curve, refit_logits

layers = keras.layers
N = 40
PRUNED = [0, 4, 9]
SPARSE = "sparse_categorical_crossentropy"


def own_softmax(dtype):
    """Outputs of the layer itself, and an activation after them."""
    stack = models.nodes(dtype, 3), layers.Softmax(dtype=dtype)
    return keras.Sequential([models.floats((4,), dtype), *stack])


def tail_in_a_nested_model(dtype):
    head = keras.Sequential(
        [models.floats((models.UNITS,), dtype), layers.Dense(3, dtype=dtype)], name="head"
    )
    inputs = models.floats((4,), dtype)
    probabilities = layers.Activation("softmax", dtype=dtype)
    return keras.Model(inputs, probabilities(head(models.nodes(dtype)(inputs))))


def one_probability(dtype):
    last = layers.Dense(1, "sigmoid", dtype=dtype)
    return keras.Sequential([models.floats((4,), dtype), models.nodes(dtype), last])


LINEAR = ["batch norm, no bias", "average", "local pool", "joined", "same nodes added", "permute"]
CLASSES = ["softmax inside", own_softmax, tail_in_a_nested_model]


def name_of(make):
    return make if isinstance(make, str) else make.__name__


def problem(make, dtype="float64"):
    """A model, examples, and the classes that it finds in them, some of them changed."""
    model = models.build(make, dtype)
    x = models.examples(model, N)
    outputs = models.outputs(model, x)
    labels = outputs.argmax(1) if outputs.shape[1] > 1 else (outputs[:, 0] > 0.5).astype(int)
    labels[:7] = np.random.default_rng(3).integers(0, max(2, outputs.shape[1]), 7)
    return model, x, labels


@pytest.mark.parametrize(
    ("make", "dtype"), crossed([*LINEAR, *CLASSES, models.tokens], ["float32", "float64"], least=5)
)
def test_curve_has_the_risks_of_the_pruned_models(make, dtype):
    model, x, labels = problem(make, dtype)
    rows = pruning_curve(model, x, labels, x[:9], labels[:9], pruned=PRUNED, batch_size=16)
    for row in rows:
        small = prune(model, row["kept"])
        for part, n in (("train", N), ("test", 9)):
            outputs = models.outputs(small, x[:n])
            risk = np.mean((outputs - np.eye(3)[labels[:n]]) ** 2)
            rel = {"float32": 1e-5, "float64": 1e-11}[dtype]
            assert row[f"{part}_risk"] == pytest.approx(risk, rel=rel)
            hits = np.mean(outputs.argmax(1) == labels[:n])
            assert row[f"{part}_accuracy"] == pytest.approx(hits)


def test_no_nodes_leave_the_constants_and_the_other_features():
    model, x, labels = problem("joined")
    [row] = pruning_curve(model, x, labels, x, labels, pruned=[models.UNITS])
    with models.masked(model, []):
        expected = np.mean((models.outputs(model, x) - np.eye(3)[labels]) ** 2)
    assert row["train_risk"] == pytest.approx(expected)


@pytest.mark.parametrize("make", some_slow(CLASSES, LINEAR), ids=name_of)
def test_refitted_models_have_the_risks_of_the_curve(make):
    model, x, labels = problem(make)
    arrays = model, x, labels, x[:9], labels[:9]
    for row in pruning_curve(*arrays, pruned=[2, 8], refit=True):
        small = prune(model, row["kept"], refit=(x, labels))
        assert type(small) is type(model)
        risk = np.mean((models.outputs(small, x) - np.eye(3)[labels]) ** 2)
        # Separable classes have no best readout: the last of 200 steps depends on the order.
        assert row["train_risk_refit"] == pytest.approx(risk, rel=2e-2, abs=1e-4)


@pytest.mark.parametrize("make", CLASSES, ids=name_of)
def test_refit_of_probabilities_is_a_softmax_regression(make):
    """Against the regression on the features that the pruned model's readout receives."""
    model, x, labels = problem(make)
    small = prune(model, 2, refit=(x, labels))
    layer = find_layer(small)
    assert (layer.units, layer.outputs) == (2, None)
    features = layer.features(x).numpy()
    [fit] = refit_logits(features, np.eye(3)[labels])
    logits = features @ fit.kernel + fit.bias
    expected = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    np.testing.assert_allclose(models.outputs(small, x), expected, rtol=1e-9)
    at_once = -np.log(expected[np.arange(N), labels]).mean()
    assert fit.risk == pytest.approx(at_once)


def test_logits_are_fitted_by_cross_entropy_if_asked():
    model, x, labels = problem(models.features)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    options = {"refit": True, "pruned": [9], "loss": loss}
    [ridge] = pruning_curve(model, x, labels, x, labels, regression="ridge", **options)
    [logits] = pruning_curve(model, x, labels, x, labels, regression="cross_entropy", **options)
    assert logits["train_risk_refit"] < 0.95 * ridge["train_risk_refit"]
    small = prune(model, 3, refit=(x, labels), regression="cross_entropy")
    assert float(np.mean(loss(labels, small(x)))) == pytest.approx(logits["train_risk_refit"])


def test_the_loss_decides_where_nothing_follows_the_sums():
    """A compiled cross-entropy of logits is fitted by itself; without one it is ridge."""
    model, x, labels = problem(LINEAR[0])
    logits = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    by_hand, ridge = (
        prune(model, 9, refit=(x, labels), regression=by) for by in ("cross_entropy", "ridge")
    )
    plain = models.outputs(prune(model, 9, refit=(x, labels)), x)
    np.testing.assert_array_equal(plain, models.outputs(ridge, x))
    model.compile("adam", logits)
    fitted = models.outputs(prune(model, 9, refit=(x, labels)), x)
    np.testing.assert_allclose(fitted, models.outputs(by_hand, x), rtol=1e-10)
    assert np.abs(fitted - plain).max() > 0.1
    options = {"pruned": [models.UNITS - 9], "refit": True}
    [row] = pruning_curve(model, x, labels, x, labels, loss=logits, **options)
    assert row["test_risk_refit"] == pytest.approx(float(logits(labels, fitted)), rel=1e-6)


def test_logits_of_a_squared_loss_are_measured_as_probabilities():
    model, x, labels = problem(LINEAR[0])
    targets = np.eye(3)[labels]
    options = {"pruned": [models.UNITS - 9], "refit": True, "regression": "cross_entropy"}
    [row] = pruning_curve(model, x, targets, x, targets, loss="mse", **options)
    small = prune(model, 9, refit=(x, labels), regression="cross_entropy")
    probabilities = np.asarray(keras.ops.softmax(models.outputs(small, x)))
    assert row["test_risk_refit"] == pytest.approx(np.mean((probabilities - targets) ** 2))
    assert row["test_accuracy_refit"] == np.mean(probabilities.argmax(axis=1) == labels)


@pytest.mark.parametrize("make", ["softmax inside", models.features], ids=name_of)
def test_labels_one_hot_targets_and_datasets_are_the_same(make):
    model, x, labels = problem(make)
    y = np.eye(3)[labels]
    batches = tf.data.Dataset.from_tensor_slices((x, labels)).batch(7)
    options = {"pruned": [4], "refit": True}
    [expected] = pruning_curve(
        model, x, y, x, y, labels_train=labels, labels_test=labels, **options
    )
    assert "test_accuracy_refit" in expected
    forms = [
        (x, labels),
        (x, labels[:, None]),
        (x, labels.astype("uint8")),
        (x, y),
        (batches, None),
    ]
    for form in forms:
        assert pruning_curve(model, *form, *form, **options) == [expected]
    weights = prune(model, 8, refit=(x, y)).get_weights()
    for form in [*forms[:-1], batches, (batches, None)]:
        for a, b in zip(prune(model, 8, refit=form).get_weights(), weights, strict=True):
            np.testing.assert_array_equal(a, b)


def test_losses_that_take_labels_get_them():
    model, x, labels = problem("softmax inside")
    y = np.eye(3)[labels]
    rows = [
        pruning_curve(model, x, y, x, y, loss=loss, pruned=PRUNED)
        for y, loss in ((labels, SPARSE), (y, "categorical_crossentropy"), (labels, "mse"))
    ]
    for a, b in zip(rows[0], rows[1], strict=True):
        assert a == pytest.approx(b, rel=1e-6)
    assert rows[2][0]["train_risk"] != pytest.approx(rows[0][0]["train_risk"])
    model.compile(loss=SPARSE, metrics=["accuracy"])
    loss, accuracy = model.evaluate(x, labels, verbose=0)
    assert rows[0][0]["train_risk"] == pytest.approx(loss, rel=1e-5)
    assert rows[0][0]["train_accuracy"] == pytest.approx(accuracy)


def cross_entropy(logits, labels):
    """From logits, two classes for a single one; by NumPy."""
    if logits.shape[1] == 1:
        logits = np.concatenate([np.zeros_like(logits), logits], axis=1)
    return np.mean(np.logaddexp.reduce(logits, axis=1) - logits[np.arange(len(labels)), labels])


@pytest.mark.parametrize(("end", "loss"), [("softmax", SPARSE), ("sigmoid", "binary_crossentropy")])
def test_cross_entropies_of_probabilities_go_by_their_logits(end, loss):
    """As in `evaluate`: a probability of 1e-40 does not count as 1e-7."""
    rng, classes = np.random.default_rng(0), 3 if end == "softmax" else 1
    last = layers.Dense(classes, end, name="last")
    model = keras.Sequential([models.floats((4,), "float32"), models.nodes("float32"), last])
    x, labels = models.examples(model, 60), rng.integers(0, max(classes, 2), 60)
    last.kernel.assign(100 * rng.normal(size=last.kernel.shape))
    features = find_layer(model).features(x).numpy().astype("float64")
    expected = cross_entropy(features @ last.kernel.numpy().astype("float64"), labels)
    assert expected > -np.log(1e-7)
    model.compile("sgd", loss)
    assert model.evaluate(x, labels, verbose=0) == pytest.approx(expected, rel=1e-5)
    [row] = pruning_curve(model, x, labels, x, labels, loss=loss, pruned=[0])
    assert row["test_risk"] == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("make", ["softmax inside", models.features], ids=name_of)
def test_so_do_those_of_refitted_readouts(make):
    """Few examples, without a penalty, are told apart with large logits; others are not."""
    model = models.build(make, "float64")
    x, y = models.examples(model, 12), np.arange(12) % 3
    other = (y + 1) % 3
    options = {"refit": True, "pruned": [0], "penalty": 1e-12, "regression": "cross_entropy"}
    [row] = pruning_curve(model, x, y, x, other, loss=SPARSE, **options)
    features = find_layer(model).features(x).numpy()
    [fit] = refit_logits(features, np.eye(3)[y], penalty=1e-12)
    expected = cross_entropy(features @ fit.kernel + fit.bias, other)
    assert row["test_risk_refit"] == pytest.approx(expected, rel=1e-3)
    assert expected > -np.log(1e-7)


def test_a_name_of_a_loss_means_what_it_means_in_compile():
    """Not the logits that it meant here before: probabilities, of a model without softmax, too."""
    model, x, labels = problem(models.shallow)
    y = np.eye(3)[labels]
    [row] = pruning_curve(model, x, y, x, y, loss="categorical_crossentropy", pruned=[0])
    outputs = models.outputs(model, x)
    expected = np.mean(keras.losses.categorical_crossentropy(y, outputs))
    assert row["train_risk"] == pytest.approx(expected)


@pytest.mark.parametrize("shape", [(N,), (N, 1)])
def test_one_probability_is_refitted_by_logistic_regression(shape):
    model, x, labels = problem(one_probability)
    y = labels.reshape(shape)
    [row] = pruning_curve(model, x, y, x, y, loss="binary_crossentropy", pruned=[9], refit=True)
    small = prune(model, 3, refit=(x, y))
    features = find_layer(small).features(x).numpy()
    [fit] = refit_logits(features, labels[:, None], link="sigmoid")
    assert row["train_risk_refit"] == pytest.approx(fit.risk, rel=1e-5)
    outputs = models.outputs(small, x)[:, 0]
    assert row["train_accuracy_refit"] == np.mean((outputs > 0.5) == labels)
    pruned = models.outputs(prune(model, 3), x)[:, 0]
    assert row["train_accuracy"] == np.mean((pruned > 0.5) == labels)


def test_regressions_have_no_accuracies():
    model = models.build(models.shallow)
    x, y = models.examples(model), np.random.default_rng(0).normal(size=(9, 3))
    assert "train_accuracy" not in pruning_curve(model, x, y, x, y)[0]
    inputs = keras.Input((4,))
    one = keras.Model(inputs, models.nodes("float32", 1)(inputs))
    zeros = np.arange(9) % 2  # may be numbers as well as classes
    assert "train_accuracy" not in pruning_curve(one, x, zeros, x, zeros)[0]
    logits = keras.losses.BinaryCrossentropy(from_logits=True)
    x = models.examples(one, 60)
    classes = (models.outputs(one, x)[:, 0] > 0.0).astype(int)
    assert ((models.outputs(one, x)[:, 0] > 0.5) != classes).any()
    [row] = pruning_curve(one, x, classes, x, classes, loss=logits, pruned=[0])
    assert row["train_accuracy"] == 1.0
    # A readout by ridge regression is no logit, one by cross-entropy is.
    for regression in ("ridge", "cross_entropy"):
        options = {"pruned": [0], "refit": True, "labels_train": classes, "regression": regression}
        [row] = pruning_curve(one, x, classes, x, classes, **options)
        outputs = models.outputs(prune(one, 12, refit=(x, classes), regression=regression), x)
        threshold = 0.5 if regression == "ridge" else 0.0
        hits = np.mean((outputs[:, 0] > threshold) == classes)
        assert row["train_accuracy_refit"] == hits


def test_features_of_an_own_layer_are_not_guessed():
    class Doubled(AsymScaledDense):
        def call(self, inputs):
            return 2.0 * super().call(inputs)

    inputs = keras.Input((4,))
    model = keras.Model(inputs, Doubled(6, 2, seed=0, name="nodes")(inputs))
    x, y = np.ones((3, 4)), np.ones((3, 2))
    with pytest.raises(ValueError, match="'nodes' of class Doubled, with a call of its own"):
        pruning_curve(model, x, y, x, y)
