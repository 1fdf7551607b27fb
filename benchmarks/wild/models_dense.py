"""Models of dense layers: stacks, branches, normalisations, penalties, activations."""

from __future__ import annotations

import keras
from keras import layers as kl

from asym_keras.models import shallow_network
from benchmarks.wild.entry import (
    CONSTRAINT,
    MIXED,
    NOTHING,
    OWN_WEIGHTS,
    STATE,
    case,
    model,
    no,
    nodes,
    numbers,
    refuse,
    scatter_statistics,
    sequential,
)


@model("shallow network, two outputs", "shallow")
def _():
    return case(
        shallow_network(4, 2, width=6, gamma=0.5, seed=0), columns=2, output=(0, 1), named=1
    )


@model("shallow network, own scalings, own loss", "shallow")
def _():
    layer = nodes(6, 1, scalings=[0.5, 0.2, 0.1, 0.1, 0.05, 0.05], activation="gelu")
    return case(sequential(layer), loss="own")


@model("MLP", "dense")
def _():
    return case(sequential(kl.Dense(6, "tanh"), kl.Dense(5, "gelu"), kl.Dense(1)))


@model("nodes with a Dense readout", "dense")
def _():
    return case(sequential(nodes(), kl.Dense(3)), columns=3, loss="logits", output=(0, 2), named=2)


@model("stack of two AsymScaledDense", "dense")
def _():
    return case(sequential(nodes(6), nodes(5, 1)))


@model("stack of three AsymScaledDense and Dense", "dense")
def _():
    return case(sequential(nodes(6), nodes(5, seed=2), nodes(4, seed=3), kl.Dense(1)))


@model("nodes that stay when masked (sigmoid after)", "dense")
def _():
    return case(sequential(nodes(), kl.Activation("sigmoid"), kl.Dense(1, use_bias=False)))


@model("nodes returned as they are", "dense")
def _():
    return case(sequential(kl.Dense(5, "tanh"), nodes(6)), columns=6, output=(0, 5), named=5)


@model("wide and deep", "dense")
def _():
    inputs = keras.Input((4,))
    joined = kl.Concatenate()([nodes()(inputs), inputs, kl.Dense(3, "tanh")(inputs)])
    return case(keras.Model(inputs, kl.Dense(1)(joined)))


ADDED = refuse("keep all", "masking", reason=MIXED, word="'added' (Add)")


@model("residual of nodes", "dense", **ADDED)
def _():
    inputs = keras.Input((6,))
    summed = kl.Add(name="added")([inputs, nodes()(inputs)])
    return case(keras.Model(inputs, kl.Dense(1)(summed)), numbers(5, 6))


@model("softmax in Dense, labels", "dense")
def _():
    return case(sequential(nodes(), kl.Dense(3, "softmax")), columns=3, loss="labels")


@model("Softmax layer, one-hot", "dense")
def _():
    layers = (nodes(), kl.Dense(3), kl.Softmax())
    return case(sequential(*layers), columns=3, loss="one_hot", output=(0, 1), named=1)


@model("sigmoid, one output", "dense")
def _():
    return case(sequential(nodes(), kl.Dense(1, "sigmoid")), loss="binary")


@model("LeakyReLU as activation in nodes", "shallow")
def _():
    return case(sequential(nodes(6, 1, activation=kl.LeakyReLU(0.1))))


WEIGHTED = refuse("keep all", "masking", reason=OWN_WEIGHTS, word="activation")


@model("PReLU as activation in nodes", "dense", **WEIGHTED)
def _():
    activation = kl.PReLU(alpha_initializer="ones")
    return case(sequential(nodes(activation=activation), kl.Dense(1)))


@model("softmax as activation in nodes", "dense", **WEIGHTED)
def _():
    return case(sequential(nodes(activation="softmax"), kl.Dense(1)))


@model("PReLU as activation in Dense", "dense")
def _():
    prelu = kl.PReLU(alpha_initializer=keras.initializers.Constant(0.3))
    return case(sequential(nodes(), kl.Dense(4, activation=prelu), kl.Dense(1)))


@model("BatchNormalization", "dense", flow=no(STATE, "averages (BatchNormalization)"))
def _():
    layers = (kl.Dense(5, "relu"), nodes(), kl.BatchNormalization(name="averages"), kl.Dense(1))
    found = sequential(*layers)
    scatter_statistics(found)
    return case(found)


@model("BatchNormalization, frozen", "dense")
def _():
    found = sequential(nodes(), kl.BatchNormalization(trainable=False), kl.Dense(1))
    scatter_statistics(found)
    return case(found)


@model(
    "LayerNormalization after nodes",
    "dense",
    **refuse("keep all", "masking", reason=MIXED, word="'norm' (LayerNormalization)"),
)
def _():
    return case(sequential(nodes(), kl.LayerNormalization(name="norm"), kl.Dense(1)))


@model("Dropout and GaussianNoise", "dense", flow=no(STATE, "drop (Dropout)"))
def _():
    layers = (kl.GaussianNoise(0.1, seed=0), nodes(), kl.Dropout(0.3, seed=1, name="drop"))
    return case(sequential(*layers, kl.Dense(1)))


@model("regularised weights and activities", "dense")
def _():
    first = kl.Dense(5, "tanh", kernel_regularizer="l2", activity_regularizer="l1")
    return case(
        sequential(first, nodes(activity_regularizer="l2"), kl.Dense(1, bias_regularizer="l1"))
    )


@model("constraints", "dense", flow=no(CONSTRAINT, "constrained/kernel"))
def _():
    last = kl.Dense(1, kernel_constraint="non_neg", name="constrained")
    found = case(sequential(nodes(), last))
    found.y = found.y - 3
    return found


@model("frozen layers", "dense")
def _():
    found = sequential(kl.Dense(5, "tanh", trainable=False), nodes(), kl.Dense(1))
    return case(found)


@model(
    "nothing to train",
    "dense",
    **refuse("descent", "flow", reason=NOTHING, word="trainable variables: 0"),
    **refuse(
        "auto", "structured", "jacobian", "float64", "ntg_predict", reason=NOTHING, word="variable"
    ),
    **refuse("closed form", reason=NOTHING, word="trainable"),
)
def _():
    found = sequential(nodes(6, 1))
    found.trainable = False
    return case(found)
