"""The only list of the paper's tasks, in the paper's order. It holds names and loads nothing."""

from __future__ import annotations

import dataclasses
from typing import Any


@dataclasses.dataclass(frozen=True)
class Task:
    """How a task is run.

    Attributes:
        module: its trainer.
        options: flags that choose the task among those of its trainer.
        classes: whether its targets are classes.
        transfer: whether its data have a part for transfer curves.
        features: whether it reads a file of features.
    """

    module: str
    options: dict[str, Any] = dataclasses.field(default_factory=dict)
    classes: bool = False
    transfer: bool = True
    features: bool = False


UCI = ("concrete", "energy", "airfoil", "plant")
TASKS = {
    "simulated": Task("trainers.simulated", transfer=False),
    **{name: Task("trainers.regression", {"dataset": name}) for name in UCI},
    "mnist": Task("trainers.mnist", classes=True),
    "cifar10": Task("trainers.cifar10", classes=True, transfer=False, features=True),
}
TRAINERS = (*dict.fromkeys(task.module for task in TASKS.values()), "trainers.nested")
