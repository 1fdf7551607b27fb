"""Gradient descent `W <- W - eta grad L(W)`, many steps inside one compiled call."""

from __future__ import annotations

import collections
import dataclasses
import functools
import math
import operator
import time
from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np
import tensorflow as tf

from asym_keras.checks import is_whole
from asym_keras.tracing import traced_once
from asym_keras.training.errors import TrainingError
from asym_keras.training.objective import Objective

# A compiled call takes as many steps as fit into this time. Between two calls the progress bar
# moves, checkpoints are written, and Ctrl-C is heard.
CALL_SECONDS = 0.5


@dataclasses.dataclass(frozen=True)
class GradientDescent:
    """Gradient descent with a constant step, the Euler discretisation of gradient flow.

    Constraints of weights are applied after each step, as Keras's optimizers do.

    Args:
        learning_rate: eta. N steps reach the time t = eta N.
        batch_size: examples per step. None: all (full batch). Otherwise each epoch is a new
            permutation, drawn from `seed` and the epoch's number; a last, smaller batch
            is used too.
        seed: int, for the order of mini-batches.
        jit_compile: True, False or "auto" (by the size of a step).
    """

    learning_rate: float = 1.0
    batch_size: int | None = None
    seed: int = 0
    jit_compile: bool | str = "auto"

    def __post_init__(self) -> None:
        if not self.learning_rate > 0 or not np.isfinite(self.learning_rate):
            raise ValueError(
                "GradientDescent: expected a positive learning_rate, received "
                f"{self.learning_rate}."
            )
        if self.batch_size is not None and not is_whole(self.batch_size, 1):
            raise ValueError(
                "GradientDescent: expected batch_size to be an integer of at least 1, or None, "
                f"received {self.batch_size}."
            )

    # Record times have to be whole steps.
    whole_steps: ClassVar[bool] = True

    @property
    def time_step(self) -> float:
        """Time t that one step of the table stands for."""
        return self.learning_rate

    def start(self, objective: Objective, snapshot: Any = None) -> DescentRun:
        """Begins a run at the model's weights, or goes on from `snapshot`."""
        return DescentRun(self, objective, snapshot)


@dataclasses.dataclass(frozen=True)
class DescentState:
    """All that a descent needs to go on. Each call puts a new one in the place of the old one."""

    time: float
    step: int  # number of steps taken
    weights: list[tf.Tensor]
    state: list[tf.Tensor]  # of the model, which changes
    risk: float  # of the last step's examples, before that step; infinite before the first one


class DescentRun:
    """A descent in progress; see `train` for how a run is driven."""

    # Of the state that it is in.
    time = property(operator.attrgetter("_now.time"))
    weights = property(operator.attrgetter("_now.weights"))
    state = property(operator.attrgetter("_now.state"))
    risk = property(operator.attrgetter("_now.risk"))

    def __init__(self, method: GradientDescent, objective: Objective, snapshot=None):
        self._method, self._objective = method, objective
        self._batch = min(method.batch_size or objective.examples, objective.examples)
        # By number of examples: all, a mini-batch, or the smaller last one of an epoch.
        self._steps: dict[int, Callable] = collections.defaultdict(
            lambda: traced_once(self._many_steps, jit_compile=objective.jit_compile)
        )
        self._seconds_per_step = 0.0
        weights, state, step, risk = objective.weights(), objective.state(), 0, math.inf
        if snapshot is not None:
            arrays, values = snapshot
            step, risk = values["step"], values["risk"]
            # Each array leaves the dict as it becomes a tensor: only one exists twice at a time.
            weights = [tf.constant(arrays.pop(f"w{i}")) for i in range(len(weights))]
            state = [tf.constant(arrays.pop(f"s{i}")) for i in range(len(state))]
        self._now = DescentState(step * method.learning_rate, step, weights, state, risk)

    def fraction(self, end: float) -> float:
        """Share of the work to time `end` that is done."""
        return self.time / end

    def counters(self) -> dict[str, int]:
        return {"gradients": self._now.step}

    def estimate(self, end: float) -> tuple[int, float]:
        """How many gradients are left to time `end`, and how long each took in the last call."""
        count = round(end / self._method.learning_rate) - self._now.step
        return max(0, count), self._seconds_per_step

    def advance(self, next_record: float, end: float, target_risk: float = -np.inf) -> None:
        """Takes some steps, but none beyond `next_record`.

        It stops after the step that began at or below `target_risk`. A flow needs `end`; a descent
        does not.

        Raises:
            TrainingError: The risk is not finite any more.
        """
        now, rate = self._now, self._method.learning_rate
        left = round(next_record / rate) - now.step
        count = min(left, self._left_in_epoch(), self._affordable())
        began = time.perf_counter()
        done, risk, weights, state = self._call(now, count, target_risk)
        done, risk = int(done), float(risk)
        self._seconds_per_step = (time.perf_counter() - began) / done
        finite = all(bool(tf.reduce_all(tf.math.is_finite(w))) for w in weights)
        if not (np.isfinite(risk) and finite):
            raise TrainingError(
                f"Gradient descent diverged: the risk is {risk} at step {now.step + done - 1}. "
                f"The state at step {now.step} is kept. Expected learning_rate below "
                f"2 / (largest Hessian eigenvalue), received {rate}: use a smaller one, or "
                "GradientFlow."
            )
        step = now.step + done
        self._now = DescentState(step * rate, step, weights, state, risk)

    def at(self, when: float) -> list[tf.Tensor]:
        """Weights at the time `when`, which must be the time reached."""
        assert abs(when - self.time) <= 1e-6 * max(1.0, when)
        return self.weights

    def snapshot(self) -> tuple[dict[str, tf.Tensor], dict]:
        now = self._now
        arrays = {f"w{i}": w for i, w in enumerate(now.weights)}
        arrays |= {f"s{i}": s for i, s in enumerate(now.state)}
        return arrays, {"step": now.step, "risk": now.risk}

    def _affordable(self) -> int:
        if not self._seconds_per_step:
            return 1
        return self._objective.agreed(max(1, int(CALL_SECONDS / self._seconds_per_step)))

    @property
    def _steps_per_epoch(self) -> int:
        return -(-self._objective.examples // self._batch)

    def _left_in_epoch(self) -> int:
        """Steps that one call may take: all whole batches of an epoch, or its smaller last one."""
        if self._batch == self._objective.examples:
            return 2**31 - 1
        whole = self._objective.examples // self._batch
        done = self._now.step % self._steps_per_epoch
        return whole - done if done < whole else 1

    def _call(self, now: DescentState, count: int, target_risk: float):
        examples, batch = self._objective.examples, self._batch
        limits = tf.constant(count), tf.constant(target_risk, self._objective.risk_dtype)
        if batch == examples:
            return self._steps[batch](now.weights, now.state, *limits)
        epoch, done = divmod(now.step, self._steps_per_epoch)
        order = _permutation(self._method.seed, epoch, examples)
        size = min(batch, examples - done * batch)
        rows = order[done * batch : done * batch + count * size].reshape(count, size)
        # Padded to a fixed number of rows, so that one trace serves any number of whole batches.
        padded = np.zeros((max(1, examples // batch) if size == batch else 1, size), "int32")
        padded[:count] = rows
        return self._steps[size](now.weights, now.state, *limits, tf.constant(padded))

    def _many_steps(self, weights, state, count, target, *rows):
        objective, rate = self._objective, self._method.learning_rate

        def step(i, _, weights, state):
            chosen = (batches[i] for batches in rows)  # none: all examples
            risk, gradient, state = objective.gradient(weights, state, *chosen)
            stepped = [w - rate * g for w, g in zip(weights, gradient, strict=True)]
            return i + 1, risk, objective.constrain(stepped), state

        infinity = tf.constant(np.inf, objective.risk_dtype)
        # NaN is not above the target, so the loop ends at a risk of NaN, too.
        return tf.while_loop(
            lambda i, risk, *_: (i < count) & (risk > target),
            step,
            (tf.constant(0), infinity, list(weights), list(state)),
            parallel_iterations=1,
        )


@functools.lru_cache(maxsize=1)
def _permutation(seed: int, epoch: int, examples: int) -> np.ndarray:
    return np.random.default_rng([seed, epoch]).permutation(examples).astype("int32")
