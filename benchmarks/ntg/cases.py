"""The networks whose NTG is timed."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.common import Array

GAMMA, ALPHA = 0.5, 0.5


@dataclasses.dataclass(frozen=True, kw_only=True)
class Case:
    """A network and examples.

    Attributes:
        name: of the row.
        kind: of network: `shallow`, `mlp` or `cnn`.
        examples: n.
        input_shape: of one example.
        width: last axis of the first kernel: m of the shallow network, hidden nodes of the MLP.
        weights: trained weights, p.
        shape: what is special, in words or in the letters of the paper.
    """

    name: str
    kind: str
    examples: int
    input_shape: tuple[int, ...]
    width: int
    weights: int
    shape: str

    @property
    def result_bytes(self) -> int:
        """Of the matrix, float32."""
        return 4 * self.examples**2

    @property
    def gradient_operations(self) -> float:
        """Multiplications and additions of the product of the full gradients."""
        return 2.0 * self.examples**2 * self.weights

    def x(self) -> Array:
        """Standard normal examples: unlike images, they have no ties in their maxima."""
        shape = (self.examples, *self.input_shape)
        return np.random.default_rng(0).standard_normal(shape).astype("float32")

    def save(self, path: Path) -> None:
        """Writes what every program reads: examples, and weights as `<layer>.<weight>`."""
        weights = {
            f"{layer.name}.{weight.name}": weight.numpy()
            for layer in network(self.kind, self.input_shape, self.width).layers
            for weight in layer.weights
        }
        np.savez(path, x=self.x(), **weights)


def network(kind: str, input_shape: tuple[int, ...], width: int) -> Any:
    """The Keras model, always with the same weights; starts TensorFlow."""
    import keras

    import asym_keras as ak

    if kind == "shallow":
        return ak.shallow_network(*input_shape, width=width, gamma=GAMMA, alpha=ALPHA, seed=0)
    keras.utils.set_random_seed(0)
    layers = _mlp(width) if kind == "mlp" else _cnn()
    model = keras.Sequential([keras.Input(input_shape), *layers])
    generator = np.random.default_rng(1)
    for weight in (w for w in model.weights if len(w.shape) == 1):
        # Not the initial zeros and ones: with these a slip would not show.
        if weight.name in ("gamma", "moving_variance"):
            weight.assign(generator.uniform(0.5, 1.5, weight.shape))
        else:
            weight.assign(generator.normal(0, 0.1, weight.shape))
    return model


def _mlp(width: int) -> list:
    from keras import layers

    hidden = [layers.Dense(width, activation="relu", name=f"hidden_{i}") for i in (1, 2, 3)]
    return [*hidden, layers.Dense(1, name="output")]


def _cnn() -> list:
    from keras import layers

    return [
        layers.Conv2D(16, 3, padding="same", activation="relu", name="conv_1"),
        layers.MaxPooling2D(),
        layers.Conv2D(32, 3, padding="same", activation="relu", name="conv_2"),
        layers.BatchNormalization(name="norm"),
        layers.MaxPooling2D(),
        layers.Flatten(),
        layers.Dense(10, name="output"),
    ]


def shallow(n: int, m: int = 2000, d: int = 784) -> Case:
    """The shallow network of Eq. (2)."""
    return Case(
        name=f"shallow-{n}",
        kind="shallow",
        examples=n,
        input_shape=(d,),
        width=m,
        weights=d * m,
        shape=f"n={n} d={d} m={m}",
    )


def mlp(n: int, width: int, d: int = 784) -> Case:
    """Three hidden layers, ReLU, biases."""
    weights = (d + 1) * width + 2 * (width + 1) * width + width + 1
    shape = f"n={n}, {d}-{width}-{width}-{width}-1"
    return Case(
        name="mlp",
        kind="mlp",
        examples=n,
        input_shape=(d,),
        width=width,
        weights=weights,
        shape=shape,
    )


def cnn(n: int) -> Case:
    """Two convolutions and a dense layer, with a batch normalisation in inference."""
    weights = 9 * 16 + 16 + 9 * 16 * 32 + 32 + 2 * 32 + 7 * 7 * 32 * 10 + 10
    shape = f"n={n}, 28x28x1, conv 16, pool, conv 32, batch norm, pool, dense 10"
    return Case(
        name="cnn",
        kind="cnn",
        examples=n,
        input_shape=(28, 28, 1),
        width=16,
        weights=weights,
        shape=shape,
    )


CASES = {
    case.name: case
    for case in (shallow(100), shallow(500), shallow(5000), mlp(500, 1024), cnn(200))
}
