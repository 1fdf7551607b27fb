"""Tables of runs: what differs, how they ended, and means over seeds."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from asym_keras.files import write_text
from asym_keras.plotting import by_seed
from asym_keras.runs import Run, Runs
from trainers.common.tables import fitted

# Share of the nodes that are pruned in the columns `pruned95_...`.
PRUNED = 0.95
_IN_LABELS = ("gamma", "alpha", "seed", "law")
_FINALS = (
    *("train_risk", "test_risk", "train_accuracy", "test_accuracy", "weight_change"),
    *("ntg_change", "ntg_min_eigenvalue", "gradients"),
)


def groups_of(runs: Sequence[Run]) -> list[list[Run]]:
    """The finished runs in groups, each of runs that differ in seed alone."""
    return by_seed(run for run in runs if run.finished)


def settings_of(runs: Sequence[Run]) -> dict[str, list]:
    """The settings to show, by name, one value a run: gamma, alpha, seed and what differs."""
    return Runs(runs).settings()


def finals_of(run: Run) -> dict[str, float]:
    """How a run ended: its last record, its seconds, and its risk with 95 % of nodes pruned.

    The NTG change is the spectral norm, under every protocol.
    """
    finals: dict[str, float] = {}
    if len(run.history):
        last = run.history[-1]
        finals = {name: last[name] for name in _FINALS if name in last}
        finals["seconds"] = run.metrics.get("total_seconds", last.get("wall_seconds", math.nan))
    if run.pruning is not None:
        pruned, at = run.pruning.column("pruned"), PRUNED * run.width
        for name in run.pruning[0]:
            if name not in ("pruned", "kept"):
                values = run.pruning.column(name)
                finals[f"pruned95_{name}"] = float(np.interp(at, pruned, values))
    return finals


def labels_of(groups: Sequence[Sequence[Run]]) -> list[str]:
    """A name for each group: gamma and alpha, and whatever else differs between groups."""
    firsts = [group[0] for group in groups]
    settings = settings_of(firsts)
    others = [name for name in settings if name not in _IN_LABELS]
    return [
        ", ".join([run.label, *(_pair(name, settings[name][i]) for name in others)])
        for i, run in enumerate(firsts)
    ]


def _pair(name: str, value) -> str:
    return str(value) if name == "task" else f"{name} = {_cell(value)}"


def table(runs: Sequence[Run], *, digits: int | None = 5) -> list[list[str]]:
    """A row of names, and a row for each run; all digits where `digits` is None."""
    settings = settings_of(runs)
    finals = [finals_of(run) for run in runs]
    names = list(dict.fromkeys(name for row in finals for name in row))
    lines = [[*settings, *names, "run"]]
    for i, run in enumerate(runs):
        path = str(run.path) if run.finished else f"{run.path} (unfinished)"
        cells = [_cell(values[i], digits) for values in settings.values()]
        lines.append([*cells, *(_cell(finals[i].get(name), digits) for name in names), path])
    return lines


def seed_table(groups: Sequence[Sequence[Run]]) -> list[list[str]]:
    """Mean +- standard deviation (ddof 1) over seeds: quantities in rows, groups in columns."""
    several = [i for i, group in enumerate(groups) if len(group) > 1]
    if not several:
        return []
    labels = labels_of(groups)
    finals = [[finals_of(run) for run in groups[i]] for i in several]
    names = dict.fromkeys(name for rows in finals for name in rows[0])
    seeds = [",".join(str(run.config.get("seed")) for run in groups[i]) for i in several]
    lines = [["over seeds", *(labels[i] for i in several)], ["seeds", *seeds]]
    for name in names:
        lines.append([name, *(_spread([row.get(name) for row in rows]) for rows in finals)])
    return lines


def _spread(values: Sequence[float | None]) -> str:
    numbers = np.array([math.nan if v is None else v for v in values], dtype="float64")
    return f"{numbers.mean():.5g} ± {numbers.std(ddof=1):.2g}"


def _cell(value, digits: int | None = 5) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return repr(value) if digits is None else f"{value:.{digits}g}"
    return str(value)


def aligned_table(lines: Sequence[Sequence[str]]) -> str:
    """The cells in columns that fit the terminal; the last one, which may hold paths, to the left.

    Columns of gamma, alpha and seed, and of the task, stand in each part of a table.
    """
    keys = sum(name in ("task", *_IN_LABELS[:3]) for name in lines[0][:4])
    return "\n".join(fitted(lines, ">" * (len(lines[0]) - 1) + "<", keys=max(1, keys)))


def write_csv(path: Path, runs: Sequence[Run]) -> None:
    """Writes the table of runs, numbers with all their digits."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(table(runs, digits=None))
    write_text(path, text.getvalue())
