"""Formulas against finite differences and Keras; bounds against dense grids; Assumption 2.2."""

from __future__ import annotations

import functools

import keras
import numpy as np
import pytest
import tensorflow as tf

from asym_keras.ntg import Activation, describe_activation

FORMULAS = (
    "relu",
    "leaky_relu",
    "linear",
    "tanh",
    "softplus",
    "sigmoid",
    "erf",
    "gelu",
    "silu",
)
DIFFERENTIATED = ("elu", "mish", "softsign", "exponential", "hard_tanh")
PIECEWISE = ("relu", "leaky_relu", "linear")
# No point within a step of differences of a kink at 0, 1 or -1.
Z = np.linspace(-5.0, 5.0, 402)
STEP = 1e-4


def keras_function(name):
    return keras.ops.erf if name == "erf" else keras.activations.get(name)


def central_difference(function, z):
    return (function(z + STEP) - function(z - STEP)) / (2.0 * STEP)


@pytest.mark.parametrize("name", FORMULAS + DIFFERENTIATED)
def test_describe_activation_differentiates_twice(name):
    known = describe_activation(name)
    largest = np.abs(known.slope(Z)).max()
    for derivative, function in ((known.slope, known.function), (known.curvature, known.slope)):
        expected = central_difference(function, Z)
        np.testing.assert_allclose(derivative(Z), expected, rtol=1e-6, atol=1e-7 * largest)
    values = known.function(Z.reshape(2, -1))
    assert values.shape == (2, 201)
    assert values.dtype == np.float64
    # TensorFlow's leaky ReLU has its slope, and its GELU the root of 2, in float32.
    expected = np.asarray(keras_function(name)(tf.constant(Z))).reshape(2, -1)
    np.testing.assert_allclose(values, expected, rtol=1e-7, atol=1e-7)


@pytest.mark.parametrize("name", FORMULAS)
def test_describe_activation_has_sharp_bounds(name):
    known = describe_activation(name)
    z = np.linspace(-40.0, 40.0, 400_001)
    assert np.abs(known.slope(z)).max() == pytest.approx(known.slope_bound, rel=1e-7)
    if name in ("relu", "leaky_relu"):
        assert known.curvature_bound == np.inf
    else:
        assert np.abs(known.curvature(z)).max() == pytest.approx(known.curvature_bound, rel=1e-7)


@pytest.mark.parametrize("name", ["tanh", "softplus", "sigmoid", "silu", "gelu"])
def test_describe_activation_is_stable_far_out(name):
    known = describe_activation(name)
    for function in (known.function, known.slope, known.curvature):
        assert np.isfinite(function(np.array([-1e4, -800.0, 800.0, 1e4]))).all()
    tail = {"tanh": 4.0 * np.exp(-80.0), "softplus": np.exp(-40.0), "sigmoid": np.exp(-40.0)}
    if name in tail:
        assert known.slope(np.array([-40.0]))[0] == pytest.approx(tail[name], rel=1e-12)
        assert known.curvature(np.array([40.0]))[0] != 0.0


@pytest.mark.parametrize(
    ("name", "slopes"), [("relu", (0.0, 1.0)), ("leaky_relu", (0.2, 1.0)), ("linear", (1.0, 1.0))]
)
def test_describe_activation_knows_the_slopes_beside_zero(name, slopes):
    known = describe_activation(name)
    assert known.side_slopes == slopes
    np.testing.assert_array_equal(
        known.slope(np.array([-1.0, 0.0, 1.0])), np.array(slopes)[[0, 0, 1]]
    )


@pytest.mark.parametrize(
    ("name", "assumption", "sentence"),
    [
        ("relu", "relu", None),
        ("tanh", "smooth", None),
        ("softplus", "smooth", None),
        ("sigmoid", "smooth", None),
        ("linear", None, "linear is a polynomial, which Assumption 2.2(b) excludes."),
        ("leaky_relu", None, "kink at 0 with slopes 0.2 and 1: it is not the ReLU"),
        ("erf", None, "reaches 1.1284, above the bound 1 of Assumption 2.2(b) by 0.1284."),
        ("gelu", None, "reaches 1.1289, above the bound 1 of Assumption 2.2(b) by 0.1289."),
        ("silu", None, "reaches 1.0998, above the bound 1 of Assumption 2.2(b) by 0.0998."),
        (
            "softsign",
            None,
            "softsign is analytic can't be checked numerically (Assumption 2.2(b)).",
        ),
        ("mish", None, "|sigma'| reaches 1.0885, above the bound 1 by 0.0885."),
        ("hard_tanh", None, "hard_tanh has a kink near -1: it is neither ReLU nor analytic."),
        ("exponential", None, "|sigma'| has no bound, and 2.2(b) asks for at most 1."),
    ],
)
def test_describe_activation_says_which_clause_is_broken(name, assumption, sentence):
    known = describe_activation(name)
    assert known.assumption == assumption
    if sentence is None:
        assert known.violation is None
    else:
        assert known.violation.endswith(sentence) or sentence in known.violation


@pytest.mark.parametrize(
    ("function", "slope_bound", "curvature_bound"),
    [
        (tf.sin, 1.0, 1.0),
        (lambda z: tf.sin(3.0 * z), 3.0, 9.0),
        (tf.square, np.inf, 2.0),
        (keras.activations.hard_tanh, 1.0, np.inf),
        (keras.activations.selu, 1.0507009873554805 * 1.6732632423543772, np.inf),
        (keras.activations.softsign, 1.0, 2.0),
    ],
)
def test_describe_activation_finds_bounds_on_a_grid(function, slope_bound, curvature_bound):
    known = describe_activation(function)
    assert known.assumption is None
    assert known.side_slopes is None
    assert known.slope_bound == pytest.approx(slope_bound, rel=1e-6)
    assert known.curvature_bound == pytest.approx(curvature_bound, rel=1e-3)


@pytest.mark.parametrize(
    ("activation", "name"),
    [
        (keras.activations.relu, "relu"),
        (tf.nn.tanh, "tanh"),
        (tf.math.erf, "erf"),
        (keras.ops.silu, "silu"),
        ("swish", "silu"),
        (None, "linear"),
    ],
)
def test_describe_activation_recognises_callables(activation, name):
    known = describe_activation(activation)
    assert (known.name, known.violation) == (name, describe_activation(name).violation)


@pytest.mark.parametrize(
    ("activation", "slopes"),
    [
        (functools.partial(keras.activations.leaky_relu, negative_slope=0.5), (0.5, 1.0)),
        (keras.layers.ReLU(negative_slope=0.25, dtype="float64"), (0.25, 1.0)),
        (tf.abs, (-1.0, 1.0)),
        (lambda z: 3.0 * z, (3.0, 3.0)),
    ],
)
def test_describe_activation_recognises_two_straight_sides(activation, slopes):
    known = describe_activation(activation)
    assert known.side_slopes == slopes
    assert known.assumption is None
    assert known.slope_bound == max(map(abs, slopes))
    assert ("|sigma'| reaches 3" in known.violation) == (slopes[1] == 3.0)


def test_describe_activation_is_not_deceived_by_a_name():
    """`keras.ops.gelu` is the approximation by tanh unless told otherwise."""
    known, exact = describe_activation(keras.ops.gelu), describe_activation("gelu")
    assert 1e-5 < np.abs(known.function(Z) - exact.function(Z)).max() < 1e-2
    assert known.slope_bound == pytest.approx(1.12899, rel=1e-5)


def test_describe_activation_returns_a_description_as_it_is():
    own = Activation("own", np.sin, np.cos, lambda z: -np.sin(z), None, "mine", 1.0, 1.0)
    assert describe_activation(own) is own
    assert own.side_slopes is None


@pytest.mark.filterwarnings("ignore:You are using a softmax")
@pytest.mark.parametrize("name", ["softmax", "log_softmax", "glu"])
def test_describe_activation_refuses_what_is_not_elementwise(name):
    with pytest.raises(ValueError, match=f"expected an elementwise function .* received '{name}'"):
        describe_activation(name)


def test_describe_activation_refuses_an_unknown_name():
    with pytest.raises(ValueError, match="no_such"):
        describe_activation("no_such")
