"""Nodes that go through layers of every kind on their way to the end: against masking them."""

from __future__ import annotations

import keras
import numpy as np
import pruning_models as models
import pytest
from crossed import crossed

from asym_keras import AsymScaledDense, prune
from asym_keras.importance import find_layer, node_importance
from asym_keras.importance.graph import node_paths

layers = keras.layers
KEPT = np.array([1, 2, 5, 9, 10])
IMPORTANCE = np.isin(np.arange(models.UNITS), KEPT).astype(float)
TOLERANCE = {"float32": 2e-6, "float64": 1e-13, "mixed_float16": 1e-2}
SOME = ["batch norm, no bias", "convolution", "joined", "next layer", "there and back"]
CASES = crossed(models.THROUGH, ["float64"], least=len(models.THROUGH) // 2)
CASES += crossed(SOME, ["float32", "mixed_float16"])


def cut(model):
    return prune(model, len(KEPT), importance=IMPORTANCE, layer="nodes")


def assert_is_the_masked_one(model, small, dtype="float32", x=None):
    x = models.examples(model) if x is None else x
    with models.masked(model, KEPT):
        expected = models.outputs(model, x)
    got = models.outputs(small, x)
    scale = np.abs(expected).max()
    assert scale > 0.0
    np.testing.assert_allclose(got, expected, rtol=0.0, atol=TOLERANCE[dtype] * scale)


@pytest.mark.parametrize(("name", "dtype"), CASES)
def test_pruned_model_equals_the_masked_one(name, dtype):
    model = models.build(name, dtype)
    before = model.get_weights()
    small = cut(model)
    assert small.count_params() < model.count_params()
    assert_is_the_masked_one(model, small, dtype)
    for weight, old in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(weight, old)
    policies = [[la.dtype_policy.name for la in m.layers if la.weights] for m in (small, model)]
    assert policies[0] == policies[1]


@pytest.mark.parametrize("name", ["next layer", "batch norm, no bias", "there and back"])
def test_pruned_model_is_saved_and_pruned_again(name, tmp_path):
    model = models.build(name, "float64")
    small = cut(model)
    small.save(tmp_path / "small.keras")
    loaded = keras.models.load_model(tmp_path / "small.keras", safe_mode=False)
    again = prune(loaded, 2, importance=[3, 0, 0, 2, 0], layer="nodes")
    x = models.examples(model)
    with models.masked(model, KEPT[[0, 3]]):
        expected = models.outputs(model, x)
    np.testing.assert_allclose(models.outputs(again, x), expected, rtol=1e-10)


def test_next_layer_keeps_the_fan_in_that_it_was_trained_with():
    small = cut(models.build("next layer"))
    after = find_layer(small, "next")
    assert (after.kernel.shape, after.fan_in) == ((5, 7), models.UNITS)


def test_masked_nodes_leave_their_constants_in_the_bias():
    """Worked by hand: sigmoid(0) = 1/2 of each of the seven nodes that go."""
    model = models.build("sigmoid")
    dense, small = model.layers[-1], cut(model)
    gone = np.setdiff1d(np.arange(models.UNITS), KEPT)
    np.testing.assert_allclose(
        small.layers[-1].bias,
        dense.bias.numpy() + dense.kernel.numpy()[gone].sum(axis=0) / 2,
        rtol=1e-14,
    )


def test_normalisation_loses_the_nodes_statistics():
    model = models.build("batch norm")
    small = cut(model)
    old, new = (m.layers[2] for m in (model, small))
    for a, b in zip(old.weights, new.weights, strict=True):
        np.testing.assert_array_equal(a.numpy()[KEPT], b.numpy())


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_features_enter_nested_models_at_every_call(dtype):
    """Of another width along another axis, twice, and after layers of their own."""
    floats = models.floats
    head = keras.Sequential(
        [
            floats((6, models.UNITS), dtype),
            layers.MaxPooling1D(2, dtype=dtype),
            layers.Flatten(dtype=dtype),
            layers.Dense(3, dtype=dtype),
        ],
        name="head",
    )

    def make(dtype):
        inputs = floats((6, 4), dtype)
        hidden = models.nodes(dtype)(inputs)
        return keras.Model(inputs, layers.Add(dtype=dtype)([head(hidden), head(-hidden)]))

    model = models.build(make, dtype)
    small = cut(model)
    assert_is_the_masked_one(model, small, dtype)
    assert small.get_layer("head").input_shape == (None, 6, 5)


def test_positions_that_do_not_count_do_not_count_after_pruning():
    ids = keras.Input((6,), dtype="int32")
    hidden = models.nodes("float32")(layers.Embedding(5, 4, mask_zero=True)(ids))
    pooled = layers.GlobalAveragePooling1D()(hidden)
    model = keras.Model(ids, layers.Dense(3)(pooled))
    x = np.array([[1, 2, 0, 0, 0, 0], [4, 0, 3, 2, 1, 0]])
    assert_is_the_masked_one(model, cut(model), x=x)


def test_outputs_that_hold_nodes_return_the_kept_ones():
    inputs = keras.Input((6, 4))
    hidden = models.nodes("float32")(inputs)
    pooled = {"mean": layers.GlobalAveragePooling1D()(hidden), "last": layers.Dense(2)(hidden)}
    model = keras.Model(inputs, pooled)
    x = models.examples(model)
    small, whole = cut(model)(x), model(x)
    np.testing.assert_allclose(small["mean"], whole["mean"].numpy()[:, KEPT], rtol=1e-5, atol=1e-6)
    assert small["last"].shape == whole["last"].shape


def test_own_layers_without_weights_are_tried_like_others():
    class Shifted(layers.Layer):
        def call(self, x):
            return 3.0 - x

    inputs = keras.Input((4,))
    model = keras.Model(inputs, layers.Dense(3)(Shifted()(models.nodes("float32")(inputs))))
    assert_is_the_masked_one(model, cut(model))


def test_trials_leave_no_trace_in_the_layers():
    inputs = keras.Input((4,))
    hidden = layers.ActivityRegularization(0.1)(models.nodes("float32")(inputs))
    model = keras.Model(inputs, layers.Dense(3)(layers.Dropout(0.5)(hidden)))
    model(models.examples(model))
    states = [v.numpy() for la in model.layers for v in la.variables]
    node_paths(model, find_layer(model))
    assert not model.losses  # of made-up numbers
    cut(model)
    for before, v in zip(states, (v for la in model.layers for v in la.variables), strict=True):
        np.testing.assert_array_equal(before, v)


def test_a_cut_that_is_not_masking_is_refused(monkeypatch):
    """The last word has the comparison on made-up inputs: here the kernel loses the wrong rows."""
    from asym_keras.importance.nodes import Nodes

    model = models.build("batch norm", "float32")
    monkeypatch.setattr(Nodes, "dropped", lambda self, nodes: np.array([], int))
    with pytest.raises(ValueError, match="model without nodes of 'nodes' to compute what"):
        cut(model)


@pytest.mark.slow
def test_compiled_models_stay_compiled_without_the_state_of_the_large_optimizer():
    model = models.build("batch norm", "float32")
    model.compile("adam", loss="mse", metrics=["mae"])
    x = models.examples(model)
    model.fit(x, np.ones((len(x), 3)), verbose=0)
    small = cut(model)
    assert small.optimizer is not model.optimizer
    assert int(small.optimizer.iterations) == 0
    small.fit(x, np.ones((len(x), 3)), verbose=0)
    assert {tuple(v.shape) for v in small.optimizer.variables}.isdisjoint({(4, 12), (12, 3)})


@pytest.mark.parametrize(
    "name", ["average", "local pool", "batch norm", "sigmoid", "joined", "softmax over positions"]
)
def test_output_rule_is_the_change_of_what_the_readout_computes(name, monkeypatch):
    model = models.build(name, "float64")
    x = models.examples(model)
    whole, changes = models.outputs(model, x), []
    for j in range(models.UNITS):
        with models.masked(model, np.delete(np.arange(models.UNITS), j)):
            changes.append(np.sum((whole - models.outputs(model, x)) ** 2) / len(x))
    np.testing.assert_allclose(
        node_importance(model, "output", x=x), changes, rtol=1e-8, atol=1e-9 * max(changes)
    )


def test_own_subclass_of_the_layer_is_pruned_but_its_features_are_not_guessed():
    @keras.saving.register_keras_serializable("tests")
    class Doubled(AsymScaledDense):
        def call(self, inputs):
            return 2.0 * super().call(inputs)

    inputs = keras.Input((4,))
    layer = Doubled(models.UNITS, 3, activation="tanh", seed=0, name="nodes")
    model = keras.Model(inputs, layer(inputs))
    assert_is_the_masked_one(model, cut(model))
    with pytest.raises(ValueError, match="Doubled with a call of its own"):
        node_importance(model, "output", x=models.examples(model))
