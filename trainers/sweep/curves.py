"""The curves that trials leave, by number of nodes kept, and the best of them all."""

from __future__ import annotations

import math
from pathlib import Path

from asym_keras.tables import Table
from trainers.sweep.config import Config
from trainers.sweep.folder import SweepFolder

CURVE = "validation.csv"


def read_curve(path: Path) -> list[dict[str, float]]:
    """The rows of a trial's `validation.csv`; none where it has none."""
    return Table.from_csv(path / CURVE).rows if (path / CURVE).is_file() else []


def points(config: Config, folder: SweepFolder) -> list[dict]:
    """A row for each completed trial and number of nodes kept: `kept`, `value`, and its pair."""
    return [
        {
            "kept": int(row["kept"]),
            "value": row[config.measure()],
            "trial": record["trial"],
            **record["values"],
        }
        for record in folder.records()
        if record["status"] == "completed"
        for row in read_curve(folder.run_path(record["trial"]))
        if math.isfinite(row[config.measure()])
    ]


def ranked(config: Config, records: list[dict]) -> list[dict]:
    """The completed trials among `records`, the best first."""
    sign = -1.0 if config.larger_is_better() else 1.0
    completed = [record for record in records if record["status"] == "completed"]
    return sorted(completed, key=lambda record: sign * record["metrics"][config.measure()])


def envelope(points: list[dict], *, larger_is_better: bool) -> list[dict]:
    """The points, by `kept`, that are better than all others with as few nodes or fewer."""
    sign = -1.0 if larger_is_better else 1.0
    best, rows = math.inf, []
    for point in sorted(points, key=lambda p: (p["kept"], sign * p["value"])):
        if sign * point["value"] < best:
            best = sign * point["value"]
            rows.append(point)
    return rows
