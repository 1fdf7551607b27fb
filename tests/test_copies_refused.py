"""Models that can't be copied exactly are refused by the name of the layer."""

from __future__ import annotations

import keras
import pytest
from keras import ops
from wild_layers import Plainest, sequential

from asym_keras.copies import copy_model

layers = keras.layers


def patched():
    model = sequential(layers.Dense(2, name="mine"))
    object.__setattr__(model.layers[0], "call", lambda x: x)
    return model


class Between(keras.Model):
    def __init__(self):
        inputs = keras.Input((4,))
        super().__init__(inputs, layers.Dense(1)(inputs))

    def call(self, x, training=None):
        return 2 * super().call(x)


def tied():
    dense, inputs = layers.Dense(4), keras.Input((4,))
    again = layers.Lambda(lambda t: ops.matmul(t, dense.kernel), name="tied")
    return keras.Model(inputs, again(dense(inputs)))


class Reshaped(layers.Layer):
    """Its configuration forgets how large its weight is."""

    def __init__(self, units=2, **options):
        super().__init__(**options)
        self.units = units

    def build(self, shape):
        self.kernel = self.add_weight(shape=(4, self.units), name="kernel")

    def call(self, x):
        return ops.sum(x @ self.kernel, axis=-1, keepdims=True)

    def get_config(self):
        return {"name": self.name}

    @staticmethod
    def model():
        return sequential(Reshaped(5))


def in_a_wrapper_and_in_the_graph():
    dense = layers.Dense(4)
    return sequential(layers.TimeDistributed(dense), dense, shape=(3, 4))


def in_two_wrappers():
    dense = layers.Dense(4)
    stack = layers.TimeDistributed(dense, name="one"), layers.TimeDistributed(dense, name="two")
    return sequential(*stack, shape=(3, 4))


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (
            in_a_wrapper_and_in_the_graph,
            r"in one place, .* in 'time_distributed.* and in the graph",
        ),
        (in_two_wrappers, r"in one place, .* in 'one' \(TimeDistributed\) and in 'two'"),
        (tied, "received 'tied' .*, which uses weights of other layers"),
        (Reshaped.model, "to be the same once made again .* received kernel of shape"),
        (Plainest, "Plainest"),
        (Between, "Between"),
        (patched, r"'mine' \(Dense\), whose call was replaced"),
    ],
)
def test_what_no_configuration_tells_is_refused_by_name(make, words):
    with pytest.raises(ValueError, match=words):
        copy_model(make())
