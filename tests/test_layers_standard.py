"""The standard parametrization and the bias: the same functions, known to all that reads them."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from crossed import crossed
from keras.src import testing  # private: Keras has no public layer checker

from asym_keras import AsymScaledDense, empirical_ntg, node_importance, node_scalings, prune
from asym_keras.ntg.shallow import find_shallow_layer, node_contributions, shallow_ntg, split_ntg
from serving.exporting.folding import fold

X = np.random.default_rng(0).normal(size=(6, 5))
KINDS = [("standard", False), ("standard", True), ("ntk", True)]
TOLERANCE = {"float32": {"rtol": 1e-5, "atol": 1e-6}, "float64": {"rtol": 1e-12, "atol": 1e-14}}


def numbers(weight):
    return keras.ops.convert_to_numpy(weight).astype("float64")


def network(kind, outputs=2, *, dtype="float64", units=7, **kwargs):
    parametrization, use_bias = kind
    layer = AsymScaledDense(
        units,
        outputs,
        **{"gamma": 0.4, "alpha": 0.5, "activation": "tanh", "seed": 1, **kwargs},
        parametrization=parametrization,
        use_bias=use_bias,
        bias_initializer=keras.initializers.RandomNormal(),
        dtype=dtype,
        name="nodes",
    )
    return keras.Sequential([keras.Input((5,), dtype=dtype), layer])


def with_readout(kind, dtype="float64", **kwargs):
    model = network(kind, None, dtype=dtype, **kwargs)
    model.add(keras.layers.Dense(3, dtype=dtype, name="last"))
    return model


def pieces(model):
    """Inputs' divisor, kernel, bias and roots: what the layer's formula takes."""
    layer = model.get_layer("nodes")
    divisor = np.sqrt(5) if layer.parametrization == "ntk" else 1.0
    bias = np.zeros(layer.units) if layer.bias is None else numbers(layer.bias)
    return divisor, numbers(layer.kernel), bias, numbers(layer.sqrt_scalings)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("kind", KINDS)
def test_layer_equals_its_formula_in_numpy(kind, dtype):
    model = network(kind, dtype=dtype)
    divisor, kernel, bias, roots = pieces(model)
    assert kind[1] == bool(np.abs(bias).max() > 0.01)
    hidden = roots * np.tanh(X @ kernel / divisor + bias)
    x = X.astype(dtype)
    np.testing.assert_allclose(model.layers[-1].features(x), hidden, **TOLERANCE[dtype])
    expected = hidden @ numbers(model.layers[-1].readout)
    np.testing.assert_allclose(model(x), expected, **TOLERANCE[dtype])


def test_both_parametrizations_are_the_same_functions():
    ntk, standard = (network((p, False), units=40) for p in ("ntk", "standard"))
    standard.layers[-1].kernel.assign(numbers(ntk.layers[-1].kernel) / np.sqrt(5))
    np.testing.assert_allclose(standard(X), ntk(X), rtol=1e-12)


@pytest.mark.parametrize("gamma", [0.0, 0.5, 1.0])
def test_scalings_are_the_law_beside_the_mean_of_their_roots(gamma):
    layer = AsymScaledDense(50, gamma=gamma, alpha=0.5, parametrization="standard")
    law = node_scalings(50, gamma, 0.5)
    np.testing.assert_allclose(layer.scalings / layer.scalings.sum(), law, rtol=1e-12)
    assert np.sqrt(layer.scalings).mean() == pytest.approx(1.0, rel=1e-12)


def test_gamma_one_is_a_dense_layer():
    """The same draws, the same functions, the same training: nothing is scaled."""
    models = [
        keras.Sequential(
            [keras.Input((5,)), layer, keras.layers.Dense(2, kernel_initializer="ones")]
        )
        for layer in (
            AsymScaledDense(
                30,
                gamma=1.0,
                parametrization="standard",
                use_bias=True,
                kernel_initializer=keras.initializers.GlorotUniform(seed=3),
            ),
            keras.layers.Dense(30, "relu", kernel_initializer=keras.initializers.GlorotUniform(3)),
        )
    ]
    x, y = X.astype("float32"), np.arange(12, dtype="float32").reshape(6, 2)
    for model in models:
        model.compile("adam", "mse")
        model.fit(x, y, epochs=5, verbose=0, shuffle=False)
    first, second = (model(x).numpy() for model in models)
    np.testing.assert_allclose(first, second, rtol=1e-5, atol=1e-5)


def test_kernel_starts_as_a_dense_layer_of_that_width():
    kernel = numbers(network(("standard", True), units=300).layers[-1].kernel)
    limit = np.sqrt(6 / (5 + 300))
    assert 0.98 * limit < np.abs(kernel).max() <= limit
    assert kernel.std() == pytest.approx(limit / np.sqrt(3), rel=0.05)


@pytest.mark.parametrize("kind", KINDS)
def test_layer_passes_keras_own_checker(kind):
    parametrization, use_bias = kind
    testing.TestCase().run_layer_test(
        AsymScaledDense,
        init_kwargs={
            "units": 5,
            "gamma": 0.5,
            "parametrization": parametrization,
            "use_bias": use_bias,
            "kernel_regularizer": "l2",
            "bias_regularizer": "l1",
            "kernel_constraint": "max_norm",
            "activity_regularizer": "l2",
        },
        input_shape=(2, 4),
        expected_output_shape=(2, 5),
        expected_num_trainable_weights=1 + use_bias,
        expected_num_non_trainable_weights=1,
        expected_num_seed_generators=0,
        expected_num_losses=2 + use_bias,
        supports_masking=True,
    )


@pytest.mark.parametrize("kind", KINDS)
def test_keras_file_gives_back_the_layer(kind, tmp_path):
    model = with_readout(kind, kernel_regularizer="l2", kernel_constraint="max_norm")
    model.save(tmp_path / "model.keras")
    back = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(back(X), model(X))
    assert back.get_layer("nodes").get_config() == model.get_layer("nodes").get_config()
    assert float(sum(back.losses)) == pytest.approx(float(sum(model.losses)), rel=1e-12)
    np.testing.assert_array_equal(
        AsymScaledDense.from_config(model.get_layer("nodes").get_config()).scalings,
        AsymScaledDense.from_config(back.get_layer("nodes").get_config()).scalings,
    )


def test_constraint_and_penalty_are_kept_in_training():
    model = with_readout(("standard", True), kernel_constraint=keras.constraints.NonNeg())
    model.compile(keras.optimizers.SGD(0.1), "mse")
    model.fit(X, np.ones((6, 3)), verbose=0)
    kernel = numbers(model.get_layer("nodes").kernel)
    assert kernel.min() == 0.0 < kernel.max()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("rule", ["paper", "scalings", "magnitude", "output"])
def test_pruned_model_equals_the_sum_over_kept_nodes(kind, rule):
    model = with_readout(kind)
    divisor, kernel, bias, roots = pieces(model)
    hidden = np.tanh(X @ kernel / divisor + bias)
    weight, offset = model.get_layer("last").get_weights()
    norms, readout = (kernel**2).sum(axis=0), (weight**2).sum(axis=1)
    importance = {
        "paper": roots**2 * norms,
        "scalings": roots**2,
        "magnitude": np.sqrt(norms),
        "output": roots**2 * (hidden**2).mean(axis=0) * readout,
    }[rule]
    received = node_importance(model, rule, x=X, layer="nodes")
    np.testing.assert_allclose(received, importance, rtol=1e-10)
    kept = np.sort(np.argsort(-importance)[:4])
    small = prune(model, 4, importance=rule, x=X)
    np.testing.assert_allclose(small(X), (hidden * roots)[:, kept] @ weight[kept] + offset)
    assert small.get_layer("nodes").parametrization == kind[0]
    again = prune(small, 2, importance=rule, x=X)
    kept = kept[np.sort(np.argsort(-importance[kept])[:2])]
    np.testing.assert_allclose(again(X), (hidden * roots)[:, kept] @ weight[kept] + offset)


@pytest.mark.parametrize("kind", KINDS)
def test_pruned_model_with_own_outputs_equals_the_sum_over_kept_nodes(kind):
    model = network(kind)
    divisor, kernel, bias, roots = pieces(model)
    readout = numbers(model.layers[-1].readout)
    small = prune(model, 3, importance="scalings")
    expected = (roots * np.tanh(X @ kernel / divisor + bias))[:, :3] @ readout[:3]
    np.testing.assert_allclose(small(X), expected, rtol=1e-12)


def gradients(model, output):
    """Gradients of one output by kernel and bias in NumPy, (n, weights)."""
    divisor, kernel, bias, roots = pieces(model)
    layer = model.get_layer("nodes")
    slopes = 1.0 - np.tanh(X @ kernel / divisor + bias) ** 2
    nodes = slopes * roots * numbers(layer.readout)[:, output]
    inputs = X / divisor if layer.bias is None else np.hstack([X / divisor, np.ones((6, 1))])
    return np.einsum("np,nj->npj", inputs, nodes)


@pytest.mark.parametrize(
    ("kind", "method"), crossed(KINDS, ["auto", "closed_form", "structured", "jacobian"])
)
def test_ntg_equals_numpy_by_every_method(kind, method):
    model = network(kind)
    g = gradients(model, 1).reshape(6, -1)
    ntg = empirical_ntg(model, X, output=1, method=method)
    np.testing.assert_allclose(ntg, g @ g.T, rtol=1e-10, atol=1e-13)
    assert find_shallow_layer(model) is model.layers[-1]


@pytest.mark.parametrize(("kind", "method"), crossed(KINDS, ["structured", "jacobian"]))
def test_ntg_of_a_trained_readout_is_the_same_by_both_methods(kind, method):
    model = with_readout(kind)
    divisor, kernel, bias, roots = pieces(model)
    hidden = np.tanh(X @ kernel / divisor + bias)
    nodes = (1.0 - hidden**2) * roots * model.get_layer("last").get_weights()[0][:, 2]
    features = np.hstack([roots * hidden, np.ones((6, 1))])
    inputs = X / divisor if not kind[1] else np.hstack([X / divisor, np.ones((6, 1))])
    expected = features @ features.T + (inputs @ inputs.T) * (nodes @ nodes.T)
    ntg = empirical_ntg(model, X, output=2, method=method)
    np.testing.assert_allclose(ntg, expected, rtol=1e-10)


@pytest.mark.parametrize("kind", KINDS)
def test_parts_and_shares_of_the_ntg_add_up(kind):
    layer = network(kind).layers[-1]
    whole = shallow_ntg(layer, X).numpy()
    symmetric, rest = split_ntg(layer, X)
    np.testing.assert_allclose(symmetric + rest, whole, rtol=1e-12)
    traces = (gradients(network(kind), 0) ** 2).sum(axis=(0, 1))
    np.testing.assert_allclose(node_contributions(layer, X), traces, rtol=1e-12)
    # gamma / m of the law, beside the law itself.
    share = 0.4 / 7 / node_scalings(7, 0.4, 0.5)
    assert np.trace(symmetric) == pytest.approx(traces @ share, rel=1e-10)


@pytest.mark.parametrize("kind", KINDS)
def test_export_folds_bias_and_parametrization_into_constants(kind):
    model = with_readout(kind, "float32")
    scaled = keras.Sequential([keras.Input((5,)), keras.layers.Rescaling(0.5, 0.3), *model.layers])
    chain = fold(scaled)
    hidden = np.tanh((X - chain.centre) @ chain.kernel + chain.shift)
    expected = scaled(X.astype("float32"))
    np.testing.assert_allclose(hidden @ chain.readout + chain.bias, expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_one_seed_gives_the_same_weights(kind):
    first, again, other = (network(kind, seed=seed).get_weights() for seed in (1, 1, 2))
    for a, b, c in zip(first, again, other, strict=True):
        np.testing.assert_array_equal(a, b)
        assert np.any(a != c) or a.ndim == 1  # scalings have no seed


def test_an_unknown_parametrization_is_refused():
    with pytest.raises(ValueError, match=r"parametrization to be one of .* received 'mup'"):
        AsymScaledDense(3, parametrization="mup")
