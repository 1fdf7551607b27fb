"""The nested readout beside an explicit loop over prefixes in NumPy, and as a Keras citizen."""

from __future__ import annotations

import json

import keras
import numpy as np
import pytest
from keras.src import testing  # private: Keras has no public layer checker

from asym_keras import NestedReadout

WIDTHS = (2, 3, 7)
TOLERANCE = {"float32": {"rtol": 1e-5, "atol": 1e-6}, "float64": {"rtol": 1e-12, "atol": 1e-14}}


def examples(*shape, dtype="float64"):
    return np.random.default_rng(0).normal(size=shape).astype(dtype)


def built(features=7, outputs=4, widths=WIDTHS, **kwargs):
    readout = NestedReadout(outputs, widths, bias_initializer="random_normal", **kwargs)
    readout.build((None, features))
    return readout


def by_prefix(readout, x):
    """One prefix after another, from the weights as they are stored."""
    kernel, bias = (w.astype("float64") for w in readout.get_weights())
    outputs = []
    for p, width in enumerate(readout.widths):
        part, offset = (kernel, bias) if readout.shared else (kernel[:, p], bias[p])
        total = offset
        for j in range(width):
            total = total + x[..., j, None].astype("float64") * part[j]
        outputs.append(total)
    return np.stack(outputs, axis=-2)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("shape", [(5, 7), (3, 2, 7), (2, 3, 2, 7)])
def test_outputs_equal_a_loop_over_prefixes(shape, shared, dtype):
    readout, x = built(shared=shared, dtype=dtype), examples(*shape, dtype=dtype)
    f = readout(x)
    assert f.dtype == dtype
    assert f.shape == readout.compute_output_shape(shape) == (*shape[:-1], 3, 4)
    np.testing.assert_allclose(f, by_prefix(readout, x), **TOLERANCE[dtype])


@pytest.mark.parametrize("shared", [False, True])
def test_features_beyond_the_last_width_are_not_read(shared):
    readout, x = built(features=9, shared=shared), examples(5, 9, dtype="float32")
    other = x.copy()
    other[:, 7:] = 100.0
    np.testing.assert_array_equal(readout(x), readout(other))
    np.testing.assert_allclose(readout(x), by_prefix(readout, x), rtol=1e-5, atol=1e-6)


def test_what_is_beyond_a_prefix_neither_counts_nor_learns():
    """Weights there may be anything: they are masked, and their gradients are zero."""
    readout, x = built(), examples(6, 7, dtype="float32")
    before = readout(x).numpy()
    kernel = readout.kernel.numpy()
    beyond = np.arange(7)[:, None] >= np.array(WIDTHS)
    assert not kernel[beyond].any()
    assert kernel[~beyond].all()
    kernel[beyond] = 5.0
    readout.kernel.assign(kernel)
    np.testing.assert_array_equal(readout(x), before)
    model = keras.Sequential([keras.Input((7,)), readout])
    model.compile(keras.optimizers.SGD(0.1), "mse")
    model.fit(x, np.ones((6, 3, 4)), verbose=0)
    assert (readout.kernel.numpy()[beyond] == 5.0).all()
    assert (readout.kernel.numpy()[~beyond] != kernel[~beyond]).all()


@pytest.mark.parametrize(("shared", "finite"), [(False, [0, 0, 0]), (True, [1, 1, 0])])
def test_a_feature_that_is_infinite_reaches_prefixes_as_told(shared, finite):
    x = examples(2, 7, dtype="float32")
    x[0, 5] = np.inf
    f = built(shared=shared)(x).numpy()
    np.testing.assert_array_equal(np.isfinite(f[0]).all(axis=-1), finite)
    assert np.isfinite(f[1]).all()


def test_each_prefix_is_drawn_as_a_dense_layer_of_its_width():
    widths = (50, 200, 800)
    kernel = built(800, 10, widths).kernel.numpy()
    for p, width in enumerate(widths):
        limit = np.sqrt(6 / (width + 10))
        assert 0.98 * limit < np.abs(kernel[:width, p]).max() <= limit
        assert kernel[:width, p].std() == pytest.approx(limit / np.sqrt(3), rel=0.1)


@pytest.mark.parametrize("seed", [None, 3])
def test_prefixes_have_draws_of_their_own(seed):
    keras.utils.set_random_seed(0)
    kernels = [
        built(40, 30, (39, 40), kernel_initializer=keras.initializers.RandomNormal(seed=seed))
        for _ in range(2)
    ]
    first, again = (k.kernel.numpy() for k in kernels)
    assert np.array_equal(first, again) == (seed is not None)
    assert abs(np.corrcoef(first[:39, 0].ravel(), first[:39, 1].ravel())[0, 1]) < 0.1


@pytest.mark.parametrize("shared", [False, True])
def test_prefix_gives_the_weights_of_a_dense_layer(shared):
    readout, x = built(shared=shared), examples(5, 7, dtype="float32")
    for p in range(3):
        kernel, bias = readout.prefix(p)
        np.testing.assert_allclose(readout(x)[:, p], x @ kernel + bias, rtol=1e-5, atol=1e-6)


def test_activation_is_that_of_each_prefix():
    readout, x = built(activation="softmax"), examples(5, 7, dtype="float32")
    logits = by_prefix(readout, x)
    expected = np.exp(logits) / np.exp(logits).sum(axis=-1, keepdims=True)
    np.testing.assert_allclose(readout(x), expected, rtol=1e-5)


@pytest.mark.parametrize("shape", [(2, 7), (2, 3, 7)])
@pytest.mark.parametrize("shared", [False, True])
def test_readout_passes_keras_own_checker(shared, shape):
    testing.TestCase().run_layer_test(
        NestedReadout,
        init_kwargs={
            "outputs": 4,
            "widths": WIDTHS,
            "shared": shared,
            "kernel_regularizer": "l2",
            "bias_regularizer": "l1",
            "activity_regularizer": "l2",
        },
        input_shape=shape,
        expected_output_shape=(*shape[:-1], 3, 4),
        expected_num_trainable_weights=2,
        expected_num_non_trainable_weights=0,
        expected_num_seed_generators=0,
        expected_num_losses=3,
        supports_masking=True,
    )


@pytest.mark.parametrize("shared", [False, True])
def test_readout_comes_back_from_json_and_from_a_keras_file(shared, tmp_path):
    readout = built(shared=shared, use_bias=True, activation="tanh", name="named")
    back = NestedReadout.from_config(json.loads(json.dumps(readout.get_config())))
    assert back.get_config() == readout.get_config()
    model = keras.Sequential([keras.Input((7,)), readout])
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    x = examples(5, 7, dtype="float32")
    np.testing.assert_array_equal(loaded(x), model(x))


@pytest.mark.parametrize(
    ("policy", "dtype", "tolerance"),
    [("mixed_float16", "float16", 3e-3), ("mixed_bfloat16", "bfloat16", 3e-2)],
)
@pytest.mark.parametrize("shared", [False, True])
def test_mixed_policies(shared, policy, dtype, tolerance):
    readout, x = built(shared=shared, dtype=policy), examples(20, 7, dtype="float32")
    assert {w.dtype for w in readout.weights} == {"float32"}
    f = readout(x)
    assert keras.backend.standardize_dtype(f.dtype) == dtype
    expected = by_prefix(readout, x)
    error = np.abs(keras.ops.convert_to_numpy(f).astype("float64") - expected).max()
    assert 0.0 < error < tolerance * np.abs(expected).max()


def test_a_policy_in_float64_computes_in_float64():
    readout, x = built(dtype="float64"), examples(5, 7)
    np.testing.assert_allclose(readout(x), by_prefix(readout, x), rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"outputs": 0}, "expected outputs to be an integer of at least 1, received 0"),
        ({"outputs": True}, "expected outputs .* received True"),
        ({"widths": ()}, r"expected widths to be integers .* received \(\)"),
        ({"widths": "auto"}, "expected widths to be integers .* received 'auto'"),
        ({"widths": 3}, "expected widths to be integers .* received 3"),
        ({"widths": (0, 3)}, r"expected widths to be integers of at least 1.* received \(0, 3\)"),
        ({"widths": (1, 2.5)}, r"expected widths to be integers .* received \(1, 2\.5\)"),
        ({"widths": (3, 2)}, r"expected widths that increase, received \[3, 2\]"),
        ({"widths": (2, 2)}, r"expected widths that increase, received \[2, 2\]"),
    ],
)
def test_bad_arguments_are_refused(arguments, message):
    with pytest.raises(ValueError, match=f"NestedReadout: {message}"):
        NestedReadout(**{"outputs": 2, "widths": (1, 2), **arguments})


@pytest.mark.parametrize("features", [6, None])
def test_a_width_above_the_features_is_refused(features):
    with pytest.raises(ValueError, match="wide: expected at least 7 features"):
        NestedReadout(2, WIDTHS, name="wide")(keras.Input((features,)))
