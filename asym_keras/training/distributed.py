"""The gradient of the empirical risk, summed over the replicas of a `tf.distribute.Strategy`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from asym_keras.tracing import traced_once
from asym_keras.training.objective import Objective
from asym_keras.training.workers import Workers


class DistributedObjective(Objective):
    """An `Objective` whose gradients are computed by all replicas, each on its own examples.

    Replica p of P gets the examples from `n p // P` to `n (p + 1) // P`; a mini-batch is divided
    the same way. Its risk and gradient, times its share of the examples, are summed by
    TensorFlow's all-reduce, so each worker receives the same bits, and those of `Objective` up to
    round-off:

        grad L = sum_p (n_p / n) grad L_p

    Weights are plain tensors of each worker, the solver runs on all of them.

    Args:
        model, x, y, loss, batch_size, jit_compile: as of `Objective`; `jit_compile` is for the
            replicas' gradients. What communicates can't be compiled with XLA, so the attribute
            `jit_compile`, for solvers, is False.
        workers: whose strategy it is.

    Raises:
        ValueError: As of `Objective`; a model with random or averaged state; fewer examples than
            replicas.
    """

    by_parts = True

    def __init__(
        self,
        model: keras.Model,
        x,
        y,
        *,
        workers: Workers,
        loss="mse",
        batch_size=None,
        jit_compile="auto",
    ):
        super().__init__(model, x, y, loss=loss, batch_size=batch_size, jit_compile=False)
        assert workers.strategy is not None
        self._workers = workers
        if self.indivisible:
            raise ValueError(
                "Expected a model whose risk is a function of its weights alone, and a mean over "
                f"parts of the examples, for replicas, received one with {self.indivisible}. "
                "Remove or freeze them, or train without a strategy."
            )
        replicas = workers.replicas
        if self.examples < replicas:
            raise ValueError(
                f"Expected at least one example for each of the {replicas} replicas, received "
                f"{self.examples} examples. Use fewer devices or workers, or no strategy."
            )
        whole = batch_size is None or batch_size >= self.examples
        options = {"loss": loss, "jit_compile": jit_compile}
        options["batch_size"] = None if whole else -(-batch_size // replicas)
        devices = workers.strategy.extended.worker_devices
        self._replicas = {}
        for number, device in zip(workers.local, devices, strict=True):
            # With mini-batches any example may come to any replica, so each holds all of them.
            rows = self._share(number, self.examples) if whole else slice(None)
            part = tf.nest.map_structure(lambda a, rows=rows: a[rows], (self.x, self.y))
            self._replicas[number] = _Replica(model, *part, device=device, **options)

    def find_kinks(self, step: float) -> None:
        super().find_kinks(step)
        for replica in self._replicas.values():
            replica.kinks = self.kinks

    def gradient(
        self, weights: list, state: list, rows: Any = None, rounding: Any = None, shown: Any = None
    ) -> tuple[tf.Tensor, list, list]:
        """As of `Objective`, with an empty state; it can't be compiled with XLA."""
        count = self.examples if rows is None else int(rows.shape[0])

        def part(number, weights, options):
            own = self._share(number, count)
            if "rows" in options:
                options = {**options, "rows": options["rows"][own]}
            return self._replicas[number].partial(weights, options, own.stop - own.start, count)

        options = {"rows": rows, "rounding": rounding, "shown": shown}
        options = {name: tensor for name, tensor in options.items() if tensor is not None}
        risk, *gradient = self._workers.summed(part, list(weights), options)
        return risk, gradient, []

    def agree(self, tensor: tf.Tensor) -> tf.Tensor:
        return self._workers.first(tensor)

    def agreed(self, number: int) -> int:
        return self._workers.agreed(number)

    def _share(self, replica: int, count: int) -> slice:
        """The part of `count` examples that a replica gets."""
        replicas = self._workers.replicas
        return slice(count * replica // replicas, count * (replica + 1) // replicas)


class _Replica(Objective):
    """The examples of one replica, and all else that its gradient needs, on its device."""

    def __init__(self, model, x, y, *, device: str, **options):
        with tf.device(device):
            # XLA can't read a variable that lies on another device.
            self._frozen = [tf.identity(v.value) for v in model.non_trainable_variables]
            super().__init__(model, x, y, **options)
            self.x, self.y = tf.nest.map_structure(tf.identity, (self.x, self.y))
        self._compiled: dict[tuple, Callable] = {}

    def partial(self, weights, options: dict, size: int, count: int) -> list:
        """Risk and gradient of `size` examples, times `size / count`, as one list."""
        if not size:  # a last mini-batch may have fewer examples than there are replicas
            return [tf.zeros([], self.risk_dtype), *map(tf.zeros_like, weights)]
        share = size / count

        def scaled(weights, options):
            risk, gradient, _ = self.gradient(weights, [], **options)
            return [share * risk, *(share * g for g in gradient)]

        key = (size, count, *options)
        if key not in self._compiled:
            self._compiled[key] = traced_once(scaled, jit_compile=self.jit_compile)
        return self._compiled[key](weights, options)

    def _others(self) -> list[tf.Tensor]:
        return list(self._frozen)
