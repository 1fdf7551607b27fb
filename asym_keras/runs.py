"""A run folder as one object, checked when it is read."""

from __future__ import annotations

import contextlib
import csv
import dataclasses
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from asym_keras.files import user_path
from asym_keras.tables import History, Table

if TYPE_CHECKING:
    import keras

# `python -m trainers.theory` ends with the second.
_LAST_FILES = ("metrics.json", "theory.json")
_CURE = "Put back a good copy, or run it again with --overwrite"


@dataclasses.dataclass(frozen=True, eq=False)
class Run:
    """What a trainer left in a run folder.

    Attributes:
        path: the folder.
        config: the flags, resolved, from `config.json`.
        facts: the rest of `config.json`: `command`, `dataset`, `device`, versions.
        history: the records; of none before the first was written.
        nodes: arrays of `nodes.npz`: `step` and `time` (records,), `node_weight_change`
            (records, m), float64. None where there is no such file.
        pruning: rows by number of nodes `pruned`, or None.
        transfer: rows by number of `features`, or None.
        metrics: `metrics.json`; empty where there is none.
        finished: whether training went to its end.
    """

    path: Path
    config: dict
    facts: dict
    history: History
    nodes: dict[str, np.ndarray] | None
    pruning: Table | None
    transfer: Table | None
    metrics: dict
    finished: bool

    @property
    def task(self) -> str:
        """Name of the dataset."""
        return self.facts["dataset"]["name"]

    @property
    def label(self) -> str:
        """`"gamma = 0, alpha = 0.4"`; at gamma = 1, where alpha changes nothing, `"gamma = 1"`."""
        gamma, alpha = self.config["gamma"], self.config["alpha"]
        return "gamma = 1" if gamma == 1 else f"gamma = {gamma:g}, alpha = {alpha:g}"

    def load_model(self) -> keras.Model:
        """The trained `keras.Model`.

        Raises:
            FileNotFoundError: The run has not saved its model yet.
            ValueError: The file is damaged.
        """
        path = self.path / "model.keras"
        if not path.is_file():
            raise FileNotFoundError(
                f"expected the trained model in {path}, received no such file. "
                "Go on with the run (--resume) or run it again."
            )
        if "widths" in self.metrics:
            import asym_keras.nesting  # noqa: F401 - Keras learns of its layers
        from asym_keras.models import load_model  # loads TensorFlow

        try:
            return load_model(path)
        except Exception as error:  # Keras tells of a damaged file in many ways, "not found" too
            raise _unreadable("a trained model", path, error) from error


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
        ValueError: A file is damaged; names the file and, of a table, the line.

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
            f"{_CURE}."
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
        raise _damaged("JSON", path, str(error)) from error
    if not isinstance(content, dict):
        raise _damaged("a JSON object", path, "another value")
    return content


def _table(path: Path, *columns: str) -> Table | None:
    """Reads a table of numbers that has `columns`; None if there is no file."""
    if not path.is_file():
        return None
    try:
        table = Table.from_csv(path)
    except (ValueError, csv.Error) as error:
        raise _damaged("a table of numbers", path, str(error)) from error
    if not len(table):
        raise _damaged("a table of numbers", path, "no row")
    missing = [name for name in columns if name not in table[0]]
    if missing:
        expected = f"the columns {', '.join(columns)}"
        raise _damaged(expected, path, f"none named {', '.join(missing)}")
    return table


def _arrays(path: Path, records: int) -> dict[str, np.ndarray] | None:
    if not path.is_file():
        return None
    try:
        with open(path, "rb") as opened, np.load(opened, allow_pickle=False) as file:
            arrays = dict(file)
    except Exception as error:  # a flipped bit can make NumPy and zipfile raise almost any
        raise _unreadable("arrays", path, error) from error
    changes = arrays.get("node_weight_change")
    if changes is None or changes.ndim != 2 or len(changes) != records:
        shape = "none" if changes is None else f"shape {changes.shape}"
        raise ValueError(
            f"expected node_weight_change of shape ({records}, m) in {path}, one row a record of "
            f"history.csv, received {shape}. {_CURE}."
        )
    return arrays


def _unreadable(expected: str, path: Path, error: Exception) -> ValueError:
    return _damaged(expected, path, f"a file that can't be read ({type(error).__name__})")


def _damaged(expected: str, path: Path, received: str) -> ValueError:
    return ValueError(f"expected {expected} in {path}, received {received}. {_CURE}.")
