"""Curves of several runs in the same axes: means over seeds, with bands."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

from asym_keras.files import user_path
from asym_keras.plotting.curves import QUANTITIES, has_curve
from asym_keras.plotting.means import MeanCurve, mean_curve
from asym_keras.plotting.panels import Line, Panel, draw_panels
from asym_keras.runs import Run

# (task, quantity, gamma, alpha) -> the published curve, or None where there is none.
Published = Callable[[str, str, float, float], MeanCurve | None]


def several_runs(
    path: str | os.PathLike,
    groups: Sequence[Sequence[Run]],
    *,
    labels: Sequence[str] | None = None,
    published: Published | None = None,
    title: str = "",
) -> Path:
    """Draws every quantity that all runs have, one line a group.

    Pruning with a refitted readout is dotted beside it, for the groups whose runs all have it.

    Args:
        path: the PNG file.
        groups: runs whose mean is one line, as `by_seed` groups them.
        labels: a name for each group. None: its gamma and alpha.
        published: gives the curves to draw dashed; None: none.
        title: of the figure.

    Returns:
        The file written.

    Raises:
        ValueError: No group, or no quantity that all runs have.
    """
    runs = [run for group in groups for run in group]
    shared = [name for name in QUANTITIES if runs and all(has_curve(run, name) for run in runs)]
    if not shared:
        raise ValueError(
            f"expected runs with a curve in common, received {len(runs)} runs without one. "
            "Leave out those that have not begun."
        )
    panels = [
        runs_panel(name, groups, labels=labels, published=published, refit=True)[0]
        for name in shared
    ]
    path = user_path(path)
    draw_panels(path, panels, title=title)
    return path


def runs_panel(
    quantity: str,
    groups: Sequence[Sequence[Run]],
    *,
    labels: Sequence[str] | None = None,
    published: Published | None = None,
    title: str = "",
    refit: bool = False,
) -> tuple[Panel, list[MeanCurve], list[MeanCurve | None]]:
    """The panel of one quantity, and the mean curve of each group.

    With `refit` also that of the refitted readout, None for a group that lacks it.
    """
    of, lines, means = QUANTITIES[quantity], [], []
    refits: list[MeanCurve | None] = []
    names = [group[0].label for group in groups] if labels is None else labels
    for colour, (name, group) in enumerate(zip(names, groups, strict=True)):
        mean = mean_curve(group, quantity)
        means.append(mean)
        lines.append(Line(mean.x, mean.mean, colour, _mathematical(name), std=mean.std))
        fit = None
        if refit and all(has_curve(run, quantity, refit=True) for run in group):
            fit = mean_curve(group, quantity, refit=True)
            lines.append(Line(fit.x, fit.mean, colour, refitted=True))
        refits.append(fit)
        config = group[0].config
        theirs = published and published(group[0].task, quantity, config["gamma"], config["alpha"])
        if theirs:
            lines.append(Line(theirs.x, theirs.mean, colour, published=True))
    protocols = {str(run.config.get("protocol")) for group in groups for run in group}
    text = of.text_for(protocols.pop() if len(protocols) == 1 else "")
    panel = Panel(tuple(lines), of.x_text, text, title, may_be_log=of.is_risk)
    return panel, means, refits


def _mathematical(label: str) -> str:
    return label.replace("gamma", r"$\gamma$").replace("alpha", r"$\alpha$")
