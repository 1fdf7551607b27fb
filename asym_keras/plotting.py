"""Figures from run folders. matplotlib is imported when the first is drawn."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np

from asym_keras.files import atomic_path
from asym_keras.training.history import History

# Panels of Figure 10 that a training run fills: column, label of the axis.
PANELS = (
    ("train_risk", "training risk"),
    ("test_risk", "test risk"),
    ("train_accuracy", "training accuracy"),
    ("test_accuracy", "test accuracy"),
    ("weight_change", r"$\|\mathbf{w}_{tj} - \mathbf{w}_{0j}\|$"),
    ("ntg_change", r"$\|\hat\Theta_t - \hat\Theta_0\|_2$"),
    ("ntg_min_eigenvalue", r"eig$_\min(\hat\Theta_t)$"),
)


def learning_curves(folder: str | os.PathLike) -> list[Path]:
    """Draws the learning curves of Figure 10 from `history.csv` and `nodes.npz`.

    The weight change is that of the node which moves most by the end, as in the paper.

    Args:
        folder: a run folder.

    Returns:
        The files written to its `figures/`: one PNG a panel, and `learning_curves.png` with all.
    """
    folder = Path(folder)
    history = History.from_csv(folder / "history.csv")
    curves = {name: history.column(name) for name, _ in PANELS if name in history[0]}
    if (folder / "nodes.npz").exists():
        with np.load(folder / "nodes.npz", allow_pickle=False) as file:
            nodes = file["node_weight_change"]
        curves["weight_change"] = nodes[:, np.argmax(nodes[-1])]
    panels = [(name, label) for name, label in PANELS if name in curves]
    steps = history.column("step")
    (folder / "figures").mkdir(exist_ok=True)
    written = []
    for group, name in [*(([panel], panel[0]) for panel in panels), (panels, "learning_curves")]:
        path = folder / "figures" / f"{name}.png"
        _draw(path, steps, [(curves[column], label) for column, label in group])
        written.append(path)
    return written


def _draw(path: Path, steps: np.ndarray, curves: list[tuple[np.ndarray, str]]) -> None:
    from matplotlib.figure import Figure

    columns = min(4, len(curves))
    rows = -(-len(curves) // columns)
    figure = Figure(figsize=(3.4 * columns, 2.6 * rows), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for axis, (values, label) in zip(axes[: len(curves)], curves, strict=True):
        axis.plot(steps, values, color="C0", linewidth=1.6, marker=".", markersize=3)
        axis.set_xlabel(r"step ($t\,/\,$learning rate)")
        axis.set_ylabel(label)
        axis.grid(alpha=0.3)
        axis.ticklabel_format(axis="x", style="sci", scilimits=(0, 4))
    for axis in axes[len(curves) :]:
        axis.set_visible(False)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=120)


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

    folder = Path(folder)
    history = History.from_csv(folder / "history.csv")
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
        (time[1:], eigenvalues[1:], least, "(a)", "time $t$", PANELS[6][1]),
        (time[1:], ntg_change[1:], most, "(d)", "time $t$", PANELS[5][1]),
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
