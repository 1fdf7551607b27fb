"""The networks of a command: builds, trains and measures them."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

import asym_keras as ak
from asym_keras.datasets import Dataset
from trainers.nested.data import Rows

if TYPE_CHECKING:
    from trainers.nested.config import Config

CHANNELS = (16, 32)


def build(
    config: Config,
    data: Dataset,
    width: int,
    *,
    steps: int,
    rate: float,
    readout: str = "glorot_uniform",
) -> keras.Model:
    """A compiled network with `width` nodes and one readout, whose kernel begins as `readout`."""
    scaled: dict[str, Any] = {"gamma": config.gamma, "alpha": config.alpha, "seed": config.seed}
    nodes: keras.layers.Layer = (
        keras.layers.Dense(width, activation="relu", name="nodes")
        if config.gamma == 1.0
        else ak.AsymScaledDense(
            width, **scaled, parametrization="standard", use_bias=True, name="nodes"
        )
    )
    last = keras.layers.Dense(data.outputs, kernel_initializer=readout, name="readout")
    model = keras.Sequential(
        [keras.Input((data.input_dim,)), *_body(config, data), nodes, last], name="nested"
    )
    classes = data.is_classification
    model.compile(
        keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(rate, steps)),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True) if classes else "mse",
        metrics=["accuracy" if classes else keras.metrics.MeanSquaredError(name="risk")],
        jit_compile=False,  # to compile would take longer than a small network trains
    )
    return model


def _body(config: Config, data: Dataset) -> list[keras.layers.Layer]:
    """The layers before the nodes."""
    if config.network == "mlp":
        return []
    layers: list[keras.layers.Layer] = [keras.layers.Reshape(image_shape(data))]
    for channels in CHANNELS:
        layers.append(keras.layers.Conv2D(channels, 3, padding="same", activation="relu"))
        layers.append(keras.layers.MaxPooling2D())
    return [*layers, keras.layers.Flatten()]


def image_shape(data: Dataset) -> tuple[int, ...]:
    """Height, width and channels of the images in `data`.

    Raises:
        ValueError: The examples are no images.
    """
    record = data.preprocessing
    shape = None if record is None else record.shape
    if shape is None or len(shape) not in (2, 3):
        raise ValueError(
            f"--network cnn: expected images, received {data.name}, whose examples are vectors. "
            "Use --network mlp."
        )
    return (*shape, 1) if len(shape) == 2 else tuple(shape)


class Costs(keras.callbacks.Callback):
    """The processor seconds of each epoch, without the measurement after it."""

    def __init__(self):
        super().__init__()
        self.seconds: list[float] = []

    def on_epoch_begin(self, epoch, logs=None):
        self._start, self._end = time.process_time(), None

    def on_test_begin(self, logs=None):
        self._end = time.process_time()

    def on_epoch_end(self, epoch, logs=None):
        self.seconds.append((self._end or time.process_time()) - self._start)

    def median(self) -> float:
        """The median over the epochs, since the first one compiles, too."""
        return float(np.median(self.seconds))


def fit(
    config: Config,
    model: keras.Model,
    rows: Rows,
    *,
    held_out: Rows | None = None,
    costs: Costs | None = None,
    callbacks: Any = (),
    verbose: Any = 0,
) -> float:
    """Trains, after the epochs that `costs` has; returns the processor seconds of an epoch."""
    costs = costs or Costs()
    model.fit(
        rows.x,
        rows.y,
        batch_size=config.batch_size,
        initial_epoch=len(costs.seconds),
        epochs=config.epochs,
        validation_data=None if held_out is None else (held_out.x, held_out.y),
        callbacks=[costs, *callbacks],
        verbose=verbose,
    )
    return costs.median()


def steps_of(config: Config, rows: Rows) -> int:
    """Steps of a training on `rows`."""
    return config.epochs * -(-len(rows) // config.batch_size)


def answers(model: Any, x: np.ndarray, tile: int = 1000) -> np.ndarray:
    """Outputs of `model`, without a compiled function for each of many small models."""
    parts = [model(x[i : i + tile], training=False) for i in range(0, len(x), tile)]
    return np.concatenate([keras.ops.convert_to_numpy(part) for part in parts])


def measures(outputs: np.ndarray, y: np.ndarray) -> dict[str, float]:
    """The `risk` of outputs (n, K), and for classes their `accuracy`.

    The risk is the mean squared error; for classes, the cross-entropy of the outputs as logits.
    """
    f = outputs.astype("float64")
    if y.ndim == 2:
        return {"risk": float(np.mean((f - y) ** 2))}
    top = f.max(axis=1, keepdims=True)
    logs = f - top - np.log(np.exp(f - top).sum(axis=1, keepdims=True))
    risk = -logs[np.arange(len(y)), y].mean()
    return {"risk": float(risk), "accuracy": float(np.mean(f.argmax(axis=1) == y))}


def judge(numbers: dict[str, float]) -> float:
    """How good they are, where more is better: the accuracy, or minus the risk."""
    return numbers.get("accuracy", -numbers["risk"])
