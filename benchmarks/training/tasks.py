"""The shapes that are timed: their data, their network and how long one measurement is."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.common import Array

WIDTH = 2000
LEARNING_RATE = 1.0
PAIRS = ((1.0, 0.4), (0.0, 0.4))  # (gamma, alpha); at gamma = 1 alpha has no part
STEP_PAIR = PAIRS[-1]  # of the time per step: here weights move most, so a slip shows most


@dataclasses.dataclass(frozen=True, kw_only=True)
class Task:
    """A data set and how it is timed.

    Attributes:
        x, y: training inputs (n, d) and targets (n, K).
        x_test, labels_test: test images and their classes, or None.
        end_time: time t that flow and descent go to.
        descent_runs: whether descent is run to `end_time`; else its time is extrapolated.
        steps: steps in one measurement, about half a second.
        check_steps: steps after which the peers' weights are compared.
    """

    name: str
    x: Array
    y: Array
    x_test: Array | None = None
    labels_test: npt.NDArray[np.int64] | None = None
    end_time: float
    descent_runs: bool
    steps: int
    check_steps: int

    @property
    def shape(self) -> str:
        """The shape in the letters of the paper."""
        (n, d), outputs = self.x.shape, self.y.shape[1]
        return f"n={n} d={d} m={WIDTH} K={outputs}"

    @property
    def x_unit(self) -> Array:
        """The inputs over their spectral norm: products with them never overflow."""
        return self.x / np.float32(np.linalg.norm(self.x, 2))

    def network(self, gamma: float, alpha: float) -> Any:
        """The network of the `authors` protocol, seed 0."""
        import asym_keras as ak

        return ak.shallow_network(
            self.x.shape[1],
            self.y.shape[1],
            width=WIDTH,
            gamma=gamma,
            alpha=alpha,
            protocol="authors",
            seed=0,
        )

    def save(self, path: Path) -> None:
        """Writes what the peers need: data, initial weights, scalings and readout."""
        layer = self.network(*STEP_PAIR).get_layer("asym_scaled_dense")
        np.savez(
            path,
            x=self.x,
            y=self.y,
            x_unit=self.x_unit,
            kernel=layer.kernel.numpy(),
            sqrt_scalings=layer.sqrt_scalings.numpy(),
            readout=layer.readout.numpy(),
            learning_rate=np.float32(LEARNING_RATE),
        )


def simulated() -> Task:
    """The simulated task: `y = (5/d) sum_j sin(pi x_j) + noise`, x on the unit sphere."""
    examples, input_dim = 100, 50
    generator = np.random.default_rng(0)
    x = generator.standard_normal((examples, input_dim))
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    y = 5 / input_dim * np.sin(np.pi * x).sum(axis=1) + generator.standard_normal(examples)
    return Task(
        name="simulated",
        x=x.astype("float32"),
        y=y[:, None].astype("float32"),
        end_time=50_000.0,
        descent_runs=True,
        steps=1000,
        check_steps=20,
    )


def mnist() -> Task:
    """The bundled MNIST in the split of the paper."""
    from asym_keras.datasets import load_mnist

    data = load_mnist()
    return Task(
        name="mnist",
        x=data.x_train,
        y=data.y_train,
        x_test=data.x_test,
        labels_test=data.labels_test,
        end_time=200_000.0,
        descent_runs=False,
        steps=4,
        check_steps=4,
    )


def uci(name: str, end_time: float = 100_000.0) -> Task:
    """A UCI set in the split of the paper. Descent to the end takes minutes: extrapolated."""
    from asym_keras.datasets import load_uci

    data = load_uci(name)
    return Task(
        name=name,
        x=data.x_train,
        y=data.y_train,
        end_time=end_time,
        descent_runs=False,
        steps=200,
        check_steps=20,
    )


TASKS: dict[str, Callable[[], Task]] = {
    "simulated": simulated,
    "mnist": mnist,
    "energy": functools.partial(uci, "energy"),
    "airfoil": functools.partial(uci, "airfoil"),
}
