"""A run beside the bounds of Theorem 4.1 or 4.2."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np

from asym_keras.files import atomic_path, user_path
from asym_keras.plotting.curves import QUANTITIES
from asym_keras.tables import Table


def theory_bounds(folder: str | os.PathLike) -> Path:
    """Draws a run beside bounds (a) to (d) of Theorem 4.1 or 4.2.

    From `history.csv`, `nodes.npz` (with `weight_change_bound`) and `theory.json` (with
    `bounds`), as `python -m trainers.theory` writes them. The start, t = 0, is left out: axes are
    logarithmic where what they show is positive.

    Args:
        folder: a run folder.

    Returns:
        The file written, `figures/theory.png`.
    """
    from matplotlib.figure import Figure

    folder = user_path(folder)
    history = Table.from_csv(folder / "history.csv")
    bounds = json.loads((folder / "theory.json").read_text(encoding="utf-8"))["bounds"]
    with np.load(folder / "nodes.npz", allow_pickle=False) as file:
        change, change_bound = file["node_weight_change"][-1], file["weight_change_bound"]
    time, risk = history.column("time"), history.column("train_risk")
    eigenvalues, ntg_change = history.column("ntg_min_eigenvalue"), history.column("ntg_change")
    risk_bound = least = most = None
    if bounds["silence"] is None:
        risk_bound = risk[0] * np.exp(-bounds["rate"] * time[1:])
        least, most = (np.full(len(time) - 1, bounds[k]) for k in ("min_eigenvalue", "ntg_change"))
    panels = (
        (time[1:], risk[1:], risk_bound, "(b)", "time $t$", "training risk"),
        (
            time[1:],
            eigenvalues[1:],
            least,
            "(a)",
            "time $t$",
            QUANTITIES["ntg_min_eigenvalue"].text,
        ),
        (time[1:], ntg_change[1:], most, "(d)", "time $t$", QUANTITIES["ntg_change"].text),
        (
            np.arange(1, len(change) + 1),
            change,
            change_bound if bounds["silence"] is None else None,
            "(c)",
            "node $j$",
            r"$\|\mathbf{w}_{Tj} - \mathbf{w}_{0j}\|$ at the end",
        ),
    )
    figure = Figure(figsize=(9.0, 6.4), layout="constrained")
    for axis, (x, values, bound, name, x_label, label) in zip(
        figure.subplots(2, 2).ravel(), panels, strict=True
    ):
        line = {"linewidth": 1.6, "marker": "."} if x_label[0] == "t" else {"marker": "."}
        if x_label[0] == "n":
            line |= {"linestyle": "none", "markersize": 2}
        axis.plot(x, values, color="C0", **line, label="measured")
        if bound is None:
            axis.plot(
                [], [], color="C1", linestyle="--", label=f"no bound {name}: {bounds['silence']}"
            )
        else:
            promise = "" if bounds["promised"] else ", not promised"
            axis.plot(x, bound, color="C1", linestyle="--", label=f"bound {name}{promise}")
        axis.set_xscale("log")
        if np.any(values > 0.0):
            axis.set_yscale("log")
        axis.set_xlabel(x_label)
        axis.set_ylabel(label)
        axis.grid(alpha=0.3)
        axis.legend(fontsize=8)
    (folder / "figures").mkdir(exist_ok=True)
    path = folder / "figures" / "theory.png"
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=120)
    return path
