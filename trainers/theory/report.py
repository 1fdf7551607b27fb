"""The theory's table: its rows from numbers, and its text."""

from __future__ import annotations

import dataclasses
import math

import numpy as np

from asym_keras.theory import GlobalConvergence, InitialEigenvalueBound
from trainers.common.tables import aligned, fitted
from trainers.theory.draws import Draws
from trainers.theory.numbers import ROUND_OFF, Float64Array, Theory

# It is a fault if a mean of draws is more standard errors than this away from its expectation.
LARGEST_DEVIATION = 4.0


@dataclasses.dataclass(frozen=True)
class Row:
    """A line of the table.

    Attributes:
        key: name in `theory.json`. quantity: the same in words.
        theory: bound or expectation; None where the theory has none.
        measured: the number to hold against it. None: there is none.
        error: standard error of the difference of the two; None for a bound.
        verdict: in words.
    """

    key: str
    quantity: str
    theory: float | None
    measured: float | None
    verdict: str
    error: float | None = None


@dataclasses.dataclass(frozen=True)
class Measured:
    """What a training run measured: times, and at each the risk, the NTG and the nodes.

    Attributes:
        times, risks, eigenvalues, ntg_changes: float64 (records,), the first at t = 0.
        node_changes: `||w_tj - w_0j||`, float64 (records, m).
        symmetric_eigenvalue: smallest of `Theta^(1)(W_0)`, Eq. (14).
    """

    times: Float64Array
    risks: Float64Array
    eigenvalues: Float64Array
    ntg_changes: Float64Array
    node_changes: Float64Array
    symmetric_eigenvalue: float


def theory_rows(theory: Theory, measured: Measured, draws: Draws) -> list[Row]:
    """The rows of the table, in their order."""
    return [
        Row(
            "kappa_n",
            "kappa_n, beside eig_min of the first NTG",
            theory.kappa_n,
            float(measured.eigenvalues[0]),
            "no bound by itself; positive" if theory.kappa_n else "zero to rounding",
        ),
        *_width_rows(theory),
        *_bound_rows(theory, measured),
        *_expectation_rows(theory, draws),
    ]


def _width_rows(theory: Theory) -> list[Row]:
    width, four = theory.width, theory.convergence
    name = f"width, Theorem {four.theorem if four else '4.1 or 4.2'}"
    bounds: tuple[tuple[str, str, InitialEigenvalueBound | GlobalConvergence | None], ...] = (
        ("width_c1", "width, Proposition C.1", theory.initial),
        ("width_convergence", name, four),
    )
    rows = []
    for key, name, bound in bounds:
        if bound is None:
            verdict = f"not covered: {theory.silence}"
        elif bound.applies(width):
            verdict = "met"
        else:
            finite = math.isfinite(bound.required_width)
            fault = "not met" if finite else f"not met by any width, {theory.silence}"
            verdict = f"{fault}; bounds below are not promised"
        required = None if bound is None else bound.required_width
        rows.append(Row(key, name, required, float(width), verdict))
    return rows


def _bound_rows(theory: Theory, run: Measured) -> list[Row]:
    four = theory.convergence if theory.silence is None else None
    initial = theory.initial if theory.silence is None else None
    c1 = initial is not None and initial.applies(theory.width)
    weight_ratio = risk_ratio = None
    if four is not None:
        # At t = 0 both sides of (b) are equal.
        bounds = four.risk(run.times[1:], run.risks[0])
        risk_ratio = _largest_ratio(run.risks[1:], bounds)
        weight_ratio = _largest_ratio(run.node_changes, four.weight_change(theory.scalings))

    def row(key, quantity, bound, value, promised, *, below=False) -> Row:
        if bound is None:
            return Row(key, quantity, None, value, f"no bound: {theory.silence}")
        kept = value >= bound * (1 - ROUND_OFF) if below else value <= bound * (1 + ROUND_OFF)
        verdict = ("holds" if kept else "FAILS") if promised else ("kept" if kept else "exceeded")
        return Row(key, quantity, bound, value, verdict + ("" if promised else ", not promised"))

    one = None if four is None else 1.0
    return [
        row(
            "c1",
            "C.1: eig_min of Theta^(1) at W_0 >= gamma kappa_n / 2",
            initial and initial.min_eigenvalue,
            run.symmetric_eigenvalue,
            c1,
            below=True,
        ),
        row(
            "a",
            "(a) least eig_min of the NTG >= gamma kappa_n / 4",
            four and four.min_eigenvalue,
            float(run.eigenvalues.min()),
            theory.promised,
            below=True,
        ),
        row("b", "(b) largest risk(t) / bound(t), t > 0", one, risk_ratio, theory.promised),
        row("c", "(c) largest weight change / bound", one, weight_ratio, theory.promised),
        row(
            "d",
            "(d) largest spectral norm of the NTG change",
            four and four.ntg_change(theory.scalings),
            float(run.ntg_changes.max()),
            theory.promised,
        ),
    ]


def _expectation_rows(theory: Theory, draws: Draws) -> list[Row]:
    square, square_error = _mean_and_error(draws.deviations)
    deviation, expected = math.sqrt(square), math.sqrt(theory.variance)
    floor = float((ROUND_OFF * np.linalg.norm(theory.mean)) ** 2)
    # The error of a root, by its derivative; the verdict is on the squares.
    variance = Row(
        "ntg_deviation",
        "Eq. (12) at this width: r.m.s. of ||Theta_0 - Theta*||_F",
        expected,
        deviation,
        _agreement(theory.variance, draws.deviations, floor=floor),
        square_error / (2 * deviation) if deviation else 0.0,
    )
    rows = [variance]
    name = "Thm 5.1: expected sum_j dw_j/dt at t = 0, norm"
    if theory.weight_velocity is None:
        rows.append(Row("weight_velocity", name, None, None, f"not covered: {theory.silence}"))
    else:
        norm = float(np.linalg.norm(theory.weight_velocity))
        mean, error = _mean_and_error(draws.weight_velocities)
        verdict = _agreement(norm, draws.weight_velocities)
        rows.append(Row("weight_velocity", name, norm, mean, verdict, error))
    name = "Thm 5.2: expected dTheta/dt at t = 0, Frobenius norm"
    if theory.ntg_velocity is None or draws.ntg_velocities is None:
        fault = theory.silence if theory.weight_velocity is None else "needs a smooth activation"
        return [*rows, Row("ntg_velocity", name, None, None, f"not covered: {fault}")]
    norm = float(np.linalg.norm(theory.ntg_velocity.velocity))
    mean, error = _mean_and_error(draws.ntg_velocities)
    # The expectation is a Monte Carlo estimate. The norm of the standard errors of its entries
    # bounds its error along any direction.
    theory_error = float(np.linalg.norm(theory.ntg_velocity.standard_error))
    verdict = _agreement(norm, draws.ntg_velocities, theory_error=theory_error)
    return [*rows, Row("ntg_velocity", name, norm, mean, verdict, math.hypot(error, theory_error))]


def _largest_ratio(values: Float64Array, bounds: Float64Array) -> float:
    """`max values / bounds`, without dead nodes, whose change and bound are zero."""
    ratios = np.divide(values, bounds, out=np.zeros(np.shape(values)), where=values > 0.0)
    return float(ratios.max())


def _mean_and_error(values: Float64Array) -> tuple[float, float]:
    return float(values.mean()), float(values.std(ddof=1) / math.sqrt(len(values)))


def _agreement(
    expected: float, values: Float64Array, *, floor: float = 0.0, theory_error: float = 0.0
) -> str:
    """How far the mean of the draws is from its expectation, in words.

    Args:
        expected: the expectation. values: the draws.
        floor: a gap up to this counts as none.
        theory_error: standard error of the expectation itself.
    """
    mean, own = _mean_and_error(values)
    gap, error = abs(mean - expected), math.hypot(own, theory_error)
    if gap <= max(ROUND_OFF * abs(expected), floor):
        return "equal"
    deviation = gap / error if error else math.inf
    if deviation > LARGEST_DEVIATION:
        return f"FAILS: {deviation:.1f} standard errors away"
    # Where a mean of zero would agree as well, agreement says nothing.
    if 0.0 < abs(expected) < LARGEST_DEVIATION * error:
        return f"too few draws to tell from 0; {_draws_to_tell(expected, values, theory_error)}"
    count = max(1, math.ceil(deviation))
    return f"within {count} standard error{'s' if count > 1 else ''}"


def _draws_to_tell(expected: float, values: Float64Array, theory_error: float) -> str:
    """How many draws would set `expected` apart from zero, rounded up to two digits."""
    room = (expected / LARGEST_DEVIATION) ** 2 - theory_error**2
    if room <= 0.0:
        return "no number would, since the expectation is a Monte Carlo estimate as uncertain"
    count = float(values.var(ddof=1)) / room
    unit = 10 ** max(0, math.floor(math.log10(count)) - 1)
    return f"about {math.ceil(count / unit) * unit} would (--draws)"


def table_text(rows: list[Row], *, fit: bool = False) -> str:
    """The rows as a table of four columns; `fit`: as wide as the terminal at most."""
    cells = [("quantity", "theory", "measured", "verdict")]
    for row in rows:
        measured = _number(row.measured)
        if row.error is not None:
            measured += f" ± {row.error:.2g}"
        cells.append((row.quantity, _number(row.theory), measured, row.verdict))
    lines = fitted(cells, "<><") if fit else aligned(cells, "<><")
    return "\n".join([lines[0], "-" * max(map(len, lines)), *lines[1:]])


def theory_json(rows: list[Row], theory: Theory, **facts) -> dict:
    """Content of `theory.json`: the rows, the assumption report, the bounds, and `facts`."""
    four = theory.convergence if theory.silence is None else None
    report = theory.assumptions
    return finite(
        {
            "rows": [dataclasses.asdict(row) for row in rows],
            "assumptions": {"holds": report.holds, "text": str(report), **vars(report)},
            "bounds": {
                "silence": theory.silence,
                "promised": theory.promised,
                "min_eigenvalue": four and four.min_eigenvalue,
                "rate": four and four.rate,
                "ntg_change": four and four.ntg_change(theory.scalings),
            },
            **facts,
        }
    )


def finite(content):
    """`content` with infinities and NaN as text, "inf" for example: JSON has no numbers for them.

    `float("inf")` reads them back.
    """
    if isinstance(content, dict):
        return {key: finite(value) for key, value in content.items()}
    if isinstance(content, (list, tuple)):
        return [finite(value) for value in content]
    if isinstance(content, float) and not math.isfinite(content):
        return str(content)
    return content


def _number(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.0f}" if value.is_integer() and 10 <= value < 1e6 else f"{value:.4g}"
