"""Which gamma, alpha and training time is best for a budget of nodes? MNIST."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np

import asym_keras as ak
from asym_keras.tables import Table
from trainers import mnist
from trainers.common.batch import run_all, run_paths
from trainers.common.pictures import blank, save
from trainers.common.tables import markdown

STEPS = 200_000  # of the protocol; at ten times as much, gamma 0 alone takes hours
BUDGETS = (20, 50, 100, 200)
GAMMAS, ALPHAS = (0.0, 0.2, 0.5), (0.3, 0.4, 0.5, 0.6, 0.7)
RECORDS = 25  # each costs two passes over the data and four refits


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(mnist.Config):
    """MNIST with the accuracies of the pruned networks in its history."""

    def further_probes(self, dataset) -> dict:
        """Accuracies at each budget, as trained and refitted."""
        return {"pruned": PrunedAccuracy(dataset)}


class PrunedAccuracy:
    """Probe: test accuracy of the network cut to each of `BUDGETS`, as it is and refitted."""

    def __init__(self, dataset):
        self._dataset = dataset

    def __call__(self, model) -> dict[str, float]:
        data, width = self._dataset, ak.importance.find_layer(model).units
        curve = ak.pruning.pruning_curve(
            model,
            data.x_train,
            data.y_train,
            data.x_test,
            data.y_test,
            labels_train=data.labels_train,
            labels_test=data.labels_test,
            pruned=[width - k for k in BUDGETS if k <= width],
            refit=True,
        )
        return {
            column(row["kept"], refit): row[f"test_accuracy{refit}"]
            for row in curve
            for refit in ("", "_refit")
        }


def column(kept: int, refit: str) -> str:
    """Name of the column of a budget; `refit` is its suffix."""
    return f"test_accuracy_kept{kept}{refit}"


def run(config, command: str) -> list[dict]:
    """Trains every pair; writes accuracy by budget, pair and time. Returns the rows."""
    pairs = [(g, a) for g in GAMMAS for a in ALPHAS] + [(1.0, 0.4)]
    batch = Config(
        pairs=",".join(f"{gamma:g}:{alpha:g}" for gamma, alpha in pairs),
        seeds=config.seeds,
        jobs=config.jobs,
        width=config.width,
        steps=config.steps or STEPS,
        records=RECORDS,
        ntg_examples="0",
        out_dir=str(Path(config.out_dir) / "budget"),
        device=config.device,
        resume=True,
        quiet=config.quiet,
        debug=config.debug,
    )
    run_all(batch, command)
    rows = []
    for path in run_paths(batch):
        one = ak.load_run(path)
        for record in one.history.rows:
            rows += [
                {
                    "gamma": one.config["gamma"],
                    "alpha": one.config["alpha"],
                    "seed": one.config["seed"],
                    "time": record["time"],
                    "kept": kept,
                    "test_accuracy": record[column(kept, "")],
                    "test_accuracy_refit": record[column(kept, "_refit")],
                }
                for kept in BUDGETS
            ]
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
    for kept in BUDGETS:
        for name, words in (("test_accuracy", "as trained"), ("test_accuracy_refit", "refitted")):
            values = _mean_over_seeds(rows, kept, name)
            best = max(values, key=lambda key: values[key])
            numbers = [f"{number:g}" for number in best]
            lines.append([str(kept), words, *numbers, f"{values[best]:.4f}"])
    print("\n".join(markdown(lines)))


def _draw(path: Path, rows: list[dict]) -> None:
    figure = blank(3.2 * len(BUDGETS), 5.8)
    axes = figure.subplots(2, len(BUDGETS), sharey="row", sharex=True)
    styles = {
        gamma: style
        for gamma, style in zip((0.0, 0.2, 0.5, 1.0), "-|:|--|-.".split("|"), strict=True)
    }
    names = ("test_accuracy", "test_accuracy_refit")
    for line, name in zip(axes, names, strict=True):
        for axis, kept in zip(line, BUDGETS, strict=True):
            values = _mean_over_seeds(rows, kept, name)
            for gamma, alpha in dict.fromkeys((g, a) for g, a, _ in values):
                times = sorted(t for g, a, t in values if (g, a) == (gamma, alpha) and t > 0)
                colour = "k" if gamma == 1 else f"C{ALPHAS.index(alpha)}"
                axis.plot(
                    times,
                    [values[gamma, alpha, t] for t in times],
                    linestyle=styles[gamma],
                    color=colour,
                    linewidth=1.2,
                    label=rf"$\gamma$ = {gamma:g}, $\alpha$ = {alpha:g}",
                )
            axis.set_xscale("log")
            axis.grid(alpha=0.3)
            axis.set_title(f"{kept} nodes{', refitted' if 'refit' in name else ''}", fontsize=10)
    for axis in axes[-1]:
        axis.set_xlabel("time $t$")
    for line in axes:
        line[0].set_ylabel("test accuracy")
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside right center", fontsize=7)
    save(figure, path, dpi=110)
