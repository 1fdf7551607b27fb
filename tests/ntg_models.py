"""Small models of every kind that the structured NTG meets, with weights that are not special."""

from __future__ import annotations

import keras
import numpy as np

from asym_keras import AsymScaledDense, shallow_network

layers = keras.layers


def shallow(activation, dtype):
    return shallow_network(
        4, 3, width=9, gamma=0.3, alpha=0.6, activation=activation, seed=1, dtype=dtype
    )


def mlp(activation, dtype):
    hidden = [layers.Dense(width, activation, dtype=dtype) for width in (7, 6, 5)]
    return keras.Sequential([floats((4,), dtype), *hidden, dense(2, dtype)])


def cnn(activation, dtype):
    stack = [
        layers.Conv2D(3, 3, padding="same", activation=activation, dtype=dtype),
        layers.BatchNormalization(dtype=dtype),
        layers.MaxPooling2D(dtype=dtype),
        layers.Conv2D(4, (2, 3), strides=(1, 2), padding="same", use_bias=False, dtype=dtype),
        layers.BatchNormalization(scale=False, dtype=dtype),
        layers.Activation(activation, dtype=dtype),
        layers.GlobalAveragePooling2D(dtype=dtype),
    ]
    return keras.Sequential([floats((8, 6, 2), dtype), *stack, dense(3, dtype)])


def wide_cnn(activation, dtype):
    """Kernels larger than the images: the inner products go by positions, not by gradients."""
    stack = [
        layers.Conv2D(64, 3, dilation_rate=2, padding="same", activation=activation, dtype=dtype),
        layers.Flatten(dtype=dtype),
    ]
    return keras.Sequential([floats((2, 2, 5), dtype), *stack, dense(2, dtype)])


def residual(activation, dtype):
    inputs = floats((4,), dtype)
    start = layers.Dense(6, activation, dtype=dtype)(inputs)
    branch = layers.Dense(6, activation, dtype=dtype)(start)
    joined = layers.Add(dtype=dtype)([start, layers.Dense(6, dtype=dtype)(branch)])
    return keras.Model(inputs, dense(2, dtype)(layers.Activation(activation, dtype=dtype)(joined)))


def embedding(activation, dtype):
    inputs = keras.Input((5,), dtype="int32")
    tokens = layers.Embedding(7, 3, mask_zero=True, dtype=dtype)(inputs)
    hidden = layers.Dense(4, activation, dtype=dtype)(tokens)  # on every token
    pooled = layers.GlobalAveragePooling1D(dtype=dtype)(hidden)  # leaves masked tokens out
    return keras.Model(inputs, dense(2, dtype)(pooled))


def shared(activation, dtype):
    """One layer used three times, once in a nested model."""
    inputs = floats((4,), dtype)
    layer = layers.Dense(4, activation, dtype=dtype)
    nested = keras.Sequential([floats((4,), dtype), layer, layers.Dense(4, dtype=dtype)])
    twice = layer(layer(inputs))
    return keras.Model(inputs, dense(2, dtype)(nested(twice) * 0.5 + twice))


def scaled_features(activation, dtype):
    hidden = AsymScaledDense(8, gamma=0.5, alpha=0.5, activation=activation, seed=2, dtype=dtype)
    return keras.Sequential([floats((4,), dtype), hidden, dense(2, dtype)])


def partly_known(activation, dtype):
    """A normalisation and a recurrent layer have no rule: the Jacobian is theirs."""
    stack = [
        layers.Dense(4, activation, dtype=dtype),
        layers.LayerNormalization(dtype=dtype),
        # TensorFlow takes ten seconds to vectorise the gradient of a loop.
        layers.SimpleRNN(3, activation=activation, unroll=True, dtype=dtype),
    ]
    return keras.Sequential([floats((3, 2), dtype), *stack, dense(2, dtype)])


def floats(shape, dtype):
    return keras.Input(shape, dtype="float32" if dtype.startswith("mixed") else dtype)


def dense(units, dtype):
    return layers.Dense(units, dtype=dtype)


KNOWN = (shallow, mlp, cnn, wide_cnn, residual, embedding, shared, scaled_features)


def build(make, activation="tanh", dtype="float64", seed=0):
    """The model with every weight random: statistics, scales and offsets too."""
    model = make(activation, dtype)
    rng = np.random.default_rng(seed)
    for weight in model.weights:
        if "readout" in weight.path or "scalings" in weight.path:
            continue
        values = rng.normal(size=weight.shape) / np.sqrt(weight.shape[0])
        positive = "variance" in weight.path or "gamma" in weight.path
        weight.assign(np.abs(values) + 0.5 if positive else values)
    return model


def examples(model, n, seed=0):
    """Inputs (n, ...) of the model: integers where it takes tokens."""
    rng, (inputs,) = np.random.default_rng(seed), model.inputs
    shape = (n, *inputs.shape[1:])
    if inputs.dtype == "int32":
        return rng.integers(0, 7, size=shape)
    return rng.normal(size=shape).astype(inputs.dtype)
