"""Preprocessing in front, inputs of all dtypes, several of them by list and by dict."""

from __future__ import annotations

import keras
import numpy as np
from keras import layers as kl
from keras import ops

from benchmarks.wild.entry import (
    EXAMPLES,
    case,
    integers,
    model,
    nodes,
    numbers,
    sequential,
)

WORDS = np.array([["red"], ["green"], ["blue"], ["red"], ["other"]])
TEXT = np.array(["a cat sat", "the dog", "a dog sat on a cat", "on", "unknown words"])


def _in_front(*layers, shape=(1,), dtype=None):
    return sequential(*layers, nodes(), kl.Dense(1), shape=shape, dtype=dtype)


@model("adapted Normalization", "inputs")
def _():
    x = 10 * numbers(EXAMPLES, 4) + 50
    layer = kl.Normalization()
    layer.adapt(x)
    return case(_in_front(layer, shape=(4,)), x)


@model("Normalization with a given mean", "inputs")
def _():
    return case(_in_front(kl.Normalization(mean=0.5, variance=2.0), shape=(4,)))


@model("adapted Discretization", "inputs")
def _():
    x = numbers(EXAMPLES, 1)
    layer = kl.Discretization(num_bins=3, output_mode="one_hot")
    layer.adapt(x)
    return case(_in_front(layer), x)


@model("adapted IntegerLookup", "inputs")
def _():
    layer = kl.IntegerLookup(output_mode="one_hot")
    layer.adapt(np.arange(4))
    return case(_in_front(layer, dtype="int64"), integers(5, EXAMPLES, 1, dtype="int64"))


@model("adapted StringLookup", "inputs")
def _():
    layer = kl.StringLookup(output_mode="one_hot")
    layer.adapt(WORDS)
    return case(_in_front(layer, dtype="string"), WORDS)


@model("StringLookup with a vocabulary, Embedding", "inputs")
def _():
    layers = (
        kl.StringLookup(vocabulary=["red", "green", "blue"]),
        kl.Embedding(4, 3),
        kl.Flatten(),
    )
    return case(_in_front(*layers, dtype="string"), WORDS)


@model("TextVectorization, masked Embedding", "inputs")
def _():
    layer = kl.TextVectorization(max_tokens=8, output_sequence_length=4)
    layer.adapt(TEXT)
    layers = (layer, kl.Embedding(8, 3, mask_zero=True), kl.GlobalAveragePooling1D())
    return case(_in_front(*layers, shape=(), dtype="string"), TEXT)


@model("CategoryEncoding", "inputs")
def _():
    layer = kl.CategoryEncoding(5, output_mode="multi_hot")
    return case(_in_front(layer, shape=(3,), dtype="int32"), integers(5, EXAMPLES, 3))


@model("Hashing of text", "inputs")
def _():
    layers = (kl.Hashing(4), kl.Embedding(4, 3), kl.Flatten())
    return case(_in_front(*layers, dtype="string"), WORDS)


@model("HashedCrossing of two", "inputs")
def _():
    left, right = keras.Input((1,), dtype="string"), keras.Input((1,), dtype="int64")
    crossed = kl.HashedCrossing(6, output_mode="one_hot")((left, right))
    found = keras.Model([left, right], kl.Dense(1)(nodes()(crossed)))
    return case(found, [WORDS, integers(3, EXAMPLES, 1, dtype="int64")])


@model("int32 inputs to Dense", "inputs")
def _():
    found = _in_front(kl.Dense(5, "tanh"), shape=(4,), dtype="int32")
    return case(found, integers(4, EXAMPLES, 4))


@model("uint8 inputs to nodes", "inputs")
def _():
    return case(_in_front(shape=(4,), dtype="uint8"), integers(4, EXAMPLES, 4, dtype="uint8"))


@model("truth values as inputs", "inputs")
def _():
    x = np.arange(EXAMPLES * 4).reshape(EXAMPLES, 4) % 3 == 0
    inputs = keras.Input((4,), dtype="bool")
    hidden = nodes()(ops.cast(inputs, keras.config.floatx()))
    return case(keras.Model(inputs, kl.Dense(1)(hidden)), x)


@model("float64 examples for a float32 model", "inputs")
def _():
    return case(_in_front(shape=(4,)), numbers(EXAMPLES, 4).astype("float64"))


def _pair():
    age = keras.Input((1,), name="age")
    user = keras.Input((1,), dtype="int32", name="user")
    joined = kl.Concatenate()([kl.Flatten()(kl.Embedding(5, 3)(user)), age])
    return age, user, kl.Dense(1)(nodes()(joined))


def _people():
    return {"user": integers(5, EXAMPLES, 1), "age": numbers(EXAMPLES, 1)}


@model("inputs in a list", "inputs")
def _():
    age, user, outputs = _pair()
    x = _people()
    return case(keras.Model([user, age], outputs), [x["user"], x["age"]])


@model("inputs in a list, examples in a dict", "inputs")
def _():
    age, user, outputs = _pair()
    return case(keras.Model([user, age], outputs), _people())


@model("inputs in a dict", "inputs")
def _():
    age, user, outputs = _pair()
    return case(keras.Model({"age": age, "user": user}, outputs), _people())


@model("a table of text, numbers and classes", "inputs")
def _():
    colour, size = keras.Input((1,), dtype="string", name="colour"), keras.Input((2,), name="size")
    normalised = kl.Normalization()
    sizes = 3 * numbers(EXAMPLES, 2) - 7
    normalised.adapt(sizes)
    words = kl.StringLookup(vocabulary=["red", "green", "blue"], output_mode="multi_hot")
    hidden = kl.Concatenate()([words(colour), normalised(size)])
    outputs = kl.Dense(3, "softmax")(nodes()(hidden))
    x = {"colour": WORDS, "size": sizes}
    return case(keras.Model({"colour": colour, "size": size}, outputs), x, columns=3, loss="labels")
