"""Functional models made from a recipe of small integers: what a property test draws.

Any recipe gives a model: each step takes a tensor that is there, counted from the last one, modulo
how many there are, and a step that does not fit what it takes is left out. So every part of a
recipe can be made smaller, and a recipe that fails can be written down.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
from keras import layers as kl
from keras import ops

from asym_keras.layers import AsymScaledDense
from benchmarks.wild.entry import EXAMPLES, Case, Entry, scatter_statistics

ACTIVATIONS = ("tanh", "gelu", "sigmoid", "softplus", "linear", "elu")
Step = tuple[int, int, int]  # kind of step, which tensor, option


@dataclasses.dataclass(frozen=True)
class Recipe:
    """What a model is made from.

    Attributes:
        inputs: kinds of inputs, 0 to 3: a row of numbers, a series, tokens, small integers.
        steps: one layer each.
        outputs: columns of each of one or two outputs, at least 1.
        nodes: whether the last hidden tensor goes through an `AsymScaledDense`.
        seed: of weights and examples.
    """

    inputs: tuple[int, ...]
    steps: tuple[Step, ...]
    outputs: tuple[int, ...]
    nodes: bool
    seed: int


def entry(recipe: Recipe) -> Entry:
    """An entry like those of the table, with nothing known of what is refused."""
    return Entry(str(recipe), "drawn", lambda: build(recipe), {})


def build(recipe: Recipe) -> Case:
    """The model of a recipe, examples and targets."""
    generator = np.random.default_rng(recipe.seed)
    inputs, x = [], []
    for place, kind in enumerate(recipe.inputs):
        tensor, values = _INPUTS[kind % len(_INPUTS)](place, generator)
        inputs.append(tensor)
        x.append(values)
    tensors = [_as_numbers(t) for t in inputs]
    made: list[kl.Layer] = []
    for kind, place, option in recipe.steps:
        step = _STEPS[kind % len(_STEPS)]
        found = step(tensors, tensors[-1 - place % len(tensors)], option, made)
        if found is not None:
            tensors.append(found)
    hidden = _flat(tensors[-1])
    if len(inputs) > 1:  # all of them have to count
        hidden = kl.Concatenate()([hidden, *map(_flat, tensors[: len(inputs)])])
    if recipe.nodes:
        hidden = AsymScaledDense(5, gamma=0.5, activation="tanh", seed=recipe.seed)(hidden)
    outputs = [kl.Dense(columns)(hidden) for columns in recipe.outputs]
    model = keras.Model(
        inputs if len(inputs) > 1 else inputs[0], outputs if outputs[1:] else outputs[0]
    )
    scatter_statistics(model)
    targets = generator.normal(size=(EXAMPLES, recipe.outputs[0])).astype("float32")
    several = len(outputs) > 1
    column = recipe.outputs[-1] - 1
    named: Any = (len(outputs) - 1, column) if several else column
    return Case(
        model,
        x if len(x) > 1 else x[0],
        targets,
        output=(len(outputs) - 1, column),
        named=named,
    )


def _row(place: int, generator):
    return keras.Input((4,), name=f"in{place}"), _normal(generator, 4)


def _series(place: int, generator):
    return keras.Input((4, 3), name=f"in{place}"), _normal(generator, 4, 3)


def _tokens(place: int, generator):
    values = generator.integers(0, 5, (EXAMPLES, 3)).astype("int32")
    return keras.Input((3,), dtype="int32", name=f"in{place}"), values


def _small(place: int, generator):
    values = generator.integers(0, 4, (EXAMPLES, 3)).astype("uint8")
    return keras.Input((3,), dtype="uint8", name=f"in{place}"), values


def _normal(generator, *shape: int) -> np.ndarray:
    return generator.normal(size=(EXAMPLES, *shape)).astype("float32")


_INPUTS = (_row, _series, _tokens, _small)


def _as_numbers(tensor):
    if tensor.dtype == "int32":
        return kl.Embedding(5, 2)(tensor)
    return kl.Rescaling(0.5)(tensor) if tensor.dtype == "uint8" else tensor


def _flat(tensor):
    return tensor if len(tensor.shape) == 2 else kl.Flatten()(tensor)


def _kept(made: list, layer):
    """The layer, noted, so that a later step may call it again."""
    made.append(layer)
    return layer


def _dense(tensors, tensor, option, made):
    return _kept(made, kl.Dense(2 + option % 4, ACTIVATIONS[option % len(ACTIVATIONS)]))(tensor)


def _nodes(tensors, tensor, option, made):
    activation = ACTIVATIONS[option % len(ACTIVATIONS)]
    layer = AsymScaledDense(3 + option % 4, gamma=0.5, activation=activation, seed=option)
    return _kept(made, layer)(tensor)


def _nodes_with_outputs(tensors, tensor, option, made):
    return _kept(made, AsymScaledDense(4, 1 + option % 3, gamma=0.5, seed=option))(tensor)


def _again(tensors, tensor, option, made):
    """A layer called once more, on what it takes."""
    if not made:
        return None
    layer = made[option % len(made)]
    fits = tensor.shape[-1] == layer.kernel.shape[0]
    return layer(tensor) if fits else None


def _activation(tensors, tensor, option, made):
    layers = (kl.ReLU(), kl.Softmax(), kl.LeakyReLU(), kl.Activation("silu"))
    return layers[option % len(layers)](tensor)


def _dropout(tensors, tensor, option, made):
    return kl.Dropout(0.3, seed=option)(tensor)


def _normalised(tensors, tensor, option, made):
    if option % 3 == 2:
        return kl.LayerNormalization()(tensor)
    return kl.BatchNormalization(trainable=option % 3 == 0)(tensor)


def _joined(tensors, tensor, option, made):
    other = tensors[option % len(tensors)]
    if len(tensor.shape) != len(other.shape) or tensor.shape[1:-1] != other.shape[1:-1]:
        tensor, other = _flat(tensor), _flat(other)
    return kl.Concatenate()([tensor, other])


def _added(tensors, tensor, option, made):
    other = tensors[option % len(tensors)]
    if tensor.shape != other.shape:
        return None
    return kl.Multiply()([tensor, other]) if option % 2 else kl.Add()([tensor, other])


def _reshaped(tensors, tensor, option, made):
    if len(tensor.shape) == 3:
        return kl.Permute((2, 1))(tensor) if option % 2 else kl.Flatten()(tensor)
    return kl.Reshape((tensor.shape[-1], 1))(tensor) if option % 2 else kl.Reshape((1, -1))(tensor)


def _convolved(tensors, tensor, option, made):
    if len(tensor.shape) != 3:
        return None
    return kl.Conv1D(2 + option % 3, 2, padding="same", activation="tanh")(tensor)


def _pooled(tensors, tensor, option, made):
    if len(tensor.shape) != 3:
        return None
    layers = (
        kl.GlobalAveragePooling1D(),
        kl.GlobalMaxPooling1D(),
        kl.AveragePooling1D(2, padding="same"),
    )
    return layers[option % len(layers)](tensor)


def _operation(tensors, tensor, option, made):
    operations: Sequence[Callable] = (
        ops.sin,
        lambda t: t * 0.5 + 1.0,
        lambda t: ops.roll(t, 1, axis=-1),
        lambda t: t[:, ::-1],
        lambda t: ops.square(t) / 4,
    )
    return operations[option % len(operations)](tensor)


_STEPS = (
    *(_dense, _nodes, _activation, _joined, _reshaped, _normalised, _added, _operation),
    *(_convolved, _pooled, _dropout, _again, _nodes_with_outputs),
)
