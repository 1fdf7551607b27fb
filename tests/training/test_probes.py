"""What the probes record, against NumPy."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from problems import tanh_problem

import asym_keras as ak
from asym_keras import evaluator
from asym_keras.training import RiskProbe, WeightChange, probes

GENERATOR = np.random.default_rng(0)
X = GENERATOR.normal(size=(11, 4)).astype("float32")
Y = GENERATOR.normal(size=(11, 3)).astype("float32")
LABELS = GENERATOR.integers(0, 3, 11)


def network(**layer):
    keras.utils.set_random_seed(0)
    return keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, **layer)])


@pytest.fixture(params=[None, 1, 4], ids=["whole", "tiles of 1", "tiles of 4"])
def tiles(request, monkeypatch):
    """Lets the evaluator work in tiles of so many examples."""
    if request.param:
        monkeypatch.setattr(evaluator, "_tile", lambda model, examples: request.param)


@pytest.mark.usefixtures("tiles")
def test_risk_and_accuracy_equal_numpy():
    model = network()
    probe = RiskProbe("test", X, Y, labels=LABELS)
    probe.start(model)
    predictions = model(X).numpy().astype("float64")
    hits = predictions.argmax(1) == LABELS
    assert 0 < hits.sum() < len(hits)
    assert probe(model) == {
        "test_risk": pytest.approx(np.mean((predictions - Y) ** 2), rel=1e-6),
        "test_accuracy": hits.mean(),
    }


@pytest.mark.usefixtures("tiles")
def test_risk_follows_the_weights():
    model = network()
    probe = RiskProbe("train", X, Y)
    first = probe(model)["train_risk"]
    model.trainable_variables[0].assign(np.zeros((4, 3)))
    assert probe(model)["train_risk"] == pytest.approx(np.mean(Y.astype("float64") ** 2), rel=1e-6)
    assert probe(model)["train_risk"] != first


def test_accuracy_by_hand_and_no_accuracy_without_labels():
    model = network()
    model.set_weights([np.eye(4, 3), np.zeros(3)])
    x = np.array([[3, 1, 2, 0], [0, 1, 2, 9], [0, 5, 1, 0], [1, 0, 0, 0]], "float32")
    probe = RiskProbe("train", x, np.zeros((4, 3)), labels=[0, 2, 2, 0])
    assert probe(model)["train_accuracy"] == 0.75
    assert list(RiskProbe("train", x, np.zeros((4, 3)))(model)) == ["train_risk"]


def test_risk_is_of_inference_and_without_penalties():
    model = network(kernel_regularizer=keras.regularizers.L2(10.0))
    dropping = keras.Sequential([keras.Input((4,)), *model.layers, keras.layers.Dropout(0.9)])
    expected = np.mean((model(X).numpy() - Y) ** 2)
    for one in (model, dropping):
        assert RiskProbe("test", X, Y)(one)["test_risk"] == pytest.approx(expected, rel=1e-5)


def test_risk_of_another_loss():
    model = network()
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    logits = model(X).numpy().astype("float64")
    log_share = logits - np.log(np.exp(logits).sum(1, keepdims=True))
    expected = -log_share[np.arange(11), LABELS].mean()
    risk = RiskProbe("test", X, LABELS, loss=loss)(model)["test_risk"]
    assert risk == pytest.approx(expected, rel=1e-6)


def test_one_probe_serves_another_model():
    probe = RiskProbe("test", X, Y)
    one, other = network(), network(activation="tanh")
    probe.start(one)
    for model in (other, one):
        expected = np.mean((model(X).numpy() - Y) ** 2)
        assert probe(model)["test_risk"] == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("tile", [1, 9, 2**20])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_weight_change_equals_numpy(dtype, tile, monkeypatch):
    monkeypatch.setattr(probes, "TILE_NUMBERS", tile)
    model, _, _ = tanh_problem(dtype)
    layer = model.get_layer("asym_scaled_dense")
    probe = WeightChange()
    probe.start(model)
    step = np.random.default_rng(1).normal(size=layer.kernel.shape)
    before = layer.kernel.numpy().astype("float64")
    layer.kernel.assign_add(step.astype(dtype))
    expected = np.linalg.norm(layer.kernel.numpy() - before, axis=0)
    row = probe(model)
    np.testing.assert_allclose(row["node_weight_change"], expected, rtol=1e-12)
    assert row["node_weight_change"].shape == (12,)
    assert row["weight_change"] == pytest.approx(expected.max(), rel=1e-12)
    assert type(row["weight_change"]) is float


def test_weight_change_is_zero_at_first_with_and_without_start():
    model, _, _ = tanh_problem()
    started = WeightChange()
    started.start(model)
    for probe in (started, WeightChange()):
        row = probe(model)
        assert row["weight_change"] == 0.0
        np.testing.assert_array_equal(row["node_weight_change"], np.zeros(12))


def test_weight_change_by_hand_for_a_convolution():
    model = keras.Sequential(
        [keras.Input((5, 5, 2)), keras.layers.Conv2D(3, (2, 2), use_bias=False)]
    )
    probe = WeightChange()
    probe.start(model)
    kernel = model.trainable_variables[0]
    kernel.assign_add(np.broadcast_to([0.0, 1.0, 0.5], kernel.shape))
    # Eight weights a node, each moved by as much.
    expected = np.sqrt(8) * np.array([0.0, 1.0, 0.5])
    np.testing.assert_allclose(probe(model)["node_weight_change"], expected, rtol=1e-5)


def test_weight_change_follows_the_shallow_layer_unless_another_is_named():
    model = keras.Sequential(
        [
            keras.Input((4,)),
            keras.layers.Dense(5, name="first"),
            ak.AsymScaledDense(6, name="nodes"),
            keras.layers.Dense(2, name="last"),
        ]
    )
    followers = {name: WeightChange(name) for name in (None, "first", "nodes", "last")}
    for probe in followers.values():
        probe.start(model)
    model.get_layer("nodes").kernel.assign_add(np.ones((5, 6)))
    model.get_layer("last").kernel.assign_add(2 * np.ones((6, 2)))
    changes = {name: probe(model)["node_weight_change"] for name, probe in followers.items()}
    np.testing.assert_allclose(changes["nodes"], np.full(6, np.sqrt(5)), rtol=1e-6)
    np.testing.assert_array_equal(changes[None], changes["nodes"])
    np.testing.assert_array_equal(changes["first"], np.zeros(5))
    np.testing.assert_allclose(changes["last"], np.full(2, 2 * np.sqrt(6)), rtol=1e-6)


def test_weight_change_falls_back_to_the_first_trained_weights():
    model = network()
    probe = WeightChange()
    probe.start(model)
    model.trainable_variables[0].assign_add(np.ones((4, 3)))
    np.testing.assert_allclose(probe(model)["node_weight_change"], np.full(3, 2.0), rtol=1e-6)


def test_weight_change_names_a_layer_that_it_cannot_follow():
    model = network(name="last")
    model.add(keras.layers.ReLU(name="relu"))
    for name, count in (("relu", 1), ("nowhere", 0)):
        with pytest.raises(ValueError, match=rf"received '{name}', which {count} layers"):
            WeightChange(name).start(model)
