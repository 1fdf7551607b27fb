"""A run beside the bounds of Theorem 4.1 or 4.2."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from asym_keras.files import user_path
from asym_keras.plotting.curves import QUANTITIES
from asym_keras.plotting.saving import save_figure
from asym_keras.plotting.styles import colour_in
from asym_keras.tables import Table

_LINE: dict[str, Any] = {"linewidth": 1.6}
_POINTS: dict[str, Any] = {"linestyle": "none", "markersize": 2}


def theory_bounds(
    folder: str | os.PathLike, *, formats: Sequence[str] = ("png",), ax: Any = None
) -> np.ndarray:
    """Draws a run beside bounds (a) to (d) of Theorem 4.1 or 4.2.

    It reads `history.csv`, `nodes.npz` (with `weight_change_bound`) and `theory.json` (with
    `bounds`), as `python -m trainers.theory` writes them. It leaves out the start, t = 0, since the
    time is on a logarithmic axis; values that are positive are on one, too.

    Args:
        folder: a run folder.
        formats: of the file `figures/theory.png`, one file for each.
        ax: four axes to draw into; no file is written then.

    Returns:
        The axes, of bounds (b), (a), (d) and (c).
    """
    from matplotlib.figure import Figure

    folder = user_path(folder)
    history = Table.from_csv(folder / "history.csv")
    bounds = json.loads((folder / "theory.json").read_text(encoding="utf-8"))["bounds"]
    with np.load(folder / "nodes.npz", allow_pickle=False) as file:
        change, change_bound = file["node_weight_change"][-1], file["weight_change_bound"]
    columns = ("time", "train_risk", "ntg_min_eigenvalue", "ntg_change")
    time, risk, eigenvalue, ntg_change = (history.column(name) for name in columns)
    falling = least = most = None
    if bounds["silence"] is None:
        falling = risk[0] * np.exp(-bounds["rate"] * time[1:])
        least, most = (np.full(len(time) - 1, bounds[k]) for k in ("min_eigenvalue", "ntg_change"))
    else:
        change_bound = None
    moved = r"$\|\mathbf{w}_{Tj} - \mathbf{w}_{0j}\|$ at the end"
    panels = (
        ("(b)", time[1:], risk[1:], falling, "training risk"),
        ("(a)", time[1:], eigenvalue[1:], least, QUANTITIES["ntg_min_eigenvalue"].text),
        ("(d)", time[1:], ntg_change[1:], most, QUANTITIES["ntg_change"].text),
        ("(c)", np.arange(1, len(change) + 1), change, change_bound, moved),
    )
    colour = colour_in(folder)
    promise = "" if bounds["promised"] else ", not promised"
    figure = Figure(figsize=(9.0, 6.4), layout="constrained")
    axes = figure.subplots(2, 2).ravel() if ax is None else np.ravel(np.array(ax, dtype=object))
    for axis, (part, x, values, bound, label) in zip(axes, panels, strict=True):
        x_label, style = ("node $j$", _POINTS) if part == "(c)" else ("time $t$", _LINE)
        axis.plot(x, values, color=colour, marker=".", **style, label="measured")
        text = f"bound {part}{promise}"
        if bound is None:
            x, bound, text = np.empty(0), [], f"no bound {part}: {bounds['silence']}"
        axis.plot(x, bound, color="black", linestyle="--", label=text)
        y_scale = "log" if np.any(values > 0.0) else "linear"
        axis.set(xscale="log", yscale=y_scale, xlabel=x_label, ylabel=label)
        axis.grid(alpha=0.3)
        axis.legend(fontsize=8)
    if ax is None:
        (folder / "figures").mkdir(exist_ok=True)
        save_figure(figure, folder / "figures" / "theory.png", formats=formats)
    return axes
