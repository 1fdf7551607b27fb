"""Curves of several runs in the same axes: means over seeds, with bands."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from asym_keras.files import user_path
from asym_keras.plotting.curves import QUANTITIES, Quantity, has_curve
from asym_keras.plotting.means import MeanCurve, by_seed, mean_curve
from asym_keras.plotting.panels import Line, Panel, draw_panels
from asym_keras.plotting.styles import styles_of
from asym_keras.runs import Run

# (task, quantity, gamma, alpha) -> the published curve, or None where there is none.
Published = Callable[[str, str, float, float], MeanCurve | None]


def several_runs(
    path: str | os.PathLike | None,
    groups: Sequence[Sequence[Run]] | Sequence[Run],
    *,
    labels: Sequence[str] | None = None,
    published: Published | None = None,
    title: str = "",
    formats: Sequence[str] | None = None,
    ax: Any = None,
) -> np.ndarray:
    """Draws every quantity that all runs have, one line for each group.

    Pruning with a refitted readout has rings beside it, for the groups whose runs all have it.

    Args:
        path: the file, `.png`, `.pdf` or `.svg`. None: none is written.
        groups: runs whose mean is one line, as `by_seed` groups them; or runs, to be grouped so.
        labels: a name for each group. None: its gamma and alpha.
        published: gives the curves to draw with crosses; None: none.
        title: of the figure; none unless it is given.
        formats: of several files, such as `("pdf", "svg")`. None: that of `path`.
        ax: axes to draw into, one each quantity, in the place of a new figure.

    Returns:
        The axes, one each quantity.

    Raises:
        ValueError: No group, or no quantity that all runs have.
    """
    groups = _grouped(groups)
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
    file = None if path is None else user_path(path)
    return draw_panels(file, panels, title=title, formats=formats, ax=ax)


def plot_curve(
    runs: Run | Sequence[Run] | Sequence[Sequence[Run]],
    quantity: str = "train_risk",
    *,
    labels: Sequence[str] | None = None,
    title: str = "",
    refit: bool = False,
    ax: Any = None,
) -> Any:
    """Draws one quantity of a run, or of several, as means over seeds; writes no file.

    Args:
        runs: one, several, or groups of runs whose mean is one line.
        quantity: a key of `QUANTITIES`.
        labels: a name for each line. None: its gamma and alpha.
        title: of the axes; none unless it is given.
        refit: draw pruning with a refitted readout, too, with rings.
        ax: axes to draw into. None: new ones.

    Returns:
        The axes.

    Raises:
        ValueError: No such quantity, or a run without it.

    Example:
        >>> axes = asym_keras.plotting.plot_curve(asym_keras.load_runs("runs"), "test_risk")
        >>> axes.get_ylabel()
        'test risk'
    """
    if quantity not in QUANTITIES:
        raise ValueError(
            f"plot_curve: expected a quantity of {', '.join(QUANTITIES)}, received {quantity!r}."
        )
    groups = _grouped([runs] if isinstance(runs, Run) else runs)
    panel, _, _ = runs_panel(quantity, groups, labels=labels, title=title, refit=refit)
    return draw_panels(None, [panel], ax=ax)[0]


def _grouped(groups: Sequence[Sequence[Run]] | Sequence[Run]) -> list[list[Run]]:
    """The groups as they are given; runs without groups are put together by `by_seed`."""
    alone = [run for run in groups if isinstance(run, Run)]
    return by_seed(alone) or [list(group) for group in groups if not isinstance(group, Run)]


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

    With `refit`, it also gives the mean curves of the refitted readout; None for a group that lacks
    one.
    """
    of, lines, means = QUANTITIES[quantity], [], []
    refits: list[MeanCurve | None] = []
    names = [group[0].label for group in groups] if labels is None else labels
    styles = styles_of([group[0] for group in groups])
    for style, name, group in zip(styles, names, groups, strict=True):
        mean = mean_curve(group, quantity)
        means.append(mean)
        x, y, std = of.drawn(mean.x, mean.mean, mean.std, width=_width(of, group[0]))
        lines.append(Line(x, y, style, _mathematical(name), std=std))
        fit = None
        if refit and all(has_curve(run, quantity, refit=True) for run in group):
            fit = mean_curve(group, quantity, refit=True)
            x, y = of.drawn(fit.x, fit.mean, width=_width(of, group[0]))
            lines.append(Line(x, y, style, refitted=True))
        refits.append(fit)
        config = group[0].config
        theirs = published and published(group[0].task, quantity, config["gamma"], config["alpha"])
        if theirs:  # in its last point all nodes are pruned
            x, y = of.drawn(theirs.x, theirs.mean, width=int(theirs.x[-1]))
            lines.append(Line(x, y, style, published=True))
    protocols = {str(run.config.get("protocol")) for group in groups for run in group}
    text = of.text_for(protocols.pop() if len(protocols) == 1 else "")
    scales = {"may_be_log": of.is_risk, "log_x": of.table == "pruning"}
    return Panel(tuple(lines), of.x_text, text, title, **scales), means, refits


def _width(of: Quantity, run: Run) -> int:
    """The width from which a pruning curve counts the nodes kept; 0 for other curves."""
    return run.width if of.table == "pruning" else 0


def _mathematical(label: str) -> str:
    return label.replace("gamma", r"$\gamma$").replace("alpha", r"$\alpha$")
