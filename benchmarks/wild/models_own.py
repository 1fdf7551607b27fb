"""Models and layers of somebody's own: subclasses, closures, attributes, odd weights."""

from __future__ import annotations

import keras
from keras import layers as kl
from keras import ops

from benchmarks.wild.entry import (
    MIXED,
    STATE,
    TIED,
    UNKNOWN,
    case,
    model,
    no,
    nodes,
    numbers,
    own_call,
    refuse,
    sequential,
)

registered = keras.saving.register_keras_serializable(package="wild")


@registered
class Twice(keras.Model):
    def __init__(self, **options):
        inputs = keras.Input((4,))
        super().__init__(inputs, nodes(6, 1)(inputs), **options)

    def call(self, x, training=None):
        return 2 * super().call(x)

    def get_config(self):
        return {}

    @classmethod
    def from_config(cls, config):
        return cls()


@model("functional subclass with a call of its own", "own", **own_call("Twice"))
def _():
    return case(Twice())


@registered
class Plainest(keras.Model):
    def __init__(self, **options):
        super().__init__(**options)
        self.hidden, self.readout = nodes(), kl.Dense(1)

    def call(self, x):
        return self.readout(self.hidden(x))


@model("subclass with call(self, x)", "own", **own_call("Plainest"))
def _():
    found = Plainest()
    found(numbers(5, 4))
    return case(found)


@registered
class Product(keras.Model):
    def __init__(self, **options):
        super().__init__(**options)
        self.hidden, self.readout = nodes(), kl.Dense(2)
        self.drop = kl.Dropout(0.3, seed=4, name="drop")

    def call(self, pair, training=None):
        return self.readout(self.drop(self.hidden(pair[0] * pair[1]), training=training))


@model(
    "subclass with two inputs and Dropout",
    "own",
    flow=no(STATE, "drop (Dropout)"),
    **own_call("Product"),
)
def _():
    found, x = Product(), [numbers(5, 4), numbers(5, 4, seed=1)]
    found(x)
    return case(found, x, columns=2, output=(0, 1), named=1)


@registered
class Named(keras.Model):
    def __init__(self, **options):
        super().__init__(**options)
        self.blocks = [kl.Dense(4, "tanh"), nodes(), kl.Dense(1)]

    def call(self, x):
        hidden = ops.concatenate([x["a"], x["b"]], axis=-1)
        for block in self.blocks:
            hidden = block(hidden)
        return {"score": hidden, "hidden": hidden**2}["score"]


@model("subclass with a dict of inputs and a list of layers", "own", **own_call("Named"))
def _():
    found, x = Named(), {"a": numbers(5, 2), "b": numbers(5, 2, seed=1)}
    found(x)
    return case(found, x)


@registered
class Residual(kl.Layer):
    """A block of layers in a layer."""

    def __init__(self, units, **options):
        super().__init__(**options)
        self.units = units
        self.inner = [kl.Dense(units, "tanh"), kl.Dense(units)]

    def build(self, shape):
        for layer in self.inner:
            layer.build((*shape[:-1], self.units))

    def call(self, x):
        return x + self.inner[1](self.inner[0](x))

    def get_config(self):
        return {**super().get_config(), "units": self.units}


@model("a block of layers in a layer", "own")
def _():
    return case(sequential(Residual(4), nodes(), kl.Dense(1)))


@registered
class Attribute(kl.Layer):
    def __init__(self, **options):
        super().__init__(**options)
        self.inputs = 4

    def call(self, x):
        return x / self.inputs


@model("a layer with an attribute called inputs", "own")
def _():
    return case(sequential(Attribute(), nodes(), kl.Dense(1)))


@registered
class Temperature(kl.Layer):
    def build(self, shape):
        self.t = self.add_weight(shape=(), initializer="ones")

    def call(self, x):
        return x * self.t


@model("a scalar weight", "own")
def _():
    return case(sequential(nodes(), kl.Dense(1), Temperature()))


@registered
class Penalised(kl.Layer):
    def call(self, x):
        self.add_loss(0.1 * ops.mean(x**2))
        return x


@model("a layer with add_loss", "own")
def _():
    return case(sequential(nodes(), Penalised(), kl.Dense(1)))


@registered
class Counter(kl.Layer):
    """Counts the calls in training, and scales by the count."""

    def build(self, shape):
        self.count = self.add_weight(shape=(), initializer="ones", trainable=False)

    def call(self, x, training=None):
        if training:
            self.count.assign(self.count + 1)
        return x / self.count


@model("a layer that counts its calls", "own", flow=no(STATE, "counter (Counter)"))
def _():
    return case(sequential(nodes(), kl.Dense(1), Counter(name="counter")))


UNSEEN = no(UNKNOWN, "structured")
UNSAVED = "Keras does not save it: a function's globals, or a layer without get_config"


@model(
    "weights tied by a Lambda",
    "own",
    structured=UNSEEN,
    **refuse("save, load", reason=UNSAVED, word="'ops' is not defined"),
    **refuse("float64", "ntg_predict", reason=TIED, word="tied"),
    **refuse("keep all", "masking", reason=TIED, word="'tied' (Lambda)"),
)
def _():
    dense, inputs = kl.Dense(5, activation="tanh"), keras.Input((4,))
    hidden = nodes(5)(dense(inputs))
    tied = kl.Lambda(
        lambda t: ops.matmul(t, ops.transpose(dense.kernel)), name="tied", output_shape=(4,)
    )
    return case(keras.Model(inputs, tied(hidden)), columns=4, output=(0, 2), named=2)


@model("Lambda and numbers from outside", "own")
def _():
    factor = 1.7
    scaled = kl.Lambda(lambda t: factor * t**3, output_shape=(4,))
    return case(sequential(scaled, nodes(), kl.Dense(1)))


class Borrower(kl.Layer):
    """Uses the weights of a layer that it was given."""

    def __init__(self, lender, **options):
        super().__init__(**options)
        self._lender = [lambda: lender]

    def call(self, x):
        return ops.matmul(x, ops.transpose(self._lender[0]().kernel))

    def compute_output_shape(self, shape):
        return (*shape[:-1], self._lender[0]().kernel.shape[0])


@model(
    "a layer that uses another's weights",
    "own",
    structured=UNSEEN,
    **refuse("save, load", reason=UNSAVED, word="Borrower"),
    **refuse("float64", "ntg_predict", reason=TIED, word="borrower"),
    **refuse("keep all", "masking", reason=TIED, word="'borrower' (Borrower)"),
)
def _():
    lender, inputs = kl.Dense(5, "tanh"), keras.Input((4,))
    hidden = nodes(5)(lender(inputs))
    return case(keras.Model(inputs, Borrower(lender, name="borrower")(hidden)), columns=4)


@registered
class Shifting(kl.Layer):
    """Adds each node to its neighbour."""

    def call(self, x):
        return x + ops.roll(x, 1, axis=-1)


@model(
    "a layer that mixes nodes",
    "own",
    **refuse("keep all", "masking", reason=MIXED, word="'shifting' (Shifting)"),
)
def _():
    return case(sequential(nodes(), Shifting(name="shifting"), kl.Dense(1)))


@registered
class Squared(kl.Layer):
    def call(self, x):
        return ops.square(x) + 0.5


@model("a layer that takes nodes one by one", "own")
def _():
    return case(sequential(nodes(), Squared(), kl.Dense(1)))
