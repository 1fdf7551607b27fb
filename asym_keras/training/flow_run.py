"""A gradient flow in progress: steps, and what they are chosen by, from state to state."""

from __future__ import annotations

import dataclasses
import math
import operator
import time

import numpy as np
import tensorflow as tf

from asym_keras.training import control as rules
from asym_keras.training.control import Control
from asym_keras.training.errors import TrainingError
from asym_keras.training.flow_state import FlowState
from asym_keras.training.objective import Objective
from asym_keras.training.rounded_stepper import RoundedStepper
from asym_keras.training.stepper import MAX_STAGES, Stepper, hermite, parabola

# So many steps were seen in runs to a time far beyond the transient, at tolerance 1e-2, without
# kinks and with them. The forecast of the work rests on them, and nothing else.
TYPICAL_STEPS, TYPICAL_STEPS_ROUNDED = 25, 50


class FlowRun:
    """A flow in progress; see `train` for how a run is driven.

    Args:
        snapshot: of an earlier run, to go on from. None: the run begins at the model's weights.
        rounding: of kinks, at the start of a run; 0: they stay sharp.
    """

    # Of the state that it is in.
    time = property(operator.attrgetter("_now.time"))
    weights = property(operator.attrgetter("_now.weights"))
    state = property(operator.attrgetter("_now.state"))
    risk = property(operator.attrgetter("_now.risk"))

    def __init__(
        self, objective: Objective, snapshot=None, *, rtol: float, atol: float, rounding: float
    ):
        self._objective, self._rtol = objective, rtol
        self._dtype = objective.weights()[0].dtype
        if rounding:
            objective.find_kinks(atol)
        options = objective, rtol, atol
        self._rounded = RoundedStepper(*options) if objective.kinks else None
        self._stepper = self._rounded or Stepper(*options)
        # Round-off grows like the stage number squared: keep it below the tolerance.
        unit = float(np.finfo(self._dtype.as_numpy_dtype).eps)
        self._max_stages = int(min(MAX_STAGES, max(2, math.sqrt(rtol / unit))))
        self._seconds = 0.0
        rounding = rounding if objective.kinks else 0.0
        self._now = FlowState.restored(*snapshot) if snapshot else self._begin(rounding)

    def _begin(self, rounding: float) -> FlowState:
        weights = self._objective.weights()
        slope, risk = self._stepper.evaluate(weights, *self._extra(rounding))
        if not np.isfinite(risk):
            raise TrainingError(
                f"Gradient flow: expected a finite risk at the start, received {float(risk)}."
            )
        control, direction, gradients = Control(pair_step=math.inf), slope, 1
        for _ in range(20):
            before = control.radius
            control, direction = self._estimate(control, weights, slope, direction, rounding)
            gradients += 1
            if abs(control.radius - before) <= 0.05 * control.radius:
                break
        # Not 1 / radius: at h lambda = -1 the pair's error estimate, -z^3 (1 + z) / 48, is 0.
        control = dataclasses.replace(control, pair_step=0.5 / control.radius)
        here = (0.0, weights, slope)
        risks = math.inf, float(risk)
        return FlowState(*here, *here, [], direction, control, *risks, rounding, gradients, steps=0)

    def fraction(self, end: float) -> float:
        """Share of the work to time `end` that is done.

        Steps grow like the time reached, gradients per step like the root of the step.
        """
        return math.sqrt(self.time / end)

    def counters(self) -> dict[str, int]:
        """Gradients (power iterations included), accepted and rejected steps so far."""
        return {
            "gradients": self._now.gradients,
            "solver_steps": self._now.steps,
            "rejected_steps": self._now.control.rejected,
        }

    def estimate(self, end: float) -> tuple[int, float]:
        """Roughly how many gradients are left to time `end`, and how many seconds one takes."""
        steps = TYPICAL_STEPS_ROUNDED if self._rounded else TYPICAL_STEPS
        left = (end - self.time) * self._now.control.radius / self._stepper.method.stability
        return 2 * steps + math.ceil(math.sqrt(left * steps)), self._seconds

    def advance(self, next_record: float, end: float, target_risk: float = -math.inf) -> None:
        """Takes one accepted step, never beyond `end`.

        A descent needs `next_record` and `target_risk`, a flow does not: records come from the
        interpolant, and one step is the least that a call does.

        Raises:
            TrainingError: No step small enough is accepted.
        """
        # Nobody will ask for times before this one any more, and a step needs the memory.
        now = self._now = dataclasses.replace(
            self._now,
            last_time=self._now.time,
            last_weights=self._now.weights,
            last_slope=self._now.slope,
            middle=[],
        )
        control, direction, gradients = now.control, now.direction, now.gradients
        limits = self._max_stages, self._stepper.method
        while True:
            step, stages = rules.plan(control, end - now.time, *limits)
            weights, slope, middle, risk, error = self._try(now, step, stages)
            gradients += stages or 3
            if error <= 1.0:
                break
            del weights, slope, middle  # to make room for those of the next try
            control = rules.after_rejection(control, now.time, step, stages, error)
            if control.is_stuck:
                raise TrainingError(
                    f"Gradient flow can't go on at t = {now.time:.6g}: steps were rejected down to "
                    f"{step:.2e}. Its last good state is kept. Expected a risk that is finite and "
                    "smooth enough for rtol and atol: raise them, or use a float64 model."
                )
            here = now.weights, now.slope
            control, direction = self._estimate(control, *here, direction, now.rounding)
            gradients += 1
        control = rules.after_step(control, step, stages, error)
        rounding = now.rounding
        if rounding:
            control = rules.after_change(control, risk - now.risk, risk, now.first_risk, self._rtol)
        if control.estimate_is_due:
            if self._rounded is not None:
                rounded = self._rounded.rounded_risk(weights, *self._extra(rounding))
                scales = risk, now.first_risk, self._rtol
                rounding = rules.rounding_after(rounding, float(rounded), *scales)
            if rounding != now.rounding:
                slope, _ = self._stepper.evaluate(weights, *self._extra(rounding))
                gradients += 1
            control, direction = self._estimate(control, weights, slope, direction, rounding)
            gradients += 1
        reached = {"time": now.time + step, "weights": weights, "slope": slope, "middle": middle}
        reached |= {"direction": direction, "control": control, "risk": risk, "rounding": rounding}
        steps = now.steps + 1
        self._now = dataclasses.replace(now, **reached, gradients=gradients, steps=steps)

    def at(self, when: float) -> list[tf.Tensor]:
        """Weights at the time `when`, within the last step."""
        now, step = self._now, self._now.time - self._now.last_time
        if when >= now.time or not step:
            return now.weights
        theta = (when - now.last_time) / step
        if now.middle:
            return parabola(theta, now.last_weights, now.middle, now.weights)
        return hermite(theta, step, now.last_weights, now.last_slope, now.weights, now.slope)

    def snapshot(self) -> tuple[dict[str, tf.Tensor], dict]:
        return self._now.snapshot()

    def _extra(self, rounding: float) -> tuple:
        """The last argument of the stepper's methods, which they take where there are kinks."""
        return (tf.constant(rounding, self._dtype),) if rounding else ()

    def _try(self, now: FlowState, step: float, stages: int):
        """Weights and slope after a step, weights in its middle, risk, error (inf: not finite)."""
        stepper, extra = self._stepper, self._extra(now.rounding)
        if stages:
            result = stepper.rkc(now.weights, now.slope, step, stages, *extra)
        else:
            result = stepper.bogacki_shampine(now.weights, now.slope, step, *extra)
        weights, slope, risk, error, *middle = result
        risk = float(risk)
        if now.rounding:
            node_error, change = error.numpy().tolist()
            node_error *= rules.early_strictness(now.steps)
            error = rules.error_of(node_error, change, risk, now.first_risk, self._rtol)
        error = float(error)
        error = error if math.isfinite(risk + error) else math.inf
        return weights, slope, middle[0] if middle else [], risk, error

    def _estimate(
        self, control: Control, weights, slope, direction, rounding: float
    ) -> tuple[Control, list]:
        """One power iteration from the last direction; one gradient."""
        began = time.perf_counter()
        radius, direction = self._stepper.power_iteration(
            weights, slope, direction, *self._extra(rounding)
        )
        control = rules.after_estimate(control, float(radius))
        self._seconds = time.perf_counter() - began
        return control, direction
