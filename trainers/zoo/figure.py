"""The zoo as a figure: how well each network answers, over its size on disk."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from asym_keras.plotting.panels import COLOURS, PANEL_SIZE
from trainers.common.pictures import blank, save
from trainers.zoo.page import Entry, by_task

_COLUMNS = 4
_SHIPPED, _WHOLE = "preset, with its nodes", "the network it was cut from"
_WORDS = {"test_accuracy": "test accuracy", "test_risk": "test risk"}


def draw(entries: Sequence[Entry], path: Path) -> None:
    """Draws one panel for each task: test accuracy, or a regression's test risk, over kilobytes.

    A preset's kilobytes are those of its file; those of the network it was cut from are its
    weights alone, in float32.

    Args:
        entries: at least one, from `read_entries`.
        path: the PNG file, replaced as a whole.
    """
    tasks = by_task(entries)
    columns = min(_COLUMNS, len(tasks))
    rows = -(-len(tasks) // columns)
    figure = blank(PANEL_SIZE[0] * columns, PANEL_SIZE[1] * rows + 0.3)
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for axis, (task, of) in zip(axes, tasks.items(), strict=False):
        _draw_task(axis, task, of)
    free = axes[len(tasks) :]
    for axis in free:
        axis.set_axis_off()
    legend = {"handles": axes[0].get_legend_handles_labels()[0], "frameon": False, "fontsize": 9}
    if len(free):
        free[0].legend(loc="center", **legend)
    else:
        figure.legend(loc="outside lower center", ncols=2, **legend)
    save(figure, path)


def _draw_task(axis, task: str, entries: Sequence[Entry]) -> None:
    from matplotlib.ticker import NullLocator, StrMethodFormatter

    points = [(entry.size / 1000, entry.value()) for entry in entries]
    # Presets of a task may be cut from several networks.
    wholes = sorted({(entry.whole_size / 1000, entry.whole_value()) for entry in entries})
    axis.plot(*zip(*points, strict=True), "o-", color=COLOURS[0], markersize=5, label=_SHIPPED)
    axis.plot(
        *zip(*wholes, strict=True), "s", color=COLOURS[3], markersize=6, label=_WHOLE, zorder=3
    )
    for entry, point in zip(entries, points, strict=True):
        nodes = str(entry.card["kept"])
        axis.annotate(
            nodes, point, xytext=(0, 5), textcoords="offset points", ha="center", fontsize=8
        )
    axis.set(xscale="log", xlabel="kB", ylabel=_WORDS[entries[0].metric])
    axis.xaxis.set_major_locator(_ticks([size for size, _ in points + wholes]))
    axis.xaxis.set_major_formatter(StrMethodFormatter("{x:,g}"))
    axis.xaxis.set_minor_locator(NullLocator())
    axis.margins(x=0.15, y=0.2)
    axis.set_title(task, fontsize=10)
    axis.grid(alpha=0.3)


def _ticks(sizes: Sequence[float]):
    """Ticks so few that their numbers have room."""
    from matplotlib.ticker import LogLocator, MaxNLocator

    span = max(sizes) / min(sizes)
    if span < 4.0:  # logarithmic ticks may leave a single one in so short a span
        return MaxNLocator(4)
    return LogLocator(subs=(1, 2, 5) if span < 40.0 else (1,))
