"""Run folders with curves from formulas, written in no time."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from asym_keras.tables import History
from trainers.common.curves import REFITS

NODES = 3
ACCURACIES = ("train_accuracy", "test_accuracy")
SETTINGS = {"protocol": "paper", "solver": "flow", "out_dir": None, "jobs": 1, "seeds": None}


def height(gamma: float, seed: int) -> float:
    """What every curve of a run is proportional to."""
    return 2.0 - gamma + 0.25 * seed


def write_run_of(config, folder, **options) -> Path:
    """Writes what a run of this `TrainerConfig` leaves."""
    from trainers.common.config import settings_of

    settings = settings_of(config)
    names = {name: settings[name] for name in ("gamma", "alpha", "seed", "width")}
    folder = write_run(folder, task=config.task(), **names, **options)
    facts = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    write_json(folder / "config.json", {**facts, "config": settings})
    return folder


def write_run(
    folder,
    *,
    task="simulated",
    gamma=0.0,
    alpha=0.4,
    seed=0,
    width=20,
    end=100.0,
    records=6,
    accuracies=False,
    pruning=True,
    transfer=False,
    refit=False,
    finished=True,
    scale=1.0,
    **config,
) -> Path:
    """Writes what a finished run leaves but its model; `config` are further settings."""
    folder = Path(folder)
    folder.mkdir(parents=True)
    settings = {**SETTINGS, "gamma": gamma, "alpha": alpha, "seed": seed, "width": width, **config}
    facts = {
        "config": settings,
        "command": f"python -m trainers.{task}",
        "device": "cpu",
        "dataset": {"name": task, "fingerprint": task, "source": f"formulas of {task}"},
    }
    write_json(folder / "config.json", facts)
    size, names = scale * height(gamma, seed), ["train_risk", "test_risk"]
    history = History()
    for step in np.linspace(0.0, end, records):
        part = step / end
        row = {"step": step, "time": step}
        row |= {name: size * 10.0 ** (-3.0 * part) * (1 + i) for i, name in enumerate(names)}
        if accuracies:
            row |= dict.fromkeys(ACCURACIES, size * part / 4.0)
        moves = size * np.array([part, 2.0 * part**2, part / 2.0])
        row |= {"weight_change": moves.max(), "ntg_change": (size * part) ** 2}
        row |= {"ntg_min_eigenvalue": 0.01 * size, "gradients": 7.0, "wall_seconds": part}
        history.append(row, {"node_weight_change": moves})
    history.to_csv(folder / "history.csv")
    if not finished:
        return folder
    history.arrays_to_npz(folder / "nodes.npz")
    names += ACCURACIES if accuracies else ()
    if pruning:
        pruned = np.linspace(0, width, 21)
        rows = [{"pruned": p, "kept": width - p} for p in pruned]
        values = size * (1.0 + (pruned / width) ** 2)
        if refit:  # half the risk, at every width
            for row, v in zip(rows, values, strict=True):
                row |= {f"{name}_refit": v / 2.0 for name in names}
            write_json(folder / "config.json", {**facts, "methods": REFITS})
        table(folder / "pruning.csv", rows, names, values)
    if transfer:
        features = np.arange(10, 101, 10)
        rows = [{"features": k} for k in features]
        table(folder / "transfer.csv", rows, names, size / features)
    metrics = {"gamma": gamma, "alpha": alpha, "seed": seed, **history[-1], "total_seconds": 3.5}
    write_json(folder / "metrics.json", metrics)
    return folder


def table(path, rows, names, values):
    """A table with the same values under every name."""
    History(
        [{**row, **dict.fromkeys(names, v)} for row, v in zip(rows, values, strict=True)]
    ).to_csv(path)


def write_json(path, content):
    path.write_text(json.dumps(content), encoding="utf-8")
