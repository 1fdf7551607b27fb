"""Panels of lines with one legend for all: how every figure of several curves looks."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from asym_keras.files import atomic_path

# M. Okabe and K. Ito, "Color universal design" (2008), without the yellow that paper swallows:
# told apart with every kind of colour vision.
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9", "#000000")
PANEL_SIZE = (3.4, 2.6)
# A risk that spans more than this ratio is drawn on a logarithmic axis.
_LOG_RATIO = 20.0
_ENTRY_WIDTH = 1.9  # inches of an entry in the legend
_MARKED = 25  # points of a curve that are shown as such, at most
_SOLID: dict[str, Any] = {"linewidth": 1.6}
_DASHED: dict[str, Any] = {"linewidth": 1.1, "linestyle": (0, (4, 2))}
_DOTTED: dict[str, Any] = {"linewidth": 1.6, "linestyle": ":"}


@dataclasses.dataclass(frozen=True, eq=False)
class Line:
    """A curve in a panel."""

    x: np.ndarray  # float64 (points,), as y
    y: np.ndarray
    colour: int = 0  # place in `COLOURS`, which start again after the last
    label: str = ""  # its name in the legend, the same in all panels
    std: np.ndarray | None = None  # half height of a band around it; None or nan: no band
    published: bool = False  # dashed, as what others have published
    refitted: bool = False  # dotted, as what a refitted readout makes of pruned nodes

    @property
    def has_band(self) -> bool:
        """Whether there is a spread to draw."""
        return self.std is not None and bool(np.any(np.isfinite(self.std)))


@dataclasses.dataclass(frozen=True)
class Panel:
    """Axes with their lines."""

    lines: tuple[Line, ...]
    x_label: str
    y_label: str
    title: str = ""
    may_be_log: bool = False  # y, where the lines are positive and span decades

    def is_log(self) -> bool:
        """Whether the y axis is logarithmic."""
        values = np.concatenate([line.y for line in self.lines])
        return self.may_be_log and 0.0 < values.min() * _LOG_RATIO < values.max()


def draw_panels(
    path: Path, panels: Sequence[Panel | None], *, columns: int = 4, title: str = ""
) -> None:
    """Draws panels row by row into one PNG file; where there is need, one legend serves them all.

    A panel None leaves its place free. The legend stands in the first free place, else below. A
    row has at most `columns` places; fewer where that fills the rows better.
    """
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
    figure = Figure(figsize=(width, height), layout=layout)
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for axis, panel in zip(axes, places, strict=True):
        if panel is None:
            axis.set_axis_off()
        else:
            _draw_panel(axis, panel)
    legend = {"handles": handles, "frameon": False, "fontsize": 9}
    if below:
        figure.legend(loc="outside lower center", ncols=across, **legend)
    elif handles:
        axes[places.index(None)].legend(loc="center", **legend)
    if title:
        figure.suptitle(title, fontsize=11)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=120)


def _draw_panel(axis: Any, panel: Panel) -> None:
    log = panel.is_log()
    axis.set_yscale("log" if log else "linear")
    for line in panel.lines:
        colour = COLOURS[line.colour % len(COLOURS)]
        if line.has_band:
            # On a logarithmic axis a band that reaches 0 would stretch it without end.
            low = np.maximum(line.y - line.std, line.y / 10.0) if log else line.y - line.std
            axis.fill_between(line.x, low, line.y + line.std, color=colour, alpha=0.18, linewidth=0)
        style = _DASHED if line.published else _DOTTED if line.refitted else _SOLID
        marker = "." if style is _SOLID and len(line.x) <= _MARKED else ""
        axis.plot(line.x, line.y, color=colour, **style, marker=marker, markersize=5)
    axis.set(xlabel=panel.x_label, ylabel=panel.y_label)
    axis.set_title(panel.title, fontsize=10)
    axis.grid(alpha=0.3)
    axis.ticklabel_format(axis="x", style="sci", scilimits=(0, 4))
    if not log:
        axis.ticklabel_format(axis="y", style="sci", scilimits=(-3, 4))


def _handles(panels: list[Panel]) -> list:
    """What the legend shows: each label once, and the kinds of line that are there."""
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    lines = [line for panel in panels for line in panel.lines]
    colours = {line.label: line.colour for line in lines if line.label and not line.published}
    handles: list = [
        Line2D([], [], color=COLOURS[colour % len(COLOURS)], linewidth=2, label=label)
        for label, colour in colours.items()
    ]
    if handles and any(line.has_band for line in lines):
        text = "± one standard deviation"
        handles.append(Patch(color="0.5", alpha=0.3, linewidth=0, label=text))
    if handles and any(line.published for line in lines):
        handles.append(Line2D([], [], color="0.3", label="published", **_DASHED))
    if any(line.refitted for line in lines):
        handles.append(Line2D([], [], color="0.3", label="readout refitted", **_DOTTED))
    return handles
