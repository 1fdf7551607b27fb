"""Pruning curves against one masked forward pass a width, and against training's risk."""

from __future__ import annotations

import keras
import numpy as np
import pruning_models as models
import pytest
from crossed import crossed

from asym_keras import shallow_network
from asym_keras.datasets import load_mnist
from asym_keras.graphs import layers_of
from asym_keras.importance import find_layer, importance_order, node_importance, taps
from asym_keras.pruning import pruning_curve
from asym_keras.training import RiskProbe

RTOL = {"float32": 1e-5, "float64": 1e-12, "mixed_float16": 2e-2}
N_TRAIN, N_TEST = 23, 11


def data(model, outputs=3):
    rng = np.random.default_rng(5)
    x = models.examples(model, N_TRAIN), models.examples(model, N_TEST, seed=1)
    y = rng.normal(size=(N_TRAIN, outputs)), rng.normal(size=(N_TEST, outputs))
    return x[0], y[0], x[1], y[1]


def one_hot(y):
    return np.eye(y.shape[1])[np.argmax(y, axis=1)]


def naive_rows(model, x_train, y_train, x_test, y_test, pruned, risk):
    """One forward pass a width, with zeros for the scalings of the nodes that are pruned."""
    order = importance_order(node_importance(model))
    rows = []
    for count in pruned:
        row = {"pruned": count, "kept": len(order) - count}
        with models.masked(model, order[: len(order) - count]):
            for part, x, y in (("train", x_train, y_train), ("test", x_test, y_test)):
                outputs = models.outputs(model, x)
                row[f"{part}_risk"] = risk(y, outputs)
                hits = np.argmax(outputs, axis=1) == np.argmax(y, axis=1)
                row[f"{part}_accuracy"] = np.mean(hits)
        rows.append(row)
    return rows


def mean_square(y, outputs):
    return np.mean((y - outputs) ** 2)


def cross_entropy(y, logits):
    logits = logits - logits.max(axis=1, keepdims=True)
    return np.mean(np.log(np.exp(logits).sum(axis=1)) - np.sum(y * logits, axis=1))


def assert_rows_equal(rows, expected, rtol):
    assert len(rows) == len(expected)
    for row, reference in zip(rows, expected, strict=True):
        assert row.keys() == reference.keys()
        for name, value in reference.items():
            assert row[name] == pytest.approx(value, rel=rtol, abs=1e-9), name


@pytest.mark.parametrize(("make", "dtype"), crossed(models.ENDING, RTOL))
def test_curve_equals_a_forward_pass_a_width(make, dtype):
    model = models.build(make, dtype)
    x_train, y_train, x_test, y_test = data(model)
    y_train, y_test = one_hot(y_train), one_hot(y_test)
    pruned = [0, 1, 7, 12]
    rows = pruning_curve(
        model,
        *(x_train, y_train, x_test, y_test),
        labels_train=np.argmax(y_train, axis=1),
        labels_test=np.argmax(y_test, axis=1),
        pruned=pruned,
        batch_size=10,
    )
    expected = naive_rows(model, x_train, y_train, x_test, y_test, pruned, mean_square)
    if dtype == "mixed_float16":  # a rounding may change which output is largest
        for row in (*rows, *expected):
            del row["train_accuracy"], row["test_accuracy"]
    assert_rows_equal(rows, expected, RTOL[dtype])


@pytest.mark.parametrize(
    "loss",
    [
        keras.losses.CategoricalCrossentropy(from_logits=True),
        lambda y, outputs: keras.losses.categorical_crossentropy(y, outputs, from_logits=True),
    ],
    ids=["object", "function"],
)
def test_cross_entropy_takes_the_outputs_as_logits(loss):
    model = models.build(models.shallow)
    x_train, y_train, x_test, y_test = data(model)
    y_train, y_test = one_hot(y_train), one_hot(y_test)
    pruned = [0, 3, 12]
    rows = pruning_curve(model, x_train, y_train, x_test, y_test, loss=loss, pruned=pruned)
    expected = naive_rows(model, x_train, y_train, x_test, y_test, pruned, cross_entropy)
    assert_rows_equal(rows, expected, 1e-6)
    assert rows[-1]["train_risk"] == pytest.approx(np.log(3.0))


@pytest.mark.parametrize(
    ("loss", "dtype"),
    crossed(
        ["mse", "mae", keras.losses.CategoricalCrossentropy(from_logits=True)],
        ["float32", "float64"],
    ),
)
def test_first_row_is_the_risk_of_training(dtype, loss):
    model = models.build(models.sequential, dtype)
    x_train, y_train, x_test, y_test = data(model)
    y_train, labels = one_hot(y_train), np.argmax(y_train, axis=1)
    row = pruning_curve(model, x_train, y_train, x_test, y_test, labels_train=labels, loss=loss)[0]
    probe = RiskProbe("train", x_train, y_train, labels=labels, loss=loss)
    for name, value in probe(model).items():
        assert row[name] == pytest.approx(value, rel=2e-6)


def test_last_row_is_the_zero_network():
    model = models.build(models.shallow)
    x_train, y_train, x_test, y_test = data(model)
    row = pruning_curve(model, x_train, y_train, x_test, y_test)[-1]
    assert (row["pruned"], row["kept"]) == (models.UNITS, 0)
    assert row["train_risk"] == pytest.approx(np.mean(y_train**2))
    assert row["test_risk"] == pytest.approx(np.mean(y_test**2))


def test_last_row_of_a_dense_readout_is_its_bias():
    model = models.build(models.features)
    x_train, y_train, x_test, y_test = data(model)
    row = pruning_curve(model, x_train, y_train, x_test, y_test)[-1]
    bias = model.get_layer("last").bias.numpy()
    assert row["train_risk"] == pytest.approx(np.mean((y_train - bias) ** 2))


def test_steps_are_five_percent():
    model = shallow_network(2, width=2000, seed=0)
    x, y = np.ones((2, 2)), np.ones(2)  # one output: targets (n,) will do
    rows = pruning_curve(model, x, y, x, y)
    assert [row["pruned"] for row in rows] == list(range(0, 2001, 100))
    assert all(row["pruned"] + row["kept"] == 2000 for row in rows)
    assert list(rows[0]) == ["pruned", "kept", "train_risk", "test_risk"]


def test_rows_are_nested_and_do_not_depend_on_the_others():
    model = models.build(models.shallow)
    every = pruning_curve(model, *data(model), pruned=range(13), refit=True)
    some = pruning_curve(model, *data(model), pruned=[9, 2], refit=True)
    assert_rows_equal(some, [every[2], every[9]], 1e-9)


def test_order_of_an_array_and_seed_decide_which_nodes_go_first():
    model = shallow_network(4, 3, width=models.UNITS, gamma=1.0, seed=1)
    importance = np.arange(models.UNITS)
    [row] = pruning_curve(model, *data(model), pruned=[4], importance=importance)
    x, y, *_ = data(model)
    with models.masked(model, np.arange(4, models.UNITS)):
        assert row["train_risk"] == pytest.approx(
            mean_square(y, models.outputs(model, x)), rel=1e-5
        )
    runs = [
        pruning_curve(model, *data(model), pruned=[4], importance="scalings", seed=seed)
        for seed in (0, 0, 1)
    ]
    assert runs[0] == runs[1] != runs[2]
    output = pruning_curve(model, *data(model), importance="output")
    array = pruning_curve(model, *data(model), importance=node_importance(model, "output", x=x))
    assert output == array


@pytest.mark.parametrize(("make", "dtype"), crossed(models.ENDING, RTOL))
def test_refitted_columns_are_ridge_regressions(make, dtype):
    """The readout of each width refitted by least squares, with the penalty of leave-one-out."""
    model = models.build(make, dtype)
    x_train, y_train, x_test, y_test = data(model)
    y_train = models.outputs(model, x_train) + 0.1 * y_train
    labels = np.argmax(y_test, axis=1)
    pruned = [0, 7, 12]
    rows = pruning_curve(
        *(model, x_train, y_train, x_test, y_test),
        labels_test=labels,
        pruned=pruned,
        refit=True,
    )
    assert list(rows[0]) == [
        *("pruned", "kept", "train_risk", "test_risk", "test_accuracy"),
        *("train_risk_refit", "test_risk_refit", "test_accuracy_refit"),
    ]
    order = importance_order(node_importance(model))
    features = [node_features(model, x)[:, order] for x in (x_train, x_test)]
    for row in rows:
        train, test = (f[:, : row["kept"]] for f in features)
        grid = 10.0 ** (0.75 * np.arange(-10, 4))
        risks = [models.leave_one_out(train, y_train, penalty) for penalty in grid]
        kernel, bias = models.ridge(train, y_train, grid[np.argmin(risks)])
        rtol = {"float32": 1e-4, "float64": 1e-8, "mixed_float16": 1e-2}[dtype]
        assert row["train_risk_refit"] == pytest.approx(
            mean_square(y_train, train @ kernel + bias), rel=rtol
        )
        predictions = test @ kernel + bias
        assert row["test_risk_refit"] == pytest.approx(mean_square(y_test, predictions), rel=rtol)
        hits = np.mean(np.argmax(predictions, axis=1) == labels)
        assert row["test_accuracy_refit"] == pytest.approx(hits)


def node_features(model, x):
    """What the readout receives, (n, m), by masking all nodes but one."""
    readout = [la for la in layers_of(model) if isinstance(la, keras.layers.Dense)]
    layer = find_layer(model)
    if layer.outputs is not None:
        weight, ones = layer.readout, np.ones((models.UNITS, 3))
    else:
        weight, ones = readout[-1].kernel, np.ones((models.UNITS, 3))
    values = weight.numpy()
    weight.assign(ones)
    try:
        with models.masked(model, []):
            nothing = models.outputs(model, x)[:, 0]
        columns = []
        for j in range(models.UNITS):
            with models.masked(model, [j]):
                columns.append(models.outputs(model, x)[:, 0] - nothing)
    finally:
        weight.assign(values)
    return np.stack(columns, axis=1)


@pytest.mark.parametrize("batch_size", [1, 5, None])
def test_tiles_change_nothing_but_rounding(batch_size, monkeypatch):
    model = models.build(models.sequential)
    expected = pruning_curve(model, *data(model), refit=True)
    monkeypatch.setattr(taps, "TILE_NUMBERS", 7 * models.UNITS)
    monkeypatch.setattr("asym_keras.pruning.refit.TILE_ROWS", 3)
    rows = pruning_curve(model, *data(model), refit=True, batch_size=batch_size)
    assert_rows_equal(rows, expected, 1e-9)


def test_mnist_ends_at_the_risk_of_one_hot_targets():
    dataset, n = load_mnist(), 100
    model = shallow_network(784, 10, width=40, seed=0)
    parts = dataset.x_train[:n], dataset.y_train[:n], dataset.x_test[:n], dataset.y_test[:n]
    row = pruning_curve(model, *parts)[-1]
    assert row["train_risk"] == row["test_risk"] == pytest.approx(0.1)
