"""The layers' rules where they are easiest to get wrong, against a tape for each example."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf
from crossed import some_slow
from ntg_models import build, examples, wide_cnn

import asym_keras as ak
from asym_keras.ntg import assembly, empirical, empirical_ntg, structured
from asym_keras.ntg.choice import choose

layers = keras.layers


def slow_ntg(model, x):
    """`J J^T`, a row of J by one tape for each example."""
    rows = []
    for example in x:
        with tf.GradientTape() as tape:
            f = model(example[None], training=False)[0, 0]
        parts = tape.gradient(f, model.trainable_variables)
        rows.append(np.concatenate([np.ravel(tf.convert_to_tensor(p)) for p in parts]))
    return np.array(rows) @ np.transpose(rows)


CONVOLUTIONS = {
    "valid, strides that leave a rest": {"kernel_size": (3, 2), "strides": (2, 3)},
    "stride above the kernel": {"kernel_size": 1, "strides": (4, 2), "padding": "same"},
    "dilation by axis": {"kernel_size": (2, 3), "dilation_rate": (3, 1), "padding": "same"},
    "kernel by axis": {"kernel_size": (3, 1), "strides": (1, 2), "padding": "same"},
    "groups": {"kernel_size": 3, "groups": 2},
}


@pytest.mark.parametrize("case", some_slow([*CONVOLUTIONS][:2], [*CONVOLUTIONS][2:]))
def test_convolutions_of_every_kind(case):
    keras.utils.set_random_seed(0)
    convolution = layers.Conv2D(4, **CONVOLUTIONS[case], dtype="float64")
    stack = [convolution, layers.Flatten(dtype="float64"), layers.Dense(1, dtype="float64")]
    model = keras.Sequential([keras.Input((8, 6, 2), dtype="float64"), *stack])
    x = np.random.default_rng(0).normal(size=(3, 8, 6, 2))
    np.testing.assert_allclose(empirical_ntg(model, x), slow_ntg(model, x), rtol=1e-9)


def test_embedding_used_twice():
    keras.utils.set_random_seed(0)
    a, b = keras.Input((2,), dtype="int32"), keras.Input((2,), dtype="int32")
    table, flat = layers.Embedding(5, 3, dtype="float64"), layers.Flatten(dtype="float64")
    joined = layers.Concatenate(dtype="float64")([flat(table(a)), flat(table(b))])
    model = keras.Model([a, b], layers.Dense(1, dtype="float64")(joined))
    x = [np.array([[0, 1], [2, 3]]), np.array([[4, 0], [1, 1]])]
    expected = empirical_ntg(model, x, method="jacobian")
    np.testing.assert_allclose(empirical_ntg(model, x), expected, rtol=1e-9)


def test_batch_normalisation_of_another_axis():
    normal = layers.BatchNormalization(axis=1, dtype="float64")
    stack = [normal, layers.Flatten(dtype="float64"), layers.Dense(1, dtype="float64")]
    model = keras.Sequential([keras.Input((4, 4), dtype="float64"), *stack])
    generator = np.random.default_rng(1)
    model.set_weights([generator.uniform(0.5, 2.0, w.shape) for w in model.get_weights()])
    x = np.random.default_rng(0).normal(size=(3, 4, 4))
    np.testing.assert_allclose(empirical_ntg(model, x), slow_ntg(model, x), rtol=1e-9)


@pytest.mark.parametrize(("first", "second"), [("float32", "float64"), ("float64", "float32")])
def test_layers_of_two_precisions_give_the_higher(first, second):
    hidden = [layers.Dense(3, dtype=first), layers.Dense(2, dtype=second)]
    model = keras.Sequential([keras.Input((4,), dtype=first), *hidden])
    assert empirical_ntg(model, np.eye(4)).dtype == "float64"


def test_trace_of_the_closed_form_is_the_mean_over_outputs():
    x = np.random.default_rng(0).normal(size=(4, 6))
    model = ak.shallow_network(6, 3, width=9, gamma=0.3, alpha=0.6, seed=1, dtype="float64")
    model.layers[-1].readout.assign(np.random.default_rng(3).normal(size=(9, 3)))
    each = [empirical_ntg(model, x, output=k, method="closed_form") for k in range(3)]
    trace = empirical_ntg(model, x, output="trace", method="closed_form")
    np.testing.assert_allclose(trace, np.mean(each, axis=0), rtol=1e-12)


def test_closed_form_follows_a_replaced_activation():
    x = np.random.default_rng(0).normal(size=(4, 6))
    model = ak.shallow_network(6, width=9, gamma=0.3, alpha=0.6, seed=1, dtype="float64")
    empirical_ntg(model, x)
    model.layers[-1].activation = keras.activations.tanh
    expected = empirical_ntg(model, x, method="structured")
    np.testing.assert_allclose(empirical_ntg(model, x), expected, rtol=1e-12)


def test_blocks_and_batches_are_sized_by_memory(monkeypatch):
    monkeypatch.setattr(assembly, "TILE_BYTES", 2**20)
    model = build(wide_cnn, dtype="float32")
    x, weights = tf.constant(examples(model, 3)), list(model.trainable_variables)
    known = structured.known_variables(model, weights)
    choice = choose(model, x, "all")
    compiled = empirical._compile({}, model, x, choice, weights, known, "structured")
    # By hand, for two outputs: a kernel on 4 positions, another on one, two offsets.
    assert compiled.block == int((2**18 / (4 * 12 * (16 + 1 + 1 + 1))) ** 0.5)
    peak = assembly._peak(compiled.factors)
    assert 1 < compiled.batch_size < 1000
    assert peak(compiled.batch_size) <= 2**17


def test_peak_by_hand():
    """Of a chain two tensors live at once, and what is returned lives to the end."""
    signature = tf.TensorSpec([None, 10], "float32")

    def peak(function):
        return assembly._peak(tf.function(function).get_concrete_function(signature))(7)

    one = 4 * 10 * 7
    assert peak(lambda x: tf.exp(tf.exp(tf.exp(tf.exp(x))))) == 2 * one
    assert peak(lambda x: (tf.exp(x), tf.sin(tf.exp(tf.cos(x))))) >= 3 * one
    assert peak(lambda x: tf.matmul(x, x, transpose_b=True)) >= 4 * 7 * 7
    # What lives inside a loop is not seen: as much again as outside.
    assert 4 * one <= peak(lambda x: tf.map_fn(tf.exp, x)) < 5 * one
