"""Nested and shared models, several outputs, operations and tied weights in the graph."""

from __future__ import annotations

import keras
from keras import layers as kl
from keras import ops

from benchmarks.wild.entry import (
    SEVERAL,
    TIED,
    UNKNOWN,
    WRAPPED,
    Case,
    case,
    model,
    no,
    nodes,
    numbers,
    refuse,
    sequential,
)

SEVERAL_OUTPUTS = refuse(
    "descent", "flow", "probes", "ntg_predict", reason=SEVERAL, word="one output"
)


@model("Sequential built late", "nested")
def _():
    found = keras.Sequential([kl.Dense(5, "tanh"), nodes(), kl.Dense(1)])
    found(numbers(5, 4))
    return case(found)


@model("Sequential inside a functional model", "nested")
def _():
    inputs = keras.Input((4,))
    inner = sequential(kl.Dense(5, "tanh"), nodes())
    return case(keras.Model(inputs, kl.Dense(1)(inner(inputs))))


@model("functional inside functional inside Sequential", "nested")
def _():
    a, b = keras.Input((4,)), keras.Input((4,))
    inner = keras.Model(a, nodes()(kl.Dense(5, "tanh")(a)))
    return case(sequential(keras.Model(b, kl.Dense(3, "tanh")(inner(b))), kl.Dense(1)))


@model("a layer used twice", "nested")
def _():
    inputs, shared = keras.Input((5,)), kl.Dense(5, "tanh")
    hidden = shared(shared(inputs))
    return case(keras.Model(inputs, kl.Dense(1)(nodes()(hidden))), numbers(5, 5))


def _two():
    return keras.Input((4,)), keras.Input((4,))


@model("siamese", "nested")
def _():
    left, right = _two()
    inner = sequential(nodes(), kl.Dense(3))
    apart = kl.Subtract()([inner(left), inner(right)])
    distance = ops.sum(ops.square(apart), axis=-1, keepdims=True)
    return case(keras.Model([left, right], distance), [numbers(5, 4), numbers(5, 4, seed=1)])


@model("a nested model used twice, its nodes read by one Dense", "nested")
def _():
    left, right = _two()
    inner = sequential(kl.Dense(4, "tanh"), nodes())
    joined = kl.Concatenate()([inner(left), inner(right)])
    outputs = kl.Dense(1)(joined)
    return case(keras.Model([left, right], outputs), [numbers(5, 4), numbers(5, 4, seed=1)])


@model("two outputs in a list", "nested", **SEVERAL_OUTPUTS)
def _():
    inputs = keras.Input((4,))
    hidden = nodes()(inputs)
    heads = [kl.Dense(1, name="one")(hidden), kl.Dense(3, "softmax", name="three")(hidden)]
    x = numbers(5, 4)
    return Case(keras.Model(inputs, heads), x, x[:, :1], output=(1, 2), named=("three", 2))


@model("two outputs in a dict", "nested", **SEVERAL_OUTPUTS)
def _():
    inputs = keras.Input((4,))
    hidden = nodes()(inputs)
    heads = {"price": kl.Dense(1)(hidden), "age": kl.Dense(1, "softplus")(hidden)}
    x = numbers(5, 4)
    return Case(keras.Model(inputs, heads), x, x[:, :1], output=(1, 0), named="price")


@model("operations of keras.ops in the graph", "nested")
def _():
    inputs = keras.Input((4,))
    hidden = ops.concatenate([nodes()(ops.sin(inputs)), ops.tanh(inputs) * 2], axis=-1)
    hidden = kl.Dense(6, "gelu")(hidden)
    hidden = ops.max(ops.reshape(hidden, (-1, 3, 2)), axis=-1)
    return case(keras.Model(inputs, kl.Dense(1)(hidden) + 1.0))


@model("einsum and EinsumDense", "nested")
def _():
    inputs = keras.Input((3, 4))
    hidden = kl.EinsumDense("abc,cd->abd", (None, 5), bias_axes="d")(inputs)
    hidden = ops.einsum("abd,abc->adc", hidden, inputs)
    hidden = nodes()(kl.Flatten()(hidden))
    return case(keras.Model(inputs, kl.Dense(1)(hidden)), numbers(5, 3, 4))


@model(
    "tied weights in the graph",
    "nested",
    structured=no(UNKNOWN, "structured"),
    **refuse("keep all", "masking", reason=TIED, word="atmul"),
)
def _():
    layer, inputs = nodes(4), keras.Input((4,))
    hidden = layer(inputs)
    # The variable itself: what an operation makes of it at once is a constant of the graph.
    again = ops.matmul(hidden, layer.kernel)
    return case(keras.Model(inputs, again), columns=4, output=(0, 3), named=3)


@model(
    "TimeDistributed nodes",
    "nested",
    **refuse("keep all", "masking", reason=WRAPPED, word="wrapper"),
)
def _():
    layers = (kl.TimeDistributed(nodes()), kl.Flatten(), kl.Dense(1))
    return case(sequential(*layers, shape=(3, 4)), numbers(5, 3, 4))
