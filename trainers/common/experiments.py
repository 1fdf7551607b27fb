"""Experiments: the runs of one task that a figure or the zoo is made from."""

from __future__ import annotations

import dataclasses
import importlib
from pathlib import Path
from typing import Any

from trainers.common import batch
from trainers.common.cli import command_of, to_flags
from trainers.common.config import TrainerConfig
from trainers.common.curves import PRUNING, missing_curves
from trainers.common.folder import RunFolder
from trainers.common.tasks import TASKS


@dataclasses.dataclass(frozen=True)
class Experiment:
    """The runs of one task.

    Attributes:
        task: its name in `TASKS`.
        config: the trainer's configuration, of all pairs and seeds.
        files: what a run folder must hold.
    """

    task: str
    config: TrainerConfig
    files: tuple[str, ...]

    def pairs(self) -> list[list[Path]]:
        """The run folders of each (gamma, alpha), by seed."""
        paths = batch.run_paths(self.config)
        seeds = len(self.config.run_seeds())
        return [paths[i : i + seeds] for i in range(0, len(paths), seeds)]

    def missing(self) -> list[Path]:
        """The run folders that are not there yet, or lack a file.

        Raises:
            ValueError: A folder holds a run with other settings.
            FileExistsError: A folder holds something that is no run.
        """
        paths = batch.run_paths(self.config)
        for run, path in zip(self.config.runs(), paths, strict=True):
            RunFolder(path).check(run, may_grow=False)
        return [path for path in paths if self.lacking(path)]

    def lacking(self, path: Path) -> list[str]:
        """Which of `files` a run folder lacks; "... with refits" for a curve without them."""
        names = [name for name in self.files if not (path / name).is_file()]
        if self.config.refit and PRUNING not in names:
            wanted = missing_curves(self.config, RunFolder(path))
            names += [f"{name} with refits" for name in wanted if name == PRUNING]
        return names

    def command(self) -> list[str]:
        """The flags with which the trainer itself makes these runs."""
        return to_flags(self.config, without=("quiet", "debug"))

    def text(self) -> str:
        """`command` as the user types it."""
        return command_of(TASKS[self.task].module, self.command())

    def run(self) -> None:
        """Makes the runs that are missing, and leaves the others as they are."""
        batch.run_all(self.config, self.text())


def configuration(task: str, settings, **options: Any) -> TrainerConfig:
    """The configuration of a task's trainer.

    Args:
        task: one of `TASKS`.
        settings: flags of the calling program; the trainer gets those of `passed_on`.
        **options: further flags of the trainer.

    Raises:
        ValueError: The trainer refuses a flag.
    """
    of = importlib.import_module(TASKS[task].module).Config
    return of(**passed_on(settings) | TASKS[task].options | options)


def passed_on(settings) -> dict[str, Any]:
    """The flags that a program passes on to the trainers unchanged, where they are given."""
    names = ("width", "steps", "device", "quiet", "debug")
    return {name: value for name in names if (value := getattr(settings, name)) is not None}


def require_features(settings) -> str:
    """The file that `--features` names.

    Raises:
        ValueError: The flag is not given.
    """
    if settings.features is None:
        raise ValueError(
            "expected a file with features of CIFAR-10, received none. Name one: "
            "--features FILE.npz"
        )
    return settings.features
