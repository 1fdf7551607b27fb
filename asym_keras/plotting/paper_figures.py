"""The paper's figures: their panels, drawn from runs, with the numbers beside the picture."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from asym_keras.files import user_path
from asym_keras.plotting.curves import QUANTITIES
from asym_keras.plotting.means import MeanCurve
from asym_keras.plotting.panels import Line, Panel, draw_panels
from asym_keras.plotting.run_groups import Published, runs_panel
from asym_keras.runs import Run
from asym_keras.scaling import zipf_concentration
from asym_keras.tables import Table

COLUMNS = ("task", "gamma", "alpha", "panel", "x", "mean", "std", "runs")


@dataclasses.dataclass(frozen=True)
class PaperPanel:
    """A panel of a figure: what is drawn (a key of `QUANTITIES`), of which task."""

    task: str
    quantity: str


def _panels(task: str, names: Iterable[str]) -> tuple[PaperPanel, ...]:
    return tuple(PaperPanel(task, name) for name in names)


_SIMULATED = ("train_risk", "weight_change", "ntg_change", "ntg_min_eigenvalue")
_CIFAR = ("test_risk", "weight_change", "pruning_test_risk", "pruning_test_accuracy")
_REGRESSION = [name for name in QUANTITIES if "accuracy" not in name]
# Figure 5 is drawn from a formula. The caption of Figure 10 names the panels of Figures 6 to 9
# only; its accuracies are among the published curves.
PAPER_FIGURES: dict[int, tuple[PaperPanel, ...]] = {
    1: _panels("simulated", _SIMULATED),
    2: (
        PaperPanel("concrete", "weight_change"),
        PaperPanel("energy", "ntg_change"),
        PaperPanel("airfoil", "pruning_train_risk"),
        PaperPanel("plant", "transfer_test_risk"),
    ),
    3: _panels("mnist", ("pruning_test_accuracy", "transfer_test_accuracy")),
    4: _panels("cifar10", _CIFAR),
    5: (),
    6: _panels("concrete", _REGRESSION),
    7: _panels("energy", _REGRESSION),
    8: _panels("airfoil", _REGRESSION),
    9: _panels("plant", _REGRESSION),
    10: _panels("mnist", QUANTITIES),
    11: _panels("cifar10", _CIFAR),
}
_GRID = {6: 3, 7: 3, 8: 3, 9: 3}
_FREE = {10: 7}  # place of the legend, so that pruning and transfer have a row each


def paper_figure(
    number: int,
    path: str | os.PathLike | None = None,
    groups: Mapping[str, Sequence[Sequence[Run]]] | None = None,
    *,
    published: Published | None = None,
    title: str = "",
    refit: bool = False,
    formats: Sequence[str] | None = None,
    ax: Any = None,
) -> np.ndarray:
    """Draws a figure of the paper, and writes the numbers drawn to a CSV file beside it.

    Lines are means over runs, bands one standard deviation (ddof 1). Pruning is drawn over the
    nodes kept. The CSV file has the path's name, and columns
    `task,gamma,alpha,panel,x,mean,std,runs`; `x` of pruning is the number of pruned nodes, `std`
    is empty where there is one run, and a refitted curve has the suffix `_refit` in `panel`.

    Args:
        number: 1 to 11.
        path: the file, `.png`, `.pdf` or `.svg`. None: neither it nor the CSV file is written.
        groups: by task, the runs of each line. Not needed for Figure 5.
        published: gives the curves to draw with crosses; None: none.
        title: of the figure; none unless it is given.
        refit: draw pruning with a refitted readout too, with rings, where the runs have it. The
            paper does not.
        formats: of several files, such as `("pdf", "svg")`. None: that of `path`.
        ax: axes to draw into, one each panel, in the place of a new figure.

    Returns:
        The axes, one each panel.

    Raises:
        ValueError: No such figure, or a run without what is drawn.
        KeyError: `groups` lacks a task of the figure.
    """
    if number not in PAPER_FIGURES:
        raise ValueError(f"expected a figure from 1 to 11, received {number}.")
    if number == 5:
        panels, rows = _concentration()
    else:
        panels, rows = _measured(PAPER_FIGURES[number], groups or {}, published, refit)
    places: list[Panel | None] = [*panels]
    if number in _FREE:
        places.insert(_FREE[number], None)
    file = None if path is None else user_path(path)
    options = {"columns": _GRID.get(number, 4), "title": title, "formats": formats, "ax": ax}
    axes = draw_panels(file, places, **options)
    if file is not None:
        table = Table([dict(zip(COLUMNS, row, strict=True)) for row in rows])
        table.to_csv(file.with_suffix(".csv"))
    return axes


def _measured(
    paper_panels: Iterable[PaperPanel], groups: Any, published: Any, refit: Any
) -> tuple[list[Panel], list[tuple]]:
    several = len({panel.task for panel in paper_panels}) > 1
    panels, rows = [], []
    for of in paper_panels:
        title = of.task if several else ""
        panel, means, refits = runs_panel(
            of.quantity, groups[of.task], published=published, title=title, refit=refit
        )
        panels.append(panel)
        for group, mean, fit in zip(groups[of.task], means, refits, strict=True):
            config = group[0].config
            head = (of.task, config["gamma"], config["alpha"], of.quantity)
            rows += _rows(head, mean)
            if fit is not None:
                rows += _rows((*head[:-1], f"{of.quantity}_refit"), fit)
    return panels, rows


def _rows(head: tuple, curve: MeanCurve) -> list[tuple]:
    return [
        (*head, float(x), float(mean), "" if np.isnan(std) else float(std), curve.runs)
        for x, mean, std in zip(curve.x, curve.mean, curve.std, strict=True)
    ]


def _concentration() -> tuple[list[Panel], list[tuple]]:
    """Figure 5: `zeta(2 / alpha) / zeta(1 / alpha)**2`, gamma = 0."""
    alphas = np.linspace(0.01, 0.99, 197)
    values = np.array([zipf_concentration(alpha) for alpha in alphas])
    panel = Panel((Line(alphas, values),), r"$\alpha$", r"$\sum_j \tilde{\lambda}_j^{\,2}$")
    rows = [
        ("zipf", 0.0, float(alpha), "concentration", float(alpha), float(value), "", 0)
        for alpha, value in zip(alphas, values, strict=True)
    ]
    return [panel], rows
