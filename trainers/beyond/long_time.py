"""Does gamma = 0 catch up, and how fast does the risk fall? The simulated task, for very long."""

from __future__ import annotations

from pathlib import Path

import numpy as np

import asym_keras as ak
from asym_keras.plotting.styles import style_of
from asym_keras.tables import Table
from trainers import simulated
from trainers.common.batch import run_all, run_paths
from trainers.common.pictures import blank, save

STEPS = 10_000_000
# Tight enough that the risk that is left at the end is the flow's, and no error of the solver.
TOLERANCE = 1e-4
# The rate is read between these shares of the first risk. Below them, the solver's errors count.
BEND, FLOOR = 1e-4, 1e-9
LEVELS = (1e-2, 1e-4, 1e-6)


def run(config, command: str) -> list[dict]:
    """Trains the protocol's four pairs, and writes what became of each; returns the rows."""
    precision = {"rtol": TOLERANCE, "atol": TOLERANCE, "dtype": "float64"}
    options = {"pairs": "all", "steps": STEPS, "records": config.records, **precision}
    batch = config.batch(simulated.Config, **options)
    run_all(batch, command)
    data = batch.load()
    rows, curves = [], []
    for path in run_paths(batch):
        one = ak.load_run(path)
        time, risk = one.history.column("time"), one.history.column("train_risk")
        theorem = ak.theory.GlobalConvergence.from_data(
            data.x_train, data.y_train, gamma=one.config["gamma"], delta=0.1, activation="relu"
        )
        smallest = one.history.column("ntg_min_eigenvalue")[-1]
        rows.append(
            {
                **{name: one.config[name] for name in ("gamma", "alpha", "seed")},
                **{f"time_to_{level:g}": _reached(time, risk, level) for level in LEVELS},
                "final_train_risk": risk[-1],
                "final_test_risk": one.history.column("test_risk")[-1],
                "promised_rate": theorem.rate,
                "measured_rate": late_rate(time, risk),
                # The rate of the slowest direction if the NTG stayed as it is at the end.
                "ntg_rate": 4.0 * smallest / len(data.x_train),
                "gradients": one.history[-1]["gradients"],
            }
        )
        curves.append((one, theorem.risk(time, risk[0]) if theorem.rate else None))
    Table(rows).to_csv(config.path(".csv"))
    _draw(config.path(".png"), curves)
    return rows


def late_rate(time, risk) -> float:
    """`-d log(risk) / dt` by least squares, late in training but above the solver's errors.

    That is where the risk is between 1e-4 and 1e-9 of its first value; NaN if fewer than three
    records lie there.
    """
    share = np.asarray(risk) / risk[0]
    late = (share < BEND) & (share > FLOOR)
    if np.count_nonzero(late) < 3:
        return float("nan")
    return float(-np.polyfit(np.asarray(time)[late], np.log(share[late]), 1)[0])


def _reached(time, risk, level: float) -> float:
    """First record time with a risk of at most `level` times the first; NaN: never."""
    below = np.flatnonzero(risk <= level * risk[0])
    return float(time[below[0]]) if below.size else float("nan")


def _draw(path: Path, curves) -> None:
    figure = blank(10, 3.8)
    left, right = figure.subplots(1, 2)
    named: set[str] = set()
    for one, bound in curves:
        new, style = one.label not in named, style_of(one)
        named.add(one.label)
        look = {"color": style.colour, "linestyle": style.dashes}
        time, risk = one.history.column("time")[1:], one.history.column("train_risk")[1:]
        left.loglog(time, risk, **look, label=one.label if new else None)
        if bound is not None and new:
            left.loglog(time, bound[1:], ":", color=style.colour, linewidth=1)
        right.loglog(time, one.history.column("ntg_min_eigenvalue")[1:], **look)
    left.plot([], [], ":", color="0.4", linewidth=1, label="bound (b) of Theorem 4.1")
    left.set(xlabel="time $t$", ylabel="training risk", ylim=(1e-13, 10.0))
    right.set(xlabel="time $t$", ylabel="smallest eigenvalue of the NTG")
    left.legend(fontsize=8)
    for axis in (left, right):
        axis.grid(alpha=0.3)
    save(figure, path)
