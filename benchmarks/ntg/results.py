"""What a run of the NTG benchmark measures, as plain data."""

from __future__ import annotations

import dataclasses

OURS, TAPE = "ours", "tf.GradientTape"


@dataclasses.dataclass
class Outcome:
    """One way to compute the matrix of one case.

    Attributes:
        framework, method: whose way, and which.
        version, device: of the framework.
        seconds: of each measured call, over all rounds.
        product_seconds: of the bare products of the closed form, in the same processes.
        peaks: bytes that a process came to hold more than before, one number per round.
        difference: of the matrix to that of ours, in the Frobenius norm, relative.
        others: share of the cores that other programs used, one number per round.
        missing: why there are no numbers, or None.
        failed: whether it was run and failed, and that is the reason.
    """

    framework: str
    method: str
    version: str = ""
    device: str = ""
    seconds: list[float] = dataclasses.field(default_factory=list)
    product_seconds: list[float] = dataclasses.field(default_factory=list)
    peaks: list[int] = dataclasses.field(default_factory=list)
    difference: float | None = None
    others: list[float] = dataclasses.field(default_factory=list)
    missing: str | None = None
    failed: bool = False

    @property
    def best(self) -> float:
        """Seconds of the fastest call, NaN if there is none."""
        return min(self.seconds, default=float("nan"))

    @property
    def products(self) -> float:
        """Seconds of the fastest two products, NaN if there are none."""
        return min(self.product_seconds, default=float("nan"))

    @property
    def peak(self) -> float:
        """The largest of `peaks`, NaN if there is none."""
        return max(self.peaks, default=float("nan"))

    @property
    def is_ours(self) -> bool:
        """Whether it is a method of `empirical_ntg`."""
        return self.framework == OURS


@dataclasses.dataclass
class CaseResult:
    """Everything measured on one case.

    Attributes:
        name, shape: of the case.
        result_bytes: of the matrix.
        tile_bytes: of a tile of ours.
        outcomes: ours and then the peers'.
    """

    name: str
    shape: str
    result_bytes: int
    tile_bytes: int
    outcomes: list[Outcome]

    def best(self, *, ours: bool) -> Outcome | None:
        """The fastest of ours, or of all others; None if none was measured."""
        measured = [o for o in self.outcomes if o.is_ours is ours and not o.missing]
        return min(measured, key=lambda outcome: outcome.best, default=None)

    def find(self, framework: str, method: str) -> Outcome | None:
        """That way, None if it is not for this case or was not measured."""
        names = framework, method
        found = (o for o in self.outcomes if (o.framework, o.method) == names and not o.missing)
        return next(found, None)
