"""Sweeps of nested networks: which rate, weights of the widths and scalings are best.

A trial trains a network of several widths on nine tenths of the training rows. It is judged by the
mean over its widths, measured on the other rows. The best trial is measured on the test rows, once.
"""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from asym_keras.tables import Table
from trainers.common import environment
from trainers.common.cli import command_of, to_flags
from trainers.nested.config import MODULE, PLAIN
from trainers.nested.config import Config as NestedConfig
from trainers.sweep import pictures
from trainers.sweep.curves import ranked
from trainers.sweep.folder import SweepFolder
from trainers.sweep.results import BEST, write_trials
from trainers.sweep.trial import Trials

if TYPE_CHECKING:
    import keras_tuner as kt

    from trainers.sweep.config import Config

HELD_OUT = 0.1
LAW = {"weights_gamma": (0.0, 1.0), "weights_alpha": (0.05, 0.95)}
_DIGITS = 4


def declare(config: Config, hp: kt.HyperParameters) -> None:
    """Declares what is searched beside gamma and alpha."""
    low, high = config.rate_range()
    if low < high:
        hp.Float("learning_rate", low, high, sampling="log")
    else:
        hp.Fixed("learning_rate", low)
    for name, ends in LAW.items():
        hp.Float(name, *ends)


class NestedTrials(Trials):
    """Runs the trials of a sweep with --nested."""

    def config(self, values: dict[str, Any], path: Path) -> NestedConfig:
        sweep = self._sweep
        found = {name: float(f"{value:.{_DIGITS}g}") for name, value in values.items()}
        law = ":".join(f"{found.pop(name):g}" for name in LAW)
        if found["gamma"] == PLAIN["gamma"]:
            found |= PLAIN  # any other alpha is the same network, and its command is refused
        options: dict[str, Any] = {**found, "weights": law, "widths": sweep.nested}
        if sweep.epochs is not None:
            options["epochs"] = sweep.epochs
        shared = {name: getattr(sweep, name) for name in ("task", "features", "seed", "device")}
        options |= {**shared, "held_out": HELD_OUT, "out_dir": str(path)}
        return NestedConfig(**options, resume=True, quiet=True)

    def values(self, config: NestedConfig) -> dict[str, Any]:
        law = zip(LAW, map(float, config.weights.split(":")), strict=True)
        names = ("gamma", "alpha", "learning_rate")
        return {**{name: getattr(config, name) for name in names}, **dict(law)}

    def _train(self, trial: str, config: NestedConfig):
        from trainers.nested import training

        data = self._loaded(config)
        folder = training.NestedFolder(self._folder.run_path(trial))
        folder.start_anew_unless(config)
        facts = {"command": run_command(config), "device": self._device}
        found = training.run(config, data, folder.path, facts, judged="val")
        self._trained = found["total_seconds"]
        numbers: dict[str, float] = {}
        for kind in ("accuracy", "risk"):
            of = {w: m[kind] for w, m in found["widths"].items() if kind in m}
            if of:
                numbers[f"val_{kind}_mean"] = sum(of.values()) / len(of)
                numbers |= {f"val_{kind}_{width}": value for width, value in of.items()}
        judged = numbers[self._sweep.measure()]
        if not math.isfinite(judged):
            raise ValueError(f"expected a finite {self._sweep.measure()}, received {judged}.")
        return "completed", numbers, None

    def _loaded(self, config: NestedConfig):
        if not hasattr(self, "_whole"):
            self._whole = config.load()
        return self._whole


def run_command(config: NestedConfig) -> str:
    """The command with which `trainers.nested` makes this run."""
    return command_of(MODULE, to_flags(config, without=("quiet", "debug", "resume", "width")))


def write(config: Config, folder: SweepFolder) -> dict | None:
    """Writes all results; measures the best trial's widths on the test rows, once.

    Returns:
        The content of `best.json`; None where no trial was completed.
    """
    from trainers.nested import training
    from trainers.nested.data import test_rows

    write_trials(config, folder)
    best = next(iter(ranked(config, folder.records())), None)
    if best is None:
        return None
    environment.prepare_device(config.device)
    path = folder.run_path(best["trial"])
    of = NestedTrials(config, folder).config(best["values"], path)
    model = training.load(path)
    test = training.measured(of, model, test_rows(of.load()))
    rows = [{"width": width, **numbers} for width, numbers in test.items()]
    Table([{k if k == "width" else f"test_{k}": v for k, v in r.items()} for r in rows]).to_csv(
        folder.path / "widths.csv"
    )
    statuses = [record["status"] for record in folder.records()]
    whole = dataclasses.replace(of, held_out=0.0, out_dir=None, resume=False)
    content = {
        "trial": best["trial"],
        "folder": str(path),
        **best["values"],
        "objective": config.measure(),
        "value": best["metrics"][config.measure()],
        "validation": best["metrics"],
        "test": {str(width): numbers for width, numbers in test.items()},
        "command": run_command(whole),
        "trials": {name: statuses.count(name) for name in sorted(set(statuses))},
    }
    folder.write(BEST, content)
    pictures.draw_plane(folder.figures / "plane.png", config, folder.records())
    for name in ("trial", *best["values"], "objective", "value", "folder", "command"):
        number = content[name]
        print(f"{name:<28}{number:.5g}" if isinstance(number, float) else f"{name:<28}{number}")
    kind = "accuracy" if config.larger_is_better() else "risk"
    for width, numbers in test.items():
        print(f"test {kind}, {width:<4} nodes       {numbers[kind]:.5g}")
    return content
