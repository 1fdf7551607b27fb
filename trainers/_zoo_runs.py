"""What the zoo is made from: the runs of each task, and rows that none of them was trained on."""

from __future__ import annotations

import dataclasses
import importlib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainers._figures import Experiment

if TYPE_CHECKING:
    import numpy as np

    from asym_keras.datasets import Dataset
    from trainers._cli import TrainerConfig
    from trainers.zoo import Config

_FRESH_EXAMPLES = 1_000
_EPOCHS = 100


@dataclasses.dataclass(frozen=True, eq=False)
class HeldOut:
    """Rows to choose by: neither trained on, nor those that the cards report.

    Attributes:
        x: float32 (n, d).
        y: float32 (n, K).
        labels: int64 (n,); None for a regression.
        words: where they are from.
    """

    x: np.ndarray
    y: np.ndarray
    labels: np.ndarray | None
    words: str


def transfer_part(config: TrainerConfig, dataset: Dataset) -> HeldOut:
    """Both halves of the part for transfer, which the paper calls validation."""
    import numpy as np

    part = dataset.transfer
    if part is None:
        raise ValueError(f"expected {dataset.name} with a part for transfer, received none.")
    labels = None
    if part.labels_train is not None and part.labels_test is not None:
        labels = np.concatenate([part.labels_train, part.labels_test])
    return HeldOut(
        np.concatenate([part.x_train, part.x_test]),
        np.concatenate([part.y_train, part.y_test]),
        labels,
        "the part for transfer",
    )


def fresh_draw(config: TrainerConfig, dataset: Dataset) -> HeldOut:
    """Simulated data of another seed, which follow the same law."""
    from trainers import simulated

    assert isinstance(config, simulated.Config)
    seed = config.data_seed + 1
    other = dataclasses.replace(config, data_seed=seed, examples=_FRESH_EXAMPLES).load()
    return HeldOut(other.x_test, other.y_test, None, f"{_FRESH_EXAMPLES} draws of seed {seed}")


def last_tenth(config: TrainerConfig, dataset: Dataset) -> HeldOut:
    """The training rows that the runs left out."""
    from trainers import cifar10

    assert isinstance(config, cifar10.Config)
    first = len(dataset.x_train)
    whole = dataclasses.replace(config, train_examples=None).load()
    labels = None if whole.labels_train is None else whole.labels_train[first:]
    rows = whole.x_train[first:], whole.y_train[first:]
    return HeldOut(*rows, labels, f"the last {len(rows[0])} training rows, left out of training")


@dataclasses.dataclass(frozen=True)
class Task:
    """How a task is trained, and by which rows its networks are chosen.

    Attributes:
        module: its trainer.
        held_out: from a run's configuration and data.
        options: fields of the trainer's configuration.
    """

    module: str
    held_out: Callable[[TrainerConfig, Dataset], HeldOut] = transfer_part
    options: dict[str, Any] = dataclasses.field(default_factory=dict)


TASKS = {
    "simulated": Task("trainers.simulated", fresh_draw),
    **{
        name: Task("trainers.regression", options={"dataset": name})
        for name in ("concrete", "energy", "airfoil", "plant")
    },
    "mnist": Task("trainers.mnist"),
    "cifar10": Task("trainers.cifar10", last_tenth),
}


def experiment(name: str, settings: Config) -> Experiment:
    """The runs of a task: the protocol's four pairs, seed 0.

    Args:
        name: one of `TASKS`.
        settings: flags of `trainers.zoo`.

    Raises:
        ImportError: There is no such trainer.
        ValueError: A flag is missing, or has no sense for the trainer.
    """
    task, folder = TASKS[name], name
    options: dict[str, Any] = {**task.options, "protocol": "paper", "pairs": "all", "seed": 0}
    options |= {"jobs": settings.jobs, "device": settings.device, "resume": True}
    options |= {"quiet": settings.quiet, "debug": settings.debug}
    for flag in ("width", "steps"):
        if getattr(settings, flag) is not None:
            options[flag] = getattr(settings, flag)
    if name == "cifar10":
        folder = "cifar10-nine-tenths"  # other runs of this task have all rows
        options |= cifar10_options(settings)
    options["out_dir"] = str(Path(settings.runs) / folder)
    config = importlib.import_module(task.module).Config(**options)
    return Experiment(name, task.module, config, ("metrics.json", "model.keras"))


def cifar10_options(settings: Config) -> dict[str, Any]:
    """Nine tenths of the rows in the file, since nothing else is there to choose by."""
    if settings.features is None:
        raise ValueError(
            "expected a file with features of CIFAR-10, received none. Name one: "
            "--features FILE.npz"
        )
    from asym_keras.datasets import load_cifar10_features

    rows = len(load_cifar10_features(settings.features).x_train)
    if rows < 10:
        raise ValueError(
            f"{settings.features}: expected at least 10 training rows, received {rows}."
        )
    options: dict[str, Any] = {"features": settings.features, "train_examples": rows - rows // 10}
    return options if settings.steps is not None else {**options, "epochs": _EPOCHS}
