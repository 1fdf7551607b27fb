"""What is sent, how fast and for how long."""

from __future__ import annotations

import dataclasses

from serving.commands import LONGEST_SECONDS


@dataclasses.dataclass(frozen=True, kw_only=True)
class Plan:
    """One measurement.

    Attributes:
        clients: In a closed loop, clients that each send their next request when the last one is
            answered; in an open loop, the most connections.
        rate: Requests a second of an open loop, sent as a Poisson process whether or not answers
            come. None: a closed loop.
        batch_size: Rows in a request.
        warmup, duration: Seconds of each round before and while the clock counts.
        rounds: Rounds of each model, the models in turn.
        timeout: Seconds after which a request counts as failed.
        seed: Seed of the inputs and of an open loop's times.

    Raises:
        ValueError: A number out of range.
    """

    clients: int = 8
    rate: float | None = None
    batch_size: int = 1
    warmup: float = 1.0
    duration: float = 5.0
    rounds: int = 3
    timeout: float = 10.0
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("clients", "batch_size", "rounds"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}: expected at least 1, received {getattr(self, name)}")
        for name in ("rate", "duration", "timeout"):
            value = getattr(self, name)
            if value is not None and not 0 < value < float("inf"):
                raise ValueError(f"{name}: expected a positive number, received {value}")
        if self.timeout > LONGEST_SECONDS:
            expected = f"at most {LONGEST_SECONDS} seconds (24 days)"
            raise ValueError(f"timeout: expected {expected}, received {self.timeout}")
        if not 0 <= self.warmup < float("inf"):
            raise ValueError(f"warmup: expected a nonnegative number, received {self.warmup}")
        if self.seed < 0:
            raise ValueError(f"seed: expected a nonnegative integer, received {self.seed}")

    @property
    def seconds(self) -> float:
        """Length of one round of one model, warm-up included."""
        return self.warmup + self.duration

    def describe(self) -> str:
        """One line for people."""
        if self.rate is None:
            kind = f"closed loop, {self.clients} client{'s' * (self.clients > 1)}"
        else:
            kind = f"open loop, {self.rate:g} requests/s"
        return (
            f"{kind}, batch {self.batch_size}, {self.rounds} x {self.duration:g} s "
            f"after {self.warmup:g} s of warm-up"
        )
