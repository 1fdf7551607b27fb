"""The NTG by Jacobian against NumPy, finite differences, slow tapes and the closed form."""

from __future__ import annotations

import gc
import weakref

import keras
import numpy as np
import pytest
import tensorflow as tf
from crossed import crossed
from ntg_reference import assert_ntg_equal, reference_ntg

from asym_keras import AsymScaledDense, empirical_ntg, shallow_network
from asym_keras.ntg import empirical

X = np.random.default_rng(0).normal(size=(5, 3))
X2 = np.random.default_rng(1).normal(size=(3, 3))


def network(outputs=1, **kwargs):
    arguments = {"width": 12, "gamma": 0.5, "alpha": 0.5, "seed": 3, "dtype": "float64", **kwargs}
    return shallow_network(3, outputs, **arguments)


@pytest.mark.parametrize(
    ("gamma", "activation", "dtype"),
    crossed([0.0, 0.5, 1.0], ["relu", "tanh", "softplus"], ["float32", "float64"]),
)
def test_empirical_ntg_equals_numpy_by_every_method(gamma, activation, dtype):
    model = network(gamma=gamma, activation=activation, dtype=dtype)
    x = X.astype(dtype)
    expected = reference_ntg(model.layers[-1], x)
    jacobian = empirical_ntg(model, x, method="jacobian")
    closed_form = empirical_ntg(model, x, method="closed_form")
    assert_ntg_equal(jacobian, expected, dtype)
    assert_ntg_equal(closed_form, expected, dtype)
    np.testing.assert_array_equal(empirical_ntg(model, x), closed_form)


@pytest.mark.parametrize(
    ("readout", "method"), crossed(["signs", "normal"], ["jacobian", "closed_form"])
)
def test_empirical_ntg_takes_the_output_asked_for(readout, method):
    model = network(3, activation="tanh")
    layer = model.layers[-1]
    if readout == "normal":
        layer.readout.assign(np.random.default_rng(4).normal(size=(12, 3)))
    ntgs = [empirical_ntg(model, X, output=output, method=method) for output in range(3)]
    for output, ntg in enumerate(ntgs):
        assert_ntg_equal(ntg, reference_ntg(layer, X, output=output), "float64")
    same = np.allclose(ntgs[0], ntgs[1], rtol=1e-11) and np.allclose(ntgs[0], ntgs[2], rtol=1e-11)
    assert same == (readout == "signs")  # a_jk^2 = 1


@pytest.mark.parametrize("batch_size", [None, 2, 7])  # all, some with a rest, more than all
def test_empirical_ntg_does_not_depend_on_batch_size(batch_size):
    model = network(activation="tanh")
    layer = model.layers[-1]
    ntg = empirical_ntg(model, X, method="jacobian", batch_size=batch_size)
    cross = empirical_ntg(model, X, X2, method="jacobian", batch_size=batch_size)
    assert_ntg_equal(ntg, reference_ntg(layer, X), "float64")
    assert_ntg_equal(cross, reference_ntg(layer, X, X2), "float64")


@pytest.mark.parametrize("method", ["jacobian", "closed_form"])
def test_empirical_ntg_cross_matrix_equals_numpy(method):
    model = network()
    cross = empirical_ntg(model, X, X2, method=method)
    assert_ntg_equal(cross, reference_ntg(model.layers[-1], X, X2), "float64")
    both = empirical_ntg(model, np.concatenate([X, X2]), method=method)
    np.testing.assert_allclose(cross, both[:5, 5:], rtol=1e-12, atol=1e-14)


def test_empirical_ntg_equals_central_differences():
    model = shallow_network(2, width=3, activation="tanh", gamma=0.5, seed=0, dtype="float64")
    kernel, x = model.layers[-1].kernel, X[:4, :2]
    start, step, columns = kernel.numpy(), 1e-5, []
    for index in np.ndindex(*start.shape):
        shift = np.zeros_like(start)
        shift[index] = step
        ends = []
        for sign in (1.0, -1.0):
            kernel.assign(start + sign * shift)
            ends.append(model(x).numpy()[:, 0])
        columns.append((ends[0] - ends[1]) / (2.0 * step))
    kernel.assign(start)
    expected = np.transpose(columns) @ columns
    for method in ("jacobian", "closed_form"):
        np.testing.assert_allclose(empirical_ntg(model, x, method=method), expected, rtol=1e-7)


def dense_model():
    layers = keras.layers
    hidden = [layers.Dense(6, "tanh"), layers.BatchNormalization(), layers.Dropout(0.5)]
    return randomised(keras.Sequential([keras.Input((3,)), *hidden, layers.Dense(2)]))


def convolution_model():
    layers = keras.layers
    stack = [layers.Conv2D(2, 2, activation="softplus"), layers.Flatten(), layers.Dense(2)]
    return randomised(keras.Sequential([keras.Input((3, 3, 1)), *stack]))


def rank_one_model():
    inputs = keras.Input((3,))
    outputs = keras.layers.Dense(4, "tanh")(inputs)
    return keras.Model(inputs, keras.ops.sum(outputs, axis=-1))


class Subclass(keras.Model):
    def __init__(self):
        super().__init__()
        self.hidden = AsymScaledDense(5, 3, activation="tanh", seed=0)

    def call(self, inputs):
        return 2.0 * self.hidden(self.hidden(inputs))


def randomised(model):
    """All weights away from their initial zeros and ones: moving statistics count, too."""
    generator = np.random.default_rng(5)
    model.set_weights([generator.uniform(0.2, 1.5, size=w.shape) for w in model.get_weights()])
    return model


def slow_ntg(model, x, output):
    """One eager tape per example: the obvious way."""
    gradients = []
    for example in x:
        with tf.GradientTape() as tape:
            f = tf.reshape(model(example[None], training=False), [-1])[output]
        parts = tape.gradient(f, model.trainable_variables)
        gradients.append(np.concatenate([np.ravel(part) for part in parts]))
    return np.array(gradients) @ np.transpose(gradients)


GENERAL = {
    "dense, batch norm, dropout": (dense_model, (3,), 1),
    "convolution": (convolution_model, (3, 3, 1), 1),
    "outputs of rank one": (rank_one_model, (3,), 0),
    "subclass": (Subclass, (3,), 2),
}


@pytest.fixture
def dtype_policy(request):
    previous = keras.config.dtype_policy()
    keras.config.set_dtype_policy(request.param)
    yield request.param
    keras.config.set_dtype_policy(previous)


@pytest.mark.parametrize(
    ("case", "dtype_policy"),
    crossed(GENERAL, ["float32", "float64"], least=2),
    indirect=["dtype_policy"],
)
def test_empirical_ntg_of_any_model_equals_slow_tapes(case, dtype_policy):
    make, shape, output = GENERAL[case]
    x = np.random.default_rng(6).normal(size=(4, *shape)).astype(dtype_policy)
    model = make()
    expected = slow_ntg(model, x, output)
    assert_ntg_equal(empirical_ntg(model, x, output=output, batch_size=3), expected, dtype_policy)


def test_empirical_ntg_of_parts_of_the_variables_adds_up():
    model = dense_model()
    parts = [empirical_ntg(model, X, variables=[v]) for v in model.trainable_variables]
    np.testing.assert_allclose(sum(parts), empirical_ntg(model, X), rtol=1e-5)
    last = empirical_ntg(model, X, variables=model.layers[-1].trainable_variables[1:])
    np.testing.assert_array_equal(last, 1.0)  # of a bias


def test_empirical_ntg_by_a_weight_that_one_output_does_not_need_is_zero():
    inputs = keras.Input((3,), dtype="float64")
    heads = [keras.layers.Dense(1, dtype="float64") for _ in range(2)]
    model = keras.Model(inputs, keras.ops.concatenate([head(inputs) for head in heads], axis=-1))
    for method in ("jacobian", "structured"):
        ntg = empirical_ntg(model, X, variables=heads[1].trainable_variables, method=method)
        np.testing.assert_array_equal(ntg, np.zeros((5, 5)))


def test_empirical_ntg_by_the_readout_is_the_gram_matrix_of_the_features():
    model = network(2)
    layer = model.layers[-1]
    features = layer.features(X).numpy()
    expected = features @ features.T
    assert_ntg_equal(empirical_ntg(model, X, variables=[layer.readout]), expected, "float64")


def test_empirical_ntg_is_symmetric_and_positive_semidefinite():
    model = shallow_network(2, width=2, activation="tanh", gamma=1.0, seed=0, dtype="float64")
    x = np.random.default_rng(7).normal(size=(9, 2))  # nine rows, four weights: rank 4
    for method, batch_size in (("jacobian", 2), ("jacobian", None), ("closed_form", None)):
        ntg = empirical_ntg(model, x, method=method, batch_size=batch_size).numpy()
        np.testing.assert_allclose(ntg, ntg.T, rtol=1e-14)
        values = np.linalg.eigvalsh(ntg)
        assert np.abs(values[:5]).max() < 1e-15 < 1e-6 < values[5]


def test_empirical_ntg_follows_the_weights_without_tracing_again(monkeypatch):
    traced, own = [], empirical.Compiled
    monkeypatch.setattr(empirical, "Compiled", lambda *a: traced.append(a) or own(*a))
    model = network(activation=keras.ops.tanh)
    first = empirical_ntg(model, X, method="jacobian", batch_size=3).numpy()
    count = len(traced)
    for _ in range(3):
        kernel = model.layers[-1].kernel
        kernel.assign(1.5 * kernel)
        ntg = empirical_ntg(model, X + 0.1, method="jacobian", batch_size=3).numpy()
    assert len(traced) == count > 0
    assert np.abs(ntg - first).max() > 0.01
    np.testing.assert_allclose(ntg, empirical_ntg(model, X + 0.1), rtol=1e-11, atol=1e-13)


@pytest.mark.slow
@pytest.mark.parametrize("make", [network, dense_model])
def test_empirical_ntg_does_not_keep_a_model_alive(make):
    model = make()
    empirical_ntg(model, X, method="jacobian")
    left = [weakref.ref(model), *(weakref.ref(v) for v in model.variables)]
    del model
    # The model first; then what was compiled for it, which refers to itself.
    gc.collect()
    gc.collect()
    assert all(reference() is None for reference in left)


@pytest.mark.parametrize("case", ["operation after", "used twice"])
def test_empirical_ntg_by_auto_is_not_taken_in_by_a_model_of_more_than_the_layer(case):
    layer = AsymScaledDense(12, 3, activation="tanh", seed=3, dtype="float64")
    inputs = keras.Input((3,), dtype="float64")
    model = keras.Model(inputs, 2.0 * layer(inputs) if case[0] == "o" else layer(layer(inputs)))
    assert_ntg_equal(empirical_ntg(model, X), slow_ntg(model, X, 0), "float64")


def test_empirical_ntg_dtype():
    model = network(dtype="float32", activation="tanh")
    x = X.astype("float32")
    closed_form = empirical_ntg(model, x, dtype="float64")
    assert_ntg_equal(closed_form, reference_ntg(model.layers[-1], x), "float64")
    for method in ("jacobian", "structured"):
        ntg = empirical_ntg(model, x, method=method, dtype="float64")
        assert_ntg_equal(ntg, reference_ntg(model.layers[-1], x), "float64")


def frozen():
    model = network()
    model.trainable = False
    return model


@pytest.mark.parametrize(
    ("make", "arguments", "message"),
    [
        (network, {"method": "fast"}, r"expected method in .*'jacobian'.*received 'fast'"),
        (network, {"output": 1}, r"output below K, .*shape \(None, 1\) and output=1"),
        (network, {"output": -1}, r"output below K, .* and output=-1"),
        (rank_one_model, {"output": 1}, r"received shape \(None,\) and output=1"),
        (convolution_model, {"method": "closed_form"}, "received 'sequential.*Use method='auto"),
        (Subclass, {"method": "structured"}, "functional or Sequential.*Use method='jacobian"),
        (network, {"output": "mean"}, r"'trace' or 'all', received shape .* and output='mean'"),
        (network, {"variables": [keras.Variable([1.0])]}, "variables of 'shallow.*received"),
        (network, {"method": "closed_form", "variables": []}, "expected for method='closed_form'"),
        (network, {"batch_size": 0}, "expected batch_size of at least 1, or None, received 0"),
        (network, {"variables": []}, "expected at least one variable, received none"),
        (frozen, {}, "expected at least one variable, received none"),
        (frozen, {"method": "closed_form"}, "a model of one trainable AsymScaledDense"),
    ],
)
def test_empirical_ntg_refuses(make, arguments, message):
    x = np.ones((2, 3, 3, 1)) if make is convolution_model else X
    with pytest.raises(ValueError, match=f"empirical_ntg: .*{message}"):
        empirical_ntg(make(), x, **arguments)


def test_empirical_ntg_refuses_outputs_of_rank_three():
    inputs = keras.Input((4, 3))
    model = keras.Model(inputs, AsymScaledDense(5, 2)(inputs))
    with pytest.raises(ValueError, match=r"of shape \(n, K\) or \(n,\).*\(None, 4, 2\)"):
        empirical_ntg(model, np.zeros((1, 4, 3)))
