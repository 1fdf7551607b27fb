"""Nested models cut to their first nodes: equal to their prefixes, ordinary, and small."""

from __future__ import annotations

import logging

import keras
import nested_models as models
import numpy as np
import pytest
from crossed import crossed

from asym_keras import AsymScaledDense, NestedReadout, nested, prune
from asym_keras.graphs import layers_of
from asym_keras.nesting import find_readout
from asym_keras.pruning import pruning_curve

layers = keras.layers
WIDTHS = (2, 5, 12)


def assert_is_prefix(many, small, index):
    x = models.examples(many)
    np.testing.assert_allclose(small(x), many(x)[..., index, :], rtol=1e-5, atol=1e-6)
    assert not any(isinstance(layer, NestedReadout) for layer in layers_of(small))


QUICK = [(models.scaled, False), (models.pooled_cnn, True), (models.inside, False)]


@pytest.mark.parametrize(
    ("make", "shared"), crossed([*models.CUT, *models.WHOLE], [False, True], quick=QUICK, least=1)
)
def test_cut_model_equals_its_prefix(make, shared, tmp_path):
    many = nested(models.build(make), WIDTHS, shared=shared)
    many.save(tmp_path / "many.keras")
    back = keras.saving.load_model(tmp_path / "many.keras")
    sizes = []
    for index, width in enumerate(WIDTHS):
        small = prune(many, width)
        assert_is_prefix(many, small, index)
        assert_is_prefix(back, prune(back, width), index)
        small.save(tmp_path / "small.keras")
        loaded = keras.saving.load_model(tmp_path / "small.keras")
        x = models.examples(many)
        np.testing.assert_array_equal(loaded(x), small(x))
        sizes.append(small.count_params())
    assert (sizes[0] < sizes[1] < sizes[2]) == (make in models.CUT and make is not models.flat_cnn)
    if make is models.flat_cnn:  # two features are of two channels, five of all three
        assert sizes[0] < sizes[1] == sizes[2]


@pytest.mark.parametrize("make", [models.mlp, models.scaled, models.cnn, models.inside])
def test_only_the_first_nodes_are_left(make):
    many = nested(models.build(make), WIDTHS)
    small = prune(many, 5)
    [hidden] = [la for la in layers_of(small) if getattr(la, "units", None) == 5]
    [whole] = [la for la in layers_of(many) if la.name == hidden.name]
    np.testing.assert_array_equal(hidden.kernel, np.asarray(whole.kernel)[:, :5])
    if isinstance(whole, AsymScaledDense):
        np.testing.assert_array_equal(hidden.sqrt_scalings, np.asarray(whole.sqrt_scalings)[:5])


def test_a_number_between_widths_takes_the_smaller_one(caplog):
    many = nested(models.build(models.mlp), WIDTHS)
    with caplog.at_level(logging.INFO):
        small = prune(many, 11)
    assert "kept 5 nodes, the largest width trained that is at most 11" in caplog.text
    assert small.layers[0].units == 5
    assert_is_prefix(many, small, 1)


def test_a_shared_readout_serves_any_number_of_nodes():
    many = nested(models.build(models.mlp), WIDTHS, shared=True)
    x = models.examples(many)
    hidden = keras.Model(many.inputs[0], many.layers[0].output)(x).numpy()
    kernel, bias = find_readout(many).get_weights()
    for keep in (1, 4, 7):
        small = prune(many, keep)
        assert small.layers[0].units == keep
        expected = hidden[:, :keep] @ kernel[:keep] + bias
        np.testing.assert_allclose(small(x), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("make", models.WHOLE)
def test_what_can_not_be_cut_stays_and_is_named(make, caplog):
    many = nested(models.build(make), WIDTHS)
    with caplog.at_level(logging.INFO):
        small = prune(many, 5)
    assert "stay as they are: '" in caplog.text
    assert len(small.layers) == len(many.layers)


@pytest.mark.slow
def test_cut_model_is_compiled_as_one_network():
    model = models.build(models.mlp)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("sgd", loss, metrics=["accuracy"])
    many, rng = nested(model, WIDTHS), np.random.default_rng(0)
    x, y = models.examples(many, 50), rng.integers(0, 3, 50)
    many.fit(x, y, verbose=0)
    whole = many.evaluate(x, y, verbose=0, return_dict=True)
    small = prune(many, 5)
    found = small.evaluate(x, y, verbose=0, return_dict=True)
    assert found["accuracy"] == pytest.approx(whole["accuracy_5"])
    assert found["loss"] == pytest.approx(float(loss(y, small(x))), rel=1e-5)
    assert small.fit(x, y, verbose=0).history["loss"]
    again = many.evaluate(x, y, verbose=0, return_dict=True)
    assert again == pytest.approx(whole)  # the nested model is not touched


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16", "float64"])
def test_policies_are_kept(policy):
    stack = [layers.Dense(12, "relu", dtype=policy), layers.Dense(3, dtype=policy)]
    many = nested(keras.Sequential([keras.Input((6,)), *stack]), WIDTHS)
    small = prune(many, 5)
    assert [la.dtype_policy.name for la in small.layers] == [policy] * 2
    x = models.examples(many)
    f, g = (keras.ops.convert_to_numpy(a).astype("float64") for a in (many(x)[:, 1], small(x)))
    tolerance = {"mixed_float16": 5e-3, "mixed_bfloat16": 5e-2, "float64": 1e-12}[policy]
    np.testing.assert_allclose(g, f, rtol=0, atol=tolerance * np.abs(f).max())


def test_pruning_again_needs_no_nested_model():
    many = nested(models.build(models.scaled), WIDTHS)
    small = prune(prune(many, 5), 3, importance="scalings")
    assert small.layers[0].units == 3


@pytest.mark.parametrize("keep", [0, 1, 13, 2.0, True, None])
def test_numbers_of_nodes_without_a_readout_are_refused(keep):
    many = nested(models.build(models.mlp), WIDTHS)
    with pytest.raises(ValueError, match=r"prune: expected keep from 2 to 12 nodes.*received"):
        prune(many, keep)


@pytest.mark.parametrize(
    "arguments",
    [
        {"importance": np.ones(12)},
        {"layer": "dense"},
        {"refit": (np.ones((2, 6)), np.ones(2))},
        {"importance": "magnitude"},
        {"importance": "output", "x": np.ones((2, 6))},
        {"regression": "ridge"},
        *({"penalty": "auto"}, {"penalty": -3}, {"seed": 5}),
    ],
)
def test_what_means_nothing_for_a_nested_model_is_refused(arguments):
    many = nested(models.build(models.mlp), WIDTHS)
    named = "no argument but keep, received " + ", ".join(arguments)
    with pytest.raises(ValueError, match=f"prune: expected of a nested model {named}:"):
        prune(many, 5, **arguments)
    prune(many, 5, importance="paper", seed=0)


def test_a_curve_of_a_nested_model_is_refused():
    many = nested(models.build(models.scaled), WIDTHS)
    x = models.examples(many)
    with pytest.raises(ValueError, match=r"Expected model .* to end in the AsymScaledDense"):
        pruning_curve(many, x, np.zeros(8, int), x, np.zeros(8, int))
