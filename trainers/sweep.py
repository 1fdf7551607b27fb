"""Searches (gamma, alpha) for the best network with --keep nodes, by KerasTuner (extra: tune).

    python -m trainers.sweep --task mnist --keep 100 --trials 30
    python -m trainers.sweep --task energy --keep 50 --tuner random --workers 2 --pareto
    python -m trainers.sweep --task mnist --trials 60 --resume

A trial trains one network, prunes it to --keep nodes and measures it on validation rows: the part
for transfer; for `simulated` fresh draws; for `cifar10` a tenth of the training rows. The test rows
are asked once, at the end, for the best trial. Each trial is a run folder in OUT_DIR/trials; beside
them lie trials.csv, best.json and figures/. Where KERASTUNER_TUNER_ID, KERASTUNER_ORACLE_IP and
KERASTUNER_ORACLE_PORT are set, the command is the chief or a worker of a sweep on many machines.
"""

from __future__ import annotations

import contextlib
import dataclasses
import importlib.util
import logging
import math
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from trainers import _cli, _sweep_crew
from trainers._cli import knob
from trainers._lock import FolderLock
from trainers._sweep_folder import SweepFolder
from trainers._zoo_runs import TASKS

logger = logging.getLogger("trainers")

MODULE = "trainers.sweep"
OBJECTIVES = ("val_accuracy_pruned", "val_risk_pruned")
CLASSIFICATIONS = ("mnist", "cifar10")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """Flags of this program."""

    task: str = knob("mnist", "what to learn", choices=[*TASKS])
    keep: int = knob(100, "nodes that stay")
    trials: int = knob(30, "trials in all, those of an interrupted sweep included")
    tuner: str = knob("bayesian", "how pairs are proposed", choices=["bayesian", "random"])
    objective: str | None = knob(
        None, "what is best (default: accuracy where there are classes)", choices=[*OBJECTIVES]
    )
    no_refit: bool = knob(False, "judge by the readout as it is, not fitted anew to training rows")
    gammas: str = knob("0:1", "range of gamma, LOW:HIGH")
    alphas: str = knob("0.05:0.95", "range of alpha, LOW:HIGH, within (0, 1)")
    widths: str | None = knob(None, "search the width, too, in this range", metavar="LOW:HIGH")
    times: str | None = knob(
        None, "search the training time, too: --steps in this range", metavar="LOW:HIGH"
    )
    paper_first: bool = knob(False, "the protocol's four pairs are the first trials")
    early_stop: str = knob(
        "median", "end trials that are worse than half of the others", choices=["median", "none"]
    )
    max_time: float | None = knob(None, "begin no trial after so many seconds", metavar="SECONDS")
    max_failures: int = knob(5, "end the sweep after so many failed trials in a row")
    pareto: bool = knob(False, "the best accuracy or risk by nodes kept, too, over all trials")
    width: int | None = knob(None, "hidden nodes, m (default: the trainer's)")
    steps: int | None = knob(None, "steps N (default: the trainer's)")
    solver: str | None = knob(
        None, "how to train (default: the trainer's)", choices=["flow", "descent"]
    )
    protocol: str = knob(
        "paper", "what the paper says or what its figures show", choices=[*_cli.PAIRS]
    )
    records: int = knob(20, "rows of a trial's history")
    features: str | None = knob(None, "features of CIFAR-10, for the task", metavar="FILE.npz")
    seed: int = knob(0, "seed of the networks, and of the search")
    device: str = knob("auto", "where to run", choices=["auto", "cpu", "gpu"])
    dtype: str = knob("float32", "precision of model and data", choices=["float32", "float64"])
    workers: int | None = knob(
        None, "start a chief and N workers here, which share the cores", metavar="N"
    )
    jobs: int = knob(1, "trials at once: 2 and more are --workers, as other trainers call them")
    max_restarts: int = knob(3, "times in a row that each process of --workers is brought back")
    out_dir: str | None = knob(None, "the sweep's folder (default: runs/sweep-<settings>)")
    overwrite: bool = knob(False, "replace a sweep that is in the folder")
    resume: bool = knob(False, "go on with an interrupted sweep")
    quiet: bool = knob(False, "no line a trial")
    debug: bool = knob(False, "show tracebacks")

    def __post_init__(self):
        least_of = {"keep": 1, "trials": 1, "max_failures": 1, "width": 1, "steps": 1, "records": 2}
        least_of |= {"seed": 0, "workers": 1, "jobs": 1, "max_restarts": 0}
        for name, least in least_of.items():
            value = getattr(self, name)
            if value is not None and value < least:
                flag = name.replace("_", "-")
                raise ValueError(f"--{flag}: expected at least {least}, received {value}.")
        if self.max_time is not None and not self.max_time > 0:
            raise ValueError(f"--max-time: expected a positive number, received {self.max_time}.")
        self._check_ranges()
        if self.objective == OBJECTIVES[0] and self.task not in CLASSIFICATIONS:
            raise ValueError(
                f"--objective {self.objective}: expected a task with classes "
                f"({', '.join(CLASSIFICATIONS)}), received {self.task}. Use {OBJECTIVES[1]}."
            )
        if self.resume and self.overwrite:
            raise ValueError("expected --resume or --overwrite, received both.")
        if self.workers is not None and self.jobs > 1:
            raise ValueError("expected --workers or --jobs, received both. They are the same.")
        if self.features is not None and not Path(self.features).is_file():
            raise ValueError(
                f"--features: expected a file, received no such file: {self.features}."
            )
        if self.task == "cifar10" and self.features is None:
            raise ValueError("--task cifar10: expected --features FILE.npz with it, received none.")

    def _check_ranges(self) -> None:
        for flag, (low, high), least, most in (
            ("gammas", self.gamma_range(), 0.0, 1.0),
            ("alphas", self.alpha_range(), math.ulp(0.0), math.nextafter(1.0, 0.0)),
            ("widths", self.width_range(), 1, math.inf),
            ("times", self.time_range(), 1, math.inf),
        ):
            if not least <= low <= high <= most:
                raise ValueError(
                    f"--{flag}: expected LOW:HIGH with LOW at most HIGH, "
                    f"{'within (0, 1)' if flag == 'alphas' else f'from {least:g} to {most:g}'}, "
                    f"received {getattr(self, flag)}."
                )
        for searched, fixed in (("widths", "width"), ("times", "steps")):
            if None not in (getattr(self, searched), getattr(self, fixed)):
                raise ValueError(f"expected --{searched} or --{fixed}, received both.")
        if self.keep > self.width_range()[0]:
            raise ValueError(
                f"--keep: expected at most the width, {self.width_range()[0]}, received "
                f"{self.keep}."
            )

    def gamma_range(self) -> tuple[float, float]:
        """The least and the largest gamma."""
        return _range("gammas", self.gammas, float)

    def alpha_range(self) -> tuple[float, float]:
        """The least and the largest alpha."""
        return _range("alphas", self.alphas, float)

    def width_range(self) -> tuple[int, int]:
        """The least and the largest width; equal where it is not searched."""
        if self.widths is None:
            return (self.width or 2000,) * 2
        return _range("widths", self.widths, int)

    def time_range(self) -> tuple[int, int]:
        """The least and the largest number of steps; (1, 1) where it is not searched."""
        return (1, 1) if self.times is None else _range("times", self.times, int)

    def measure(self) -> str:
        """Name of the number that is searched for its best."""
        accuracy = self.task in CLASSIFICATIONS
        objective = self.objective or OBJECTIVES[0 if accuracy else 1]
        return objective if self.no_refit else f"{objective}_refit"

    def larger_is_better(self) -> bool:
        """Whether the best is the largest."""
        return "accuracy" in self.measure()

    def crew(self) -> int:
        """Number of workers to start; 0: all trials run in this process."""
        return self.workers or (self.jobs if self.jobs > 1 else 0)

    def path(self) -> Path:
        """The sweep's folder."""
        default = f"runs/sweep-{self.task}-{self.protocol}-k{self.keep}-{self.tuner}-s{self.seed}"
        return Path(self.out_dir or default)


def _range(flag: str, text: str, kind) -> tuple:
    try:
        low, high = map(kind, text.split(":"))
    except ValueError:
        raise ValueError(f"--{flag}: expected LOW:HIGH, received {text!r}.") from None
    return low, high


class SweepFailed(RuntimeError):
    """No trial came to its end, or the last ones all failed."""


def main(argv: Sequence[str] | None = None) -> dict | None:
    """Runs the command line; returns `best.json`, or None in a worker."""
    config = _cli.parse_config(Config, argv, module=MODULE, description=__doc__)
    flags = list(sys.argv[1:] if argv is None else argv)
    return _cli.run_main(lambda config: _sweep(config, flags), config, argv, module=MODULE)


def _sweep(config: Config, flags: list[str]) -> dict | None:
    role = _sweep_crew.role(config)
    folder = SweepFolder(config.path())
    if role == "worker":
        folder.wait_for_chief(config)
    else:
        folder.check(config)
    _require_extra()
    with FolderLock(folder.path) if _sweep_crew.owns_folder(role) else contextlib.nullcontext():
        if role != "worker":
            folder.open(config, shlex.join(["python", "-m", MODULE, *flags]))
        _search(config, folder, role, flags)
        if role == "worker" or _sweep_crew.is_launched():
            return None
        from trainers import _sweep_results

        best = _sweep_results.write(config, folder)
    _raise_failures(config, folder, best)
    return best


def _search(config: Config, folder: SweepFolder, role: str, flags: list[str]) -> None:
    if config.crew() and role == "alone":
        from trainers import _sweep_launch

        _sweep_launch.launch(config, folder, flags)
        return
    if role != "alone" and folder.is_over(config):
        # Brought back after the end, a chief would wait for its workers, and a worker for its
        # chief. A chief that is still there has to see its workers off.
        if role == "chief" or not _sweep_crew.chief_answers():
            logger.info("%s: the sweep in %s is over", _sweep_crew.own_id(), folder.path)
            return
    from trainers import _sweep_tuner

    _sweep_tuner.search(config, folder, role)


def _raise_failures(config: Config, folder: SweepFolder, best: dict | None) -> None:
    records = folder.records()
    failing = folder.keeps_failing(config)
    if best is None or (failing and len(records) < config.trials):
        last = records[-config.max_failures :]
        errors = [f"  trial {r['trial']}: {r['error']}" for r in last if r["error"]]
        # With the same number it would end again before the first trial.
        more = f" and --max-failures {2 * config.max_failures}" if failing else ""
        raise SweepFailed(
            f"expected trials that come to their end, received {len(records)} trials in "
            f"{folder.path}, the last of them:\n" + "\n".join(errors or ["  none has ended"]) + "\n"
            f"Go on with --resume{more} once the reason is gone."
        )


def _require_extra() -> None:
    for module, package in (
        ("keras_tuner", "keras-tuner"),
        ("tensorboard", "tensorboard"),
        ("sklearn", "scikit-learn"),
    ):
        if importlib.util.find_spec(module) is None:
            raise ModuleNotFoundError(
                f"expected the package {package}, received none. Install what sweeps need with: "
                "pip install 'asym-keras[tune]'"
            )


if __name__ == "__main__":
    main()
