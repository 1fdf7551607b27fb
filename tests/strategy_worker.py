"""Runs as one process of a strategy, and writes down what each case of training came to.

    python strategy_worker.py {none,mirrored,multiworker} RESULTS.npz

Two replicas: two logical CPU devices, or two processes that TF_CONFIG names.
"""

from __future__ import annotations

import sys

import numpy as np
import tensorflow as tf
from problems import tanh_problem
from training_runs import Weights

from asym_keras.training import GradientDescent, GradientFlow, train

EXAMPLES = 15  # of no even division by two, nor is the mini-batch of 7 or the last one, of 1
CASES = {
    "full batch, float64": ("float64", GradientDescent(0.5), 100.0),
    "mini-batches, float64": ("float64", GradientDescent(0.25, batch_size=7), 50.0),
    "flow, float64": ("float64", GradientFlow(1e-5, 1e-5), 100.0),
    "full batch, float32": ("float32", GradientDescent(0.5), 100.0),
    "mini-batches, float32": ("float32", GradientDescent(0.25, batch_size=7), 50.0),
    # Loose, as its steps are accepted or not by a comparison that round-off may turn.
    "flow, float32": ("float32", GradientFlow(1e-2, 1e-2), 100.0),
}


def make_strategy(kind: str):
    """A strategy of two replicas; None for `none`."""
    if kind == "multiworker":
        return tf.distribute.MultiWorkerMirroredStrategy()
    if kind == "mirrored":
        cpu = tf.config.list_physical_devices("CPU")[0]
        tf.config.set_logical_device_configuration(cpu, 2 * [tf.config.LogicalDeviceConfiguration()])
        return tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    return None


def run_case(name: str, strategy) -> dict[str, np.ndarray]:
    """Records of a case: times, weights, risk and gradients counted."""
    dtype, method, end = CASES[name]
    model, x, y = tanh_problem(dtype, examples=EXAMPLES)
    weights = Weights()

    def risk(model):
        return float(np.mean((model(x, training=False).numpy() - y) ** 2))

    history = train(
        model,
        x,
        y,
        method=method,
        end_time=end,
        times=np.linspace(0, end, 6),
        probes={"weights": weights, "risk": risk},
        progress=False,
        strategy=strategy,
    )
    columns = {column: history.column(column) for column in ("time", "risk", "gradients")}
    return {**columns, "weights": np.stack(history.arrays["weights"])}


def main(kind: str, path: str) -> None:
    """Runs every case and saves its records."""
    strategy = make_strategy(kind)
    results = {}
    for name in CASES:
        results |= {f"{name}/{key}": value for key, value in run_case(name, strategy).items()}
    np.savez(path, **results)


if __name__ == "__main__":
    main(*sys.argv[1:])
