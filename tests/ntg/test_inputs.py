"""What users pass by mistake, told before anything is computed; and weights that enter twice."""

from __future__ import annotations

import keras
import numpy as np
import pytest

import asym_keras as ak
from asym_keras.ntg import empirical_ntg, node_contributions, ntg_predict, split_ntg

X = np.random.default_rng(0).normal(size=(4, 6))


def network(outputs=1):
    return ak.shallow_network(6, outputs, width=9, gamma=0.3, alpha=0.6, seed=1)


def test_a_weight_that_an_operation_takes_too_goes_to_the_jacobian():
    inputs = keras.Input((4,), dtype="float64")
    layer = keras.layers.Dense(4, dtype="float64")
    hidden = layer(inputs)
    model = keras.Model(inputs, hidden + keras.ops.matmul(hidden, layer.kernel))
    x = np.random.default_rng(0).normal(size=(3, 4))
    expected = empirical_ntg(model, x, method="jacobian")
    np.testing.assert_allclose(empirical_ntg(model, x), expected, rtol=1e-9)


@pytest.mark.parametrize("x", [X[0], X[:, :3], X[:, None], np.array([["a"] * 6]), None])
def test_examples_of_another_shape_are_refused(x):
    with pytest.raises(ValueError, match="Expected"):
        empirical_ntg(network(), x)


def test_inputs_of_another_structure_are_refused():
    a, b = keras.Input((2,), name="a"), keras.Input((3,), name="b")
    model = keras.Model({"a": a, "b": b}, keras.layers.Dense(1)(keras.ops.concatenate([a, b], 1)))
    with pytest.raises(ValueError, match="Pass one array for each"):
        empirical_ntg(model, {"a": np.ones((4, 2)), "c": np.ones((4, 3))})


@pytest.mark.parametrize("output", [1.0, True, None, [0], np.array(0)])
def test_output_is_an_integer_or_a_word(output):
    with pytest.raises(ValueError, match="output below K"):
        empirical_ntg(network(2), X, output=output)


def test_parts_of_the_shallow_network_check_theirs_too():
    layer = network().get_layer("asym_scaled_dense")
    with pytest.raises(ValueError, match="output to be one of them"):
        split_ntg(layer, X, output="trace")
    with pytest.raises(ValueError, match=r"Expected inputs of shape \(n, 6\)"):
        node_contributions(layer, X[:, :3])


@pytest.mark.parametrize("part", ["train", "test"])
def test_prediction_from_nan_is_refused(part):
    x = {"train": X.copy(), "test": X.copy()}
    x[part][1, 2] = np.nan
    with pytest.raises(ValueError, match="finite"):
        ntg_predict(network(), x["train"], np.ones((4, 1)), x["test"])
