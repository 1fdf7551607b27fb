"""Pruned models against masked ones, in every place of the layer and every precision."""

from __future__ import annotations

import keras
import numpy as np
import pruning_models as models
import pytest
from crossed import crossed

from asym_keras import AsymScaledDense, shallow_network
from asym_keras.graphs import layers_of
from asym_keras.importance import find_layer, importance_order, node_importance
from asym_keras.pruning import prune, pruning_curve

layers = keras.layers


@pytest.mark.parametrize(("make", "dtype"), crossed(models.ALL, models.TOLERANCE))
def test_pruned_model_equals_the_masked_one(make, dtype, tmp_path):
    model = models.build(make, dtype)
    x, before = models.examples(model), model.get_weights()
    kept = importance_order(node_importance(model))[:5]
    with models.masked(model, kept):
        expected = models.outputs(model, x)
    small = prune(model, 5)
    assert type(small) is type(model)
    assert small.name == model.name
    assert find_layer(small).units == 5
    assert small.count_params() < model.count_params()
    models.assert_outputs_equal(models.outputs(small, x), expected, dtype)
    # The scalings are those of the nodes, not renormalised.
    np.testing.assert_array_equal(
        find_layer(small).scalings, find_layer(model).scalings[np.sort(kept)]
    )
    policies = [[la.dtype_policy.name for la in layers_of(m)] for m in (small, model)]
    assert policies[0] == policies[1]
    for weight, old in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(weight, old)
    small.save(tmp_path / "small.keras")
    loaded = keras.models.load_model(tmp_path / "small.keras")
    np.testing.assert_array_equal(models.outputs(loaded, x), models.outputs(small, x))


@pytest.mark.parametrize("make", models.ALL, ids=lambda make: make.__name__)
def test_keeping_all_nodes_keeps_the_model(make):
    model = models.build(make)
    small = prune(model, models.UNITS)
    for new, old in zip(small.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(new, old)


def test_pruning_in_two_steps_is_pruning_at_once():
    model = models.build(models.shallow)
    once, twice = prune(model, 4), prune(prune(model, 9), 4)
    for one, two in zip(once.get_weights(), twice.get_weights(), strict=True):
        np.testing.assert_array_equal(one, two)


def test_model_of_features_returns_the_kept_ones():
    inputs = keras.Input((4,))
    model = keras.Model(inputs, models.nodes("float32")(inputs))
    x = models.examples(model)
    importance = np.zeros(models.UNITS)
    importance[[7, 2, 10]] = 3.0, 2.0, 1.0
    small = prune(model, 3, importance=importance)
    np.testing.assert_allclose(
        models.outputs(small, x), models.outputs(model, x)[:, [2, 7, 10]], rtol=1e-6
    )


def test_frozen_layers_stay_frozen_and_compiled_models_compiled():
    model = models.build(models.sequential, "float32")
    model.layers[0].trainable = False
    model.compile("sgd", loss="mse")
    small = prune(model, 5)
    assert [la.trainable for la in small.layers] == [False, True]
    x = models.examples(model)
    small.fit(x, np.ones((len(x), 3)), verbose=0)


def test_named_layer_is_cut_among_several():
    first, second = (AsymScaledDense(6, 3, name=name) for name in ("first", "second"))
    model = keras.Sequential([keras.Input((3,)), first, second])
    small = prune(model, 2, layer="second")
    assert [la.units for la in small.layers] == [6, 2]


@pytest.mark.parametrize("rule", ["scalings", "magnitude", "output"])
def test_rule_and_seed_choose_the_nodes(rule):
    model = shallow_network(4, 2, width=30, gamma=1.0, seed=3)
    x = models.examples(model)
    kept = np.sort(importance_order(node_importance(model, rule, x=x), seed=5)[:6])
    small = prune(model, 6, importance=rule, x=x, seed=5)
    np.testing.assert_array_equal(
        find_layer(small).kernel, find_layer(model).kernel.numpy()[:, kept]
    )


def targets(model, n, outputs=3):
    return np.random.default_rng(1).normal(size=(n, outputs))


def last_dense(model):
    return [la for la in layers_of(model) if isinstance(la, layers.Dense)][-1]


@pytest.mark.parametrize(("make", "dtype"), crossed(models.ENDING, models.TOLERANCE))
def test_refitted_model_is_a_ridge_regression_on_the_kept_features(make, dtype, tmp_path):
    model = models.build(make, dtype)
    x = models.examples(model, n=40)
    before = models.outputs(model, x)
    y = before + 0.3 * before.std() * targets(model, 40)
    small = prune(model, 5, refit=(x, y))
    np.testing.assert_array_equal(models.outputs(model, x), before)
    layer, dense = find_layer(small), last_dense(small)
    assert (layer.units, layer.outputs) == (5, None)
    assert dense.dtype_policy.name == layer.dtype_policy.name
    kernel, bias = dense.kernel.numpy(), dense.bias.numpy()
    features = []  # what the readout receives, by readouts of one node each
    dense.bias.assign(np.zeros(3))
    for unit in np.eye(5):
        dense.kernel.assign(np.stack([unit] * 3, axis=1))
        features.append(models.outputs(small, x)[:, 0])
    dense.kernel.assign(kernel)
    dense.bias.assign(bias)
    features = np.stack(features, axis=1)
    grid = 10.0 ** (0.75 * np.arange(-14, 5))
    risks = [models.leave_one_out(features, y, penalty) for penalty in grid]
    expected = models.ridge(features, y, grid[np.argmin(risks)])
    rtol = {"float32": 1e-4, "float64": 1e-7, "mixed_float16": 1e-3}[dtype]
    for got, value in zip((kernel, bias), expected, strict=True):
        np.testing.assert_allclose(got, value, rtol=rtol, atol=rtol * np.abs(expected[0]).max())
    small.save(tmp_path / "small.keras")
    loaded = keras.models.load_model(tmp_path / "small.keras")
    np.testing.assert_array_equal(models.outputs(loaded, x), models.outputs(small, x))


def test_refitted_model_has_the_risk_of_the_pruning_curve():
    model = models.build(models.shallow)
    x = models.examples(model, n=60)
    y = targets(model, 60)
    [row] = pruning_curve(model, x, y, x[:20], y[:20], pruned=[7], refit=True)
    small = prune(model, models.UNITS - 7, refit=(x, y))
    for part, n in (("train", 60), ("test", 20)):
        risk = np.mean((models.outputs(small, x[:n]) - y[:n]) ** 2)
        assert row[f"{part}_risk_refit"] == pytest.approx(risk, rel=1e-9)


def test_model_of_features_gets_a_readout():
    model = keras.Sequential([keras.Input((4,)), models.nodes("float32")])
    x = models.examples(model, n=40)
    small = prune(model, 5, refit=(x, targets(model, 40, outputs=2)))
    assert small.output_shape == (None, 2)
    assert np.mean((models.outputs(small, x) - targets(model, 40, 2)) ** 2) < 1.0


@pytest.mark.parametrize("make", [models.shallow, models.sequential, models.features])
def test_refitted_model_of_a_compiled_one_can_be_trained(make):
    model = models.build(make, "float32")
    model.compile("sgd", loss="mse")
    x = models.examples(model, n=20)
    small = prune(model, 5, refit=(x, targets(model, 20)))
    before = last_dense(small).kernel.numpy()
    small.fit(x, targets(model, 20) + 1.0, verbose=0)
    assert (last_dense(small).kernel.numpy() != before).any()


@pytest.mark.parametrize("keep", [0, -1, 13, 2.0, True, None])
def test_number_of_nodes_is_checked(keep):
    with pytest.raises(ValueError, match=f"number of nodes from 1 to 12, received {keep!r}"):
        prune(models.build(models.shallow), keep)


@pytest.mark.parametrize(
    ("make", "arguments", "message"),
    [
        (models.shallow, {"importance": np.ones(3)}, r"shape \(12,\).*received shape \(3,\)"),
        (models.shallow, {"importance": "size"}, "expected rule to be one of"),
        (models.shallow, {"importance": "output"}, "expected examples x"),
        (models.shallow, {"refit": (np.ones((9, 4)), np.full(9, 0.5))}, r"shape \(n, 3\).*\(9,\)"),
        (
            models.shallow,
            {"refit": (np.ones((9, 4)), np.full(9, 3))},
            "labels to be .* from 0 to 2",
        ),
        (models.shallow, {"refit": (np.ones((9, 4)), np.ones((8, 3)))}, "same number of examples"),
        (models.shallow, {"refit": (np.ones((9, 4)), np.full((9, 3), np.nan))}, "finite numbers"),
        (models.middle, {"refit": (np.ones((9, 4)), np.ones((9, 3)))}, "other layers have a part"),
        (models.tokens, {"refit": (np.ones((9, 5, 4)), np.ones((9, 3)))}, "another function"),
    ],
)
def test_errors_say_what_to_do(make, arguments, message):
    with pytest.raises(ValueError, match=message):
        prune(models.build(make), 4, **arguments)


def test_nodes_that_vanish_in_float32_are_refused():
    model = shallow_network(3, width=200, gamma=0.0, alpha=0.02, seed=0)
    with pytest.raises(ValueError, match="scalings that are not all zero, received 2 nodes"):
        prune(model, 2, importance=np.arange(200))
