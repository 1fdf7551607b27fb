"""Which gamma, alpha and training time is best for a budget of nodes? MNIST."""

from __future__ import annotations

import dataclasses
import itertools
from pathlib import Path

import numpy as np

import asym_keras as ak
from asym_keras.plotting.styles import style_of_pair
from asym_keras.tables import Table
from trainers import mnist
from trainers.common.batch import run_all, run_paths
from trainers.common.curves import REFITS, pruned_on
from trainers.common.pictures import blank, save
from trainers.common.tables import markdown

STEPS = 200_000  # of the protocol; at ten times as much, gamma 0 alone takes hours
BUDGETS = (20, 50, 100, 200)
GAMMAS, ALPHAS = (0.0, 0.2, 0.5), (0.3, 0.4, 0.5, 0.6, 0.7)
RECORDS = 25  # each costs two passes over the data and four refits
READOUTS = {"test_accuracy": "", "test_accuracy_refit": "_refit"}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(mnist.Config):
    """MNIST with the accuracies of the pruned networks in its history."""

    def further_probes(self, dataset) -> dict:
        """Accuracies at each budget, as trained and refitted."""
        return {"pruned": PrunedAccuracy(dataset)}

    def methods(self) -> dict[str, str]:
        """How the refitted accuracies in the history are computed."""
        return REFITS


class PrunedAccuracy:
    """Probe: test accuracy of the network cut to each of `BUDGETS`, as it is and refitted."""

    def __init__(self, dataset):
        self._dataset = dataset

    def __call__(self, model) -> dict[str, float]:
        width = ak.importance.find_layer(model).units
        pruned = [width - k for k in BUDGETS if k <= width]
        curve = pruned_on(self._dataset, model, pruned=pruned, refit=True)
        return {
            column(row["kept"], end): row[name] for row in curve for name, end in READOUTS.items()
        }


def column(kept: int, refit: str) -> str:
    """Name of the column of a budget; `refit` is its suffix."""
    return f"test_accuracy_kept{kept}{refit}"


def run(config, command: str) -> list[dict]:
    """Trains every pair; writes accuracy by budget, pair and time. Returns the rows."""
    pairs = [(g, a) for g in GAMMAS for a in ALPHAS] + [(1.0, 0.4)]
    words = ",".join(f"{gamma:g}:{alpha:g}" for gamma, alpha in pairs)
    batch = config.batch(Config, pairs=words, steps=STEPS, records=RECORDS, ntg_examples="0")
    run_all(batch, command)
    rows = []
    for path in run_paths(batch):
        one = ak.load_run(path)
        settings = {name: one.config[name] for name in ("gamma", "alpha", "seed")}
        for record, kept in itertools.product(one.history.rows, BUDGETS):
            numbers = {name: record[column(kept, end)] for name, end in READOUTS.items()}
            rows.append({**settings, "time": record["time"], "kept": kept, **numbers})
    Table(rows).to_csv(config.path(".csv"))
    _print_best(rows)
    _draw(config.path(".png"), rows)
    return rows


def _mean_over_seeds(rows: list[dict], kept: int, name: str) -> dict[tuple, float]:
    """Accuracy by (gamma, alpha, time)."""
    found: dict[tuple, list[float]] = {}
    for row in rows:
        if row["kept"] == kept:
            found.setdefault((row["gamma"], row["alpha"], row["time"]), []).append(row[name])
    return {key: float(np.mean(values)) for key, values in found.items()}


def _print_best(rows: list[dict]) -> None:
    lines = [["nodes kept", "readout", "gamma", "alpha", "time", "test accuracy"]]
    for kept, (name, end) in itertools.product(BUDGETS, READOUTS.items()):
        values = _mean_over_seeds(rows, kept, name)
        best = max(values, key=lambda key: values[key])
        cells = [str(kept), "refitted" if end else "as trained", *(f"{n:g}" for n in best)]
        lines.append([*cells, f"{values[best]:.4f}"])
    print("\n".join(markdown(lines)))


def _draw(path: Path, rows: list[dict]) -> None:
    figure = blank(3.2 * len(BUDGETS), 5.8)
    axes = figure.subplots(2, len(BUDGETS), sharey="row", sharex=True)
    for line, name in zip(axes, READOUTS, strict=True):
        for axis, kept in zip(line, BUDGETS, strict=True):
            values = _mean_over_seeds(rows, kept, name)
            for gamma, alpha in dict.fromkeys((g, a) for g, a, _ in values):
                times = sorted(t for g, a, t in values if (g, a) == (gamma, alpha) and t > 0)
                style = style_of_pair(gamma, alpha)
                axis.plot(
                    times,
                    [values[gamma, alpha, t] for t in times],
                    linestyle=style.dashes,
                    color=style.colour,
                    linewidth=1.2,
                    label=rf"$\gamma$ = {gamma:g}, $\alpha$ = {alpha:g}",
                )
            axis.set(xscale="log", xlabel="time $t$", ylabel="test accuracy")
            axis.label_outer()
            axis.grid(alpha=0.3)
            axis.set_title(f"{kept} nodes{', refitted' if 'refit' in name else ''}", fontsize=10)
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside right center", fontsize=7)
    save(figure, path, dpi=110)
