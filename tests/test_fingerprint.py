"""What counts as another model, for which compiled functions are made anew."""

from __future__ import annotations

import collections
import dataclasses
import functools
import types
import weakref

import keras
import numpy as np
import pytest
from keras import ops
from wild_layers import Scale, examples, sequential

from asym_keras.fingerprint import PerModel, reaches_variables

layers = keras.layers
X = examples()
STATE = {"factor": 2.0}
numbers = types.ModuleType("somebodys_numbers")
numbers.FACTOR = 2.0
DENSE = layers.Dense(3)
DENSE.build((None, 3))


class Settings:
    def __init__(self):
        self.factor = 2.0


class Configured(layers.Layer):
    def __init__(self):
        super().__init__()
        self.settings, self.table = Settings(), np.ones(4, "float32")

    def call(self, x):
        return x * self.settings.factor * self.table


@dataclasses.dataclass(slots=True)
class Slotted:
    factor: float = 2.0


class Shelf:
    factor = 2.0


FACTOR = 2.0
OUTSIDE = layers.Dense(4, "tanh")
OUTSIDE.build((None, 4))


class Roundabout(layers.Layer):
    """What it computes is told by its class, and by what that names."""

    shared = 2.0

    def __init__(self):
        super().__init__()
        self.slotted, self.queue = Slotted(), collections.deque([2.0])
        self.history = 2.0  # Keras gives models such an attribute

    @property
    def doubled(self):
        return FACTOR * self.helper.factor

    def helper(self):
        return None

    helper.factor = 2.0

    def call(self, x):
        x = x * self.shared * self.slotted.factor * self.queue[0] * self.history
        return x * self.doubled * Shelf.factor * numbers.FACTOR


def set_global(model):
    globals()["FACTOR"] += 1.0


def lambda_of_a_global():
    return sequential(layers.Lambda(lambda x: x * STATE["factor"]))


def adapt(model):
    model.layers[0].adapt(X + 5)


def normalized():
    layer = layers.Normalization()
    layer.adapt(X)
    return sequential(layer)


def change_policy(model):
    model.layers[0].dtype_policy = keras.DTypePolicy("mixed_bfloat16")


@pytest.mark.parametrize(
    ("make", "change"),
    [
        (
            lambda: sequential(layers.Dense(2, "tanh")),
            lambda m: setattr(m.layers[0], "activation", keras.activations.linear),
        ),
        (lambda: sequential(Scale()), lambda m: setattr(m.layers[0], "factor", 5.0)),
        (lambda: sequential(Configured()), lambda m: setattr(m.layers[0].settings, "factor", 5.0)),
        (lambda: sequential(Configured()), lambda m: m.layers[0].table.__setitem__(0, 3.0)),
        (normalized, adapt),
        (lambda_of_a_global, lambda m: STATE.__setitem__("factor", STATE["factor"] + 1)),
        (lambda: sequential(layers.Dense(2)), lambda m: m.add(layers.Dense(2))),
        (lambda: sequential(layers.Dense(2)), lambda m: m.layers[0].enable_lora(1)),
        (lambda: sequential(layers.Dense(2)), change_policy),
        (lambda: sequential(Roundabout()), set_global),
        (lambda: sequential(Roundabout()), lambda m: setattr(Roundabout, "shared", 3.0)),
        (lambda: sequential(Roundabout()), lambda m: setattr(Roundabout, "call", Scale.call)),
        (lambda: sequential(Roundabout()), lambda m: setattr(Shelf, "factor", 3.0)),
        (lambda: sequential(Roundabout()), lambda m: setattr(numbers, "FACTOR", 3.0)),
        (lambda: sequential(Roundabout()), lambda m: setattr(m.layers[0].slotted, "factor", 3.0)),
        (lambda: sequential(Roundabout()), lambda m: m.layers[0].queue.append(3.0)),
        (lambda: sequential(Roundabout()), lambda m: setattr(m.layers[0], "history", 3.0)),
        (
            lambda: sequential(Roundabout()),
            lambda m: setattr(Roundabout.helper, "factor", 3.0),
        ),
        (
            lambda: sequential(layers.Lambda(lambda x: OUTSIDE(x))),
            lambda m: setattr(OUTSIDE, "activation", keras.activations.linear),
        ),
        (
            lambda: sequential(layers.Dense(2)),
            lambda m: vars(m.layers[0]).update(call=lambda x: x),
        ),
    ],
    ids=[
        *("activation", "attribute", "attribute of an object", "entry of an array"),
        *("adapted", "global of a lambda", "another layer", "low rank", "policy"),
        *("global of a property", "class attribute", "method", "another class", "module"),
        *("slots", "queue", "name that models have", "attribute of a function"),
        *("layer from outside", "call"),
    ],
)
def test_a_change_empties_what_is_kept(make, change, monkeypatch):
    for thing, name in ((Roundabout, "shared"), (Roundabout, "call"), (Shelf, "factor")):
        monkeypatch.setattr(thing, name, getattr(thing, name))  # as it was, afterwards
    model, per_model = make(), PerModel()
    per_model(model)["key"] = 1
    assert per_model(model) == {"key": 1}
    change(model)
    assert per_model(model) == {}


@pytest.mark.parametrize(
    "stack",
    [
        [layers.Reshape((4, 1)), layers.SimpleRNN(2, dropout=0.1, recurrent_dropout=0.1)],
        [layers.Reshape((4, 1)), layers.Bidirectional(layers.GRU(2, dropout=0.1))],
        [layers.Reshape((4, 1)), layers.RNN([layers.LSTMCell(2), layers.GRUCell(2)])],
        [layers.Dense(3, "relu"), layers.BatchNormalization(), layers.Dropout(0.5)],
        [layers.SpectralNormalization(layers.Dense(3)), layers.GaussianNoise(0.1)],
    ],
    ids=lambda stack: stack[-1].__class__.__name__,
)
def test_calls_change_nothing(stack):
    model = sequential(*stack)
    kept, x = PerModel(), X
    before = kept(model)
    model(x)
    model(x, training=True)
    assert kept(model) is before


def test_training_and_new_weights_change_nothing():
    model, per_model = sequential(layers.Dense(2), layers.Dropout(0.1), Scale()), PerModel()
    per_model(model)["key"] = 1
    model.compile("adam", "mse", metrics=["mae"])
    model.fit(X, X[:, :2], verbose=0)
    model.evaluate(X, X[:, :2], verbose=0)
    model.predict(X, verbose=0)
    model.layers[0].kernel.assign(np.ones((4, 2)))
    assert per_model(model) == {"key": 1}


class Reaching(layers.Layer):
    def call(self, x):
        return ops.matmul(x, DENSE.kernel)


class Owning(layers.Layer):
    def __init__(self):
        super().__init__()
        self.dense = layers.Dense(2)

    def call(self, x):
        return self.dense(x)


class Helped(layers.Layer):
    def call(self, x):
        return self.helper(x)

    def helper(self, x):
        return ops.matmul(x, DENSE.kernel)


class Unhelped(layers.Layer):
    """An attribute has the name of a global."""

    def __init__(self):
        super().__init__()
        self.DENSE = 2.0

    def call(self, x):
        return x * self.DENSE


class Holder:
    def __init__(self, held):
        self.held = held

    def __call__(self, x):
        return x


def built(layer):
    layer(X[:, :3])
    return layer


@pytest.mark.parametrize(
    ("thing", "reaches"),
    [
        (keras.activations.relu, False),
        (lambda x: x * 2.0, False),
        (lambda x: x @ DENSE.kernel, True),
        (lambda x: (lambda: x @ DENSE.kernel)(), True),
        (lambda x, dense=DENSE: x, True),
        (functools.partial(lambda w, x: x, DENSE.kernel), True),
        (Holder([{"deep": DENSE}]), True),
        (Holder(3), False),
        (built(layers.Dense(2)), False),
        (built(Owning()), False),
        (built(Reaching()), True),
        (built(Helped()), True),
        (built(Unhelped()), False),
        (Holder(weakref.ref(DENSE)), True),
        (layers.Lambda(lambda x: DENSE(x)), True),
        (layers.Lambda(lambda x: x + 1), False),
        (built(layers.Dense(2, activation=layers.PReLU())), False),
    ],
)
def test_weights_of_others_are_found_wherever_they_are_held(thing, reaches):
    assert reaches_variables(thing) is reaches
