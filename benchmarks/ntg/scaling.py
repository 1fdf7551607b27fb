"""Cost of our methods on the shallow network against n, m and d, and fitted exponents."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from benchmarks.common.report import exponent, number, table
from benchmarks.ntg.cases import Case, shallow

BASE = {"n": 500, "m": 2000, "d": 784}  # of what is not varied
# Small sizes are bound by overhead, large ones of the Jacobian by patience.
_FAST: dict[str, tuple[int, ...]] = {
    "n": (1000, 2000, 4000, 8000),
    "m": (4000, 8000, 16000, 32000),
    "d": (1568, 3136, 6272, 12544),
}
SIZES: dict[str, dict[str, tuple[int, ...]]] = {
    "closed_form": _FAST,
    "structured": _FAST,
    "jacobian": {"n": (50, 100, 200), "m": (500, 1000, 2000), "d": (196, 392, 784)},
}
JACOBIAN_BASE = {**BASE, "n": 50}


@dataclasses.dataclass
class Series:
    """Seconds of a method while one of n, m and d is varied."""

    method: str
    letter: str
    sizes: Sequence[int]
    seconds: list[float] = dataclasses.field(default_factory=list)
    missing: str | None = None

    @property
    def base(self) -> dict[str, int]:
        """Of what is not varied."""
        return JACOBIAN_BASE if self.method == "jacobian" else BASE

    def shape(self, size: int) -> dict[str, int]:
        """n, m and d of one point."""
        return {**self.base, self.letter: size}

    def case(self, size: int) -> Case:
        """The network of one point."""
        return shallow(**self.shape(size))

    @property
    def measured_exponent(self) -> float:
        """Of the power law through the seconds."""
        return exponent(self.sizes, self.seconds)

    @property
    def counted_exponent(self) -> float:
        """The same through the numbers of operations."""
        counts = [operations(self.method, **self.shape(size)) for size in self.sizes]
        return exponent(self.sizes, counts)


def all_series() -> list[Series]:
    """Every method with every letter, without seconds yet."""
    return [
        Series(method, letter, sizes)
        for method, letters in SIZES.items()
        for letter, sizes in letters.items()
    ]


def operations(method: str, n: int, m: int, d: int) -> float:
    """Multiplications and additions in the large products of a method."""
    if method == "jacobian":  # of n gradients of d m numbers with each other
        return 2.0 * n**2 * d * m
    return 2.0 * (n * d * m + n**2 * (d + m))


def scaling_table(series: Sequence[Series]) -> str:
    """Seconds at each size, and the exponents."""
    head = ("method", "varied", "sizes", "seconds", "exponent", "of the operations", "others are")
    rows, reasons = [], []
    for one in series:
        fixed = ", ".join(f"{k}={v}" for k, v in one.base.items() if k != one.letter)
        rows.append(
            [
                *(one.method, one.letter),
                " ".join(f"{size:>7}" for size in one.sizes),
                " ".join(f"{number(s):>7}" for s in one.seconds) or "-",
                number(one.measured_exponent),
                number(one.counted_exponent),
                f" {fixed}",
            ]
        )
        if one.missing:
            reasons.append(f"{one.method} against {one.letter}: not measured: {one.missing}")
    return "\n".join([table(head, rows), *reasons])
