"""A copy computes what the model does, whatever its layers hold beside weights."""

from __future__ import annotations

import logging

import keras
import numpy as np
import pytest
import tensorflow as tf
from crossed import some_slow
from keras import ops
from wild_layers import Scale, Secret, examples, rng, sequential

from asym_keras import AsymScaledDense
from asym_keras.copies import copy_model
from asym_keras.graphs import graph_of
from asym_keras.same_outputs import probe_inputs, require_same_outputs

layers = keras.layers
X = examples()


def adapted(layer, data, *stack, shape=(4,), dtype="float32"):
    layer.adapt(data)
    return sequential(layer, *stack, shape=shape, dtype=dtype)


def normalized():
    return adapted(layers.Normalization(), 10 * X + 50, AsymScaledDense(6, 2, seed=0))


def low_rank():
    model = sequential(layers.Dense(8, "relu"), layers.Dense(2))
    model.layers[0].enable_lora(2)
    model.layers[0].lora_kernel_b.assign(rng(1).normal(size=(2, 8)))
    return model


def quantised():
    model = sequential(layers.Dense(8, "relu"), layers.Dense(2))
    model.quantize("int8")
    return model


def changed_attribute():
    model = sequential(Scale(3.0), layers.Dense(2))
    model.layers[0].factor = 7.0
    return model


def lambdas():
    factor = 3.0
    return sequential(
        layers.Dense(8, lambda t: t * factor),
        layers.Lambda(lambda t: ops.sin(t) * factor),
        layers.Dense(2, activation=lambda t: t + 1),
    )


def tied_by_an_argument():
    # The variable itself: what an operation makes of it at once is a constant of the graph.
    inputs, dense = keras.Input((4,)), layers.Dense(4, "tanh")
    return keras.Model(inputs, ops.matmul(dense(inputs), dense.kernel))


def shared():
    inputs, layer = keras.Input((4,)), layers.Dense(4, "tanh")
    nested = keras.Sequential([keras.Input((4,)), layer, layers.Dense(4)])
    return keras.Model(inputs, nested(layer(inputs)) + layer(inputs))


def recurrent():
    stack = layers.Bidirectional(layers.LSTM(3, return_sequences=True)), layers.GRU(4)
    model = sequential(*stack, layers.BatchNormalization(), layers.Dense(2), shape=(7, 4))
    norm = model.layers[2]
    norm.moving_mean.assign(rng().normal(size=4))
    return model


def weighty_activations():
    model = sequential(
        layers.Dense(6, activation=layers.PReLU(alpha_initializer="ones")),
        AsymScaledDense(6, 2, seed=0, activation=layers.PReLU(alpha_initializer="ones")),
    )
    model(X)
    return model


def words():
    layer = layers.TextVectorization(output_mode="tf_idf")
    return adapted(layer, ["a b c", "a b"], layers.Dense(3), shape=(1,), dtype="string")


def buckets():
    stack = layers.CategoryEncoding(5, output_mode="multi_hot"), layers.Dense(3)
    return adapted(layers.Discretization(num_bins=4), X, *stack)


def ids():
    layer = layers.IntegerLookup(output_mode="one_hot")
    return adapted(layer, np.arange(4), layers.Dense(3), shape=(1,), dtype="int64")


def by_name():
    parts = {name: keras.Input((2,), name=name) for name in ("b", "a")}
    return keras.Model(parts, {"sum": layers.Dense(1)(parts["a"] - 2 * parts["b"])})


MODELS = (
    *(normalized, low_rank, quantised, changed_attribute, lambdas, tied_by_an_argument, shared),
    *(recurrent, weighty_activations, words, buckets, ids, by_name),
)


def outputs(model, x):
    return [ops.convert_to_numpy(t) for t in keras.tree.flatten(model(x, training=False))]


@pytest.mark.parametrize("make", some_slow(MODELS[::2], MODELS[1::2]))
def test_copy_computes_what_the_model_does_and_shares_nothing(make, tmp_path):
    model = make()
    x = probe_inputs(model, 3)
    copy = copy_model(model)
    assert type(copy) is type(model)
    expected = outputs(model, x)
    for one, other in zip(outputs(copy, x), expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-6, atol=1e-7)
    assert not {id(v) for v in copy.variables} & {id(v) for v in model.variables}
    parts = [set(map(id, getattr(graph_of(m), "operations", m.layers))) for m in (copy, model)]
    assert parts[0]
    assert not parts[0] & parts[1]
    flags = [[v.trainable for v in m.variables] for m in (copy, model)]
    assert flags[0] == flags[1]
    assert [v.name for v in copy.variables] == [v.name for v in model.variables]
    if make not in (lambdas, tied_by_an_argument, shared):  # which Keras itself can't load
        model.save(tmp_path / "model.keras")
        names = {"Scale": Scale}
        loaded = keras.saving.load_model(tmp_path / "model.keras", custom_objects=names)
        if make is not changed_attribute:  # Keras writes the number that it was made with
            for one, other in zip(outputs(copy, x), outputs(loaded, x), strict=True):
                np.testing.assert_allclose(one, other, rtol=1e-6, atol=1e-7)
    for variable in model.variables:
        variable.assign(keras.ops.zeros_like(variable))
    for one, other in zip(outputs(copy, x), expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("make", [normalized, shared, recurrent, lambdas, buckets, by_name])
def test_copy_in_float64_is_float64_all_through(make):
    model = make()
    copy = copy_model(model, dtype="float64")
    assert {str(v.dtype) for v in copy.variables if "float" in str(v.dtype)} <= {"float64"}
    for one, other in zip(
        outputs(copy, probe_inputs(copy, 3)), outputs(model, probe_inputs(model, 3)), strict=True
    ):
        assert one.dtype == "float64"
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)


def test_frozen_parts_stay_frozen():
    inner = sequential(layers.Dense(4), layers.Dense(3))
    inner.trainable = False
    inner.layers[1].trainable = True
    model = sequential(inner, layers.Dense(1))
    model.layers[1].trainable = False
    copy = copy_model(model)
    assert [la.trainable for la in copy.layers] == [la.trainable for la in model.layers]
    assert [v.path for v in copy.trainable_variables] == [v.path for v in model.trainable_variables]


def test_compiled_with_the_same_objects_and_an_optimizer_of_its_own():
    def own_loss(y, f):
        return ops.mean((y - f) ** 2, axis=-1)

    model = sequential(layers.Dense(2))
    model.compile(keras.optimizers.Adam(0.25), loss=own_loss, metrics=["mae"])
    model.fit(X, X[:, :2], verbose=0)
    copy = copy_model(model)
    assert copy.loss is own_loss
    assert copy.optimizer is not model.optimizer
    assert float(copy.optimizer.learning_rate) == 0.25
    assert int(copy.optimizer.iterations) == 0
    copy.fit(X, X[:, :2], verbose=0)
    assert not copy_model(model, compiled=False).compiled


class Stubborn(keras.optimizers.SGD):
    def get_config(self):
        raise NotImplementedError("not me")


def test_an_optimizer_that_cannot_be_made_again_is_dropped_with_a_warning(caplog):
    model = sequential(layers.Dense(2))
    model.compile(Stubborn(0.1), loss="mse")
    with caplog.at_level(logging.WARNING):
        copy = copy_model(model)
    assert "not compiled" in caplog.text
    assert not copy.compiled


def test_a_wrapper_around_a_model_is_copied():
    inner = sequential(layers.Dense(4, "tanh"), layers.Dense(2))
    model = sequential(layers.TimeDistributed(inner), shape=(3, 4))
    x = rng().normal(size=(2, 3, 4)).astype("float32")
    np.testing.assert_array_equal(copy_model(model)(x), model(x))


def test_a_single_weight_may_be_frozen():
    model = sequential(layers.Dense(2), layers.Dense(1))
    model.layers[0].bias.trainable = False
    flags = [v.trainable for v in copy_model(model).variables]
    assert flags == [True, False, True, True]


class Settings:
    factor = 1.0


class Adjusted(layers.Layer):
    def __init__(self, **options):
        super().__init__(**options)
        self.settings = Settings()

    def call(self, x):
        return x * self.settings.factor


def test_objects_that_layers_hold_are_copied_as_they_are():
    model = sequential(Adjusted(), layers.Dense(2))
    model.layers[0].settings.factor = 3.0
    copy = copy_model(model)
    expected = model(X)
    model.layers[0].settings.factor = 5.0
    np.testing.assert_array_equal(copy(X), expected)


class Stepping(keras.Model):
    def predict_step(self, data):
        return 2 * super().predict_step(data)


def test_methods_that_a_copy_lacks_are_told(caplog):
    inputs = keras.Input((4,))
    with caplog.at_level(logging.WARNING):
        copy_model(Stepping(inputs, layers.Dense(1)(inputs)))
    assert "predict_step of Stepping are not carried over" in caplog.text


def test_evidence_finds_what_neither_configuration_nor_weights_tell():
    model = sequential(Secret(), layers.Dense(2))
    copy = copy_model(model)
    x = probe_inputs(model)
    with pytest.raises(ValueError, match=r"Expected the copy to compute .* define get_config"):
        require_same_outputs(model(x), copy(x), {"float32"}, "the copy")
    require_same_outputs(model(x), tf.identity(model(x)), {"float32"}, "the same")


def test_a_copy_decays_no_weights_that_the_optimizer_excludes():
    layer = keras.layers.Dense(2, kernel_initializer="ones", bias_initializer="ones")
    model = keras.Sequential([keras.Input((3,)), layer])
    optimizer = keras.optimizers.AdamW(0.5, weight_decay=0.5)
    optimizer.exclude_from_weight_decay(var_names=["bias"])
    model.compile(optimizer, "mse")
    copy = copy_model(model)
    kernel, bias = copy.trainable_variables
    copy.optimizer.apply([np.zeros((3, 2)), np.zeros(2)], [kernel, bias])
    np.testing.assert_allclose(kernel.numpy(), 0.75)
    np.testing.assert_array_equal(bias.numpy(), 1.0)
