"""Convolutional models, normalisations and poolings between them, images as integers."""

from __future__ import annotations

import keras
from keras import layers as kl

from benchmarks.wild.entry import (
    ROWS,
    STATE,
    case,
    cut,
    integers,
    model,
    no,
    nodes,
    numbers,
    scatter_statistics,
    sequential,
)

IMAGE = (6, 6, 2)


def images(*shape: int):
    return numbers(5, *(shape or IMAGE))


@model("CNN with BatchNormalization", "images", flow=no(STATE, "norm (BatchNormalization)"))
def _():
    convolved = (kl.Conv2D(4, 3, use_bias=False), kl.BatchNormalization(name="norm"), kl.ReLU())
    rest = (kl.MaxPooling2D(), kl.Flatten(), nodes(), kl.Dense(3, "softmax"))
    found = sequential(*convolved, *rest, shape=IMAGE)
    scatter_statistics(found)
    return case(found, images(), columns=3, loss="labels", output=(0, 1), named=1)


@model("residual CNN", "images")
def _():
    inputs = keras.Input(IMAGE)
    first = kl.Conv2D(3, 3, padding="same", activation="gelu")(inputs)
    second = kl.Conv2D(3, 3, padding="same")(first)
    hidden = kl.Activation("tanh")(kl.Add()([first, second]))
    hidden = nodes()(kl.GlobalAveragePooling2D()(hidden))
    return case(keras.Model(inputs, kl.Dense(1)(hidden)), images())


@model("depthwise, dilated and strided convolutions", "images")
def _():
    first = kl.DepthwiseConv2D(3, depth_multiplier=2, activation="tanh", padding="same")
    second = kl.Conv2D(4, 2, dilation_rate=2, activation="gelu")
    third = kl.Conv2D(3, 2, strides=2, padding="same")
    layers = (first, second, third, kl.Flatten(), nodes(), kl.Dense(1))
    return case(sequential(*layers, shape=IMAGE), images())


@model("separable and transposed convolutions", "images")
def _():
    first = kl.SeparableConv2D(4, 3, activation="tanh")
    second = kl.Conv2DTranspose(3, 2, strides=2, activation="gelu")
    layers = (first, second, kl.GlobalMaxPooling2D(), nodes(), kl.Dense(1))
    return case(sequential(*layers, shape=IMAGE), images())


@model("convolution in groups, GroupNormalization", "images")
def _():
    first = kl.Conv2D(4, 3, groups=2, activation="tanh")
    layers = (first, kl.GroupNormalization(2), kl.GlobalAveragePooling2D(), nodes(), kl.Dense(1))
    return case(sequential(*layers, shape=IMAGE), images())


@model("Conv1D over a series", "images")
def _():
    first = kl.Conv1D(4, 3, padding="causal", activation="tanh", dilation_rate=2)
    layers = (first, kl.AveragePooling1D(2), kl.Flatten(), nodes(), kl.Dense(1))
    return case(sequential(*layers, shape=(6, 3)), numbers(5, 6, 3))


@model("Conv3D", "images")
def _():
    layers = (kl.Conv3D(3, 2, activation="tanh"), kl.GlobalAveragePooling3D(), nodes(), kl.Dense(1))
    return case(sequential(*layers, shape=(3, 3, 3, 2)), numbers(5, 3, 3, 3, 2))


@model("convolution that reads nodes", "images")
def _():
    layers = (nodes(), kl.Conv2D(3, 3, activation="tanh"), kl.Flatten(), kl.Dense(1))
    return case(sequential(*layers, shape=(4, 4, 2)), images(4, 4, 2))


@model("padded convolution of nodes that stay when masked", "images", **cut("'reader' (Conv2D)"))
def _():
    reader = kl.Conv2D(3, 3, padding="same", name="reader")
    layers = (nodes(), kl.Activation("sigmoid"), reader, kl.GlobalAveragePooling2D(), kl.Dense(1))
    return case(sequential(*layers, shape=(4, 4, 2)), images(4, 4, 2))


@model("depthwise convolution of nodes", "images", **cut("'reader' (DepthwiseConv2D)"))
def _():
    layers = (nodes(), kl.DepthwiseConv2D(3, name="reader"), kl.Flatten(), kl.Dense(1))
    return case(sequential(*layers, shape=(4, 4, 2)), images(4, 4, 2))


@model("nodes, pooling, Flatten", "images")
def _():
    layers = (nodes(), kl.MaxPooling2D(), kl.Flatten(), kl.Dense(3))
    return case(
        sequential(*layers, shape=(4, 4, 2)), images(4, 4, 2), columns=3, output=(0, 1), named=1
    )


@model("nodes, Reshape, Permute, Flatten", "images")
def _():
    layers = (nodes(), kl.Reshape((4, 6)), kl.Permute((2, 1)), kl.Flatten(), kl.Dense(1))
    return case(sequential(*layers, shape=(2, 2, 3)), images(2, 2, 3))


@model("nodes read along another axis", "images", **cut("'reader' (Dense)", ROWS))
def _():
    layers = (nodes(), kl.Permute((2, 1)), kl.Dense(3, name="reader"), kl.Flatten(), kl.Dense(1))
    return case(sequential(*layers, shape=(4, 3)), numbers(5, 4, 3))


@model("padding, cropping, upsampling", "images")
def _():
    first = kl.Conv2D(3, 2, activation="tanh")
    sizes = (kl.ZeroPadding2D(1), kl.UpSampling2D(2), kl.Cropping2D(((1, 2), (2, 1))))
    layers = (first, *sizes, nodes(), kl.GlobalAveragePooling2D(), kl.Dense(1))
    return case(sequential(*layers, shape=(4, 4, 2)), images(4, 4, 2))


@model("SpatialDropout", "images", flow=no(STATE, "drop (SpatialDropout2D)"))
def _():
    first, drop = kl.Conv2D(4, 3, activation="tanh"), kl.SpatialDropout2D(0.4, seed=3, name="drop")
    layers = (first, drop, kl.Flatten(), nodes(), kl.Dense(1))
    return case(sequential(*layers, shape=IMAGE), images())


@model("uint8 images, Rescaling", "images")
def _():
    first = (kl.Rescaling(1 / 255, offset=-0.5), kl.Conv2D(3, 3, activation="gelu"))
    layers = (*first, kl.Flatten(), nodes(), kl.Dense(1))
    return case(
        sequential(*layers, shape=IMAGE, dtype="uint8"), integers(256, 5, *IMAGE, dtype="uint8")
    )


@model("uint8 images to Dense", "images")
def _():
    layers = (kl.Flatten(), kl.Dense(5, "tanh"), nodes(), kl.Dense(1))
    found = sequential(*layers, shape=(3, 3, 1), dtype="uint8")
    return case(found, integers(9, 5, 3, 3, 1, dtype="uint8"))


@model(
    "random augmentation in front",
    "images",
    flow=no(STATE, "flip (RandomFlip)"),
    export=no("Keras's `export` leaves random augmentation on", "keras.Model.export"),
)
def _():
    layers = (kl.RandomFlip(seed=0, name="flip"), kl.Conv2D(3, 3, activation="tanh"))
    found = sequential(*layers, kl.Flatten(), nodes(), kl.Dense(1), shape=IMAGE)
    return case(found, images())
