"""The curves of one run, drawn into its folder."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from asym_keras.files import user_path
from asym_keras.plotting.curves import QUANTITIES, Quantity, table_curve
from asym_keras.plotting.panels import Line, Panel, draw_panels
from asym_keras.tables import Table

_X_LABELS = {"step": r"step ($t\,/\,$learning rate)"}


def learning_curves(folder: str | os.PathLike) -> list[Path]:
    """Draws the curves of Figure 10 that a run folder has.

    From `history.csv` and `nodes.npz`, and from `pruning.csv` and `transfer.csv` where they are.
    The weight change is that of the node which moves most by the end, as in the paper. Pruning
    with a refitted readout is dotted, where the run has it.

    Args:
        folder: a run folder, or one that a run is about to finish.

    Returns:
        The files written to its `figures/`: one PNG a curve, and `learning_curves.png` with all.
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
    panels = {
        name: _panel(of, tables[of.table], nodes)
        for name, of in QUANTITIES.items()
        if of.table in tables and of.column in tables[of.table][0]
    }
    figures = folder / "figures"
    figures.mkdir(exist_ok=True)
    groups = {name: [panel] for name, panel in panels.items()}
    groups["learning_curves"] = list(panels.values())
    for name, group in groups.items():
        draw_panels(figures / f"{name}.png", group)
    return [figures / f"{name}.png" for name in groups]


def _panel(of: Quantity, table: Table, nodes: dict[str, np.ndarray] | None) -> Panel:
    lines = [Line(*table_curve(table, nodes, of.name, root=False, refit=False))]
    if of.column_of(refit=True) in table[0]:
        refitted = table_curve(table, nodes, of.name, root=False, refit=True)
        lines.append(Line(*refitted, refitted=True))
    return Panel(tuple(lines), _X_LABELS.get(of.x_column, of.x_text), of.text)
