"""What each figure of the paper needs: which runs, of which trainer, with which flags."""

from __future__ import annotations

import dataclasses
import importlib
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainers import _batch
from trainers._curves import PRUNING, missing_curves
from trainers._folder import RunFolder

if TYPE_CHECKING:
    from trainers._cli import TrainerConfig
    from trainers.figures import Config


@dataclasses.dataclass(frozen=True)
class _Task:
    """How a task is run.

    Attributes:
        module: its trainer.
        options: fields of the trainer's configuration.
        transfer: whether it has data for transfer curves.
        features: whether it reads a file of features.
    """

    module: str
    options: dict[str, Any] = dataclasses.field(default_factory=dict)
    transfer: bool = True
    features: bool = False


_TASKS = {
    "simulated": _Task("trainers.simulated", transfer=False),
    **{
        name: _Task("trainers.regression", {"dataset": name})
        for name in ("concrete", "energy", "airfoil", "plant")
    },
    "mnist": _Task("trainers.mnist"),
    "cifar10": _Task("trainers.cifar10", transfer=False, features=True),
}
# Figure 11 varies gamma; the paper gives no list. Other figures have the protocol's four pairs.
_PAIRS = {11: "0:0.4,0.25:0.4,0.5:0.4,0.75:0.4,1:0.4"}


@dataclasses.dataclass(frozen=True)
class Experiment:
    """The runs of one task that a figure is drawn from.

    Attributes:
        task: its name in `asym_keras.plotting.PAPER_FIGURES`.
        module: its trainer.
        config: the trainer's configuration, of all pairs and seeds.
        files: what a run folder must hold.
    """

    task: str
    module: str
    config: TrainerConfig
    files: tuple[str, ...]

    def pairs(self) -> list[list[Path]]:
        """The run folders of each (gamma, alpha), by seed."""
        paths = _batch.run_paths(self.config)
        seeds = len(self.config.run_seeds())
        return [paths[i : i + seeds] for i in range(0, len(paths), seeds)]

    def missing(self) -> list[Path]:
        """The run folders that are not there yet, or lack a file.

        Raises:
            ValueError: A folder holds a run with other settings.
            FileExistsError: A folder holds something that is no run.
        """
        paths = _batch.run_paths(self.config)
        for run, path in zip(self.config.runs(), paths, strict=True):
            RunFolder(path).check(run)
        return [path for path in paths if self.lacking(path)]

    def lacking(self, path: Path) -> list[str]:
        """What of `files` is not in a run folder, a pruning curve without its refits included."""
        names = [name for name in self.files if not (path / name).is_file()]
        if self.config.refit and PRUNING not in names:
            wanted = missing_curves(self.config, RunFolder(path))
            names += [f"{name} with refits" for name in wanted if name == PRUNING]
        return names

    def command(self) -> list[str]:
        """The flags with which the trainer itself makes these runs."""
        flags = []
        for field in dataclasses.fields(self.config):
            value, flag = getattr(self.config, field.name), f"--{field.name.replace('_', '-')}"
            if field.name in ("quiet", "debug") or value == field.default:
                continue
            flags += [flag] if value is True else [flag, str(value)]
        return flags

    def text(self) -> str:
        """`command` as one types it."""
        return shlex.join(["python", "-m", self.module, *self.command()])

    def run(self) -> None:
        """Makes the runs that are missing; those that are there are left as they are."""
        _batch.run_all(self.config, argv=self.command(), module=self.module)


def experiments(number: int, settings: Config) -> list[Experiment]:
    """The experiments of a figure.

    Args:
        number: of the figure.
        settings: flags of `trainers.figures`.

    Raises:
        ImportError: There is no such trainer.
        ValueError: A flag is missing, or has no sense for the trainer.
    """
    from asym_keras.plotting import PAPER_FIGURES, QUANTITIES

    tables: dict[str, set[str]] = {}
    for panel in PAPER_FIGURES[number]:
        tables.setdefault(panel.task, set()).add(QUANTITIES[panel.quantity].table)
    pairs = _PAIRS.get(number, "all")
    return [
        Experiment(
            task,
            _TASKS[task].module,
            _config(
                _TASKS[task],
                settings,
                pairs,
                str(Path(settings.runs) / task),
                refit=settings.refit and "pruning" in of,
            ),
            ("metrics.json", "nodes.npz", *sorted(f"{t}.csv" for t in of | {"history"})),
        )
        for task, of in tables.items()
    ]


def _config(
    task: _Task, settings: Config, pairs: str, out_dir: str, *, refit: bool
) -> TrainerConfig:
    options: dict[str, Any] = {**task.options, "protocol": settings.protocol, "pairs": pairs}
    options |= {"seeds": settings.seeds, "jobs": settings.jobs, "out_dir": out_dir}
    options |= {"resume": True, "quiet": settings.quiet, "debug": settings.debug}
    options |= {"refit": refit, "transfer": task.transfer, "device": settings.device}
    for name in ("width", "steps"):
        if getattr(settings, name) is not None:
            options[name] = getattr(settings, name)
    if task.features:
        if settings.features is None:
            raise ValueError(
                "expected a file with features of CIFAR-10, received none. Name one: "
                "--features FILE.npz"
            )
        options["features"] = settings.features
    return importlib.import_module(task.module).Config(**options)
