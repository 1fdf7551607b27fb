"""Means over runs laid beside the published curves."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence

import numpy as np

from asym_keras.plotting import QUANTITIES, MeanCurve, has_curve, mean_curve
from asym_keras.runs import Run
from trainers.common.published import PublishedCurves
from trainers.common.tables import fits, fitted, markdown

WIDTH = 2000
# Where curves are compared: at these parts of the published steps, pruned nodes or features.
_POINTS = {
    "history": lambda end: (end / 10, end / 2, end),
    "pruning": lambda end: (end / 4, end / 2, 3 * end / 4, 19 * end / 20),
    "transfer": lambda end: (end / 10, end / 2, end),
}


@dataclasses.dataclass(frozen=True)
class Comparison:
    """A mean over runs beside the published one, at one point of a curve.

    Attributes:
        task, gamma, alpha, runs: what was run, and how often.
        quantity, x: the curve, and where.
        measured, published, std: our mean, theirs, and their standard deviation.
        refitted: our mean with as many nodes pruned and the readout refitted; None where a run
            lacks it.
    """

    task: str
    gamma: float
    alpha: float
    runs: int
    quantity: str
    x: float
    measured: float
    published: float
    std: float
    refitted: float | None = None

    @property
    def deviations(self) -> float:
        """The difference in published standard deviations; nan where they have none."""
        return (self.measured - self.published) / self.std if self.std else float("nan")

    @property
    def agrees(self) -> bool:
        """Whether our mean is within three published deviations plus 1 % of the published one."""
        difference = abs(self.measured - self.published)
        return difference <= 3.0 * self.std + 0.01 * abs(self.published)


def compare(group: Sequence[Run], published: PublishedCurves) -> list[Comparison]:
    """Compares the mean over runs of one pair with the published curves, where both have one.

    The runs' records are interpolated to the published steps.

    Raises:
        ValueError: The runs are not what was published; the message says why.
    """
    run = group[0]
    gamma, alpha = run.config["gamma"], run.config["alpha"]
    _check(run, published)
    rows = []
    for name, of in QUANTITIES.items():
        theirs = published.curve(run.task, name, gamma, alpha)
        if theirs is None or not all(has_curve(other, name) for other in group):
            continue
        ours = mean_curve(group, name)
        if of.table == "history" and ours.x[-1] != theirs.x[-1]:
            raise ValueError(f"ends at step {ours.x[-1]:g}, not {theirs.x[-1]:g}")
        refitted = None
        if all(has_curve(other, name, refit=True) for other in group):
            refitted = mean_curve(group, name, refit=True)
        for x in _points(of.table, ours, theirs):
            measured, mean = (float(np.interp(x, c.x, c.mean)) for c in (ours, theirs))
            std = float(np.interp(x, theirs.x, theirs.std))
            of_runs = (run.task, gamma, alpha, len(group), name)
            fit = None if refitted is None else float(np.interp(x, refitted.x, refitted.mean))
            rows.append(Comparison(*of_runs, x, measured, mean, std, fit))
    if not rows:
        raise ValueError("has no curve that was published")
    return rows


def _check(run: Run, published: PublishedCurves) -> None:
    protocol, width = run.config.get("protocol"), run.config["width"]
    if protocol != "authors":
        raise ValueError(f"protocol {protocol}, not authors")
    if not published.has_task(run.task):
        raise ValueError(f"no published curves of {run.task}")
    if width != WIDTH:
        raise ValueError(f"width {width}, not {WIDTH}")


def _points(table: str, ours: MeanCurve, theirs: MeanCurve) -> Iterator[float]:
    """Published points nearest to the places where curves are compared, within both curves."""
    first, last = max(ours.x[0], theirs.x[0]), min(ours.x[-1], theirs.x[-1])
    inside = theirs.x[(theirs.x >= first) & (theirs.x <= last)]
    places = (inside[np.argmin(np.abs(inside - x))] for x in _POINTS[table](theirs.x[-1]))
    yield from dict.fromkeys(float(x) for x in places)


def table(rows: Sequence[Comparison]) -> list[str]:
    """A Markdown table of comparisons, and how many agree; plain if the terminal is too narrow.

    It has a last column, with the readout refitted, if a row has such a number.
    """
    names = ["task", "gamma", "alpha", "runs", "quantity", "at", "measured", "published"]
    names += ["deviations", "agrees"]
    refits = any(row.refitted is not None for row in rows)
    lines = [names + ["refitted"] * refits]
    for row in rows:
        name = "sqrt(ntg_change)" if row.quantity == "ntg_change" else row.quantity
        deviations = f"{row.deviations:+.1f}" if row.std else "-"
        cells = [row.task, f"{row.gamma:g}", f"{row.alpha:g}", str(row.runs), name, f"{row.x:g}"]
        cells += [f"{row.measured:.5g}", f"{row.published:.5g} ± {row.std:.2g}", deviations]
        cells.append("yes" if row.agrees else "no")
        if refits:
            cells.append("-" if row.refitted is None else f"{row.refitted:.5g}")
        lines.append(cells)
    table = markdown(lines)
    return [
        *(table if fits(table) else fitted(lines, keys=5)),
        "",
        f"{sum(row.agrees for row in rows)} of {len(rows)} agree.",
    ]
