"""What the zoo is made from: the runs of each task."""

from __future__ import annotations

from pathlib import Path

from trainers import cifar10
from trainers.common.experiments import Experiment, configuration, require_features
from trainers.common.tasks import TASKS
from trainers.zoo.config import Config


def experiment(name: str, settings: Config) -> Experiment:
    """The runs of a task: the protocol's four pairs, seed 0.

    Args:
        name: one of `TASKS`.
        settings: flags of `trainers.zoo`.

    Raises:
        ImportError: There is no such trainer.
        ValueError: A flag is missing, or the trainer refuses one.
    """
    options, folder = {}, name
    if TASKS[name].features:
        folder = "cifar10-nine-tenths"  # other runs of this task have all rows
        features = require_features(settings)
        options = cifar10.Config.leaving_out(features, epochs=settings.steps is None)
    config = configuration(
        name,
        settings,
        protocol="paper",
        pairs="all",
        seed=0,
        jobs=settings.jobs,
        resume=True,
        out_dir=str(Path(settings.runs) / folder),
        **options,
    )
    return Experiment(name, config, ("metrics.json", "model.keras"))
