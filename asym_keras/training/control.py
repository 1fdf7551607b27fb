"""Steps, stages and rounding of the flow's solver, by pure functions of what it has seen."""

from __future__ import annotations

import dataclasses
import math

from asym_keras.training.rkc import largest_step, stages_for

# Real stability interval of the Bogacki-Shampine pair, 2.51, less a margin.
NON_STIFF_INTERVAL = 2.3
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
# The atol at which the numbers below were found.
USUAL_ATOL = 1e-2
# Kinks are rounded by no more than RESIDUAL_SHARE of what is left of the residual, in units of the
# weights, so that a small risk is that of the true kinks; and by no less than LEAST_ROUNDING. Each
# change costs a gradient: they come in steps.
RESIDUAL_SHARE, LEAST_ROUNDING, ROUNDING_STEP = 0.02, 3e-6, 1.5
# In the first steps it is decided, for good, on which sides of their kinks the nodes that matter
# come to lie: there errors count EARLY times the concentration of the scalings more, and less and
# less so over EARLY_STEPS.
EARLY, EARLY_STEPS = 30.0, 15.0
# Where many nodes matter alike and fit the data closely, each of their errors counts more: by the
# residual left to the power of -LATE.
LATE = 0.27
# There is no way on when so many steps are rejected within so small a share of the time reached.
STUCK_REJECTIONS, STUCK_SHARE = 100, 1e-4


@dataclasses.dataclass(frozen=True)
class Control:
    """What the next step is chosen by; a new one follows each step, rejection and estimate.

    Attributes:
        pair_step: the step that the error allows the pair. RKC2's is `PAIR_REACH` times smaller.
        radius: estimated spectral radius of the flow's Jacobian.
        previous: (step, error, whether by RKC2) of the last step, if it was accepted at once.
        repeated: whether the next step repeats a rejected one.
        interval: steps from one estimate of the radius to the next.
        since_estimate: steps since the last.
        rejected: number of rejected steps.
        creeping: the time since when the run has hardly moved, and `rejected` then.
    """

    pair_step: float
    radius: float = 0.0
    previous: tuple[float, float, bool] | None = None
    repeated: bool = False
    interval: int = 1
    since_estimate: int = 0
    rejected: int = 0
    creeping: tuple[float, int] = (0.0, 0)

    @property
    def estimate_is_due(self) -> bool:
        """Whether to estimate the radius before the next step."""
        return self.since_estimate >= self.interval

    @property
    def is_stuck(self) -> bool:
        """Whether rejections pile up at one place, as before a wall of NaN."""
        return self.rejected - self.creeping[1] >= STUCK_REJECTIONS


def plan(control: Control, left: float, max_stages: int) -> tuple[float, int]:
    """The next step, and its stages; 0 stages: the pair. The choice goes farther a gradient.

    Args:
        left: time to the end, which a step never passes.
        max_stages: that round-off allows.
    """
    radius = RADIUS_MARGIN * control.radius
    pair = min(control.pair_step, NON_STIFF_INTERVAL / radius)
    rkc = min(control.pair_step / PAIR_REACH, largest_step(max_stages, radius))
    stages = min(stages_for(rkc, radius), max_stages)
    step, stages = (pair, 0) if pair / 3 >= rkc / stages else (rkc, stages)
    if step < 0.9 * left:
        return step, stages
    # Stretched by a tenth at most, which the safety factor covers, or cut to the end.
    if not stages:
        return left, 0
    stages = stages_for(left, radius)
    if stages <= max_stages:
        return left, stages
    return left / 2, stages_for(left / 2, radius)  # too long for one: two of the same length


def after_step(control: Control, step: float, stages: int, error: float) -> Control:
    """The control after an accepted step of `error` (1 = tolerance): Watts' predictive rule."""
    error = max(error, 1e-6)
    factor = SAFETY * error ** (-1 / 3)
    if control.previous is not None and control.previous[2] == bool(stages):
        last_step, last_error, _ = control.previous
        factor = min(factor, factor * step / last_step * (last_error / error) ** (1 / 3))
    # Right after a rejection a longer step would be rejected again.
    grow = 1.0 if control.repeated else GROW
    return dataclasses.replace(
        control,
        pair_step=_as_pair(step * min(grow, max(SHRINK, factor)), stages),
        previous=(step, error, bool(stages)),
        repeated=False,
        since_estimate=control.since_estimate + 1,
    )


def after_rejection(
    control: Control, time: float, step: float, stages: int, error: float
) -> Control:
    """The control after a step from `time` was rejected; `error` inf: it was not finite."""
    factor = SAFETY * error ** (-1 / 3) if math.isfinite(error) else SHRINK
    rejected, creeping = control.rejected + 1, control.creeping
    if time - creeping[0] > STUCK_SHARE * time:
        creeping = time, rejected
    return dataclasses.replace(
        control,
        pair_step=_as_pair(step * max(SHRINK, factor), stages),
        previous=None,
        repeated=True,
        interval=1,
        rejected=rejected,
        creeping=creeping,
    )


def after_estimate(control: Control, radius: float) -> Control:
    """The control with a new estimate of the radius; the next is later if it has not changed."""
    before = control.radius
    steady = abs(radius - before) <= STEADY * before
    return dataclasses.replace(
        control,
        radius=max(radius if math.isfinite(radius) else before, RECALL * before, 1e-30),
        interval=min(LONGEST_INTERVAL, 2 * control.interval) if steady else 1,
        since_estimate=0,
    )


def residual_left(risk: float, first_risk: float) -> float:
    """Share of the residual that is left, in [0, 1]: the root of that of the risk."""
    return math.sqrt(min(1.0, max(risk, 0.0) / first_risk)) if first_risk > 0 else 1.0


def early_strictness(steps: int, concentration: float, atol: float) -> float:
    """What errors of a network with kinks are multiplied by, after so many steps.

    Args:
        concentration: of the scalings: the root of the sum of squared shares of nodes in them, 1
            if one node has all, 1 / sqrt(m) if all m have the same.
    """
    return 1.0 + EARLY * concentration * atol / USUAL_ATOL * math.exp(-steps / EARLY_STEPS)


def late_strictness(left: float, concentration: float) -> float:
    """What errors are multiplied by where kinks are rounded and so much of the residual is left."""
    return 1.0 / _care(left, concentration)


def rounding_after(rounding: float, left: float, concentration: float) -> float:
    """By how much kinks are rounded from here on, if by `rounding` before; 0: there are none."""
    wanted = max(RESIDUAL_SHARE * left * _care(left, concentration), LEAST_ROUNDING)
    return wanted if wanted < rounding / ROUNDING_STEP else rounding


def _care(left: float, concentration: float) -> float:
    return max(left, 1e-6) ** (LATE * (1.0 - concentration) ** 2)


def _as_pair(step: float, stages: int) -> float:
    """A step that the error allows, as the pair's, whatever method the error was seen with."""
    return step * PAIR_REACH if stages else step
