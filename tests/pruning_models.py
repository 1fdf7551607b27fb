"""Models with an `AsymScaledDense` in every place, and the slow references of pruning."""

from __future__ import annotations

import contextlib

import keras
import numpy as np

from asym_keras import AsymScaledDense, shallow_network
from asym_keras.importance import find_layer

layers = keras.layers
UNITS = 12
# Largest difference, as a share of the largest output.
TOLERANCE = {"float32": 1e-6, "float64": 1e-14, "mixed_float16": 5e-3}


def nodes(dtype, outputs=None, **kwargs):
    arguments = {"gamma": 0.4, "alpha": 0.5, "activation": "tanh", "seed": 1, **kwargs}
    return AsymScaledDense(UNITS, outputs, dtype=dtype, name="nodes", **arguments)


def floats(shape, dtype):
    return keras.Input(shape, dtype="float32" if dtype.startswith("mixed") else dtype)


def shallow(dtype):
    return shallow_network(4, 3, width=UNITS, gamma=0.4, seed=1, dtype=dtype)


def sequential(dtype):
    first = layers.Dense(5, "relu", dtype=dtype)
    return keras.Sequential([floats((4,), dtype), first, nodes(dtype, 3)])


def middle(dtype):
    """The layer has outputs, which other layers take, once scaled by an operation."""
    inputs = floats((4,), dtype)
    hidden = nodes(dtype, 6)(layers.Dense(5, dtype=dtype)(inputs))
    return keras.Model(inputs, layers.Dense(3, "softmax", dtype=dtype)(2.0 * hidden))


def features(dtype):
    last = layers.Dense(3, dtype=dtype, name="last")
    return keras.Sequential([floats((4,), dtype), nodes(dtype), last])


def elementwise(dtype):
    """Features go through layers without weights, to a readout without bias."""
    inputs = floats((4,), dtype)
    hidden = layers.Dropout(0.5, dtype=dtype)(nodes(dtype)(inputs))
    hidden = layers.LeakyReLU(dtype=dtype)(layers.Activation("tanh", dtype=dtype)(hidden))
    return keras.Model(inputs, layers.Dense(3, use_bias=False, dtype=dtype)(hidden))


def two_readouts(dtype):
    inputs = floats((4,), dtype)
    hidden = nodes(dtype)(inputs)
    heads = [layers.Dense(k, dtype=dtype)(hidden) for k in (3, 2)]
    return keras.Model(inputs, layers.Concatenate(dtype=dtype)(heads))


def twice(dtype):
    """The layer, and its readout, on two parts of the inputs."""
    inputs = floats((2, 4), dtype)
    layer, readout = nodes(dtype), layers.Dense(3, dtype=dtype)
    outputs = [readout(layer(inputs[:, i])) for i in range(2)]
    return keras.Model(inputs, layers.Subtract(dtype=dtype)(outputs))


def nested(dtype):
    """Features leave one nested model and enter another."""
    body = keras.Sequential([floats((4,), dtype), nodes(dtype)], name="body")
    inputs = floats((UNITS,), dtype)
    head = keras.Model(inputs, layers.Dense(3, dtype=dtype)(inputs), name="head")
    outer = floats((4,), dtype)
    return keras.Model(outer, head(body(outer)))


def cnn(dtype):
    stack = [
        layers.Conv2D(3, 2, activation="relu", dtype=dtype),
        layers.BatchNormalization(dtype=dtype),
        layers.Flatten(dtype=dtype),
    ]
    return keras.Sequential([floats((4, 4, 1), dtype), *stack, nodes(dtype, 3)])


def tokens(dtype):
    """A layer on every position of a sequence."""
    inputs = floats((5, 4), dtype)
    pooled = layers.GlobalAveragePooling1D(dtype=dtype)(nodes(dtype, 3)(inputs))
    return keras.Model(inputs, pooled)


ENDING = (shallow, sequential, features, elementwise, nested, cnn)
ALL = (*ENDING, middle, two_readouts, twice, tokens)


def build(make, dtype="float64", seed=0):
    """The model with random weights everywhere but in the scalings and signs."""
    model = make(dtype)
    rng = np.random.default_rng(seed)
    for weight in model.weights:
        if "readout" not in weight.path and "scalings" not in weight.path:
            values = rng.normal(size=weight.shape)
            weight.assign(np.abs(values) + 0.5 if "variance" in weight.path else values)
    return model


def examples(model, n=9, seed=0):
    [inputs] = model.inputs
    values = np.random.default_rng(seed).normal(size=(n, *inputs.shape[1:]))
    return values.astype(inputs.dtype)


def outputs(model, x):
    return keras.ops.convert_to_numpy(model(x, training=False)).astype("float64")


@contextlib.contextmanager
def masked(model, kept):
    """While open, the nodes that are not `kept` have the scaling zero."""
    weight = find_layer(model).sqrt_scalings
    roots = keras.ops.convert_to_numpy(weight)
    weight.assign(np.where(np.isin(np.arange(len(roots)), kept), roots, 0.0))
    try:
        yield model
    finally:
        weight.assign(roots)


def assert_outputs_equal(got, expected, dtype):
    scale = np.abs(expected).max()
    assert scale > 0.0
    np.testing.assert_allclose(got, expected, rtol=0.0, atol=TOLERANCE[dtype] * scale)


def ridge(f, y, penalty):
    """Kernel and bias by least squares on rows added for the penalty, and a column of ones."""
    k = f.shape[1]
    rows = np.block([[f, np.ones((len(f), 1))], [np.sqrt(penalty) * np.eye(k), np.zeros((k, 1))]])
    targets = np.concatenate([y, np.zeros((k, y.shape[1]))])
    solution = np.linalg.lstsq(rows, targets, rcond=None)[0]
    return solution[:-1], solution[-1]


def leave_one_out(f, y, penalty):
    """Mean squared error of each example by the ridge regression on the others."""
    errors = []
    for i in range(len(f)):
        rest = np.arange(len(f)) != i
        kernel, bias = ridge(f[rest], y[rest], penalty)
        errors.append(f[i] @ kernel + bias - y[i])
    return np.mean(np.square(errors))
