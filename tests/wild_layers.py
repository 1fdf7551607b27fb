"""Layers and models as users write them, which no graph of layers tells all about."""

from __future__ import annotations

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from asym_keras import AsymScaledDense
from asym_keras.training import GradientDescent, train

layers = keras.layers


class Scale(layers.Layer):
    """Holds a number that its configuration does not tell, once it is set anew."""

    def __init__(self, factor=2.0, **options):
        super().__init__(**options)
        self.factor = factor

    def call(self, x):
        return x * self.factor


class Secret(layers.Layer):
    """Makes a constant of its own, anew in each copy: neither config nor weights tell it."""

    def __init__(self, **options):
        super().__init__(**options)
        self.holder = {"value": Opaque()}

    def call(self, x):
        return x + self.holder["value"].offset


class Opaque:
    """Draws its number when it is made."""

    count = 0

    def __init__(self):
        Opaque.count += 1
        self.offset = 10.0 * Opaque.count


class Temperature(layers.Layer):
    """A scalar weight."""

    def build(self, shape):
        self.t = self.add_weight(shape=(), initializer="ones")

    def call(self, x):
        return x * self.t


class Meeting(layers.Layer):
    """Examples of a batch meet, also in inference."""

    def build(self, shape):
        self.w = self.add_weight(shape=(4, 1))

    def call(self, x):
        return (x - ops.mean(x, axis=0)) @ self.w


class Plainest(keras.Model):
    """A `call` without `training`, and a Dropout, which Keras then leaves out."""

    def __init__(self):
        super().__init__()
        self.dense, self.drop = layers.Dense(1), layers.Dropout(0.5)

    def call(self, x):
        return self.drop(self.dense(x))


class Product(keras.Model):
    """Two inputs, which nobody tells."""

    def __init__(self):
        super().__init__()
        self.dense = layers.Dense(1)

    def call(self, pair, training=None):
        return self.dense(pair["a"] * pair["b"] if isinstance(pair, dict) else pair[0] * pair[1])


class Twice(keras.Model):
    """A functional subclass that does more than its graph."""

    def __init__(self):
        inputs = keras.Input((4,))
        super().__init__(inputs, AsymScaledDense(8, 1, seed=0)(inputs))

    def call(self, x, training=None):
        return 2 * super().call(x)


class Reaching(layers.Layer):
    """Uses weights of a layer that Keras does not know to be in it."""

    def __init__(self, other, **options):
        super().__init__(**options)
        self.others = lambda: other

    def call(self, x):
        return ops.matmul(x, self.others().kernel)


def rng(seed=0):
    return np.random.default_rng(seed)


def examples(n=8, d=4, dtype="float32", seed=0):
    return rng(seed).normal(size=(n, d)).astype(dtype)


def sequential(*stack, shape=(4,), dtype="float32"):
    return keras.Sequential([keras.Input(shape, dtype=dtype), *stack])


def tied():
    """Weights used a second time by a Lambda, behind the graph's back."""
    dense, inputs = layers.Dense(5, activation="tanh"), keras.Input((4,))
    back = layers.Lambda(lambda t: ops.matmul(t, ops.transpose(dense.kernel)))
    return keras.Model(inputs, back(dense(inputs)))


def reaching():
    dense, inputs = layers.Dense(4, "tanh"), keras.Input((4,))
    hidden = dense(inputs)
    return keras.Model(inputs, Reaching(dense)(hidden))


def by_activation():
    """An activation that multiplies by another layer's kernel."""
    first = layers.Dense(4, "tanh")
    second = layers.Dense(4, activation=lambda z: ops.tanh(z) @ first.kernel)
    return sequential(first, second)


def patched():
    model = sequential(layers.Dense(4), layers.Dense(2))
    layer = model.layers[0]
    call = layer.call
    vars(layer)["call"] = lambda x, training=None: ops.sin(call(x))
    return model


def ntg_by_definition(model, x, output=lambda f: f[..., 0], variables=None):
    """NTG by one backward pass an example, float64."""
    model(tf.nest.map_structure(lambda a: tf.convert_to_tensor(a[:1]), x))
    variables = [v.value for v in variables or model.trainable_variables]
    rows = []
    for i in range(len(tf.nest.flatten(x)[0])):
        one = tf.nest.map_structure(lambda a, i=i: tf.convert_to_tensor(a[i : i + 1]), x)
        with tf.GradientTape() as tape:
            f = tf.reshape(output(model(one)), [])
        gradient = tape.gradient(f, variables, unconnected_gradients="zero")
        rows.append(np.concatenate([np.ravel(tf.convert_to_tensor(g)) for g in gradient]))
    rows = np.stack(rows).astype("float64")
    return rows @ rows.T


def assert_close(received, expected, tolerance=1e-4):
    received, expected = np.asarray(received, "float64"), np.asarray(expected, "float64")
    assert received.shape == expected.shape
    assert np.abs(received - expected).max() <= tolerance * np.abs(expected).max()


RATE = 0.05


def two_steps(model, x, y, **options):
    train(
        model,
        x,
        y,
        method=GradientDescent(RATE, jit_compile=False),
        end_time=2 * RATE,
        progress=False,
        times=[0.0],
        **options,
    )
    return [np.asarray(w, "float32") for w in model.trainable_variables]


def two_steps_of_keras(model, x, y, loss="mse"):
    """The same by `model.fit`."""
    model.compile(keras.optimizers.SGD(RATE), loss=loss, run_eagerly=False)
    model.fit(x, y, batch_size=1000, epochs=2, shuffle=False, verbose=0)
    return [np.asarray(w, "float32") for w in model.trainable_variables]


def seeded(make):
    keras.utils.set_random_seed(3)
    return make()
