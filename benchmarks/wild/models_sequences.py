"""Recurrent models, attention and embeddings, masks, series of any length."""

from __future__ import annotations

import keras
from keras import layers as kl
from keras import ops

from benchmarks.wild.entry import (
    EXAMPLES,
    MASKED,
    POSITIONS,
    STATE,
    Case,
    case,
    cut,
    integers,
    model,
    no,
    nodes,
    numbers,
    refuse,
    sequential,
)

SERIES = (4, 3)
NTG = ("auto", "structured", "jacobian", "closed form", "float64", "ntg_predict")


def series():
    return numbers(EXAMPLES, *SERIES)


def tokens(high: int = 6, length: int = 4):
    return integers(high, EXAMPLES, length)


@model("LSTM", "sequences", recurrent=True)
def _():
    return case(sequential(kl.LSTM(4), nodes(), kl.Dense(1), shape=SERIES), series(), loss="own")


@model("GRU over GRU", "sequences", recurrent=True)
def _():
    layers = (kl.GRU(3, return_sequences=True), kl.GRU(3, reset_after=False), nodes(), kl.Dense(1))
    return case(sequential(*layers, shape=SERIES), series())


@model("SimpleRNN and nodes at each step", "sequences", recurrent=True)
def _():
    layers = (kl.SimpleRNN(3, return_sequences=True), nodes(), kl.GlobalMaxPooling1D(), kl.Dense(1))
    return case(sequential(*layers, shape=SERIES), series())


@model("Bidirectional GRU", "sequences", recurrent=True)
def _():
    return case(
        sequential(kl.Bidirectional(kl.GRU(3)), nodes(), kl.Dense(1), shape=SERIES), series()
    )


@model("LSTM that reads nodes", "sequences", recurrent=True, **cut("'reader' (LSTM)"))
def _():
    layers = (nodes(), kl.LSTM(3, name="reader"), kl.Dense(1))
    return case(sequential(*layers, shape=SERIES), series())


@model("recurrent dropout", "sequences", recurrent=True, flow=no(STATE, "forget"))
def _():
    first = kl.LSTM(3, recurrent_dropout=0.3, dropout=0.2, seed=0, name="forget")
    return case(sequential(first, nodes(), kl.Dense(1), shape=SERIES), series())


@model("Embedding, Flatten", "sequences")
def _():
    layers = (kl.Embedding(6, 3), kl.Flatten(), nodes(), kl.Dense(3))
    found = sequential(*layers, shape=(4,), dtype="int32")
    return case(found, tokens(), columns=3, loss="logits", output=(0, 1), named=1)


@model("masked Embedding, LSTM", "sequences", recurrent=True)
def _():
    layers = (kl.Embedding(6, 3, mask_zero=True), kl.LSTM(3), nodes(), kl.Dense(1))
    return case(sequential(*layers, shape=(4,), dtype="int32"), tokens())


@model("masked nodes, masked average", "sequences")
def _():
    layers = (kl.Embedding(6, 3, mask_zero=True), nodes(), kl.GlobalAveragePooling1D(), kl.Dense(1))
    return case(sequential(*layers, shape=(4,), dtype="int32"), tokens())


@model(
    "an output with a mask",
    "sequences",
    **refuse("descent", "flow", "probes", reason=MASKED, word="mask"),
    **refuse(*NTG, reason=POSITIONS, word="(None, 4, 1)"),
)
def _():
    layers = (kl.Embedding(6, 3, mask_zero=True), nodes(), kl.Dense(1))
    found = sequential(*layers, shape=(4,), dtype="int32")
    return Case(found, tokens(), numbers(EXAMPLES, 4, 1))


@model(
    "an output for each position",
    "sequences",
    **refuse(*NTG, reason=POSITIONS, word="(None, 4, 2)"),
)
def _():
    layers = (kl.GRU(3, return_sequences=True), nodes(), kl.Dense(2))
    return Case(sequential(*layers, shape=SERIES), series(), numbers(EXAMPLES, 4, 2))


@model("positions of any number", "sequences")
def _():
    layers = (kl.Dense(4, "tanh"), nodes(), kl.GlobalAveragePooling1D(), kl.Dense(1))
    return case(sequential(*layers, shape=(None, 3)), series())


def _attended(inputs):
    attended = kl.MultiHeadAttention(2, 3)(inputs, inputs)
    return kl.LayerNormalization()(kl.Add()([inputs, attended]))


@model("transformer block", "sequences")
def _():
    inputs = keras.Input(SERIES)
    hidden = nodes()(_attended(inputs))
    hidden = kl.GlobalAveragePooling1D()(kl.Add()([kl.Dense(3)(hidden), inputs]))
    return case(keras.Model(inputs, kl.Dense(1)(hidden)), series())


@model("attention over nodes", "sequences", **cut("'heads' (MultiHeadAttention)"))
def _():
    inputs = keras.Input(SERIES)
    hidden = nodes()(inputs)
    hidden = kl.MultiHeadAttention(2, 3, name="heads")(hidden, hidden)
    return case(keras.Model(inputs, kl.Dense(1)(kl.Flatten()(hidden))), series())


@model("Attention with query and values", "sequences")
def _():
    query, values = keras.Input((2, 3), name="query"), keras.Input(SERIES, name="values")
    hidden = kl.Attention(use_scale=True)([kl.Dense(4)(query), kl.Dense(4)(values)])
    hidden = nodes()(kl.Flatten()(hidden))
    found = keras.Model({"query": query, "values": values}, kl.Dense(1)(hidden))
    return case(found, {"query": numbers(EXAMPLES, 2, 3, seed=1), "values": series()})


@model("text as tokens and positions, causal attention", "sequences")
def _():
    inputs = keras.Input((4,), dtype="int32")
    places = kl.Embedding(4, 3)(ops.zeros_like(inputs) + ops.arange(4))
    hidden = kl.Embedding(6, 3)(inputs) + places
    hidden = kl.MultiHeadAttention(1, 3)(hidden, hidden, use_causal_mask=True)
    hidden = nodes()(hidden[:, -1])
    return case(keras.Model(inputs, kl.Dense(2)(hidden)), tokens(), columns=2, loss="logits")


@model("one embedding for two inputs", "sequences")
def _():
    user, friend = keras.Input((1,), dtype="int32"), keras.Input((2,), dtype="int32")
    shared = kl.Embedding(6, 3)
    joined = kl.Concatenate(axis=1)([shared(user), shared(friend)])
    hidden = nodes()(kl.Flatten()(joined))
    return case(keras.Model([user, friend], kl.Dense(1)(hidden)), [tokens(6, 1), tokens(6, 2)])


@model("TimeDistributed Dense, TimeDistributed convolution", "sequences")
def _():
    layers = (kl.TimeDistributed(kl.Conv1D(3, 2)), kl.TimeDistributed(kl.Flatten()))
    rest = (kl.TimeDistributed(kl.Dense(4, "tanh")), kl.Flatten(), nodes(), kl.Dense(1))
    return case(sequential(*layers, *rest, shape=(2, 4, 3)), numbers(EXAMPLES, 2, 4, 3))
