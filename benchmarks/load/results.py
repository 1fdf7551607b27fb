"""What a measurement found."""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from benchmarks.load.loops import Sample
from benchmarks.load.plan import Plan
from benchmarks.load.senders import OK


@dataclasses.dataclass(frozen=True)
class Result:
    """Numbers of one model.

    Attributes:
        name: The model.
        requests: Requests that were answered well, in all rounds.
        errors: Numbers of the requests that failed, by code.
        latencies: Seconds at the 50th, 90th, 99th and 100th percentile of the answered requests,
            each a latency that occurred; NaN if there is none.
        throughput: Answered requests a second, over all rounds.
        throughput_rounds: The same for each round.
        rows: Answered rows a second.
        late: Seconds at the 99th percentile by which the generator sent late, in an open loop.
        generator: Share of one core that the generator used; near 1 the generator is measured.
    """

    name: str
    requests: int
    errors: dict[str, int]
    latencies: tuple[float, float, float, float]
    throughput: float
    throughput_rounds: tuple[float, ...]
    rows: float
    late: float
    generator: float

    def plain(self) -> dict[str, Any]:
        """For JSON and CSV: latencies in milliseconds."""
        p50, p90, p99, largest = (1e3 * value for value in self.latencies)
        return {
            "model": self.name,
            "requests": self.requests,
            "errors": sum(self.errors.values()),
            "error_codes": dict(sorted(self.errors.items())),
            "p50_ms": p50,
            "p90_ms": p90,
            "p99_ms": p99,
            "max_ms": largest,
            "requests_per_second": self.throughput,
            "requests_per_second_rounds": list(self.throughput_rounds),
            "rows_per_second": self.rows,
            "late_p99_ms": 1e3 * self.late,
            "generator_cores": self.generator,
        }


def summarize(
    name: str, rounds: Sequence[Sequence[Sample]], plan: Plan, *, generator: float
) -> Result:
    """Numbers of the samples after each round's warm-up.

    Latencies are of the requests that were sent then, throughput of the answers that came then.
    """
    kept = [s for samples in rounds for s in samples if plan.warmup <= s.start < plan.seconds]
    good = [s.latency for s in kept if s.code == OK]
    p50, p90, p99, largest = (percentile(good, percent) for percent in (50, 90, 99, 100))
    rates = tuple(_answered(samples, plan) / plan.duration for samples in rounds)
    throughput = float(np.mean(rates))
    return Result(
        name=name,
        requests=len(good),
        errors=dict(collections.Counter(s.code for s in kept if s.code != OK)),
        latencies=(p50, p90, p99, largest),
        throughput=throughput,
        throughput_rounds=rates,
        rows=throughput * plan.batch_size,
        late=percentile([s.late for s in kept], 99),
        generator=generator,
    )


def percentile(values: Sequence[float], percent: float) -> float:
    """The smallest value that is not below `percent` % of the values; NaN if there are none."""
    if not values:
        return float("nan")
    return float(np.percentile(values, percent, method="inverted_cdf"))


def _answered(samples: Sequence[Sample], plan: Plan) -> int:
    ends = (s.start + s.latency for s in samples if s.code == OK)
    return sum(plan.warmup <= end < plan.seconds for end in ends)
