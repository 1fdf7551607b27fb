"""Steps, stages and rounding of the flow's solver, by pure functions of what it has seen."""

from __future__ import annotations

import dataclasses
import math

from asym_keras.training.rkc import RKC2, USUAL

# Real stability interval of the Bogacki-Shampine pair, 2.51, less a margin.
NON_STIFF_INTERVAL = 2.3
SAFETY, SHRINK, GROW = 0.8, 0.1, 10.0
# At equal error the pair's step is about this many times RKC2's (measured; it is of higher order).
PAIR_REACH = 2.7
# Share by which a step's stability interval exceeds step x estimated radius.
RADIUS_MARGIN = 1.05
# An estimate counts for at least this share of the one before. It is too small until its direction
# has turned, and a slightly unstable step would pass the weights' tolerance, but show in a small
# risk.
RECALL = 0.9
# Steps between estimates of the spectral radius while it changes by less than STEADY.
LONGEST_INTERVAL, STEADY = 5, 0.1
# Were the values of the activations rounded, too, the risk would differ by a bias: that of what the
# ramps hold. It stays below this share of the root of rtol, or the rounding is lowered, but not
# without end. (The bias of a run is of the order of its root.)
BIAS_SHARE, LEAST_ROUNDING = 0.003, 3e-6
# Where kinks are rounded, the error of a step may change the risk by this share of rtol; of a risk
# below LEAST_RISK of the first one, by that much of this.
RISK_SHARE, LEAST_RISK, TINY = 0.3, 1e-9, 1e-300
# Where the radius was estimated beside a ramp, steps can jump over that ramp forth and back, with
# an error that is small enough to go on so for ever. The risk, which falls along the flow, then
# rises within a step: by more than this share of it, per root of rtol, and the radius counts RISEN
# times.
RISE_SHARE, RISEN = 0.001, 2.0
# In the first steps it is decided, for good, on which sides of their kinks the nodes that matter
# come to lie: there errors of nodes count EARLY times more, and less and less so over EARLY_STEPS.
EARLY, EARLY_STEPS = 10.0, 15.0
# There is no way on when so many steps are rejected within so small a share of the time reached.
STUCK_REJECTIONS, STUCK_SHARE = 100, 1e-4


@dataclasses.dataclass(frozen=True)
class Control:
    """What the next step is chosen by; a new one follows each step, rejection and estimate."""

    pair_step: float  # that the error allows the pair; RKC2's is `PAIR_REACH` times smaller
    radius: float = 0.0  # estimated spectral radius of the flow's Jacobian
    # Step, error, whether by RKC2, of the last step, if it was accepted at once.
    previous: tuple[float, float, bool] | None = None
    repeated: bool = False  # whether the next step repeats a rejected one
    interval: int = 1  # steps from one estimate of the radius to the next
    since_estimate: int = 0  # steps since the last
    rejected: int = 0  # number of rejected steps
    creeping: tuple[float, int] = (0.0, 0)  # since when it has hardly moved, and `rejected` then

    @property
    def estimate_is_due(self) -> bool:
        """Whether to estimate the radius before the next step."""
        return self.since_estimate >= self.interval

    @property
    def is_stuck(self) -> bool:
        """Whether rejections pile up at one place, as before a wall of NaN."""
        return self.rejected - self.creeping[1] >= STUCK_REJECTIONS


def plan(control: Control, left: float, max_stages: int, method: RKC2 = USUAL) -> tuple[float, int]:
    """The next step, and its stages; 0 stages: the pair.

    The method is chosen that goes farther for each gradient.

    Args:
        left: time to the end, which a step never passes.
        max_stages: that round-off allows.
    """
    radius = RADIUS_MARGIN * control.radius
    pair = min(control.pair_step, NON_STIFF_INTERVAL / radius)
    rkc = min(control.pair_step / PAIR_REACH, method.largest_step(max_stages, radius))
    stages = min(method.stages_for(rkc, radius), max_stages)
    step, stages = (pair, 0) if pair / 3 >= rkc / stages else (rkc, stages)
    if step < 0.9 * left:
        return step, stages
    # The last step is stretched by a tenth at most, which the safety factor covers, or it is cut.
    if not stages:
        return left, 0
    stages = method.stages_for(left, radius)
    if stages <= max_stages:
        return left, stages
    return left / 2, method.stages_for(left / 2, radius)  # too long for one: two of the same length


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


def after_change(
    control: Control, change: float, risk: float, first_risk: float, rtol: float
) -> Control:
    """The control after a step within which the risk changed, where kinks are rounded."""
    if not change > RISE_SHARE * math.sqrt(rtol) * _scale(risk, first_risk):
        return control
    return dataclasses.replace(control, radius=RISEN * control.radius)


def error_of(
    node_error: float, change: float, risk: float, first_risk: float, rtol: float
) -> float:
    """Error of a step where kinks are rounded (1 = tolerance).

    Errors of single nodes don't tell how far off the function is: those of a smooth path point all
    the same way. What they do to the risk does.

    Args:
        node_error: that of the nodes.
        change: what the error changes the risk by, `grad L . error`.
    """
    if not math.isfinite(change):  # which a maximum may drop
        return math.inf
    return max(node_error, abs(change) / (RISK_SHARE * rtol * _scale(risk, first_risk) + TINY))


def early_strictness(steps: int) -> float:
    """What errors of nodes are multiplied by after so many steps, where kinks are rounded."""
    return 1.0 + EARLY * math.exp(-steps / EARLY_STEPS)


def rounding_after(
    rounding: float, rounded_risk: float, risk: float, first_risk: float, rtol: float
) -> float:
    """By how much kinks are rounded from here on, if by `rounding` before.

    Args:
        rounded_risk: the risk if values are rounded, too.
    """
    most = BIAS_SHARE * math.sqrt(rtol) * _scale(risk, first_risk)
    bias = abs(rounded_risk - risk) / (most + TINY)
    if not bias > 1.0:
        return rounding
    # The bias falls a little faster than the rounding.
    return max(min(rounding, LEAST_ROUNDING), rounding * max(0.1, 0.7 / bias))


def _scale(risk: float, first_risk: float) -> float:
    """The risk, as a scale of changes that count."""
    return max(abs(risk), LEAST_RISK * abs(first_risk))


def _as_pair(step: float, stages: int) -> float:
    """What the error allows as a step of the pair, whichever method the error was seen with."""
    return step * PAIR_REACH if stages else step
