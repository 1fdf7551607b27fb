"""Pictures of a sweep: the plane of (gamma, alpha), the best trials by nodes kept, the envelope."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from asym_keras.plotting.panels import COLOURS, Line, Panel, draw_panels
from asym_keras.plotting.styles import style_of_pair
from trainers.common.pictures import blank, formats_of, save
from trainers.sweep.config import Config
from trainers.sweep.curves import envelope, points, ranked, read_curve
from trainers.sweep.folder import SweepFolder

BEST_TRIALS = 4
_MARKS = {"completed": "o", "stopped": "v"}


def draw(config: Config, folder: SweepFolder) -> list[Path]:
    """Draws the pictures into `figures/`; returns their files."""
    formats = formats_of(config.format)
    draw_plane(folder.figures / "plane.png", config, folder.records())
    lines = {"pruning": _pruning_lines(config, folder)}
    if config.pareto:
        lines["pareto"] = _pareto_lines(config, folder)
    for name, of in lines.items():
        panel = Panel(of, "nodes kept", _text(config), log_x=True)
        draw_panels(folder.figures / f"{name}.png", [panel], formats=formats)
    names = ("plane", *lines)
    return [folder.figures / f"{name}.{suffix}" for name in names for suffix in formats]


def _text(config: Config) -> str:
    kind = "accuracy" if config.larger_is_better() else "risk"
    if config.nested is not None:
        return f"validation {kind}, mean over the widths"
    return f"validation {kind}" + (" (readout as it is)" if config.no_refit else " (refitted)")


def draw_plane(path: Path, config: Config, records: list[dict]) -> None:
    """Draws each trial as a point coloured by the objective, a triangle if it was ended early."""
    figure = blank(5.2, 3.9)
    axis = figure.subplots()
    values = [r["metrics"][config.measure()] for r in records if r["status"] in _MARKS]
    limits, extend = _limits(values, larger_is_better=config.larger_is_better())
    for status, mark in _MARKS.items():
        of = [record for record in records if record["status"] == status]
        places = [[r["values"]["gamma"], r["values"]["alpha"]] for r in of]
        x, y = np.reshape(places, (-1, 2)).T
        colours = [r["metrics"][config.measure()] for r in of]
        edges: dict[str, Any] = {"edgecolors": "0.3", "linewidths": 0.5}
        drawn = axis.scatter(x, y, c=colours, marker=mark, s=46, cmap="viridis", **limits, **edges)
        if status == "completed":
            nodes = "" if config.nested is not None else f", {config.keep} nodes"
            label = f"{_text(config)}{nodes}"
            figure.colorbar(drawn, ax=axis, label=label, extend=extend)
    failed = [record["values"] for record in records if record["status"] == "failed"]
    axis.plot([v["gamma"] for v in failed], [v["alpha"] for v in failed], "x", color="0.4")
    axis.set(xlabel=r"$\gamma$", ylabel=r"$\alpha$", xlim=(-0.03, 1.03), ylim=(0, 1))
    save(figure, path, dpi=150, formats=formats_of(config.format))


def _limits(values: list[float], *, larger_is_better: bool) -> tuple[dict[str, Any], str]:
    """Ends of the colour scale, and which of them is open.

    The worst twentieth of the trials share one colour, since a single network that learns nothing
    would otherwise leave all others the same colour.
    """
    low, high = np.percentile(values, [5, 100] if larger_is_better else [0, 95])
    open_end = "min" if min(values) < low else "max" if max(values) > high else "neither"
    return {"vmin": low, "vmax": high}, open_end


def _pruning_lines(config: Config, folder: SweepFolder) -> tuple:
    """The best trials, the readout as it is and, with rings, refitted."""
    plain = config.measure().removesuffix("_refit")
    lines = []
    for record in ranked(config, folder.records())[:BEST_TRIALS]:
        rows = read_curve(folder.run_path(record["trial"]))
        kept = np.array([row["kept"] for row in rows])
        values = record["values"]
        label = f"gamma = {values['gamma']:g}, alpha = {values['alpha']:g}"
        style = style_of_pair(values["gamma"], values["alpha"], config.law)
        for column, refitted in ((plain, False), (f"{plain}_refit", True)):
            numbers = np.array([row[column] for row in rows])
            lines.append(Line(kept, numbers, style, label, refitted=refitted))
    return tuple(lines)


def _pareto_lines(config: Config, folder: SweepFolder) -> tuple:
    """All trials in light blue, and in black the best of them for each number of nodes."""
    all_points = points(config, folder)
    by_trial: dict[str, list[dict]] = {}
    for point in all_points:
        by_trial.setdefault(point["trial"], []).append(point)
    lines = [Line(*_columns(of), COLOURS.index("#56B4E9"), "a trial") for of in by_trial.values()]
    rows = envelope(all_points, larger_is_better=config.larger_is_better())
    return (*lines, Line(*_columns(rows), COLOURS.index("#000000"), "best of all"))


def _columns(rows: list[dict]) -> tuple[np.ndarray, np.ndarray]:
    return np.array([row["kept"] for row in rows]), np.array([row["value"] for row in rows])
