"""Panels of lines with one legend for all: how every figure of several curves looks."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from asym_keras.plotting.saving import save_figure
from asym_keras.plotting.styles import COLOURS as COLOURS
from asym_keras.plotting.styles import Style

PANEL_SIZE = (3.4, 2.6)
# A risk that spans more than this ratio is drawn on a logarithmic axis.
_LOG_RATIO = 20.0
_ENTRY_WIDTH = 1.9  # inches of an entry in the legend
_MARKED = 25  # points of a curve that are shown as such, at most
# The kinds of line. They leave colour and dashes free, which tell the network.
_OWN: dict[str, Any] = {"linewidth": 1.6}
_PUBLISHED: dict[str, Any] = {"linewidth": 0.9, "alpha": 0.7, "marker": "x", "markersize": 4}
_REFITTED: dict[str, Any] = {"linewidth": 0.9, "marker": "o", "markersize": 4, "mfc": "white"}
_MARKS = 8  # of a published or refitted curve


@dataclasses.dataclass(frozen=True, eq=False)
class Line:
    """A curve in a panel."""

    x: np.ndarray  # float64 (points,), as y
    y: np.ndarray
    style: Style | int = 0  # or a place in `COLOURS`, which start again after the last
    label: str = ""  # its name in the legend, the same in all panels
    std: np.ndarray | None = None  # half height of a band around it; None or nan: no band
    published: bool = False  # thin with crosses, as what others have published
    refitted: bool = False  # thin with rings, as what a refitted readout makes of pruned nodes

    @property
    def has_band(self) -> bool:
        """Whether there is a spread to draw."""
        return self.std is not None and bool(np.any(np.isfinite(self.std)))

    @property
    def look(self) -> Style:
        """Its colour and dashes."""
        if isinstance(self.style, Style):
            return self.style
        return Style(COLOURS[self.style % len(COLOURS)])


@dataclasses.dataclass(frozen=True)
class Panel:
    """Axes with their lines."""

    lines: tuple[Line, ...]
    x_label: str
    y_label: str
    title: str = ""
    may_be_log: bool = False  # y, where the lines are positive and span decades
    log_x: bool = False  # x, which is positive

    def is_log(self) -> bool:
        """Whether the y axis is logarithmic."""
        values = np.concatenate([line.y for line in self.lines])
        values = values[~np.isnan(values)]  # NaN: no number, as of a network too wide to refit
        if not values.size:
            return False
        return self.may_be_log and 0.0 < values.min() * _LOG_RATIO < values.max()


def draw_panels(
    path: Path | None,
    panels: Sequence[Panel | None],
    *,
    columns: int = 4,
    title: str = "",
    formats: Sequence[str] | None = None,
    ax: Any = None,
) -> np.ndarray:
    """Draws panels row by row into one file; where there is need, one legend serves them all.

    None in place of a panel leaves its place free. The legend stands in the first free place, or
    below all rows if there is none. A row has at most `columns` places, and fewer where that fills
    the rows better.

    Args:
        path: the file. None: none is written, and the figure is one of pyplot.
        panels: what to draw.
        columns, title: of the figure.
        formats: of the files, as for `save_figure`.
        ax: axes to draw into, one each panel, in the place of a new figure.

    Returns:
        The axes, one each panel that is not None.
    """
    if ax is not None:
        drawn = [panel for panel in panels if panel is not None]
        return _draw_into(ax, drawn, path, title, formats)
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    rows = -(-len(panels) // columns)
    columns = -(-len(panels) // rows)
    places = [*panels, *[None] * (rows * columns - len(panels))]
    handles = _handles([panel for panel in panels if panel is not None])
    below = bool(handles) and None not in places
    width, height = PANEL_SIZE[0] * columns, PANEL_SIZE[1] * rows + 0.4 * bool(title)
    if below:
        lines = -(-len(handles) // max(1, int(width / _ENTRY_WIDTH)))
        across = -(-len(handles) // lines)
        height += 0.26 * lines
    layout = ConstrainedLayoutEngine(w_pad=0.08, h_pad=0.06)
    if path is None:
        from matplotlib import pyplot

        figure = pyplot.figure(figsize=(width, height), layout=layout)
    else:
        figure = Figure(figsize=(width, height), layout=layout)
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for axis, panel in zip(axes, places, strict=True):
        if panel is None:
            axis.set_axis_off()
        else:
            _draw_panel(axis, panel)
    legend = {"handles": handles, "frameon": False, "fontsize": 9, "handlelength": 3}
    if below:
        figure.legend(loc="outside lower center", ncols=across, **legend)
    elif handles:
        axes[places.index(None)].legend(loc="center", **legend)
    if title:
        figure.suptitle(title, fontsize=11)
    if path is not None:
        save_figure(figure, path, formats=formats)
    return np.array([a for a, p in zip(axes, places, strict=True) if p is not None], dtype=object)


def _draw_into(ax: Any, panels: list[Panel], path: Path | None, title: str, formats: Any) -> Any:
    """Draws panels into the user's axes, the legend into the first."""
    axes = np.ravel(np.array(ax, dtype=object))
    if len(axes) < len(panels):
        raise ValueError(
            f"ax: expected {len(panels)} axes, one each panel, received {len(axes)}. Make more: "
            f"matplotlib.pyplot.subplots(1, {len(panels)})."
        )
    for axis, panel in zip(axes, panels, strict=False):
        _draw_panel(axis, panel)
    handles = _handles(panels)
    if handles:
        axes[0].legend(handles=handles, frameon=False, fontsize=9, handlelength=3)
    if title:
        axes[0].figure.suptitle(title, fontsize=11)
    if path is not None:
        save_figure(axes[0].figure, path, formats=formats)
    return axes[: len(panels)]


def _draw_panel(axis: Any, panel: Panel) -> None:
    log = panel.is_log()
    axis.set_yscale("log" if log else "linear")
    axis.set_xscale("log" if panel.log_x else "linear")
    for line in panel.lines:
        colour = line.look.colour
        if line.has_band:
            # On a logarithmic axis a band that reaches 0 would stretch it without end.
            low = np.maximum(line.y - line.std, line.y / 10.0) if log else line.y - line.std
            axis.fill_between(line.x, low, line.y + line.std, color=colour, alpha=0.18, linewidth=0)
        style = _PUBLISHED if line.published else _REFITTED if line.refitted else _OWN
        marks: dict[str, Any] = {"markevery": max(1, len(line.x) // _MARKS)}
        if style is _OWN:
            marks = {"marker": "." if len(line.x) <= _MARKED else "", "markersize": 5}
        axis.plot(line.x, line.y, color=colour, linestyle=line.look.dashes, **style, **marks)
    axis.set(xlabel=panel.x_label, ylabel=panel.y_label)
    axis.set_title(panel.title, fontsize=10)
    axis.grid(alpha=0.3)
    if not panel.log_x:
        axis.ticklabel_format(axis="x", style="sci", scilimits=(0, 4))
    if not log:
        axis.ticklabel_format(axis="y", style="sci", scilimits=(-3, 4))


def _handles(panels: list[Panel]) -> list:
    """What the legend shows: each label once, and the kinds of line that are there."""
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    lines = [line for panel in panels for line in panel.lines]
    looks = {line.label: line.look for line in lines if line.label and not line.published}
    handles: list = [
        Line2D([], [], color=look.colour, linestyle=look.dashes, linewidth=2, label=label)
        for label, look in looks.items()
    ]
    if handles and any(line.has_band for line in lines):
        text = "± one standard deviation"
        handles.append(Patch(color="0.5", alpha=0.3, linewidth=0, label=text))
    if handles and any(line.published for line in lines):
        handles.append(Line2D([], [], color="0.3", label="published", **_PUBLISHED))
    if any(line.refitted for line in lines):
        handles.append(Line2D([], [], color="0.3", label="readout refitted", **_REFITTED))
    return handles
