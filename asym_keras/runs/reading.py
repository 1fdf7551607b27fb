"""Reading run folders: one, or all below a folder."""

from __future__ import annotations

import contextlib
import csv
import json
import os
from pathlib import Path
from typing import Any

import numpy as np

from asym_keras.files import user_path
from asym_keras.runs.damage import CURE, damaged, unreadable
from asym_keras.runs.run import Run
from asym_keras.runs.several import Runs
from asym_keras.tables import History, Table

# `python -m trainers.theory` ends with the second.
_LAST_FILES = ("metrics.json", "theory.json")


def load_run(folder: str | os.PathLike) -> Run:
    """Reads a run folder.

    Args:
        folder: what a trainer's `--out-dir` names, or one of the folders in it where the command
            had several pairs or seeds.

    Returns:
        The run. One that is still going on, or was interrupted, has `finished=False` and the
        records written so far.

    Raises:
        FileNotFoundError: No such folder, or not a run's; or a finished run lacks its history.
        ValueError: A file is damaged; the message names it and, for a table, the line.

    Example:
        >>> run = asym_keras.load_run("runs/simulated-paper-g0-a0.4-m2000-flow-s0")
        >>> run.label, run.history[-1]["step"]
        ('gamma = 0, alpha = 0.4', 100.0)
    """
    folder = user_path(folder)
    facts = _config(folder)
    finished = any((folder / name).is_file() for name in _LAST_FILES)
    history = _table(folder / "history.csv", "step", "time", "train_risk") or Table()
    if finished and not history:
        raise FileNotFoundError(
            f"expected the records of a finished run in {folder / 'history.csv'}, received none. "
            f"{CURE}."
        )
    metrics = folder / "metrics.json"
    return Run(
        path=folder,
        config=facts.pop("config"),
        facts=facts,
        history=History(history.rows),
        nodes=_arrays(folder / "nodes.npz", len(history)),
        pruning=_table(folder / "pruning.csv", "pruned", "train_risk"),
        transfer=_table(folder / "transfer.csv", "features", "train_risk"),
        metrics=_json(metrics) if metrics.is_file() else {},
        finished=finished,
    )


def load_runs(folder: str | os.PathLike) -> Runs:
    """Reads all runs below a folder.

    Args:
        folder: a folder of runs, at any depth, or one run.

    Returns:
        The runs, by the names of their folders: a sequence with `to_dataframe()`, and a table
        where it is shown.

    Raises:
        FileNotFoundError: There is none.
        ValueError: A file of a run is damaged.

    Example:
        >>> runs = asym_keras.load_runs("runs")
        >>> len(runs), runs[0].label
        (1, 'gamma = 0, alpha = 0.4')
    """
    return Runs(load_run(path) for path in find_runs(folder))


def find_runs(folder: str | os.PathLike) -> list[Path]:
    """The run folders in `folder`, at any depth, by name; `folder` itself where it is one.

    Raises:
        FileNotFoundError: There is none.
    """
    folder = user_path(folder)
    if (folder / "config.json").is_file():
        return [folder]
    found = sorted(path.parent for path in folder.rglob("config.json") if _is_run(path.parent))
    if not found:
        kind = "a folder without runs" if folder.is_dir() else "no such folder"
        raise FileNotFoundError(
            f"expected a run folder, or a folder of runs, received {kind}: {folder}. "
            "Name one that a trainer wrote (--out-dir)."
        )
    return found


def _is_run(folder: Path) -> bool:
    with contextlib.suppress(OSError, ValueError):
        return bool(_config(folder))
    return False


def _config(folder: Path) -> dict:
    path = folder / "config.json"
    if not path.is_file():
        kind = "a folder without config.json" if folder.is_dir() else "no such folder"
        raise FileNotFoundError(
            f"expected a run folder, received {kind}: {folder}. "
            "Name one that a trainer wrote (--out-dir)."
        )
    facts = _json(path)
    if not {"config", "command", "dataset"} <= facts.keys():
        raise ValueError(
            f"expected config, command and dataset in {path}, received {sorted(facts)}: no "
            "trainer's file. Name a folder that a trainer wrote (--out-dir)."
        )
    return facts


def _json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise damaged("JSON", path, str(error)) from error
    if not isinstance(content, dict):
        raise damaged("a JSON object", path, "another value")
    return content


def _table(path: Path, *columns: str) -> Table | None:
    """Reads a table of numbers that has `columns`; None if there is no file."""
    if not path.is_file():
        return None
    try:
        table = Table.from_csv(path)
    except (ValueError, csv.Error) as error:
        raise damaged("a table of numbers", path, str(error)) from error
    if not len(table):
        raise damaged("a table of numbers", path, "no row")
    missing = [name for name in columns if name not in table[0]]
    if missing:
        expected = f"the columns {', '.join(columns)}"
        raise damaged(expected, path, f"none named {', '.join(missing)}")
    return table


def _arrays(path: Path, records: int) -> dict[str, np.ndarray] | None:
    if not path.is_file():
        return None
    try:
        with open(path, "rb") as opened, np.load(opened, allow_pickle=False) as file:
            arrays = dict(file)
    except Exception as error:  # a flipped bit can make NumPy and zipfile raise almost any
        raise unreadable("arrays", path, error) from error
    changes = arrays.get("node_weight_change")
    if changes is None and all(len(a) == records for a in arrays.values() if a.ndim):
        return arrays  # a run of the user's own, whose probes record something else
    if changes is None or changes.ndim != 2 or len(changes) != records:
        shape = "none" if changes is None else f"shape {changes.shape}"
        raise ValueError(
            f"expected node_weight_change of shape ({records}, m) in {path}, one row a record of "
            f"history.csv, received {shape}. {CURE}."
        )
    return arrays
