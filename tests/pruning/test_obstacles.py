"""What nodes can't go through: refused by the layer's name, with what would do instead."""

from __future__ import annotations

import keras
import numpy as np
import pruning_models as models
import pytest

from asym_keras import AsymScaledDense, prune
from asym_keras.pruning import pruning_curve

layers = keras.layers
ops = keras.ops


def after(*stack, shape=(4,)):
    return keras.Sequential([keras.Input(shape), models.nodes("float32"), *stack])


def function(what, shape=(4,)):
    """A model whose outputs are `what` of the nodes and the inputs."""
    inputs = keras.Input(shape)
    return keras.Model(inputs, what(models.nodes("float32")(inputs), inputs))


def readout(what, shape=(4,)):
    return function(lambda h, x: layers.Dense(2)(what(h, x)), shape)


def shared_readout():
    inputs, others = keras.Input((4,)), keras.Input((models.UNITS,))
    dense = layers.Dense(2)
    outputs = layers.Add()([dense(models.nodes("float32")(inputs)), dense(others)])
    return keras.Model([inputs, others], outputs)


def readout_of_other_constants():
    dense = layers.Dense(2)
    return function(lambda h, x: dense(h) + dense(layers.Activation("sigmoid")(h)))


def shared_head():
    """A nested model that takes features at one call, and others at the next."""
    inputs = keras.Input((models.UNITS,), name="either")
    head = keras.Model(inputs, layers.Dense(2)(inputs), name="head")
    return function(lambda h, x: head(h) + head(layers.Dense(models.UNITS)(x)))


def low_rank():
    model = after(layers.Dense(2, name="low_rank"))
    model.get_layer("low_rank").enable_lora(2)
    return model


def quantised():
    model = after(layers.Dense(2, name="quantised"))
    model.get_layer("quantised").quantize("int8")
    return model


def replaced_call():
    model = after(layers.Dense(2, name="replaced"))
    dense = model.get_layer("replaced")
    call = dense.call
    vars(dense)["call"] = lambda x: 2 * call(x)
    return model


def tied_by_lambda():
    dense = layers.Dense(5)
    tied = layers.Lambda(lambda t: ops.matmul(t, ops.transpose(dense.kernel)), name="tied")
    return function(lambda h, x: tied(dense(h)))


class Decoder(layers.Layer):
    """Half of an autoencoder with one kernel for both halves."""

    def __init__(self, encoder, **kwargs):
        super().__init__(**kwargs)
        self.encoder = encoder

    def call(self, x):
        return ops.matmul(x, ops.transpose(self.encoder.kernel))


def tied_sublayer():
    encoder = layers.Dense(5)
    return function(lambda h, x: Decoder(encoder, name="decoder")(encoder(h)))


def wrapped():
    layer = layers.TimeDistributed(models.nodes("float32", 3))
    return keras.Sequential([keras.Input((5, 4)), layer])


class Subclass(keras.Model):
    def __init__(self):
        super().__init__()
        self.hidden = models.nodes("float32", 3)

    def call(self, x):
        return self.hidden(x)


def subclass():
    model = Subclass()
    model(np.ones((1, 4)))
    return model


def own_features():
    layer = AsymScaledDense(4, name="nodes")
    inputs = keras.Input((4,))
    return keras.Model(inputs, layer(layer(inputs)))


SEQUENCE, IMAGE = (5, 4), (6, 6, 4)
CASES = {
    "layer norm": (
        lambda: after(layers.LayerNormalization(), layers.Dense(2)),
        "LayerNormalization.*Use BatchNorm",
    ),
    "unit norm": (lambda: after(layers.UnitNormalization(), layers.Dense(2)), "UnitNorm.*mixes"),
    "softmax": (lambda: after(layers.Softmax(), layers.Dense(2)), "Softmax.*mixes nodes.*Dense"),
    "softmax activation": (
        lambda: after(layers.Activation("softmax"), layers.Dense(2)),
        "Activation.*mixes nodes",
    ),
    "largest node": (lambda: readout(lambda h, x: ops.max(h, -1, keepdims=True)), "Max.*mixes"),
    "mean": (lambda: readout(lambda h, x: ops.mean(h, -1, keepdims=True)), "Mean.*mixes"),
    "products": (
        lambda: readout(lambda h, x: layers.Flatten()(ops.expand_dims(h, 1) * h[..., None])),
        "Multiply.*mixes",
    ),
    "attention": (lambda: readout(lambda h, x: layers.Attention()([h, h]), SEQUENCE), "Attention"),
    "heads": (
        lambda: readout(lambda h, x: layers.MultiHeadAttention(2, 3)(h, h), SEQUENCE),
        "MultiHeadAttention.*Dense layer",
    ),
    "recurrent": (lambda: after(layers.LSTM(2), shape=SEQUENCE), "LSTM.*AsymScaledDense"),
    "slopes": (lambda: after(layers.PReLU(), layers.Dense(2)), "PReLU.*LeakyReLU"),
    "another branch": (
        lambda: readout(lambda h, x: layers.Add()([h, layers.Dense(models.UNITS)(x)])),
        "Add.*no constant.*Concatenate the branches",
    ),
    "gates": (
        lambda: readout(lambda h, x: layers.Multiply()([h, layers.Dense(models.UNITS)(x)])),
        "Multiply.*tied to the number",
    ),
    "a bias of its own": (lambda: readout(lambda h, x: h + layers.Dense(1)(x)), "Add.*no constant"),
    "numbers for each": (
        lambda: readout(lambda h, x: h * np.arange(12, dtype="float32")),
        "Multiply.*tied",
    ),
    "the first nodes": (lambda: readout(lambda h, x: h[:, :6]), "GetItem.*tied.*Flatten"),
    "halves": (lambda: readout(lambda h, x: ops.split(h, 2, -1)[0]), "Split.*tied"),
    "matrix": (
        lambda: after(layers.Reshape((3, 4)), layers.Flatten(), layers.Dense(2)),
        "Reshape.*no one axis",
    ),
    "no number": (lambda: readout(lambda h, x: ops.log(h)), "Log.*no constant"),
    "other axis": (
        lambda: after(layers.Permute((2, 1)), layers.Dense(2), shape=SEQUENCE),
        "Dense.*last axis is no node's",
    ),
    "norm of positions": (
        lambda: after(layers.BatchNormalization(axis=1), layers.Dense(2), shape=SEQUENCE),
        "BatchNormalization.*another axis",
    ),
    "constants beside zeros": (
        lambda: after(
            layers.Activation("sigmoid"),
            layers.ZeroPadding1D(),
            layers.Flatten(),
            layers.Dense(2),
            shape=SEQUENCE,
        ),
        "ZeroPadding1D.*differs by position",
    ),
    "constants beside padding": (
        lambda: after(
            layers.Activation("sigmoid"), layers.Conv2D(2, 3, padding="same"), shape=IMAGE
        ),
        r"Conv2D.*pads \(same\).*padding='valid'",
    ),
    "groups": (lambda: after(layers.Conv2D(4, 3, groups=2), shape=IMAGE), "Conv2D.*groups=1"),
    "depthwise": (lambda: after(layers.DepthwiseConv2D(3), shape=IMAGE), "DepthwiseConv2D"),
    "einsum": (lambda: after(layers.EinsumDense("ab,bc->ac", 3)), "EinsumDense.*Use Dense"),
    "time": (
        lambda: after(layers.TimeDistributed(layers.Dense(2)), shape=SEQUENCE),
        "TimeDistributed.*every position without it",
    ),
    "low rank": (low_rank, "'low_rank' .Dense., which has a low-rank update.*Prune first"),
    "quantised": (quantised, "'quantised' .Dense., .*quantised kernel"),
    "replaced call": (replaced_call, "'replaced' .Dense., whose call was replaced"),
    "shared readout": (shared_readout, "Dense.*takes other inputs, too. Use two"),
    "readout of others": (readout_of_other_constants, "Dense.*takes other inputs, too"),
    "shared head": (shared_head, "'either' of a nested model, which takes others, too"),
    "tied by lambda": (tied_by_lambda, "'tied' .Lambda., which uses weights of other layers"),
    "tied sublayer": (tied_sublayer, "'decoder' .Decoder., which uses weights of other layers"),
    "wrapper": (wrapped, "a wrapper"),
    "subclass": (subclass, "Subclass.*not a functional or Sequential model"),
    "own features": (own_features, "'nodes'.*takes its own features"),
}


@pytest.mark.parametrize(("make", "what"), CASES.values(), ids=CASES)
def test_what_can_not_be_cut_is_named(make, what):
    with pytest.raises(ValueError, match=f"prune: expected the nodes of 'nodes'.*{what}"):
        prune(make(), 3, layer="nodes")


def test_a_sum_over_positions_of_any_number_is_no_constant():
    model = after(
        layers.Activation("sigmoid"),
        layers.Lambda(lambda t: ops.sum(t, 1)),
        layers.Dense(2),
        shape=(None, 4),
    )
    with pytest.raises(ValueError, match=r"Lambda.*depend on a size that varies"):
        prune(model, 3)


@pytest.mark.parametrize("activation", ["softmax", layers.PReLU()])
def test_activation_that_joins_nodes_or_has_weights_is_refused(activation):
    model = keras.Sequential([keras.Input((4,)), models.nodes("float32", 3, activation=activation)])
    with pytest.raises(
        ValueError, match="expected an elementwise activation without weights in 'n"
    ):
        prune(model, 3)


def test_curves_say_what_stops_the_nodes():
    x, y = np.ones((3, 4)), np.ones((3, 2))
    model = after(layers.LayerNormalization(), layers.Dense(2))
    with pytest.raises(ValueError, match=r"features that go to .*LayerNormalization"):
        pruning_curve(model, x, y, x, y)


def test_models_for_one_batch_size_are_tried_on_several_examples():
    """On one example anything that is added to nodes would pass for a constant."""
    inputs = keras.Input(batch_shape=(1, 4))
    sum_ = models.nodes("float32")(inputs) + layers.Dense(1)(inputs)
    model = keras.Model(inputs, layers.Dense(2)(sum_))
    x = np.ones((1, 4), "float32")
    with pytest.raises(ValueError, match="after which a masked node is no constant"):
        prune(model, keep=4)
    with pytest.raises(ValueError, match="no constant"):
        pruning_curve(model, x, x[:, :2], x, x[:, :2])


def test_as_many_nodes_as_examples_of_a_trial():
    """A bias along the examples' axis would pass for one along the nodes'."""
    inputs = keras.Input((4,))
    hidden = AsymScaledDense(8, gamma=0.5, activation="tanh", seed=0)(inputs)
    model = keras.Model(inputs, layers.Dense(2)(hidden + layers.Dense(1)(inputs)))
    with pytest.raises(ValueError, match="adds other things"):
        prune(model, keep=4)
