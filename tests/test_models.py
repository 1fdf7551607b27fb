"""The shallow network against Eq. (2) in NumPy, its two protocols and its law at the start."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from crossed import crossed

from asym_keras import node_scalings, shallow_network

# Exact in float32: Keras's `predict` rounds NumPy inputs to `floatx`, whatever the model's dtype.
X = np.random.default_rng(0).normal(size=(6, 5)).astype("float32").astype("float64")
TOLERANCE = {"float32": {"rtol": 1e-5, "atol": 1e-6}, "float64": {"rtol": 1e-13, "atol": 1e-14}}
ACTIVATIONS = {"relu": lambda z: np.maximum(z, 0.0), "tanh": np.tanh}


def layer_of(model):
    return model.get_layer("asym_scaled_dense")


def kernel_of(**kwargs):
    return layer_of(shallow_network(50, width=400, **kwargs)).kernel.numpy()


@pytest.mark.parametrize(
    ("protocol", "outputs", "activation", "dtype"),
    crossed(
        *(["paper", "authors"], [1, 3], ACTIVATIONS, ["float32", "float64"]),
        quick=[("authors", 1, "relu", "float64"), ("paper", 3, "tanh", "float32")],
    ),
)
def test_shallow_network_equals_equation_2(protocol, outputs, activation, dtype):
    model = shallow_network(
        5,
        outputs,
        width=30,
        gamma=0.3,
        alpha=0.6,
        activation=activation,
        protocol=protocol,
        seed=1,
        dtype=dtype,
    )
    layer = layer_of(model)
    kernel, readout = layer.kernel.numpy(), layer.readout.numpy()
    hidden = ACTIVATIONS[activation](X @ kernel.astype("float64") / np.sqrt(5))
    expected = (np.sqrt(node_scalings(30, 0.3, 0.6)) * hidden) @ readout
    f = model(X.astype(dtype)).numpy()
    assert model.output_shape == (None, outputs)
    assert f.dtype == kernel.dtype == readout.dtype == dtype
    np.testing.assert_allclose(f, expected, **TOLERANCE[dtype])
    np.testing.assert_allclose(model.predict(X, verbose=0), expected, **TOLERANCE[dtype])


@pytest.mark.parametrize(("protocol", "stddev"), [("paper", 1.0), ("authors", 2.0**0.5)])
def test_protocol_decides_the_standard_deviation(protocol, stddev):
    kernel = kernel_of(protocol=protocol, seed=0)
    error = 4.0 / np.sqrt(2 * kernel.size)  # of a sample standard deviation, relative: 2 %
    assert kernel.std() == pytest.approx(stddev, rel=error)
    assert abs(kernel.mean()) < 4.0 * stddev / np.sqrt(kernel.size)


def test_authors_kernel_is_the_paper_kernel_times_root_two():
    paper, authors = (
        layer_of(shallow_network(5, 2, width=9, protocol=protocol, seed=4, dtype="float64"))
        for protocol in ("paper", "authors")
    )
    np.testing.assert_array_equal(authors.kernel, np.sqrt(2.0) * paper.kernel.numpy())
    np.testing.assert_array_equal(authors.readout, paper.readout)
    np.testing.assert_array_equal(kernel_of(seed=4), kernel_of(protocol="paper", seed=4))


def test_seed_decides():
    np.testing.assert_array_equal(kernel_of(seed=1), kernel_of(seed=1))
    for pair in ([1, 2], [None, None]):
        first, second = (kernel_of(seed=seed).ravel() for seed in pair)
        assert abs(np.corrcoef(first, second)[0, 1]) < 4.0 / np.sqrt(first.size)


def test_arguments_reach_the_layer():
    scalings = np.arange(1.0, 8.0)
    layer = layer_of(shallow_network(5, width=7, scalings=scalings, activation="gelu"))
    np.testing.assert_allclose(layer.scalings, scalings, rtol=1e-6)
    assert layer.activation is keras.activations.gelu
    defaults = layer_of(shallow_network(5))
    assert (defaults.units, defaults.outputs) == (2000, 1)
    np.testing.assert_allclose(defaults.scalings, node_scalings(2000, 0.0, 0.4), rtol=1e-6)


def test_names_and_trainable_weights():
    model = shallow_network(5, 2, width=7, name="network")
    assert model.name == "network"
    assert [v.path for v in model.trainable_variables] == ["asym_scaled_dense/kernel"]
    assert model.count_params() == 5 * 7 + 7 + 7 * 2


@pytest.mark.parametrize("dtype", ["float64", "mixed_bfloat16"])
def test_dtype_is_that_of_the_model_not_of_the_session(dtype):
    model = shallow_network(5, width=7, dtype=dtype)
    compute = {"float64": "float64", "mixed_bfloat16": "bfloat16"}[dtype]
    assert model.inputs[0].dtype == model.outputs[0].dtype == compute
    assert model(X.astype("float32")).dtype == compute
    assert keras.config.dtype_policy().name == "float32"


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"protocol": "published"}, ValueError, r"one of \['authors', 'paper'\].*'published'"),
        ({"width": 0}, ValueError, "expected units to be an integer of at least 1, received 0"),
        ({"outputs": 0}, ValueError, "expected outputs to be an integer of at least 1, received 0"),
        ({"gamma": 1.5}, ValueError, r"gamma: expected a number in \[0, 1\], received 1.5"),
        ({"alpha": 0.0}, ValueError, r"alpha: expected a number in \(0, 1\).* received 0.0"),
        ({"scalings": [1.0]}, ValueError, r"expected scalings of shape \(2000,\)"),
    ],
)
def test_shallow_network_refuses(arguments, error, message):
    with pytest.raises(error, match=message):
        shallow_network(5, **arguments)


@pytest.mark.parametrize(("gamma", "protocol"), crossed([0.0, 1.0], ["paper", "authors"]))
def test_variance_at_the_start_is_that_of_one_node_whatever_the_scalings(gamma, protocol):
    variance = {"paper": 1.0, "authors": 2.0}[protocol]
    """`Var f(x) = sum_j lambda_j E relu(z)^2 = v |x|^2 / (2 d)`, v the variance of the weights."""
    width, examples, seeds = 40, 16, 60
    x = 4.0 * np.eye(examples)  # orthogonal examples, so independent draws; |x|^2 / d = 1
    squares = []
    for seed in range(seeds):
        model = shallow_network(
            examples, 16, width=width, gamma=gamma, protocol=protocol, seed=seed, dtype="float64"
        )
        squares.append(np.mean(model(x).numpy() ** 2, axis=1))
    # Var relu(z)^2 = 5/4 v^2, signs of 16 outputs add at most 2/16 of the squared mean.
    concentration = np.sum(node_scalings(width, gamma, 0.4) ** 2)
    draws = examples * seeds
    error = np.sqrt((5.0 * concentration + 2.0 / 16 * (1.0 + 5.0 * concentration)) / draws)
    assert error < 0.07
    assert np.mean(squares) == pytest.approx(variance / 2.0, rel=4.0 * error)
