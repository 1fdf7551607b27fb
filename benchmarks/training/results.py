"""What a run of the benchmark measures, as plain data."""

from __future__ import annotations

import dataclasses

import numpy as np


@dataclasses.dataclass
class Descent:
    """Times per step of one framework on one task, in seconds, one per measurement.

    Attributes:
        framework: name and version.
        step_seconds: time of a step of descent.
        product_seconds: time of the two bare matrix products of a step.
        weight_difference: of the weights after some steps to ours, relative to our weights.
        change_difference: the same of the changes since the start, relative to our change.
        others: share of the cores that other programs used, one number per round.
        missing: why there are no numbers, or None.
    """

    framework: str
    step_seconds: list[float] = dataclasses.field(default_factory=list)
    product_seconds: list[float] = dataclasses.field(default_factory=list)
    weight_difference: float | None = None
    change_difference: float | None = None
    others: list[float] = dataclasses.field(default_factory=list)
    missing: str | None = None

    @property
    def step(self) -> float:
        """The best time of a step, NaN if there is none."""
        return min(self.step_seconds, default=float("nan"))

    @property
    def median_step(self) -> float:
        """The median time of a step, NaN if there is none."""
        return float(np.median(self.step_seconds)) if self.step_seconds else float("nan")

    @property
    def products(self) -> float:
        """The best time of the two products, NaN if there is none."""
        return min(self.product_seconds, default=float("nan"))


@dataclasses.dataclass
class Solution:
    """A run of ours to the end time: seconds of each repetition, and where it ended."""

    seconds: list[float]
    train_risk: float
    gradients: int
    test_accuracy: float | None = None

    @property
    def best(self) -> float:
        """Seconds of the fastest repetition."""
        return min(self.seconds)


@dataclasses.dataclass
class PairResult:
    """Flow and, where it is run, descent to the end time for one pair (gamma, alpha)."""

    gamma: float
    alpha: float
    flow: Solution
    descent: Solution | None = None

    @property
    def risk_difference(self) -> float | None:
        """Relative difference of the final train risks of flow and descent."""
        if self.descent is None:
            return None
        return abs(self.flow.train_risk / self.descent.train_risk - 1)


@dataclasses.dataclass
class TaskResult:
    """Everything measured on one task; `descents` are ours and then the peers."""

    name: str
    shape: str
    end_time: float
    learning_rate: float
    check_steps: int
    descents: list[Descent]
    pairs: list[PairResult]

    def seconds_to_end(self, descent: Descent) -> float:
        """Time of descent to the end time, extrapolated from its time per step."""
        return descent.step * self.end_time / self.learning_rate
