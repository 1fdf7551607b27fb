"""Runs as one process of a strategy, and writes down what each case of training came to.

    python strategy_worker.py {none,mirrored,multiworker} {cases,killed,resumed,differing,apart} DIR

Two replicas: two logical CPU devices, or two processes that TF_CONFIG names.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from problems import tanh_problem
from training_runs import Weights

from asym_keras.training import GradientDescent, GradientFlow, WorkerLostError, train

EXAMPLES = 15  # two do not divide it, nor a mini-batch of 7 or the last one, of 1


def penalised_problem(dtype, *, examples):
    """A model with a penalty on its weights, which is no mean over examples."""
    generator = np.random.default_rng(0)
    x = generator.normal(size=(examples, 4)).astype(dtype)
    dense = keras.layers.Dense(
        1,
        kernel_initializer=keras.initializers.GlorotUniform(1),
        kernel_regularizer="l2",
        dtype=dtype,
    )
    return keras.Sequential([keras.Input((4,), dtype=dtype), dense]), x, np.sin(x[:, :1])


PLAIN = {"jit_compile": False}  # XLA takes longer to compile than these run
# Problem, dtype, method, time; 200 steps of descent.
CASES = {
    "full batch, float64": (tanh_problem, "float64", GradientDescent(0.5), 100.0),
    "mini-batches, float64": (tanh_problem, "float64", GradientDescent(0.25, batch_size=7), 50.0),
    "flow, float64": (tanh_problem, "float64", GradientFlow(1e-5, 1e-5), 100.0),
    "penalty, float64": (penalised_problem, "float64", GradientDescent(0.05, **PLAIN), 1.0),
    "full batch, float32": (tanh_problem, "float32", GradientDescent(0.5, **PLAIN), 100.0),
    "mini-batches, float32": (
        *(tanh_problem, "float32", GradientDescent(0.25, batch_size=7, **PLAIN), 50.0),
    ),
    "flow, float32": (tanh_problem, "float32", GradientFlow(1e-2, 1e-2, **PLAIN), 100.0),
}
RECORDS = 6
KILLED = "flow, float64"  # the case whose second worker dies


def make_strategy(kind: str):
    """A strategy of two replicas; None for `none`."""
    if kind == "multiworker":
        return tf.distribute.MultiWorkerMirroredStrategy()
    if kind == "mirrored":
        cpu = tf.config.list_physical_devices("CPU")[0]
        tf.config.set_logical_device_configuration(
            cpu, 2 * [tf.config.LogicalDeviceConfiguration()]
        )
        return tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    return None


def run_case(name: str, strategy, *, shift=0.0, probes=None, **options) -> dict[str, np.ndarray]:
    """Records of a case: times, weights, risk and gradients counted."""
    make, dtype, method, end = CASES[name]
    model, x, y = make(dtype, examples=EXAMPLES)

    def risk(model):
        return float(np.mean((model(x, training=False).numpy() - y) ** 2))

    history = train(
        model,
        x,
        y + shift,
        method=method,
        end_time=end,
        times=np.linspace(0, end, RECORDS),
        probes={"weights": Weights(), "risk": risk, **(probes or {})},
        progress=False,
        strategy=strategy,
        **options,
    )
    columns = {column: history.column(column) for column in ("time", "risk", "gradients")}
    return {**columns, "weights": np.stack(history.arrays["weights"])}


class KillAt:
    """A probe that kills its process, as SIGKILL does, at the record of index `record`."""

    def __init__(self, record: int):
        self._left = record

    def __call__(self, model):
        if not self._left:
            os.kill(os.getpid(), signal.SIGKILL)
        self._left -= 1
        return {}


def main(kind: str, mode: str, folder: str) -> None:
    """Runs the cases of a mode and saves their records."""
    strategy = make_strategy(kind)
    first = "TF_CONFIG" not in os.environ or '"index": 0' in os.environ["TF_CONFIG"]
    results = {}
    if mode == "differing":
        try:
            run_case("full batch, float64", strategy, shift=0.0 if first else 1e-9)
        except ValueError as error:
            print("refused:", error)
        return
    if mode == "apart":
        if first:  # a checkpoint that the other does not see
            run_case(KILLED, None, checkpoint=Path(folder) / "0")
        try:
            run_case(KILLED, strategy, checkpoint=Path(folder) / str(int(not first)), resume=True)
        except ValueError as error:
            print("refused:", error)
        return
    for name in CASES:
        options: dict = {}
        if mode in ("killed", "resumed"):
            if name != KILLED:
                continue
            options = {"checkpoint": Path(folder) / name, "checkpoint_seconds": 0.0}
            options |= {"resume": mode == "resumed"}
            if mode == "killed" and not first:
                options["probes"] = {"kill": KillAt(3)}
        began = time.monotonic()
        try:
            records = run_case(name, strategy, **options)
        except WorkerLostError as error:
            print(f"lost after {time.monotonic() - began:.1f} s: {error}")
            sys.exit(1)
        results |= {f"{name}/{key}": value for key, value in records.items()}
    np.savez(Path(folder) / f"{kind}-{mode}-{int(not first)}.npz", **results)


if __name__ == "__main__":
    main(*sys.argv[1:])
