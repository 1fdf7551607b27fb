"""The structured NTG equals the whole Jacobian's, model by model and activation by activation."""

from __future__ import annotations

import logging

import keras
import numpy as np
import pytest
import tensorflow as tf
from crossed import crossed, some_slow
from ntg_models import (
    KNOWN,
    build,
    cnn,
    embedding,
    examples,
    mlp,
    partly_known,
    shallow,
    shared,
    wide_cnn,
)
from ntg_reference import assert_ntg_equal

from asym_keras import empirical_ntg
from asym_keras.ntg import factors
from asym_keras.ntg.structured import known_variables

ACTIVATIONS = ("relu", "tanh", "softplus", "silu")
DTYPES = {"relu": "float32", "tanh": "float64", "softplus": "float32", "silu": "float64"}


def whole_jacobian(model, x, variables=None):
    """Inner products (n, K, n, K) of the gradients of each output, one backward pass for each.

    Not `tape.jacobian`, which is traced anew at each eager call.
    """
    values = [v.value for v in (model.trainable_variables if variables is None else variables)]
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(values)
        f = model(tf.convert_to_tensor(x), training=False)
        single = tf.unstack(tf.reshape(f, [-1]))
    gradients = (tape.gradient(output, values, unconnected_gradients="zero") for output in single)
    rows = [np.concatenate([np.ravel(tf.convert_to_tensor(g)) for g in row]) for row in gradients]
    return np.reshape(np.array(rows) @ np.transpose(rows), (*f.shape, *f.shape))


def check(model, x, dtype="float64", method="structured"):
    expected = whole_jacobian(model, x)
    outputs = expected.shape[1]
    every = empirical_ntg(model, x, output="all", method=method)
    assert_ntg_equal(every, expected, dtype)
    mean = empirical_ntg(model, x, output="trace", method=method)
    assert_ntg_equal(mean, np.einsum("ikjk->ij", expected) / outputs, dtype)
    last = empirical_ntg(model, x, output=outputs - 1, method=method)
    assert_ntg_equal(last, expected[:, -1, :, -1], dtype)


@pytest.mark.parametrize(("make", "activation"), crossed(KNOWN, ACTIVATIONS, least=4))
def test_structured_equals_the_jacobian(make, activation):
    dtype = DTYPES[activation]
    model = build(make, activation, dtype)
    assert len(known_variables(model, model.trainable_variables)) == len(model.trainable_variables)
    x = examples(model, 5)
    every = empirical_ntg(model, x, output="all", method="structured")
    assert_ntg_equal(every, whole_jacobian(model, x), dtype)


@pytest.mark.parametrize(
    "make", some_slow([embedding], [make for make in KNOWN if make is not embedding])
)
def test_outputs_may_be_one_or_averaged(make):
    model = build(make)
    check(model, examples(model, 5))


@pytest.mark.slow
@pytest.mark.parametrize("make", some_slow([shared], [cnn]))
def test_outputs_of_the_jacobian_may_be_one_or_averaged(make):
    model = build(make)
    check(model, examples(model, 5), method="jacobian")


@pytest.mark.parametrize(("activation", "dtype"), crossed(ACTIVATIONS, ["float32", "float64"]))
def test_closed_form_equals_the_jacobian(activation, dtype):
    model = build(shallow, activation, dtype)
    readout = model.layers[-1].readout  # other than signs, which make all outputs' NTG the same
    readout.assign(np.random.default_rng(3).normal(size=readout.shape))
    check(model, examples(model, 5), dtype, method="closed_form")


WAYS = [("structured", 1, 5), ("structured", "all", 2), ("jacobian", 1, 2), ("jacobian", "all", 5)]


@pytest.mark.parametrize(("way", "make"), crossed(WAYS, [mlp, wide_cnn, embedding], least=2))
def test_tiles_change_nothing(way, make, monkeypatch):
    method, output, batch_size = way
    model = build(make)
    x, x2 = examples(model, 5), examples(model, 4, seed=1)
    both = empirical_ntg(model, np.concatenate([x, x2]), output=output, method=method).numpy()
    cut = np.s_[:5, :, 5:] if output == "all" else np.s_[:5, 5:]
    own = np.s_[:5, :, :5] if output == "all" else np.s_[:5, :5]
    # Nothing kept, blocks of one pair: every path of the assembly is taken.
    monkeypatch.setattr("asym_keras.ntg.assembly.TILE_BYTES", 1)
    model = build(make)  # of equal weights, and not compiled before
    options = {"output": output, "method": method, "batch_size": batch_size}
    assert_ntg_equal(empirical_ntg(model, x, x2, **options), both[cut], "float64")
    assert_ntg_equal(empirical_ntg(model, x, **options), both[own], "float64")


@pytest.mark.slow
def test_structured_equals_central_differences():
    model = build(cnn, "softplus")
    x, step, columns = examples(model, 3), 1e-5, []
    for weight in model.trainable_variables:
        start = weight.numpy()
        for index in np.ndindex(*start.shape):
            ends = []
            for sign in (1.0, -1.0):
                moved = start.copy()
                moved[index] += sign * step
                weight.assign(moved)
                ends.append(model(x).numpy()[:, 0])
            columns.append((ends[0] - ends[1]) / (2.0 * step))
        weight.assign(start)
    expected = np.transpose(columns) @ columns
    np.testing.assert_allclose(empirical_ntg(model, x, method="structured"), expected, rtol=1e-6)


@pytest.mark.slow
def test_weights_without_a_rule_go_to_the_jacobian(caplog):
    model = build(partly_known)
    known = known_variables(model, model.trainable_variables)
    assert len(known) == 4 < len(model.trainable_variables)
    x = examples(model, 4)
    with caplog.at_level(logging.INFO, logger="asym_keras"):
        ntg = empirical_ntg(model, x, output="all")
    assert_ntg_equal(ntg, whole_jacobian(model, x), "float64")
    assert "structured for 4 weights, jacobian for 5" in caplog.text
    assert "layer_normalization" in caplog.text


@pytest.mark.parametrize("make", some_slow([mlp], [shared, partly_known]))
def test_parts_of_the_variables_add_up(make):
    model = build(make)
    x, variables = examples(model, 4), model.trainable_variables
    parts = [empirical_ntg(model, x, variables=[v], output="all").numpy() for v in variables]
    assert_ntg_equal(np.sum(parts, axis=0), whole_jacobian(model, x), "float64")
    assert_ntg_equal(parts[0], whole_jacobian(model, x, variables[:1]), "float64")


def test_frozen_weights_do_not_count():
    model = build(mlp)
    model.layers[1].trainable = False
    check(model, examples(model, 4))


class Transposed(keras.layers.Layer):
    """The usual tied decoder: multiplies by another layer's kernel, transposed."""

    def __init__(self, encoder, **kwargs):
        super().__init__(**kwargs)
        self.encoder = encoder

    def call(self, inputs):
        return inputs @ keras.ops.transpose(self.encoder.kernel)


def test_weights_in_two_layers_have_no_rule():
    inputs = keras.Input((4,), dtype="float64")
    encoder = keras.layers.Dense(3, "tanh", dtype="float64")
    model = keras.Model(inputs, Transposed(encoder, dtype="float64")(encoder(inputs)))
    assert known_variables(model, model.trainable_variables) == []
    x = examples(model, 3)
    assert_ntg_equal(empirical_ntg(model, x, output="all"), whole_jacobian(model, x), "float64")


def test_subclasses_of_known_layers_have_no_rule():
    class Doubled(keras.layers.Dense):
        def call(self, inputs):
            return 2.0 * super().call(inputs) ** 2

    model = build(
        lambda *_: keras.Sequential(
            [keras.Input((3,), dtype="float64"), Doubled(2, dtype="float64")]
        )
    )
    x = examples(model, 4)
    with pytest.raises(ValueError, match=r"received .* without any\. Use method='jacobian'"):
        empirical_ntg(model, x, method="structured")
    assert_ntg_equal(empirical_ntg(model, x, output="all"), whole_jacobian(model, x), "float64")


def test_layers_are_left_as_they_were():
    model = build(shared)
    before = [
        (dict(vars(layer)), layer.activation)
        for layer in model.layers
        if layer.weights and hasattr(layer, "activation")
    ]
    empirical_ntg(model, examples(model, 3), method="structured")
    after = [
        (dict(vars(layer)), layer.activation)
        for layer in model.layers
        if layer.weights and hasattr(layer, "activation")
    ]
    assert [a.keys() for a, _ in after] == [b.keys() for b, _ in before]
    assert all(a is b for (_, a), (_, b) in zip(after, before, strict=True))
    assert "call" not in vars(model.layers[1])


def test_convolutions_take_the_cheaper_way():
    many_pixels = factors.Outer(tf.zeros([2, 100, 9]), tf.zeros([2, 100, 1, 4]))
    many_weights = factors.Outer(tf.zeros([2, 4, 900]), tf.zeros([2, 4, 1, 64]))
    assert isinstance(factors.compact(many_pixels), factors.Vectors)
    assert factors.compact(many_weights) is many_weights


def test_a_low_rank_update_has_no_rule():
    model = build(mlp)  # float64, which Keras gives an update in float32
    model.layers[0].enable_lora(2)
    for weight in model.layers[0].trainable_variables:
        weight.assign(np.random.default_rng(4).normal(size=weight.shape))
    known = {id(v) for v in known_variables(model, model.trainable_variables)}
    assert not known & {id(v) for v in model.layers[0].variables}
    x = examples(model, 4)
    ntg = empirical_ntg(model, x, output="all")
    np.testing.assert_allclose(ntg, whole_jacobian(model, x), rtol=1e-5, atol=1e-5)
