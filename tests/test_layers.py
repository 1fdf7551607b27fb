"""The layer's numbers: Eq. (2) by hand and in NumPy, scalings, seeds, precision, arguments."""

from __future__ import annotations

import json

import keras
import numpy as np
import pytest
import scipy.special
import tensorflow as tf

from asym_keras import AsymScaledDense, node_scalings
from asym_keras.initializers import Normal, Rademacher

ACTIVATIONS = {
    "relu": lambda z: np.maximum(z, 0.0),
    "tanh": np.tanh,
    "softplus": lambda z: np.log1p(np.exp(z)),
    "gelu": lambda z: z * scipy.special.ndtr(z),
}
TOLERANCE = {"float32": {"rtol": 1e-5, "atol": 2e-6}, "float64": {"rtol": 1e-12, "atol": 1e-14}}
# TensorFlow's GELU rounds its sqrt 2 to float32, in float64 too.
GELU_TOLERANCE = {"rtol": 1e-6, "atol": 1e-7}


def examples(*shape, dtype="float32"):
    return np.random.default_rng(0).normal(size=shape).astype(dtype)


def built(units=6, outputs=3, *, input_dim=4, **kwargs):
    layer = AsymScaledDense(units, outputs, **{"seed": 1, **kwargs})
    layer.build((None, input_dim))
    return layer


def numbers(variable):
    return keras.ops.convert_to_numpy(variable).astype("float64")


def expected_features(layer, x, scalings):
    z = x.astype("float64") @ numbers(layer.kernel) / np.sqrt(x.shape[-1])
    return np.sqrt(scalings) * ACTIVATIONS[layer.activation.__name__](z)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_layer_equals_a_hand_worked_example(dtype):
    layer = built(2, 2, scalings=[0.25, 4.0], dtype=dtype)  # roots 1/2 and 2
    layer.kernel.assign([[1.0, -1.0], [3.0, 3.0], [5.0, 0.0], [0.0, 7.0]])  # d = 4: halves z
    layer.readout.assign([[1.0, -1.0], [-1.0, -1.0]])
    x = np.array([[2.0, 2.0, 0.0, 0.0], [-2.0, 2.0, 0.0, 0.0], [2.0, -2.0, 0.0, 0.0]], dtype)
    # z is (4, 2), (2, 4) and (-2, -4).
    np.testing.assert_array_equal(layer.features(x), [[2.0, 4.0], [1.0, 8.0], [0.0, 0.0]])
    np.testing.assert_array_equal(layer(x), [[-2.0, -6.0], [-7.0, -9.0], [0.0, 0.0]])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("shape", [(5, 4), (3, 2, 4), (2, 3, 2, 4)])
def test_layer_equals_equation_2_in_numpy(shape, activation, dtype):
    x = examples(*shape, dtype=dtype)
    layer = built(gamma=0.3, alpha=0.6, activation=activation, dtype=dtype)
    features = expected_features(layer, x, node_scalings(6, 0.3, 0.6))
    tolerance = GELU_TOLERANCE if (activation, dtype) == ("gelu", "float64") else TOLERANCE[dtype]
    f = layer(x)
    assert f.dtype == layer.features(x).dtype == dtype
    assert f.shape == layer.compute_output_shape(shape) == (*shape[:-1], 3)
    np.testing.assert_allclose(layer.features(x), features, **tolerance)
    np.testing.assert_allclose(f, features @ numbers(layer.readout), **tolerance)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_features_are_what_the_layer_without_outputs_returns(dtype):
    x = examples(5, 4, dtype=dtype)
    layer, bare = built(dtype=dtype), built(outputs=None, dtype=dtype)
    np.testing.assert_array_equal(bare(x), layer.features(x))
    np.testing.assert_array_equal(bare.features(x), layer.features(x))
    assert bare.compute_output_shape((5, 4)) == bare(x).shape == (5, 6)
    expected = numbers(layer.features(x)) @ numbers(layer.readout)
    np.testing.assert_allclose(layer(x), expected, **TOLERANCE[dtype])
    assert [v.name for v in bare.weights] == ["kernel", "sqrt_scalings"]


def test_preactivations_have_unit_variance_at_the_start():
    x = 2.0 * np.sign(examples(1, 400))  # |x|^2 / d = 4
    z = numbers(built(5_000, 1, input_dim=400).preactivations(x))
    assert z.var() == pytest.approx(4.0, rel=4.0 * np.sqrt(2.0 / 5_000))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("gamma", "alpha"), [(0.0, 0.4), (0.5, 0.7), (1.0, 0.5)])
def test_scalings_are_the_law_in_float64(gamma, alpha, dtype):
    expected = node_scalings(50, gamma, alpha)
    layer = AsymScaledDense(50, 1, gamma=gamma, alpha=alpha, dtype=dtype)
    np.testing.assert_array_equal(layer.scalings, expected)
    layer.build((None, 4))
    rtol = {"float32": 1e-6, "float64": 1e-14}[dtype]
    assert layer.scalings.dtype == np.float64
    np.testing.assert_allclose(layer.scalings, expected, rtol=rtol)
    assert layer.scalings.sum() == pytest.approx(1.0, rel=rtol)
    assert layer.scalings[0] == layer.scalings.max()
    assert np.all(np.diff(layer.scalings) <= 0.0)


def test_roots_of_scalings_that_underflow_in_float32_are_kept():
    expected = node_scalings(300, 0.0, 0.05)
    assert expected.astype("float32")[-1] == 0.0 < expected[-1]
    layer = built(300, 1, gamma=0.0, alpha=0.05)
    root = layer.sqrt_scalings.numpy()
    assert root.dtype == np.float32
    assert root.min() > 0.0
    np.testing.assert_allclose(root, np.sqrt(expected), rtol=1e-7)
    np.testing.assert_allclose(layer.scalings, expected, rtol=3e-7)
    assert numbers(layer.features(examples(20, 4)))[:, -1].max() > 0.0


def test_custom_scalings_are_used_as_given():
    scalings = np.array([0.0, 3.0, 0.5, 2.0, 1e-60, 1.0])  # not sorted, not normalised
    layer = built(scalings=scalings, gamma=0.7, alpha=0.2, dtype="float64")
    np.testing.assert_allclose(layer.scalings, scalings, rtol=1e-15)
    x = examples(5, 4, dtype="float64")
    np.testing.assert_allclose(layer.features(x), expected_features(layer, x, scalings), rtol=1e-13)
    scalings[:] = 1.0  # the caller's array stays the caller's
    np.testing.assert_allclose(layer.scalings[1], 3.0)


def test_scalings_before_build_are_a_copy():
    layer = AsymScaledDense(5)
    layer.scalings[:] = 9.0
    np.testing.assert_array_equal(layer.scalings, node_scalings(5, 0.0, 0.4))


@pytest.mark.parametrize("initializer", [None, "he_normal", keras.initializers.Orthogonal()])
def test_one_seed_gives_the_same_weights_and_another_seed_others(initializer):
    first, again, other = (
        built(20, 20, input_dim=20, kernel_initializer=initializer, seed=seed) for seed in (0, 0, 4)
    )
    for name in ("kernel", "readout"):
        values = numbers(getattr(first, name))
        np.testing.assert_array_equal(values, getattr(again, name))
        correlation = np.corrcoef(values.ravel(), numbers(getattr(other, name)).ravel())[0, 1]
        assert abs(correlation) < 4.0 / np.sqrt(values.size)


def test_float32_weights_are_float64_weights_rounded():
    single, double = built(dtype="float32"), built(dtype="float64")
    for a, b in zip(single.weights, double.weights, strict=True):
        assert (a.dtype, b.dtype) == ("float32", "float64")
        np.testing.assert_array_equal(a, b.numpy().astype("float32"))


def test_kernel_and_readout_are_independent_draws_of_their_laws():
    signs = built(40, 40, input_dim=40, kernel_initializer=Rademacher())
    assert abs(np.mean(numbers(signs.kernel) * numbers(signs.readout))) < 4.0 / 40
    layer = built(200, 50, input_dim=50)
    assert numbers(layer.kernel).std() == pytest.approx(1.0, rel=4.0 / np.sqrt(2 * 10_000))
    assert set(np.unique(layer.readout)) == {-1.0, 1.0}
    assert abs(numbers(layer.readout).mean()) < 4.0 / np.sqrt(10_000)


def test_no_seed_is_reproduced_under_keras_set_random_seed():
    runs = []
    for _ in range(2):
        keras.utils.set_random_seed(5)
        layers = [built(seed=None), built(seed=None)]
        runs.append([w.numpy() for layer in layers for w in layer.weights])
    for first, again in zip(*runs, strict=True):
        np.testing.assert_array_equal(first, again)
    kernel, _, readout, other_kernel, _, other_readout = runs[0]
    assert np.all(kernel != other_kernel)
    assert np.any(readout != other_readout)


@pytest.mark.parametrize(
    ("initializer", "same_as"),
    [
        (keras.initializers.HeNormal(seed=7), keras.initializers.HeNormal(seed=7)),
        (Normal(2.0, seed=7), Normal(2.0, seed=7)),
        (keras.initializers.Constant(0.5), keras.initializers.Constant(0.5)),
        ("ones", keras.initializers.Ones()),
    ],
)
def test_an_initialiser_keeps_its_own_seed(initializer, same_as):
    for seed in (1, 2):
        kernel = built(kernel_initializer=initializer, seed=seed).kernel
        np.testing.assert_array_equal(kernel, same_as((4, 6)))


def test_an_initialiser_keeps_its_law_when_the_layer_seeds_it():
    layer = built(300, 1, input_dim=100, kernel_initializer="he_normal")
    assert numbers(layer.kernel).std() == pytest.approx(np.sqrt(2 / 100), rel=0.02)
    kernel = numbers(built(4, kernel_initializer=keras.initializers.Orthogonal(gain=2.0)).kernel)
    np.testing.assert_allclose(kernel.T @ kernel, 4.0 * np.eye(4), atol=1e-5)


@pytest.mark.parametrize("outputs", [None, 3])
def test_only_the_kernel_has_a_gradient(outputs):
    layer, x = built(outputs=outputs, activation="tanh"), examples(5, 4)
    with tf.GradientTape() as tape:
        f = keras.ops.sum(layer(x))
    assert [v.name.split("/")[-1] for v in tape.watched_variables()] == ["kernel:0"]
    assert [v.name for v in layer.trainable_weights] == ["kernel"]
    root, z = np.sqrt(node_scalings(6, 0.0, 0.4)), numbers(layer.preactivations(x))
    nodes = root * (1.0 if outputs is None else numbers(layer.readout).sum(axis=1))
    expected = x.T @ (nodes * (1.0 - np.tanh(z) ** 2)) / np.sqrt(4)
    gradient = tape.gradient(f, layer.kernel.value)
    np.testing.assert_allclose(gradient, expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    ("policy", "dtype", "tolerance"),
    [
        ("float32", "float32", 0.0),
        ("float64", "float64", 1e-6),
        ("mixed_float16", "float16", 3e-3),
        ("mixed_bfloat16", "bfloat16", 3e-2),
    ],
)
@pytest.mark.parametrize("outputs", [None, 3])
def test_dtype_policies(outputs, policy, dtype, tolerance):
    x = examples(20, 4)
    reference, layer = built(outputs=outputs), built(outputs=outputs, dtype=policy)
    variables = "float64" if policy == "float64" else "float32"
    assert {v.dtype for v in layer.weights} == {variables}
    for function in ("__call__", "features", "preactivations"):
        values, expected = getattr(layer, function)(x), getattr(reference, function)(x).numpy()
        assert keras.backend.standardize_dtype(values.dtype) == dtype
        error = np.abs(numbers(values) - expected).max() / np.abs(expected).max()
        assert error <= tolerance
        assert error > 0.0 or tolerance == 0.0  # it did compute in another precision


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"units": 0}, "expected units to be an integer of at least 1, received 0"),
        ({"units": 2.0}, r"expected units to be an integer of at least 1, received 2\.0"),
        ({"units": True}, "expected units .* received True"),
        ({"outputs": -1}, "expected outputs to be an integer of at least 1, received -1"),
        ({"outputs": "3"}, "expected outputs .* received '3'"),
        ({"gamma": 1.1}, r"gamma: expected a number in \[0, 1\], received 1\.1"),
        ({"gamma": float("nan")}, r"gamma: expected a number in \[0, 1\], received nan"),
        ({"alpha": 0.0}, r"alpha: expected a number in \(0, 1\).* received 0\.0"),
        ({"alpha": 1.0}, r"alpha: expected a number in \(0, 1\).* received 1\.0"),
        # They have no effect beside scalings, and would be reported all the same.
        ({"scalings": [1.0, 1.0], "gamma": 7}, r"gamma: expected .* \[0, 1\], received 7"),
        (
            {"scalings": [1.0, 1.0], "alpha": 9},
            r"alpha: expected .* \(0, 1\).* received 9",
        ),
        ({"scalings": [1.0]}, r"scalings of shape \(2,\), one per node, received shape \(1,\)"),
        ({"scalings": [[1.0, 1.0]]}, r"scalings of shape \(2,\).* received shape \(1, 2\)"),
        ({"scalings": [1.0, -1.0]}, "finite, nonnegative and not all zero, received .* -1.0 to 1"),
        ({"scalings": [1.0, np.inf]}, "finite, nonnegative and not all zero, received .* to inf"),
        ({"scalings": [0.0, 0.0]}, "finite, nonnegative and not all zero, received .* 0.0 to 0.0"),
        ({"activation": "nope"}, "activation function identifier: nope"),
        ({"kernel_initializer": "nope"}, "initializer identifier: nope"),
        ({"width": 2}, "width"),
    ],
)
def test_layer_refuses_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        AsymScaledDense(**{"units": 2, **arguments})


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: AsymScaledDense(2, name="x")(keras.Input((None,))), r"x: expected inputs with a"),
        (lambda: AsymScaledDense(2)(np.ones(3, "float32")), r"min_ndim=2"),
        (lambda: built()(np.ones((2, 5), "float32")), r"axis -1.*to have value 4"),
    ],
)
def test_layer_refuses_inputs_of_a_wrong_shape(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_numpy_integer_seed_is_kept_as_an_int():
    config = AsymScaledDense(3, seed=np.int64(7)).get_config()
    assert json.loads(json.dumps(config))["seed"] == 7


@pytest.mark.parametrize("seed", [-1, 1.5, "a", True])
def test_bad_seeds_are_refused(seed):
    with pytest.raises(ValueError, match="expected seed to be a nonnegative integer or None"):
        AsymScaledDense(3, seed=seed)
