"""What the table is made of: a model with its examples, and what is expected of it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import keras
import numpy as np

from asym_keras.copies import default_dtype
from asym_keras.graphs import layers_of
from asym_keras.layers import AsymScaledDense

EXAMPLES = 5


@dataclasses.dataclass
class Case:
    """A model, freshly built, and examples for it.

    Attributes:
        x, y: examples as somebody would give them to `fit`.
        loss: name of one of `references.LOSSES`.
        output: `(place, column)` of the output that an NTG is of.
        named: the argument `output` that means the same to `empirical_ntg`.
    """

    model: Any
    x: Any
    y: Any
    loss: str = "mse"
    output: tuple[int, int] = (0, 0)
    named: Any = 0


@dataclasses.dataclass(frozen=True)
class Refusal:
    """A word that the message has to hold, and the reason, for a reader of the table."""

    word: str
    reason: str


@dataclasses.dataclass(frozen=True, eq=False)
class Entry:
    """A row of the table.

    Attributes:
        kind: which test file runs it.
        refusals: operation -> what is refused of it.
        rate: of descent.
        recurrent: whether loops in it make the tracing of a Jacobian long.
    """

    name: str
    kind: str
    build: Callable[[], Case]
    refusals: Mapping[str, Refusal]
    rate: float = 0.05
    recurrent: bool = False

    def fresh(self, dtype: str | None = None) -> Case:
        """The case, the same each time; with `dtype` as the default of Keras while it is built."""
        keras.utils.set_random_seed(0)
        with default_dtype(dtype):
            return self.build()


TABLE: dict[str, Entry] = {}


def model(name: str, kind: str, *, rate=0.05, recurrent=False, **refusals: Refusal):
    """Puts the builder that it decorates into the table."""

    def add(build: Callable[[], Case]) -> Callable[[], Case]:
        assert name not in TABLE, name
        TABLE[name] = Entry(name, kind, build, refusals, rate, recurrent)
        return build

    return add


# What is not for every model, and why.

STATE = "it draws numbers or updates averages in training; a flow is of the weights alone"
CONSTRAINT = "a constraint, which a flow does not keep"
HALF = "weights neither all float32 nor all float64: a flow's steps would be less exact than asked"
OWN_CALL = "a call of one's own: there is no graph of layers to read"
SEVERAL = "several outputs: a risk is of one"
MASKED = "an output with a mask: which positions count is not one risk an example"
POSITIONS = "an output for each position: an NTG is of outputs (n,) or (n, K)"
MIXED = (
    "nodes that are mixed, normalised together or added to other things before a layer reads them"
)
TIED = "weights that another part of the model uses, too"
OWN_WEIGHTS = "an activation with weights, or one that takes all nodes together"
WRAPPED = "nodes in a wrapper, which calls the layer where no graph shows it"
UNKNOWN = "no weights in layers that the structured rules know, or weights that are reached unseen"
LOW_RANK = "low-rank updates, which Keras keeps in the dtype that they were made in"
FIXED_DTYPE = "a layer with a dtype of its own, which a copy does not change"
ROWS = "nodes along an axis that the layer does not read"
NOTHING = "no trainable weights"


def no(reason: str, word: str) -> Refusal:
    """`reason`, with the `word` that has to be in the message."""
    return Refusal(word, reason)


def refuse(*operations: str, reason: str, word: str) -> dict[str, Refusal]:
    """The same refusal of several operations."""
    return {operation: Refusal(word, reason) for operation in operations}


def cut(word: str, reason: str = MIXED) -> dict[str, Refusal]:
    """A refusal of pruning."""
    return refuse("keep all", "masking", reason=reason, word=word)


# The operations that refuse a model with a `call` of its own; the message holds its class.
def own_call(word: str) -> dict[str, Refusal]:
    operations = ("structured", "float64", "ntg_predict", "keep all", "masking")
    return refuse(*operations, reason=OWN_CALL, word=word)


# Parts that builders share.


def numbers(*shape: int, seed: int = 0) -> np.ndarray:
    """Standard normal float32."""
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


def integers(high: int, *shape: int, seed: int = 0, dtype: str = "int32") -> np.ndarray:
    return np.random.default_rng(seed).integers(0, high, shape).astype(dtype)


def nodes(units: int = 6, outputs: int | None = None, **options) -> AsymScaledDense:
    """An `AsymScaledDense` whose nodes all count."""
    options = {"gamma": 0.5, "activation": "tanh", "seed": 1, **options}
    return AsymScaledDense(units, outputs, **options)


def sequential(*layers, shape=(4,), dtype=None) -> keras.Sequential:
    return keras.Sequential([keras.Input(shape, dtype=dtype), *layers])


def case(model_, x=None, *, columns: int = 1, loss: str = "mse", seed: int = 7, **options) -> Case:
    """A `Case` with targets for the loss, of a model with outputs (n, columns)."""
    x = numbers(EXAMPLES, 4) if x is None else x
    labels = np.arange(EXAMPLES) % max(columns, 2)
    targets = {
        "labels": labels,
        "logits": labels,
        "one_hot": np.eye(max(columns, 2), dtype="float32")[labels],
        "binary": labels.astype("float32")[:, None],
    }
    y = targets.get(loss, numbers(EXAMPLES, columns, seed=seed))
    return Case(model_, x, y, loss, **options)


def scatter_statistics(model_) -> None:
    """Gives normalisations other statistics and scales than they begin with."""
    generator = np.random.default_rng(3)
    for layer in layers_of(model_):
        if isinstance(layer, keras.layers.BatchNormalization):
            for variable in layer.variables:
                positive = "variance" in variable.path or "gamma" in variable.path
                shape = variable.shape
                values = (
                    generator.uniform(0.5, 2, shape) if positive else generator.normal(size=shape)
                )
                variable.assign(values.astype("float32"))
