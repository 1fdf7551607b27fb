"""Transfer curves: networks trained together are those trained alone, on the right features."""

from __future__ import annotations

import itertools
import logging

import keras
import numpy as np
import pytest
import tensorflow as tf
from crossed import crossed

from asym_keras import compilation
from asym_keras.importance import node_importance
from asym_keras.layers import AsymScaledDense
from asym_keras.models import shallow_network
from asym_keras.training import TrainingError
from asym_keras.transfer import solvers, transfer_curve, transfer_settings
from asym_keras.transfer.networks import TransferNetworks

N, D, M, K = 23, 4, 12, 3
TOLERANCE = {"float32": dict(rtol=1e-5, atol=1e-6), "float64": dict(rtol=1e-10, atol=0.0)}
SMALL = dict(features=(2, 5), hidden=(8,), steps=6, learning_rate=0.5, progress=False)


def network(dtype="float64", *, gamma=0.5, width=M):
    return shallow_network(D, K, width=width, gamma=gamma, alpha=0.5, seed=3, dtype=dtype)


def data(dtype="float64", outputs=K):
    """Training and test inputs and targets, classes as labels."""
    generator = np.random.default_rng(1)
    x, x_test = generator.normal(size=(2, N, D)).astype(dtype)
    classes = [np.argmax(a[:, :K], axis=1) for a in (x, x_test)]
    y, y_test = (np.eye(K, dtype=dtype)[c][:, :outputs] for c in classes)
    return (x, y, x_test, y_test), dict(zip(("labels_train", "labels_test"), classes, strict=True))


def best_features(model, x, k):
    """`sqrt(lambda_j) relu(w_j . x / sqrt(d))` of the k nodes of largest `lambda_j ||w_j||^2`."""
    layer = model.get_layer("asym_scaled_dense")
    kernel = np.asarray(layer.kernel)
    best = np.argsort(-layer.scalings * np.sum(kernel.astype("float64") ** 2, 0))[:k]
    z = x @ kernel[:, best] / np.sqrt(D).astype(x.dtype)
    return np.maximum(z, 0) * np.sqrt(layer.scalings[best]).astype(x.dtype)


def draw(k, hidden, outputs, seed, dtype):
    generator, sizes, weights = np.random.default_rng([seed, k]), (k, *hidden, outputs), []
    for a, b in itertools.pairwise(sizes):
        weights += [generator.uniform(-(a**-0.5), a**-0.5, shape) for shape in ((a, b), (b,))]
    return [w.astype(dtype) for w in weights]


def forward(weights, phi):
    for i in range(0, len(weights) - 2, 2):
        phi = tf.nn.relu(phi @ weights[i] + weights[i + 1])
    return phi @ weights[-2] + weights[-1]


def trained_alone(phi, y, weights, *, steps, learning_rate):
    """Plain eager descent of one network on its own mean squared error."""
    variables = [tf.Variable(w) for w in weights]
    for _ in range(steps):
        with tf.GradientTape() as tape:
            risk = tf.reduce_mean((forward(variables, phi) - y) ** 2)
        for v, g in zip(variables, tape.gradient(risk, variables), strict=True):
            v.assign_sub(learning_rate * g)
    return variables


def expected_rows(model, arrays, labels, *, features, hidden, steps, learning_rate, seed=0):
    x, y, x_test, y_test = arrays
    rows = []
    for k in features:
        phi = best_features(model, x, k)
        weights = draw(k, hidden, y.shape[1], seed, y.dtype)
        weights = trained_alone(phi, y, weights, steps=steps, learning_rate=learning_rate)
        row = {"features": k}
        for part, inputs, targets in (("train", x, y), ("test", x_test, y_test)):
            f = forward(weights, best_features(model, inputs, k)).numpy()
            row[f"{part}_risk"] = np.mean((f - targets) ** 2)
            row[f"{part}_accuracy"] = np.mean(np.argmax(f, 1) == labels[f"labels_{part}"])
        rows.append(row)
    return rows


@pytest.fixture(autouse=True)
def no_jit(monkeypatch):
    """Compilation with XLA takes longer than these small runs."""
    monkeypatch.setattr(compilation, "JIT_LIMIT", 0)


@pytest.mark.parametrize(("hidden", "dtype"), crossed([(8,), (8, 6)], ["float32", "float64"]))
def test_networks_trained_together_equal_each_trained_alone(hidden, dtype, monkeypatch):
    jit = len(hidden) == 1
    monkeypatch.setattr(compilation, "JIT_LIMIT", np.inf if jit else 0)
    model, (arrays, labels) = network(dtype), data(dtype)
    settings = {**SMALL, "hidden": hidden, "steps": 30 if dtype == "float64" else 6}
    rows = transfer_curve(model, *arrays, **labels, **settings)
    settings.pop("progress")
    for row, expected in zip(rows, expected_rows(model, arrays, labels, **settings), strict=True):
        assert row.keys() == expected.keys()
        for name, value in expected.items():
            np.testing.assert_allclose(row[name], value, **TOLERANCE[dtype], err_msg=name)


def test_rows_are_plain_and_have_accuracies_with_labels_only():
    (x, y, x_test, y_test), labels = data()
    rows = transfer_curve(network(), x, y[:, 0], x_test, y_test[:, 0], **SMALL)
    assert [row["features"] for row in rows] == [2, 5]
    assert [list(row) for row in rows] == [["features", "train_risk", "test_risk"]] * 2
    assert {type(v) for row in rows for v in row.values()} == {int, float}
    (with_labels, _) = transfer_curve(network(), x, y, x_test, y_test, **labels, **SMALL)
    assert [*with_labels][3:] == ["train_accuracy", "test_accuracy"]


def test_a_network_is_the_same_whatever_other_numbers_of_features_there_are():
    model, (arrays, _) = network(), data()
    alone = transfer_curve(model, *arrays, **{**SMALL, "features": [5]})
    among = transfer_curve(model, *arrays, **{**SMALL, "features": [12, 5, 1]})
    assert [row["features"] for row in among] == [12, 5, 1]
    for name, value in alone[0].items():
        np.testing.assert_allclose(among[1][name], value, rtol=1e-10)


def test_curve_is_reproducible_by_seed_and_leaves_the_model():
    model, (arrays, _) = network(), data()
    before = model.get_weights()
    first, again, other = (transfer_curve(model, *arrays, **SMALL, seed=s) for s in (0, 0, 1))
    assert first == again
    assert first[1]["train_risk"] != other[1]["train_risk"]
    for a, b in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_initial_weights_fill_their_range():
    networks = TransferNetworks([9, 100], (64, 64), 10, seed=0, dtype="float32")
    for k, layers in zip((9, 100), networks.layers, strict=True):
        for layer, fan_in in zip(layers, (k, 64, 64), strict=True):
            kernel, bias = (w * fan_in**0.5 for w in layer.get_weights())
            assert np.abs(kernel).max() <= 1 + 1e-6
            assert np.abs(bias).max() <= 1 + 1e-6
            # Uniform on (-1, 1): variance 1 / 3, and five standard errors around it.
            error = 5 * (4 / 45 / kernel.size) ** 0.5
            assert abs(np.mean(kernel**2) - 1 / 3) < error
            assert np.abs(bias).max() > 0.5
    again = TransferNetworks([9], (64, 64), 10, seed=0, dtype="float32")
    for a, b in zip(networks.layers[0], again.layers[0], strict=True):
        np.testing.assert_array_equal(a.kernel, b.kernel)
    other = TransferNetworks([9], (64, 64), 10, seed=1, dtype="float32")
    assert not np.array_equal(other.layers[0][0].kernel, again.layers[0][0].kernel)


@pytest.mark.slow
def test_flow_agrees_with_descent_at_a_small_rate():
    model, (arrays, _) = network(), data()
    settings = {**SMALL, "steps": 400, "learning_rate": 0.05}
    flow, descent = (
        transfer_curve(model, *arrays, **settings, method=method) for method in ("flow", "descent")
    )
    for a, b in zip(flow, descent, strict=True):
        np.testing.assert_allclose(a["train_risk"], b["train_risk"], rtol=0.01)
    assert flow != descent
    assert descent == transfer_curve(model, *arrays, **settings)


def test_importance_by_rule_by_numbers_and_by_its_examples():
    model, (arrays, _) = network(), data()
    rows = {
        rule: transfer_curve(model, *arrays, **SMALL, importance=rule)
        for rule in ("paper", "output")
    }
    assert rows["paper"] != rows["output"]
    numbers = node_importance(model, "output", x=arrays[0])
    assert rows["output"] == transfer_curve(model, *arrays, **SMALL, importance=numbers)


def test_features_of_a_layer_inside_a_model():
    (x, y, x_test, y_test), _ = data()
    inputs = keras.Input((D,), dtype="float64")
    layer = AsymScaledDense(M, gamma=0.5, alpha=0.5, seed=3, dtype="float64", name="inner")
    doubled = keras.layers.Rescaling(2.0, dtype="float64")(inputs)
    deep = keras.Model(inputs, keras.layers.Dense(1, dtype="float64")(layer(doubled)))
    plain = network()
    plain.get_layer("asym_scaled_dense").kernel.assign(layer.kernel)
    rows = transfer_curve(deep, x, y, x_test, y_test, **SMALL, layer="inner")
    others = transfer_curve(plain, 2 * x, y, 2 * x_test, y_test, **SMALL)
    for row, other in zip(rows, others, strict=True):
        np.testing.assert_allclose(list(row.values()), list(other.values()), rtol=1e-10)


def test_settings_are_the_protocols():
    settings = {
        (p, c): tuple(transfer_settings(p, classification=c).values())
        for p in ("paper", "authors")
        for c in (False, True)
    }
    assert settings == {
        ("paper", False): ((64,), 50000, 0.1),
        ("paper", True): ((128,), 5000, 1.0),
        ("authors", False): ((64, 64), 5000, 0.1),
        ("authors", True): ((128, 128), 10000, 1.0),
    }
    with pytest.raises(ValueError, match=r"'authors'.*received 'ours'"):
        transfer_settings("ours", classification=True)


@pytest.mark.parametrize(("dtype", "large"), [("float32", 1e8), ("float64", 1e60)])
def test_divergence_is_an_error_that_names_the_networks(dtype, large):
    model, (arrays, _) = network(dtype), data(dtype)
    # The three most important features all but vanish: the network on two of them fits a constant.
    # The others are so large that the second step overflows, before ReLUs can die.
    important = np.arange(M) < 3
    roots = np.where(important, 1e-12, large)
    model.get_layer("asym_scaled_dense").sqrt_scalings.assign(roots)
    settings = {**SMALL, "features": (2, 12), "hidden": (8, 8), "learning_rate": 1.3}
    order = np.where(important, 1.0, 0.0)
    with pytest.raises(TrainingError, match=r"diverged for \[12\] features.*1\.3.*method='flow'"):
        transfer_curve(model, *arrays, **settings, importance=order)


def test_descent_that_ends_above_its_start_is_a_warning(caplog):
    model, (arrays, _) = network(), data()
    with caplog.at_level(logging.WARNING):
        rows = transfer_curve(model, *arrays, **{**SMALL, "steps": 2, "learning_rate": 40.0})
    assert np.isfinite([row["train_risk"] for row in rows]).all()
    assert "for [2, 5] features" in caplog.text
    caplog.clear()
    transfer_curve(model, *arrays, **SMALL)
    assert not caplog.text


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"features": (5, 13)}, r"at most 12.*received \[13\].*wider model"),
        ({"features": (0, 5)}, "distinct integers of at least 1"),
        ({"features": (5, 5)}, "distinct integers"),
        ({"features": ()}, "distinct integers"),
        ({"hidden": ()}, "hidden to be integers"),
        ({"hidden": (8, 0)}, r"hidden.*received \(8, 0\)"),
        ({"steps": 0}, "steps.*received 0"),
        ({"learning_rate": -1.0}, "positive learning_rate, received -1.0"),
        ({"method": "newton"}, "'descent', 'flow'.*received 'newton'"),
        ({"seed": -1}, "seed.*received -1"),
        ({"importance": "size"}, "'magnitude'.*received 'size'"),
        ({"importance": np.ones(3)}, r"\(12,\).*received shape \(3,\)"),
        ({"layer": "other"}, "named 'other'"),
        ({"labels_train": np.zeros(N, int)}, "labels_train and labels_test, or neither"),
        (dict.fromkeys(("labels_train", "labels_test"), np.zeros(2, int)), r"23 integers.*\(2,\)"),
    ],
)
def test_errors_come_before_training(change, message, monkeypatch):
    monkeypatch.setattr(solvers, "train", None)
    with pytest.raises(ValueError, match=message):
        transfer_curve(network(), *data()[0], **{**SMALL, **change})


def test_errors_of_the_targets():
    (x, y, x_test, y_test), _ = data()
    with pytest.raises(ValueError, match=r"y_train.*the 23 examples of x_train.*\(22, 3\)"):
        transfer_curve(network(), x, y[1:], x_test, y_test, **SMALL)
    with pytest.raises(ValueError, match="same number of outputs, received 3 and 2"):
        transfer_curve(network(), x, y, x_test, y_test[:, :2], **SMALL)
