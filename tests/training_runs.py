"""Small training runs that the tests of the training loop share."""

from __future__ import annotations

import time

import keras
import numpy as np
from problems import tanh_problem

from asym_keras.training import GradientDescent, GradientFlow, WeightChange, descent, train


class Weights:
    """A probe that keeps all trained weights, flat."""

    def __call__(self, model):
        return {"weights": weights_of(model)}


class InterruptAt:
    """A probe like Ctrl-C at the record of index `record`."""

    def __init__(self, record: int):
        self._left = record

    def __call__(self, model):
        if not self._left:
            raise KeyboardInterrupt
        self._left -= 1
        return {}


def weights_of(model) -> np.ndarray:
    return np.concatenate([np.ravel(v) for v in model.trainable_variables])


def stateful_problem(dtype="float32"):
    """A model that draws numbers and averages while it trains, and data for it."""
    keras.utils.clear_session()  # as in a new process: automatic names count from the start
    generator = np.random.default_rng(0)
    x = generator.normal(size=(10, 3)).astype(dtype)
    y = generator.normal(size=(10, 1)).astype(dtype)
    model = keras.Sequential(
        [
            keras.Input((3,), dtype=dtype),
            keras.layers.Dense(
                6, kernel_initializer=keras.initializers.GlorotUniform(1), name="hidden"
            ),
            keras.layers.BatchNormalization(momentum=0.8, name="norm"),
            keras.layers.Dropout(0.4, seed=2, name="drop"),
            keras.layers.Dense(
                1, kernel_initializer=keras.initializers.GlorotUniform(3), name="last"
            ),
        ]
    )
    return model, x, y


def run(problem, method, *, end_time, **options):
    """`train` on a model, inputs and targets, without a progress bar."""
    model, x, y = problem
    return train(model, x, y, method=method, end_time=end_time, progress=False, **options)


def rows_of(history) -> list[dict]:
    """The rows without the clock."""
    return [{k: v for k, v in row.items() if k != "wall_seconds"} for row in history.rows]


def assert_bit_identical(history, other):
    assert rows_of(history) == rows_of(other)
    assert history.arrays.keys() == other.arrays.keys()
    for name, arrays in history.arrays.items():
        assert np.stack(arrays).tobytes() == np.stack(other.arrays[name]).tobytes()


# What a resumed run is tested on: problem, method and time of one record.
KINDS = {
    "full batch": (tanh_problem, GradientDescent(0.5), 10.0),
    "mini-batches": (tanh_problem, GradientDescent(0.25, batch_size=4, jit_compile=False), 5.0),
    "stateful": (stateful_problem, GradientDescent(0.0625, batch_size=4, jit_compile=False), 2.0),
    "flow": (tanh_problem, GradientFlow(1e-5, 1e-5, jit_compile=False), 20.0),
}
# Compiled, which takes longer than the run: for the few tests that are about it.
XLA = "stateful, compiled"
KINDS[XLA] = (stateful_problem, GradientDescent(0.0625, batch_size=4, jit_compile=True), 2.0)


def run_kind(kind, *, records=6, probes=None, **options):
    """The model and the history of a run of `kind`, with all weights recorded."""
    make, method, gap = KINDS[kind]
    problem = make()
    times = gap * np.arange(records + 1)
    probes = {"weights": Weights(), "change": WeightChange(), **(probes or {})}
    return problem[0], run(
        problem, method, end_time=times[-1], times=times, probes=probes, **options
    )


def run_slowly(kind, folder, records):
    """A run that saves as often as it can: it is to be killed."""
    descent.CALL_SECONDS = 0.0
    pause = {"pause": lambda model: time.sleep(0.01) or {}}
    run_kind(kind, records=records, probes=pause, checkpoint=folder, checkpoint_seconds=0.0)
