"""Tables and targets of the training benchmark, as text."""

from __future__ import annotations

import math
from collections.abc import Sequence

from benchmarks.common.neighbours import QUIET
from benchmarks.common.report import number, percent, table
from benchmarks.training.results import PairResult, TaskResult

LARGEST_WEIGHT_DIFFERENCE = 1e-3
LARGEST_CHANGE_DIFFERENCE = 1e-2
LARGEST_RISK_DIFFERENCE = 5e-2
# Least speed of our descent beside each peer's, and of flow beside our descent.
DESCENT_TARGETS = {("simulated", "PyTorch"): 1.8, ("mnist", "PyTorch"): 1.4}
JAX_TARGET = 1 / 1.1  # not slower by more than 10 %
# Least speed of the flow beside descent at gamma = 0, extrapolated: ours and the peers'.
FLOW_TARGETS = {
    ("mnist", "ours"): 300.0,
    ("energy", "PyTorch"): 100.0,
    ("energy", "JAX"): 10.0,
    ("airfoil", "JAX"): 5.0,
}
RISK_TARGET = 1e-2  # largest relative difference of final train risks, flow beside descent


def step_table(results: Sequence[TaskResult]) -> str:
    """Time per step of every framework, and below it why one is missing."""
    head = (
        *("task", "framework", "best ms", "median ms", "products ms", "best/products"),
        *("ours faster", "weights off", "changes off", "others"),
    )
    rows, reasons = [], []
    for result in results:
        ours = result.descents[0]
        for descent in result.descents:
            if descent.missing:
                name = f"{descent.framework}: not measured"
                rows.append([result.name, name, *["-"] * 8])
                reasons.append(f"{name} on {result.name}: {descent.missing}")
                continue
            own = descent is ours
            rows.append(
                [
                    result.name,
                    descent.framework,
                    number(1e3 * descent.step),
                    number(1e3 * descent.median_step),
                    number(1e3 * descent.products),
                    f"{descent.step / descent.products:.2f}",
                    "-" if own else f"{descent.step / ours.step:.2f} x",
                    "-" if own else f"{descent.weight_difference:.0e}",
                    "-" if own else f"{descent.change_difference:.0e}",
                    percent(min(descent.others)),
                ]
            )
    return "\n".join([table(head, rows), *reasons])


def flow_table(results: Sequence[TaskResult]) -> str:
    """Time to the end time: flow, our descent, and the peers' descent extrapolated."""
    peers = [descent.framework.split()[0] for descent in results[0].descents[1:]]
    head = (
        *("task", "gamma", "t", "flow s", "gradients", "descent s"),
        *(f"{name} s *" for name in peers),
        *("flow faster", "flow's risk", "descent's", "off", "test accuracy"),
    )
    rows = []
    for result in results:
        for pair in result.pairs:
            flow, descent, off = pair.flow, pair.descent, pair.risk_difference
            seconds = to_end(result, pair)
            rows.append(
                [
                    result.name,
                    f"{pair.gamma:g}",
                    f"{result.end_time:,.0f}",
                    number(flow.best),
                    f"{flow.gradients}",
                    f"{number(seconds)}{'' if descent else ' *'}",
                    *(number(result.seconds_to_end(peer)) for peer in result.descents[1:]),
                    f"{seconds / flow.best:.0f} x",
                    f"{flow.train_risk:.4g}",
                    f"{descent.train_risk:.4g}" if descent else "-",
                    "-" if off is None else f"{100 * off:.2f} %",
                    "-" if flow.test_accuracy is None else f"{flow.test_accuracy:.4f}",
                ]
            )
    return table(head, rows)


def to_end(result: TaskResult, pair: PairResult) -> float:
    """Seconds of our descent to the end time: measured where it was run, else extrapolated."""
    return pair.descent.best if pair.descent else result.seconds_to_end(result.descents[0])


def targets(results: Sequence[TaskResult]) -> str:
    """Each target with what was measured."""
    rows = []
    for result in results:
        for peer in result.descents[1:]:
            name = peer.framework.split()[0]
            least = DESCENT_TARGETS.get((result.name, name), JAX_TARGET)
            speed = peer.step / result.descents[0].step
            rows.append(_target(f"{result.name}: our descent beside {name}", speed, least))
        for pair in result.pairs:
            what = f"{result.name}: flow beside our descent, gamma {pair.gamma:g}"
            off = pair.risk_difference
            if off is not None:
                verdict = "met" if off <= RISK_TARGET else "MISSED"
                what += ", train risk off by"
                rows.append([what, f"{100 * off:.2f} %", f"{100 * RISK_TARGET:g} %", verdict])
            elif (result.name, "ours") in FLOW_TARGETS:
                least = FLOW_TARGETS[result.name, "ours"]
                rows.append(_target(what, to_end(result, pair) / pair.flow.best, least))
            for peer in result.descents[1:] if not pair.gamma else ():
                name = peer.framework.split()[0]
                if (result.name, name) in FLOW_TARGETS:
                    what = f"{result.name}: flow beside {name}'s descent, gamma 0"
                    speed = result.seconds_to_end(peer) / pair.flow.best
                    rows.append(_target(what, speed, FLOW_TARGETS[result.name, name]))
    return table(("target", "measured", "wanted", ""), rows)


def disagreements(results: Sequence[TaskResult]) -> list[str]:
    """Where two computations that should agree do not."""
    faults = []
    for result in results:
        for peer in result.descents[1:]:
            if peer.missing:
                continue
            faults += _beyond(
                f"{result.name}: weights of {peer.framework}",
                peer.weight_difference,
                LARGEST_WEIGHT_DIFFERENCE,
            )
            faults += _beyond(
                f"{result.name}: changes of weights of {peer.framework}",
                peer.change_difference,
                LARGEST_CHANGE_DIFFERENCE,
            )
        for pair in result.pairs:
            if pair.descent:
                what = f"{result.name}: train risk of the flow, gamma {pair.gamma:g},"
                faults += _beyond(what, pair.risk_difference, LARGEST_RISK_DIFFERENCE)
    return faults


def notes(results: Sequence[TaskResult], rounds: int) -> str:
    """How to read the tables."""
    checked = ", ".join(f"{r.check_steps} steps on {r.name}" for r in results)
    shapes = "; ".join(f"{r.name} {r.shape}" for r in results)
    return f"""\
Shapes: {shapes}.
float32, full batch, learning rate {results[0].learning_rate:g}, protocol `authors`, seed 0.
best, median: of a step at (gamma, alpha) = (0, 0.4), over {rounds} rounds, ours and the peers in
  turn, several measurements in each; compilation and warm-up excluded.
products: the two that every step must do, x W and x^T G, bare, in the same framework; the best.
weights off, changes off: relative to ours, after {checked};
  changes are those since the start.
others: share of the cores that other programs used, in the quietest round.
flow: rtol = atol = 1e-2; the fastest of {rounds} whole calls of `train`, tracing and compilation
  included.
descent: one whole call of ours; *: extrapolated, best time per step x number of steps to t.
risk: final train risk."""


def warnings(results: Sequence[TaskResult]) -> list[str]:
    """Whose times should not be quoted."""
    return [
        f"WARNING: {descent.framework} on {result.name}: other programs used "
        f"{100 * min(descent.others):.0f} % of the cores even in the quietest round; "
        "its times say little. Run again when the machine is quiet."
        for result in results
        for descent in result.descents
        if not descent.missing and min(descent.others) > QUIET
    ]


def _target(what: str, speed: float, least: float) -> list[str]:
    if math.isnan(speed):
        return [what, "-", f"{number(least)} x", "not measured"]
    return [
        what,
        f"{number(speed)} x",
        f"{number(least)} x",
        "met" if speed >= least else "MISSED",
    ]


def _beyond(what: str, value: float | None, largest: float) -> list[str]:
    if value is not None and value <= largest:
        return []
    return [f"{what} differ: expected at most {largest:g}, received {value}"]
