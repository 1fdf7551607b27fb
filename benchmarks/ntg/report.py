"""Tables and targets of the NTG benchmark, as text."""

from __future__ import annotations

import math
from collections.abc import Sequence

from benchmarks.common.neighbours import QUIET
from benchmarks.common.report import number, percent, table
from benchmarks.ntg.results import OURS, TAPE, CaseResult, Outcome

# Relative, in the Frobenius norm. Entry by entry it would be too strict: where a preactivation
# is zero but for rounding, frameworks differ in its sign, and so in one slope of the ReLU.
LARGEST_DIFFERENCE = 1e-4
JACOBIAN_TARGET = 20.0  # least speed on the MLP beside the Jacobian
PEER_TARGETS = {"shallow": 3.0, "mlp": 3.0, "cnn": 1.0}  # the same beside the best peer
CLOSED_FORM_SECONDS = 2.0  # most for n = 5000
CLOSED_FORM_PRODUCTS = 1.5  # most, over the bare products, for n = 5000
LARGE_CASE = "shallow-5000"
RESULTS_HELD = 1.5  # most memory: so many times the result, and a tile


def outcome_table(results: Sequence[CaseResult]) -> str:
    """Time and memory of every contender, and below it why one is missing."""
    head = (
        *("case", "framework", "method", "best s", "of ours' best", "calls", "products s"),
        *("peak MB", "peak/(result + tile)", "NTG off", "others"),
    )
    rows, reasons = [], []
    for result in results:
        ours = result.best(ours=True)
        for outcome in result.outcomes:
            names = [result.name, outcome.framework, outcome.method]
            if outcome.missing:
                rows.append([*names, *["-"] * 8])
                reasons.append(f"{' '.join(names)}: not measured: {outcome.missing}")
                continue
            off = outcome.difference
            rows.append(
                [
                    *names,
                    number(outcome.best),
                    f"{number(outcome.best / ours.best)} x" if ours else "-",
                    f"{len(outcome.seconds)}",
                    number(outcome.products),
                    number(outcome.peak / 1e6),
                    f"{_held(result, outcome):.2f}" if outcome.is_ours else "-",
                    "-" if off is None else f"{off:.0e}",
                    percent(min(outcome.others)),
                ]
            )
    return "\n".join([table(head, rows), *dict.fromkeys(reasons)])


def _held(result: CaseResult, outcome: Outcome) -> float:
    return outcome.peak / (result.result_bytes + result.tile_bytes)


def case_table(results: Sequence[CaseResult]) -> str:
    """Shapes and sizes."""
    rows = [
        [r.name, f"{r.result_bytes / 1e6:.2f}", f"{r.tile_bytes / 1e6:.0f}", f" {r.shape}"]
        for r in results
    ]
    return table(("case", "result MB", "tile MB", "shape"), rows)


def targets(results: Sequence[CaseResult]) -> str:
    """Each target with what was measured."""
    rows = []
    for result in results:
        kind = result.name.partition("-")[0]
        if kind == "mlp":
            structured = result.find(OURS, "structured")
            for names in ((TAPE, "tape.jacobian"), (OURS, "jacobian")):
                what = f"{result.name}: structured beside {' '.join(names)}"
                speed = _ratio(result.find(*names), structured)
                rows.append(_row(what, speed, JACOBIAN_TARGET, "x", least=True))
        peer, ours = result.best(ours=False), result.best(ours=True)
        name = f"{peer.framework} {peer.method}" if peer else "the best peer"
        what = f"{result.name}: ours beside {name}"
        rows.append(_row(what, _ratio(peer, ours), PEER_TARGETS[kind], "x", least=True))
        if result.name == LARGE_CASE:
            rows += _closed_form_rows(result)
        rows += _memory_rows(result)
    return table(("target", "measured", "wanted", ""), rows)


def _ratio(slow: Outcome | None, fast: Outcome | None) -> float:
    return slow.best / fast.best if slow and fast else math.nan


def _closed_form_rows(result: CaseResult) -> list[list[str]]:
    closed = result.find(OURS, "closed_form")
    seconds = closed.best if closed else math.nan
    share = closed.best / closed.products if closed else math.nan
    return [
        _row(f"{result.name}: closed form", seconds, CLOSED_FORM_SECONDS, "s", least=False),
        _row(
            f"{result.name}: closed form over the bare products",
            *(share, CLOSED_FORM_PRODUCTS, "x"),
            least=False,
        ),
    ]


def _memory_rows(result: CaseResult) -> list[list[str]]:
    most = (RESULTS_HELD * result.result_bytes + result.tile_bytes) / 1e6
    return [
        _row(f"{result.name}: memory of {o.method}", o.peak / 1e6, most, "MB", least=False)
        for o in result.outcomes
        if o.is_ours and not o.missing
    ]


def _row(what: str, value: float, limit: float, unit: str, *, least: bool) -> list[str]:
    wanted = f"{'at least' if least else 'at most'} {number(limit)} {unit}"
    if math.isnan(value):
        return [what, "-", wanted, "not measured"]
    met = value >= limit if least else value <= limit
    return [what, f"{number(value)} {unit}", wanted, "met" if met else "MISSED"]


def disagreements(results: Sequence[CaseResult]) -> list[str]:
    """Matrices that should agree and do not, and methods of ours that failed."""
    faults = []
    for result in results:
        for outcome in result.outcomes:
            names = f"{result.name}: {outcome.framework} {outcome.method}"
            off = outcome.difference
            if off is not None and not off <= LARGEST_DIFFERENCE:
                faults.append(f"{names} differs: expected at most {LARGEST_DIFFERENCE:g}: {off}")
            if outcome.failed and outcome.is_ours:
                faults.append(f"{names} failed: {outcome.missing}")
    return faults


def notes(results: Sequence[CaseResult], rounds: int) -> str:
    """How to read the tables."""
    versions = {
        f"{outcome.framework} {outcome.version} ({outcome.device})": None
        for result in results
        for outcome in result.outcomes
        if outcome.version
    }
    return f"""\
{", ".join(versions)}.
float32, standard normal examples, output 0, all trained weights. Every contender runs in fresh
  processes of its own.
best: over all calls in {rounds} rounds, in which the contenders take turns; compilation excluded.
  What takes long is not run again: see calls.
products: the two that the closed form must do, X X^T (n x d x n) and S S^T (n x m x n), bare, in
  the same processes; the best.
peak: most memory that a process held during the calls, the first and its compilation included,
  over what it held before, a call with two examples done; the largest of all rounds.
NTG off: from ours' first method measured, relative, in the Frobenius norm.
others: share of the cores that other programs used, in the quietest round."""


def warnings(results: Sequence[CaseResult]) -> list[str]:
    """Whose times should not be quoted."""
    return [
        f"WARNING: {outcome.framework} {outcome.method} on {result.name}: other programs used "
        f"{100 * min(outcome.others):.0f} % of the cores even in the quietest round."
        for result in results
        for outcome in result.outcomes
        if not outcome.missing and min(outcome.others) > QUIET
    ]
