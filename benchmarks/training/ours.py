"""Our side of the benchmark: descent, its bare matrix products, and runs to an end time."""

from __future__ import annotations

import time

import numpy as np
import tensorflow as tf

import asym_keras as ak
from benchmarks.common import Array
from benchmarks.training.results import Descent, Solution
from benchmarks.training.tasks import LEARNING_RATE, STEP_PAIR, Task

FLOW_TOLERANCE = 1e-2

tf.get_logger().setLevel("ERROR")  # that we trace the same function often is on purpose


class Ours:
    """Descent on one task, compiled once and then measured again and again."""

    def __init__(self, task: Task):
        self._task = task
        objective = ak.training.Objective(task.network(*STEP_PAIR), task.x, task.y)
        self._run = ak.training.GradientDescent(LEARNING_RATE).start(objective)
        self._products = tf.function(_products, jit_compile=objective.jit_compile)
        self._x_unit = tf.constant(task.x_unit)
        self._measure_steps()  # compiles, and learns how many steps fit into one call
        self._measure_products()
        compiled = "XLA" if objective.jit_compile else "oneDNN kernels"
        self.result = Descent(f"ours (TensorFlow {tf.__version__}, {compiled})")

    def measure(self, repeats: int) -> None:
        """Adds `repeats` measurements to `result`."""
        for _ in range(repeats):
            self.result.step_seconds.append(self._measure_steps())
            self.result.product_seconds.append(self._measure_products())

    def _measure_steps(self) -> float:
        end = self._run.time + LEARNING_RATE * self._task.steps
        began = time.perf_counter()
        while self._run.time < end:
            self._run.advance(end, end)
        return (time.perf_counter() - began) / self._task.steps

    def _measure_products(self) -> float:
        weights = self._run.weights[0]
        began = time.perf_counter()
        self._products(self._x_unit, weights, tf.constant(self._task.steps)).numpy()
        return (time.perf_counter() - began) / self._task.steps


def _products(x, weights, steps):
    """The two large products of a step, forward and backward, and nothing else."""
    return tf.while_loop(
        lambda i, _: i < steps,
        lambda i, w: (i + 1, tf.matmul(x, tf.matmul(x, w), transpose_a=True)),
        (tf.constant(0), weights),
    )[1]


def weights_after(task: Task, steps: int) -> tuple[Array, Array]:
    """Kernel before and after `steps` steps of descent, each (d, m)."""
    model = task.network(*STEP_PAIR)
    kernel = model.get_layer("asym_scaled_dense").kernel
    before = kernel.numpy()
    method = ak.training.GradientDescent(LEARNING_RATE)
    end = LEARNING_RATE * steps
    ak.training.train(
        model, task.x, task.y, method=method, end_time=end, times=[end], progress=False
    )
    return before, kernel.numpy()


def solve(task: Task, gamma: float, alpha: float, *, flow: bool) -> Solution:
    """One call of `train` to the task's end time: tracing and compilation are in its time."""
    model = task.network(gamma, alpha)
    method = (
        ak.training.GradientFlow(rtol=FLOW_TOLERANCE, atol=FLOW_TOLERANCE)
        if flow
        else ak.training.GradientDescent(LEARNING_RATE)
    )
    end = task.end_time
    began = time.perf_counter()
    history = ak.training.train(
        model, task.x, task.y, method=method, end_time=end, times=[end], progress=False
    )
    seconds = time.perf_counter() - began
    accuracy = None
    if task.labels_test is not None:
        predicted = np.argmax(model.predict(task.x_test, batch_size=1000, verbose=0), axis=1)
        accuracy = float(np.mean(predicted == task.labels_test))
    return Solution([seconds], history[-1]["train_risk"], history[-1]["gradients"], accuracy)
