"""Gradient flow `dW/dt = -grad L(W)` by an adaptive stabilised Runge-Kutta method."""

from __future__ import annotations

import dataclasses
import math
import time

import numpy as np
import tensorflow as tf

from asym_keras.training.errors import TrainingError
from asym_keras.training.objective import Objective
from asym_keras.training.rkc import largest_step, stages_for
from asym_keras.training.stepper import MAX_STAGES, NON_STIFF_INTERVAL, Stepper, hermite

SAFETY, SHRINK, GROW = 0.8, 0.1, 10.0
# At equal error the pair's step is about this many times RKC2's (measured; it is of higher order).
PAIR_REACH = 2.7
# Share by which a step's stability interval exceeds step x estimated radius.
RADIUS_MARGIN = 1.05
# An estimate counts as no less than this share of the one before: it is too small while its
# direction has not come round, and a slightly unstable step passes the weights' tolerance but
# shows in a small risk.
RECALL = 0.9
# Steps between estimates of the spectral radius while it changes by less than STEADY.
LONGEST_INTERVAL, STEADY = 5, 0.1
# There is no way on when so many steps are rejected within so small a share of the time reached.
STUCK_REJECTIONS, STUCK_SHARE = 100, 1e-4
# Steps that a run to a time far beyond the transient was seen to take at tolerance 1e-2; only
# for the forecast of the work.
TYPICAL_STEPS = 25


@dataclasses.dataclass(frozen=True)
class GradientFlow:
    """Gradient flow, integrated to a tolerance instead of a learning rate.

    Where a step is bound by stability, the Runge-Kutta-Chebyshev method of order two (RKC2,
    see `rkc`) with as many stages as the step and an estimate of the spectral radius ask for;
    where it is bound by accuracy, the Bogacki-Shampine pair. Both estimate their error; the
    step follows it (Watts' predictive control). Records between steps come from the cubic
    Hermite interpolant and cost no gradients.

    Args:
        rtol, atol: tolerance per step; the error is the root mean square over a node's
            weights, each divided by `atol + rtol |w|`, and the largest over nodes counts.
        time_step: time t that one step of the table stands for (a descent's learning rate).
        batch_size: must be None: a flow has no mini-batches.
        jit_compile: True, False or "auto" (by the size of a gradient).
    """

    rtol: float = 1e-2
    atol: float = 1e-2
    time_step: float = 1.0
    batch_size: None = None
    jit_compile: bool | str = "auto"

    def __post_init__(self):
        for name in ("rtol", "atol", "time_step"):
            value = getattr(self, name)
            if not value > 0 or not np.isfinite(value):
                raise ValueError(f"GradientFlow: expected a positive {name}, received {value}.")
        if self.batch_size is not None:
            raise ValueError(
                f"GradientFlow: expected no mini-batches, received batch_size={self.batch_size}. "
                "A flow follows the gradient of the whole risk; use GradientDescent(batch_size=...)"
            )

    def start(self, objective: Objective, snapshot=None) -> FlowRun:
        """Begins a run at the model's weights, or goes on from `snapshot`."""
        if objective.stateful_layers:
            raise ValueError(
                "GradientFlow: expected a model whose risk is a function of its weights alone, "
                f"received one with {', '.join(objective.stateful_layers)}, which draw numbers or "
                "update averages while training. Remove or freeze them, or use GradientDescent."
            )
        if objective.constrained:
            raise ValueError(
                "GradientFlow: expected weights without a constraint, which a flow does not keep, "
                f"received {', '.join(objective.constrained)}. Leave the constraint out, or use "
                "GradientDescent, which applies it after each step."
            )
        dtypes = {v.dtype for v in objective.variables}
        if len(dtypes) > 1 or not dtypes <= {"float32", "float64"}:
            raise ValueError(
                "GradientFlow: expected all weights in float32, or all in float64, received "
                f"{', '.join(sorted(dtypes))}, in which steps are not as exact as the error that "
                "they are chosen by. Build the model with dtype='float32' (or 'mixed_bfloat16', "
                "which keeps float32 weights), or use GradientDescent."
            )
        smallest = 10 * float(np.finfo(objective.weights()[0].dtype.as_numpy_dtype).eps)
        if min(self.rtol, self.atol) < smallest:
            raise ValueError(
                f"GradientFlow: expected rtol and atol of at least {smallest:.1e}, ten units of "
                f"round-off of the weights' dtype, received {self.rtol:.1e} and {self.atol:.1e}. "
                "Use a float64 model."
            )
        return FlowRun(self, objective, snapshot)


class FlowRun:
    """A flow in progress; see `train` for how a run is driven."""

    state: tuple = ()

    def __init__(self, method: GradientFlow, objective: Objective, snapshot=None):
        self._method = method
        self._stepper = Stepper(objective, method.rtol, method.atol)
        dtype = objective.weights()[0].dtype.as_numpy_dtype
        # Round-off grows like the stage number squared: keep it below the tolerance.
        unit = float(np.finfo(dtype).eps)
        self._max_stages = int(min(MAX_STAGES, max(2, math.sqrt(method.rtol / unit))))
        if snapshot is None:
            self._begin(objective.weights())
        else:
            self._restore(*snapshot)

    def _begin(self, weights) -> None:
        self._gradients = self._steps = self._rejected = 0
        self._since_estimate, self._interval = 0, 1
        self._rejections_at = 0.0, 0
        self.time = self._last_time = 0.0
        slope, risk = self._stepper.evaluate(weights)
        self._gradients += 1
        if not np.isfinite(risk):
            raise TrainingError(
                f"Gradient flow: expected a finite risk at the start, received {float(risk)}."
            )
        self.weights = self._last_weights = weights
        self._slope = self._last_slope = self._direction = slope
        self._radius = 0.0
        for _ in range(20):
            before = self._radius
            self._estimate_radius()
            if abs(self._radius - before) <= 0.05 * self._radius:
                break
        # Not 1 / radius: at h lambda = -1 the pair's error estimate, -z^3 (1 + z) / 48, is blind.
        self._pair_step = 0.5 / self._radius
        self._previous: tuple[float, float, bool] | None = None

    def fraction(self, end: float) -> float:
        """Share of the work to time `end` that is done.

        Steps grow like the time reached, gradients per step like the root of the step.
        """
        return math.sqrt(self.time / end)

    def counters(self) -> dict[str, int]:
        """Gradients (power iterations included), accepted and rejected steps so far."""
        return {
            "gradients": self._gradients,
            "solver_steps": self._steps,
            "rejected_steps": self._rejected,
        }

    def estimate(self, end: float) -> tuple[int, float]:
        """Rough number of gradients still to come to time `end`, and seconds of one."""
        left = (end - self.time) * self._radius
        count = 2 * TYPICAL_STEPS + math.ceil(math.sqrt(1.54 * left * TYPICAL_STEPS))
        return count, self._seconds

    def advance(self, until: float, target_risk: float = -math.inf) -> float:
        """One accepted step, never beyond `until`; returns the risk at its end.

        `target_risk` is for the interface: a step is the least that a call does.

        Raises:
            TrainingError: No step small enough is accepted.
        """
        rejected = False
        # Nobody asks for the step before any more: a step needs the room.
        self._last_time, self._last_weights, self._last_slope = self.time, self.weights, self._slope
        while True:
            step, stages = self._plan(until - self.time)
            weights, slope, risk, error = self._try(step, stages)
            if error <= 1.0 and math.isfinite(risk):
                self._accept(step, stages, error, weights, slope, 1.0 if rejected else GROW)
                return risk
            del weights, slope  # before there are those of the next try
            rejected = True
            self._rejected += 1
            if self._is_stuck():
                break
            finite = math.isfinite(error) and math.isfinite(risk)
            factor = SAFETY * error ** (-1 / 3) if finite else SHRINK
            self._propose(step * max(SHRINK, factor), stages)
            self._previous = None
            self._interval = 1
            self._estimate_radius()
        raise TrainingError(
            f"Gradient flow can't go on at t = {self.time:.6g}: steps were rejected down to "
            f"{step:.2e}. Its last good state is kept. Expected a risk that is finite and smooth "
            "enough for rtol and atol: raise them, or use a float64 model."
        )

    def at(self, when: float) -> list[tf.Tensor]:
        """Weights at the time `when`, within the last step."""
        step = self.time - self._last_time
        if when >= self.time or not step:
            return self.weights
        theta = (when - self._last_time) / step
        return hermite(theta, step, self._last_weights, self._last_slope, self.weights, self._slope)

    def _plan(self, left: float) -> tuple[float, int]:
        """The next step, and its stages; 0 stages: the pair. The choice goes farther a gradient."""
        radius = RADIUS_MARGIN * self._radius
        pair = min(self._pair_step, NON_STIFF_INTERVAL / radius)
        rkc = min(self._pair_step / PAIR_REACH, largest_step(self._max_stages, radius))
        stages = stages_for(rkc, radius)
        step, stages = (pair, 0) if pair / 3 >= rkc / stages else (rkc, stages)
        if step < 0.9 * left:
            return step, stages
        # Stretched by a tenth at most, which the safety factor covers, or cut to the end.
        return left, stages_for(left, radius) if stages else 0

    def _try(self, step: float, stages: int):
        if stages:
            result = self._stepper.rkc(self.weights, self._slope, step, stages)
        else:
            result = self._stepper.bogacki_shampine(self.weights, self._slope, step)
        self._gradients += stages or 3
        weights, slope, risk, error = result
        return weights, slope, float(risk), float(error)

    def _accept(self, step, stages, error, weights, slope, grow: float) -> None:
        self.time, self.weights, self._slope = self.time + step, weights, slope
        self._steps += 1
        error = max(error, 1e-6)
        factor = SAFETY * error ** (-1 / 3)
        if self._previous is not None and self._previous[2] == bool(stages):
            last_step, last_error, _ = self._previous
            factor = min(factor, factor * step / last_step * (last_error / error) ** (1 / 3))
        self._propose(step * min(grow, max(SHRINK, factor)), stages)
        self._previous = step, error, bool(stages)
        self._since_estimate += 1
        if self._since_estimate >= self._interval:
            self._estimate_radius()

    def _is_stuck(self) -> bool:
        """Whether rejections pile up at one place, as before a wall of NaN."""
        place, before = self._rejections_at
        if self.time - place > STUCK_SHARE * self.time:
            self._rejections_at = self.time, self._rejected
        return self._rejected - before >= STUCK_REJECTIONS and self._rejections_at[0] == place

    def _propose(self, step: float, stages: int) -> None:
        """Notes the step that the error allows, as the pair's whatever method it was seen with."""
        self._pair_step = step * PAIR_REACH if stages else step

    def _estimate_radius(self) -> None:
        """One power iteration from the last direction; rarer while the radius stays put."""
        before, began = self._radius, time.perf_counter()
        radius, self._direction = self._stepper.power_iteration(
            self.weights, self._slope, self._direction
        )
        self._gradients += 1
        radius = float(radius)
        self._seconds = time.perf_counter() - began
        self._radius = max(radius if math.isfinite(radius) else before, RECALL * before, 1e-30)
        steady = abs(radius - before) <= STEADY * before
        self._interval = min(LONGEST_INTERVAL, 2 * self._interval) if steady else 1
        self._since_estimate = 0

    _LISTS = ("weights", "_slope", "_last_weights", "_last_slope", "_direction")
    _NUMBERS = (
        *("time", "_last_time", "_pair_step", "_previous", "_radius", "_since_estimate"),
        *("_interval", "_gradients", "_steps", "_rejected", "_rejections_at", "_seconds"),
    )

    def snapshot(self) -> tuple[dict[str, tf.Tensor], dict]:
        """Everything `start` needs to go on from here."""
        arrays = {
            f"{name}{i}": tensor
            for name in self._LISTS
            for i, tensor in enumerate(getattr(self, name))
        }
        return arrays, {name: getattr(self, name) for name in self._NUMBERS}

    def _restore(self, arrays, values) -> None:
        count = sum(name.startswith("_direction") for name in arrays)
        for name in self._LISTS:
            # Taken out one by one, so that no more than one is there twice.
            setattr(self, name, [tf.constant(arrays.pop(f"{name}{i}")) for i in range(count)])
        for name in self._NUMBERS:
            setattr(self, name, values[name])
