"""Flags of `python -m trainers.sweep`."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

from trainers.common import network
from trainers.common.config import Flags, flag_of, knob, shared
from trainers.common.curves import REFITS
from trainers.common.tasks import TASKS
from trainers.nested.config import DRAWN, READOUTS

MODULE = "trainers.sweep"
NESTED = "20,50,100,200,500,2000"
RATES = "0.001:0.1"
OBJECTIVES = ("val_accuracy_pruned", "val_risk_pruned")
CLASSIFICATIONS = tuple(name for name, task in TASKS.items() if task.classes)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(Flags):
    """Flags of this program."""

    task: str = knob("mnist", "what to learn", choices=[*TASKS])
    keep: int = knob(100, "nodes that stay", least=1)
    nested: str | None = knob(
        None,
        "search for the best network of several widths instead (trainers.nested): over the rate, "
        f"the law of the widths' weights, gamma and alpha; the flag alone: {NESTED}",
        nargs="?",
        const=NESTED,
        metavar="WIDTHS",
    )
    rates: str = knob(RATES, "range of Adam's rate with --nested, LOW:HIGH")
    epochs: int | None = knob(None, "epochs of each trial of --nested (default: 8)", least=1)
    trials: int = knob(30, "trials in all, those of an interrupted sweep included", least=1)
    tuner: str = knob("bayesian", "how pairs are proposed", choices=["bayesian", "random"])
    objective: str | None = knob(
        None,
        "number to judge by (default: accuracy where there are classes)",
        choices=[*OBJECTIVES],
    )
    no_refit: bool = knob(False, "judge by the readout as trained, not refitted to training rows")
    gammas: str = knob("0:1", "range of gamma, LOW:HIGH")
    alphas: str = knob("0.05:0.95", "range of alpha, LOW:HIGH, within (0, 1)")
    widths: str | None = knob(None, "search the width, too, in this range", metavar="LOW:HIGH")
    times: str | None = knob(
        None, "search the training time, too: --steps in this range", metavar="LOW:HIGH"
    )
    paper_first: bool = knob(False, "begin with trials of the protocol's four pairs")
    early_stop: str = knob(
        "median", "end trials that are worse than half of the others", choices=["median", "none"]
    )
    max_time: float | None = knob(
        None, "begin no trial after so many seconds", metavar="SECONDS", positive=True
    )
    max_failures: int = knob(5, "end the sweep after so many failed trials in a row", least=1)
    pareto: bool = knob(False, "find the best of all trials for each number of nodes, too")
    width: int | None = knob(None, "hidden nodes, m (default: the trainer's)", least=1)
    steps: int | None = knob(None, "steps N (default: the trainer's)", least=1)
    solver: str | None = knob(
        None, "how to train (default: the trainer's)", choices=["flow", "descent"]
    )
    protocol: str = shared("protocol")
    activation: str = shared("activation")
    law: str = shared("law")
    records: int = knob(20, "rows of a trial's history", least=2)
    features: str | None = knob(
        None, "features of CIFAR-10, for the task cifar10", metavar="FILE.npz", file="a file"
    )
    seed: int = knob(0, "seed of the networks, and of the search", least=0)
    device: str = shared("device")
    dtype: str = shared("dtype")
    workers: int | None = knob(
        None, "start a chief and N workers here, which share the cores", metavar="N", least=1
    )
    jobs: int = knob(1, "trials at once; from 2 on, the same as --workers", least=1)
    max_restarts: int = knob(
        3, "how often in a row a process of --workers is started again after it died", least=0
    )
    format: str = shared("format")
    out_dir: str | None = knob(None, "the sweep's folder (default: runs/sweep-<settings>)")
    overwrite: bool = knob(False, "replace a sweep that is in the folder")
    resume: bool = knob(False, "go on with an interrupted sweep")
    quiet: bool = knob(False, "print no line for each trial")
    debug: bool = shared("debug")

    def __post_init__(self):
        super().__post_init__()
        if self.nested is None and self.epochs is not None:
            raise ValueError("--epochs: expected --nested with it, received none. Use --steps.")
        if self.nested is None and self.rates != RATES:
            raise ValueError(
                "--rates: expected --nested with it, received none. Other trials have their "
                "trainer's rate: leave it out."
            )
        if self.nested is not None:
            self._check_nested()
        self._check_ranges()
        self._check_network()
        if self.objective == OBJECTIVES[0] and self.task not in CLASSIFICATIONS:
            raise ValueError(
                f"--objective {self.objective}: expected a task with classes "
                f"({', '.join(CLASSIFICATIONS)}), received {self.task}. Use {OBJECTIVES[1]}."
            )
        if self.workers is not None and self.jobs > 1:
            raise ValueError("expected --workers or --jobs, received both. They are the same.")
        if self.task == "cifar10" and self.features is None:
            raise ValueError("--task cifar10: expected --features FILE.npz with it, received none.")

    def _check_nested(self) -> None:
        """Refuses the flags of pruned networks."""
        for name in (
            *("keep", "objective", "no_refit", "widths", "times", "paper_first", "early_stop"),
            *(
                "pareto",
                "width",
                "steps",
                "solver",
                "protocol",
                "records",
                "dtype",
                "activation",
                "law",
            ),
        ):
            if getattr(self, name) != type(self).__dataclass_fields__[name].default:
                raise ValueError(
                    f"{flag_of(name)}: expected it without --nested, which trains all widths at "
                    "once and judges by their mean, received both."
                )

    def _check_ranges(self) -> None:
        for flag, (low, high), least, most in (
            ("rates", self.rate_range(), math.ulp(0.0), 1.0),
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
        least = self.width_range()[0]
        if self.keep > least and self.nested is None:
            raise ValueError(f"--keep: expected at most the width, {least}, received {self.keep}.")

    def _check_network(self) -> None:
        solver = self.solver or ("descent" if self.task == "cifar10" else "flow")
        network.check_activation(self.activation, solver=solver)
        object.__setattr__(self, "law", network.resolved(self.law))
        low, high = self.alpha_range()
        for width in self.width_range():
            network.scalings(self.law, width, self.gamma_range()[0], high)
        if low < high and not network.depends_on_alpha(self.law):
            raise ValueError(
                f"--law {self.law}: expected one alpha, which has no effect with this law, "
                f"received a search of {self.alphas}. Add --alphas 0.5:0.5."
            )

    def gamma_range(self) -> tuple[float, float]:
        """The least and the largest gamma."""
        return _range("gammas", self.gammas, float)

    def alpha_range(self) -> tuple[float, float]:
        """The least and the largest alpha."""
        return _range("alphas", self.alphas, float)

    def rate_range(self) -> tuple[float, float]:
        """The least and the largest rate."""
        return _range("rates", self.rates, float)

    def width_range(self) -> tuple[int, int]:
        """The least and the largest width; equal where it is not searched."""
        if self.widths is None:
            return (self.width or 2000,) * 2
        return _range("widths", self.widths, int)

    def time_range(self) -> tuple[int, int]:
        """The least and the largest number of steps; (1, 1) where it is not searched."""
        return (1, 1) if self.times is None else _range("times", self.times, int)

    def measure(self) -> str:
        """Name of the number by which the best trial is chosen."""
        accuracy = self.task in CLASSIFICATIONS
        if self.nested is not None:
            return "val_accuracy_mean" if accuracy else "val_risk_mean"
        objective = self.objective or OBJECTIVES[0 if accuracy else 1]
        return objective if self.no_refit else f"{objective}_refit"

    def larger_is_better(self) -> bool:
        """Whether the best is the largest."""
        return "accuracy" in self.measure()

    def methods(self) -> dict[str, str]:
        """How the numbers are computed by which trials are judged."""
        if self.nested is not None:
            return {**READOUTS, **DRAWN}
        return REFITS if self.task in CLASSIFICATIONS else {}

    def crew(self) -> int:
        """Number of workers to start; 0: all trials run in this process."""
        return self.workers or (self.jobs if self.jobs > 1 else 0)

    def path(self) -> Path:
        """The sweep's folder."""
        if self.nested is not None:
            default = f"runs/sweep-nested-{self.task}-{self.tuner}-s{self.seed}"
            return Path(self.out_dir or default)
        default = f"runs/sweep-{self.task}-{self.protocol}-k{self.keep}-{self.tuner}-s{self.seed}"
        return Path(self.out_dir or default)


def _range(flag: str, text: str, kind) -> tuple:
    try:
        low, high = map(kind, text.split(":"))
    except ValueError:
        raise ValueError(f"--{flag}: expected LOW:HIGH, received {text!r}.") from None
    return low, high
