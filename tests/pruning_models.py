"""Models with an `AsymScaledDense` in every place, and the slow references of pruning."""

from __future__ import annotations

import contextlib

import keras
import numpy as np

from asym_keras import AsymScaledDense, shallow_network
from asym_keras.graphs import layers_of
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


def _joined(h, x):
    return layers.Dense(3)(layers.Concatenate()([layers.Dense(5)(x), h, x]))


def _twice_joined(h, x):
    """The same nodes in two branches, of which one leaves another constant."""
    return layers.Dense(3)(layers.Add()([h, layers.Activation("sigmoid")(h)]))


def _positions_joined(h, x):
    joined = layers.Concatenate(axis=1)([h, layers.Activation("relu")(h)])
    return layers.Flatten()(layers.Dense(3)(joined))


def _two_readouts(h, x):
    return [layers.Dense(3)(h), layers.Dense(2, "sigmoid")(layers.LeakyReLU()(h))]


def _stack(*stack):
    """Layers after the nodes, one after another; functions, so that each model has its own."""

    def after(h, x):
        for layer in stack:
            h = layer()(h)
        return h

    return after


def _dense(units=3, *args, **kwargs):
    return lambda: layers.Dense(units, *args, **kwargs)


def _of(kind, *args, **kwargs):
    return lambda: kind(*args, **kwargs)


VECTOR, SEQUENCE, IMAGE = (4,), (6, 4), (5, 5, 4)
_next = _of(AsymScaledDense, 7, name="next")
# What may be between the nodes and the end of a model: shape of the inputs, and what follows.
THROUGH = {
    "next layer": (VECTOR, _stack(_next, _dense())),
    "constants in the next layer": (
        VECTOR,
        _stack(_of(layers.Activation, "sigmoid"), _next, _dense()),
    ),
    "constants in the next layer's bias": (
        VECTOR,
        _stack(
            _of(layers.Activation, "sigmoid"),
            _of(AsymScaledDense, 7, 3, parametrization="standard", use_bias=True, name="next"),
        ),
    ),
    "next layer with outputs": (VECTOR, _stack(_of(AsymScaledDense, 7, 3, name="next"))),
    "batch norm": (VECTOR, _stack(layers.BatchNormalization, _dense())),
    "batch norm, no bias": (
        VECTOR,
        _stack(layers.BatchNormalization, layers.ReLU, _dense(use_bias=False)),
    ),
    "sigmoid": (VECTOR, _stack(_of(layers.Activation, "sigmoid"), _dense())),
    "softmax inside": (VECTOR, _stack(_dense(3, "softmax"))),
    "average": (SEQUENCE, _stack(layers.GlobalAveragePooling1D, _dense())),
    "average of any length": ((None, 4), _stack(layers.GlobalAveragePooling1D, _dense())),
    "local pool": (SEQUENCE, _stack(_of(layers.MaxPooling1D, 2), layers.Flatten, _dense())),
    "reshape": (VECTOR, _stack(_of(layers.Reshape, (UNITS, 1)), layers.Flatten, _dense())),
    "there and back": (
        SEQUENCE,
        _stack(layers.Flatten, _of(layers.Reshape, (6, UNITS)), _dense(), layers.Flatten),
    ),
    "permute": (SEQUENCE, _stack(_of(layers.Permute, (2, 1)), layers.Flatten, _dense())),
    "first axis": (
        SEQUENCE,
        _stack(
            _of(layers.Permute, (2, 1)),
            _of(layers.BatchNormalization, axis=1),
            *(_of(layers.Permute, (2, 1)), _dense(), layers.Flatten),
        ),
    ),
    "convolution": (
        IMAGE,
        _stack(
            _of(layers.AveragePooling2D, 2),
            *(_of(layers.Conv2D, 5, 2, padding="same"), layers.Flatten, _dense()),
        ),
    ),
    "constants in a convolution": (
        IMAGE,
        _stack(
            layers.BatchNormalization,
            *(_of(layers.Conv2D, 5, 2, use_bias=False), layers.Flatten, _dense()),
        ),
    ),
    "padded": (
        IMAGE,
        _stack(
            *(layers.UpSampling2D, layers.ZeroPadding2D, _of(layers.Cropping2D, 2)),
            *(layers.GlobalMaxPooling2D, _dense()),
        ),
    ),
    "repeated": (VECTOR, _stack(_of(layers.RepeatVector, 3), _dense(), layers.Flatten)),
    "softmax over positions": (
        SEQUENCE,
        _stack(_of(layers.Softmax, axis=1), layers.Flatten, _dense()),
    ),
    "joined": (VECTOR, _joined),
    "same nodes added": (VECTOR, _twice_joined),
    "positions joined": (SEQUENCE, _positions_joined),
    "two readouts": (VECTOR, _two_readouts),
    "gate": (VECTOR, lambda h, x: layers.Dense(3)(h * layers.Dense(1)(x))),
    "operations": (VECTOR, lambda h, x: layers.Dense(3)(keras.ops.relu(2.0 * h + 1.0))),
    "where": (VECTOR, lambda h, x: layers.Dense(3)(keras.ops.where(h > 0.1, h, -h))),
    "one position": (SEQUENCE, lambda h, x: layers.Dense(3)(h[:, 1])),
    "lambda": (VECTOR, _stack(_of(layers.Lambda, lambda t: 1.0 - t), _dense())),
}


def through(name, dtype):
    """A model with nodes that go through what `THROUGH` has by that name."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(dtype)
    try:
        shape, after = THROUGH[name]
        inputs = floats(shape, dtype)
        return keras.Model(inputs, after(nodes(dtype)(inputs), inputs))
    finally:
        keras.config.set_dtype_policy(before)


ENDING = (shallow, sequential, features, elementwise, nested, cnn)
ALL = (*ENDING, middle, two_readouts, twice, tokens)


def build(make, dtype="float64", seed=0):
    """The model, of a function or by its name in `THROUGH`, with random weights.

    They are random everywhere but in the scalings and signs.
    """
    model = through(make, dtype) if isinstance(make, str) else make(dtype)
    rng = np.random.default_rng(seed)
    for weight in model.weights:
        if "readout" not in weight.path and "scalings" not in weight.path:
            values = rng.normal(size=weight.shape)
            weight.assign(np.abs(values) + 0.5 if "variance" in weight.path else values)
    return model


def examples(model, n=9, seed=0):
    [inputs] = model.inputs
    shape = (n, *(size or 5 for size in inputs.shape[1:]))
    values = np.random.default_rng(seed).normal(size=shape)
    return values.astype(inputs.dtype)


def outputs(model, x):
    """What the model returns, float64; of several outputs all, side by side."""
    found = [keras.ops.convert_to_numpy(o) for o in keras.tree.flatten(model(x, training=False))]
    return np.concatenate(found, axis=-1).astype("float64")


def asym_layers(model):
    return [la for la in layers_of(model) if isinstance(la, AsymScaledDense)]


@contextlib.contextmanager
def masked(model, kept):
    """While open, the nodes that are not `kept` have the scaling zero."""
    weight = find_layer(model, "nodes" if len(asym_layers(model)) > 1 else None).sqrt_scalings
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
