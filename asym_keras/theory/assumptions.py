"""Assumptions 2.1 to 2.3 of the theorems, checked on data, activation and initialisation."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import numpy.typing as npt

from asym_keras.checks import Float64Array, check_examples
from asym_keras.theory.checks import check_targets

# Unit vectors in float32 exceed the norm 1 by their rounding.
NORM_SLACK = 1e-6
# The angle is read off a cosine, `1 - cos = angle**2 / 2`: below this it drowns in round-off.
SMALLEST_TOLERANCE = 1e-6
TILE = 1024
LISTED = 5


@dataclasses.dataclass(frozen=True)
class AssumptionReport:
    """What `check_assumptions` found; `str(report)` says it in words.

    Attributes:
        examples, input_dim: n and d.
        largest_norm: max_i ||x_i||, at most 1 by Assumption 2.1(a).
        zero_rows: indices of zero inputs.
        parallel_pairs: number of pairs i < k of nonzero inputs, parallel or opposite.
        duplicate_pairs, opposite_pairs: how many of these are equal numbers, or opposite.
        first_pairs: `(i, k, kind)` of the first of them, kind "duplicate", "parallel" or
            "opposite".
        parallel_tolerance: angle in radians up to which two lines count as one.
        target_bound: C = max |y|, Assumption 2.1(c).
        activation: name. activation_violation: how it breaks Assumption 2.2, or None.
        initial_stddev: of the initial weights; 1 by Assumption 2.3.
    """

    examples: int
    input_dim: int
    largest_norm: float
    zero_rows: tuple[int, ...]
    parallel_pairs: int
    duplicate_pairs: int
    opposite_pairs: int
    first_pairs: tuple[tuple[int, int, str], ...]
    parallel_tolerance: float
    target_bound: float
    activation: str
    activation_violation: str | None
    initial_stddev: float

    @property
    def holds(self) -> bool:
        """Whether every assumption holds."""
        return all(fault is None for _, fault, _ in self._clauses())

    def __str__(self) -> str:
        head = f"assumptions on n = {self.examples} examples in d = {self.input_dim} dimensions: "
        lines = [head + ("all hold" if self.holds else "not all hold")]
        for clause, fault, fine in self._clauses():
            lines.append(
                f"  {clause:<7} {'holds: ' + fine if fault is None else 'FAILS: ' + fault}"
            )
        return "\n".join(lines)

    def _clauses(self) -> list[tuple[str, str | None, str]]:
        """Clause, what is wrong with it (or None), and what to say if nothing is."""
        return [
            ("2.1(a)", self._norm_fault(), f"nonzero inputs, largest norm {self.largest_norm:.6g}"),
            (
                "2.1(b)",
                self._pair_fault(),
                f"no two inputs within {self.parallel_tolerance:g} rad of one line",
            ),
            ("2.1(c)", None, f"C = max |y| = {self.target_bound:.6g}"),
            ("2.2", self.activation_violation, f"activation {self.activation}"),
            ("2.3", self._initial_fault(), "initial weights from N(0, 1)"),
        ]

    def _norm_fault(self) -> str | None:
        faults = []
        if self.largest_norm > 1.0 + NORM_SLACK:
            faults.append(
                f"largest norm {self.largest_norm:.6g}, at most 1 expected; divide every input by "
                f"{self.largest_norm:.9g}"
            )
        if self.zero_rows:
            rows = ", ".join(map(str, self.zero_rows[:LISTED]))
            more = ", ..." if len(self.zero_rows) > LISTED else ""
            faults.append(f"zero inputs: {len(self.zero_rows)} (rows {rows}{more}); drop them")
        return "; ".join(faults) or None

    def _pair_fault(self) -> str | None:
        if not self.parallel_pairs:
            return None
        pairs = ", ".join(f"({i}, {k}) {kind}" for i, k, kind in self.first_pairs)
        more = ", ..." if self.parallel_pairs > len(self.first_pairs) else ""
        return (
            f"pairs within {self.parallel_tolerance:g} rad of one line: {self.parallel_pairs} "
            f"(exact duplicates {self.duplicate_pairs}, opposite {self.opposite_pairs}), "
            f"namely {pairs}{more}; keep one input of each pair"
        )

    def _initial_fault(self) -> str | None:
        if self.initial_stddev == 1.0:
            return None
        return (
            f"initial weights of standard deviation {self.initial_stddev:g}, 1 expected; "
            'use protocol="paper"'
        )


def check_assumptions(
    x: npt.ArrayLike,
    y: npt.ArrayLike,
    *,
    activation: Any = "relu",
    initial_stddev: float = 1.0,
    parallel_tolerance: float = SMALLEST_TOLERANCE,
) -> AssumptionReport:
    """Checks Assumption 2.1 (data), 2.2 (activation) and 2.3 (initial weights).

    Computed in float64, the pairs in tiles of 1,024 rows: bounded memory, `n**2 d` operations.

    Args:
        x: inputs (n, d).
        y: targets (n,) or (n, K).
        activation: name or function, as for `describe_activation`.
        initial_stddev: standard deviation of the initial weights: 1 under the protocol
            "paper", sqrt(2) under "authors".
        parallel_tolerance: angle in radians, in [1e-6, 1): two inputs count as parallel (or
            opposite) if the angle between their lines is at most this.

    Returns:
        The report; `report.holds` says whether all of them hold.

    Raises:
        ValueError: Bad shapes, entries that are not finite, a tolerance outside its range or a
            standard deviation that is not positive.
    """
    x = check_examples(x)
    y = check_targets(y, len(x))
    if not SMALLEST_TOLERANCE <= parallel_tolerance < 1.0:
        raise ValueError(
            f"parallel_tolerance: expected an angle in [{SMALLEST_TOLERANCE:g}, 1) rad, received "
            f"{parallel_tolerance}; float64 cosines resolve no smaller one"
        )
    if not (math.isfinite(initial_stddev) and initial_stddev > 0.0):
        raise ValueError(
            f"initial_stddev: expected a positive number, received {initial_stddev}; "
            "pass 1 for Eq. (8)"
        )
    from asym_keras.ntg.describe import describe_activation  # loads TensorFlow

    described = describe_activation(activation)
    # By the largest entry first: no square under- or overflows.
    scale = np.abs(x).max(axis=1, keepdims=True)
    shrunk = np.divide(x, scale, out=np.zeros_like(x), where=scale > 0.0)
    norms = np.linalg.norm(shrunk, axis=1, keepdims=True)
    rows = np.flatnonzero(scale[:, 0] > 0.0)
    parallel, opposite, first = _pairs(shrunk[rows] / norms[rows], parallel_tolerance)
    return AssumptionReport(
        examples=len(x),
        input_dim=x.shape[1],
        largest_norm=float((scale * norms).max()),
        zero_rows=tuple(np.flatnonzero(scale[:, 0] == 0.0).tolist()),
        parallel_pairs=parallel,
        duplicate_pairs=_duplicates(x[rows]),
        opposite_pairs=opposite,
        first_pairs=tuple((int(i), int(k), _kind(x, shrunk, i, k)) for i, k in rows[first]),
        parallel_tolerance=float(parallel_tolerance),
        target_bound=float(np.abs(y).max()),
        activation=described.name,
        activation_violation=described.violation,
        initial_stddev=float(initial_stddev),
    )


def _pairs(units: Float64Array, tolerance: float) -> tuple[int, int, npt.NDArray[np.intp]]:
    """Pairs of unit vectors on one line, those of them that are opposite, the first (p, 2)."""
    bound, n = math.cos(tolerance), len(units)
    parallel = opposite = 0
    first: list[tuple[int, int]] = []
    for i in range(0, n, TILE):
        for k in range(i, n, TILE):
            cosines = units[i : i + TILE] @ units[k : k + TILE].T
            if i == k:  # each pair once
                cosines[np.tril_indices(len(cosines))] = 0.0
            close = np.abs(cosines) >= bound
            count = int(np.count_nonzero(close))
            if count:
                parallel += count
                opposite += int(np.count_nonzero(close & (cosines < 0.0)))
                first += [(i + int(a), k + int(b)) for a, b in np.argwhere(close)[:LISTED]]
        if len(first) > LISTED:
            first = sorted(first)[:LISTED]
    return parallel, opposite, np.array(sorted(first), dtype=np.intp).reshape(-1, 2)


def _duplicates(x: Float64Array) -> int:
    """Pairs of equal rows."""
    if not len(x):
        return 0
    counts = np.unique(x, axis=0, return_counts=True)[1]
    return int((counts * (counts - 1) // 2).sum())


def _kind(x: Float64Array, shrunk: Float64Array, i: int, k: int) -> str:
    if np.array_equal(x[i], x[k]):
        return "duplicate"
    return "parallel" if shrunk[i] @ shrunk[k] > 0.0 else "opposite"
