"""The curves of one run, drawn into its folder."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from asym_keras.files import user_path
from asym_keras.plotting.curves import QUANTITIES, Quantity, table_curve
from asym_keras.plotting.panels import Line, Panel, draw_panels
from asym_keras.plotting.styles import Style, colour_in
from asym_keras.tables import Table

_X_LABELS = {"step": r"step ($t\,/\,$learning rate)"}


def learning_curves(
    folder: str | os.PathLike, *, formats: Sequence[str] = ("png",), ax: Any = None
) -> np.ndarray:
    """Draws the curves of Figure 10 that a run folder has.

    It reads `history.csv` and `nodes.npz`, and `pruning.csv` and `transfer.csv` if there are any.
    The weight change is that of the node which moves most by the end, as in the paper. Pruning is
    drawn over the nodes kept. Where the run has refitted readouts, they are drawn, too, with rings.

    Args:
        folder: a run folder, or one that a run is about to finish.
        formats: of the files in its `figures/`: one each curve, and `learning_curves` with all.
        ax: axes to draw into, one each curve; no file is written then.

    Returns:
        The axes of the figure with all curves.
    """
    folder = user_path(folder)
    tables = {"history": Table.from_csv(folder / "history.csv")}
    for name in ("pruning", "transfer"):
        if (folder / f"{name}.csv").is_file():
            tables[name] = Table.from_csv(folder / f"{name}.csv")
    nodes = None
    if (folder / "nodes.npz").exists():
        with np.load(folder / "nodes.npz", allow_pickle=False) as file:
            nodes = dict(file)
    style = Style(colour_in(folder))
    panels = {
        name: _panel(of, tables[of.table], nodes, style)
        for name, of in QUANTITIES.items()
        if of.table in tables and of.column in tables[of.table][0]
    }
    if ax is not None:
        return draw_panels(None, list(panels.values()), ax=ax)
    figures = folder / "figures"
    figures.mkdir(exist_ok=True)
    for name, panel in panels.items():
        draw_panels(figures / f"{name}.png", [panel], formats=formats)
    return draw_panels(figures / "learning_curves.png", list(panels.values()), formats=formats)


def _panel(of: Quantity, table: Table, nodes: dict[str, np.ndarray] | None, style: Style) -> Panel:
    width = int(table[0]["pruned"] + table[0]["kept"]) if of.table == "pruning" else 0
    lines = []
    for refit in (False, True):
        if of.column_of(refit=refit) in table[0]:
            curve = table_curve(table, nodes, of.name, root=False, refit=refit)
            x, y = of.drawn(*curve, width=width)
            lines.append(Line(x, y, style, refitted=refit))
    label = _X_LABELS.get(of.x_column, of.x_text)
    return Panel(tuple(lines), label, of.text, log_x=of.table == "pruning")
