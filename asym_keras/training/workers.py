"""The processes that train one model together, and what they must agree on."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable, Iterator

import numpy as np
import tensorflow as tf

from asym_keras.tracing import traced_once
from asym_keras.training.errors import WorkerLostError

# TensorFlow ends a collective operation with one of these if another process is gone.
_LOST = (
    tf.errors.UnavailableError,
    tf.errors.AbortedError,
    tf.errors.CancelledError,
    tf.errors.DeadlineExceededError,
)


class Workers:
    """The processes of a `tf.distribute.Strategy`, or this process alone if there is no strategy.

    Every method that communicates must be called by all workers, in the same order.

    Args:
        strategy: None or a strategy.

    Attributes:
        replicas: int, devices of all workers together.
        local: list of int, this worker's replicas; the others have the other numbers.
        count: int, number of workers.
        index: int, of this worker.
        is_first: whether this is worker 0, the one whose clock and files count.
    """

    def __init__(self, strategy: tf.distribute.Strategy | None = None):
        self.strategy = strategy
        self.replicas, self.local = 1, [0]
        if strategy is not None:
            numbers = strategy.experimental_distribute_values_from_function(
                lambda context: context.replica_id_in_sync_group
            )
            self.replicas = int(strategy.num_replicas_in_sync)
            self.local = [int(n) for n in strategy.experimental_local_results(numbers)]
        self.count = self.replicas // len(self.local)
        self.index = self.local[0] // len(self.local)
        self.is_first = self.index == 0
        self._agree: Callable | None = None

    def summed(self, compute: Callable, *arguments) -> list[tf.Tensor]:
        """Adds up what each replica computes, by TensorFlow's all-reduce.

        It may be called inside a `tf.function`.

        Args:
            compute: called as `compute(number, *arguments)` for each replica of this worker, its
                operations on that device; returns a list of tensors.
            arguments: tensors, in any structure.

        Returns:
            The sums over all replicas of all workers, with the same bits on each worker.
        """
        assert self.strategy is not None
        devices = dict(zip(self.local, self.strategy.extended.worker_devices, strict=True))

        def replica(*arguments):
            context = tf.distribute.get_replica_context()
            number = context.replica_id_in_sync_group
            number = int(tf.get_static_value(number) if tf.is_tensor(number) else number)
            # The all-reduce asks each tensor for its device; in a graph, only this tells it.
            with tf.device(devices[number]):
                parts = [tf.identity(part) for part in compute(number, *arguments)]
            return context.all_reduce(tf.distribute.ReduceOp.SUM, parts)

        results = self.strategy.run(replica, args=arguments)
        return [self.strategy.experimental_local_results(result)[0] for result in results]

    def first(self, tensor: tf.Tensor) -> tf.Tensor:
        """Returns the `tensor` of worker 0 on every worker, bit for bit, also in a graph."""
        if self.count == 1:
            return tensor
        # The others add zeros. A product with 0 would be NaN where the tensor holds infinity.
        return self.summed(lambda n, t: [tf.zeros_like(t) if n else t], tensor)[0]

    def agreed(self, number: int) -> int:
        """Returns the `number` of worker 0 on every worker."""
        if self.count == 1:
            return number
        if self._agree is None:
            self._agree = traced_once(self.first, jit_compile=False)
        return int(self._agree(tf.constant(number, tf.int64)))

    def require_equal(self, facts: dict) -> None:
        """Checks that all workers hold the same `facts`: the same names, and values by `repr`.

        Raises:
            ValueError: On every worker, where one differs.
        """
        if self.count == 1:
            return
        names = sorted(facts)
        # 63 bits of a hash stand for each fact.
        hashes = [hashlib.sha256(repr(facts[name]).encode()).digest() for name in names]
        ours = np.array([int.from_bytes(digest[:8], "big") >> 1 for digest in hashes])
        theirs = traced_once(self.first, jit_compile=False)(tf.constant(ours)).numpy()
        differing = [names[i] for i in np.flatnonzero(ours != theirs)]
        marks = np.zeros(self.count, "int64")
        marks[self.index] = len(differing)

        def totals(tensor):  # over the workers
            own = self.local[0]
            return self.summed(lambda n, t: [t if n == own else tf.zeros_like(t)], tensor)[0]

        others = np.flatnonzero(traced_once(totals, jit_compile=False)(tf.constant(marks)))
        if others.size:
            told = f" This is worker {self.index}; it differs in: {', '.join(differing)}."
            raise ValueError(
                "Expected the same model, data and settings on every worker, received others than "
                f"worker 0's on worker {', '.join(map(str, others))}.{told if differing else ''} "
                "Start all workers with one command and the same data."
            )

    def meet(self) -> None:
        """Returns when every worker has called it."""
        self.agreed(0)

    @contextlib.contextmanager
    def loss_told(self) -> Iterator[None]:
        """Turns what TensorFlow says of a lost worker into a `WorkerLostError`."""
        try:
            yield
        except tf.errors.OpError as error:
            lost = isinstance(error, _LOST) or "Collective ops is aborted" in str(error)
            if self.count == 1 or not lost:
                raise
            raise WorkerLostError(
                f"A worker was lost: expected all {self.count} workers to train along, received "
                f"{type(error).__name__} from a collective operation of worker {self.index} (this "
                "one). Start all workers again and resume (--resume, or resume=True): they go on "
                "from the last checkpoint, to the same result."
            ) from error
