"""Loads the data of a run again, by its own trainer with its own flags."""

from __future__ import annotations

import dataclasses
import importlib
import shlex
from typing import TYPE_CHECKING, Any

from asym_keras.run_settings import DATA, is_saved
from trainers.common.tasks import TRAINERS

if TYPE_CHECKING:
    from asym_keras.datasets import Dataset
    from asym_keras.runs import Run
    from trainers.common.config import TrainerConfig


def config_class(run: Run) -> type[TrainerConfig]:
    """The configuration class of a run's trainer.

    Raises:
        ValueError: The run is of another trainer.
    """
    words = shlex.split(run.facts["command"])
    module = words[words.index("-m") + 1] if "-m" in words[:-1] else None
    # A config.json may come from anywhere, so it must not make us import any other module.
    if module not in TRAINERS:
        raise ValueError(
            f"{run.path / 'config.json'}: expected the command of one of {', '.join(TRAINERS)}, "
            f"received {run.facts['command']!r}. Name a run of one of them."
        )
    return importlib.import_module(module).Config


def keras_loss(config: dict):
    """A loss as `keras.losses.serialize` wrote it."""
    import keras

    return keras.losses.deserialize(config)


def loss_of(run: Run):
    """What a run minimised, as `asym_keras.training.train` takes it."""
    if is_saved(run):
        loss = run.config.get("loss", "mse")
        return loss if isinstance(loss, str) else keras_loss(loss)
    of = config_class(run)
    return of.loss(object.__new__(of))  # __init__ would look for the run's data


def reload_config(run: Run, **changes: Any) -> TrainerConfig:
    """The configuration of a run, of its trainer's own class.

    Args:
        run: from `asym_keras.load_run`.
        **changes: flags to replace, such as `features` or `data` where that file has moved.

    Raises:
        ValueError: The run is of another trainer or version, or its files are gone.
    """
    where = run.path / "config.json"
    of = config_class(run)
    names = {field.name for field in dataclasses.fields(of)}
    unknown = sorted((run.config.keys() | changes.keys()) - names)
    if unknown:
        raise ValueError(
            f"{where}: expected flags of {of.__module__}, received {', '.join(unknown)}, too, of "
            "another version. Use that version of asym_keras."
        )
    try:
        return of(**{**run.config, **changes})
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from error


def reload_data(run: Run, **changes: Any) -> Dataset:
    """The dataset that a run was trained on.

    Args:
        run: from `asym_keras.load_run`.
        **changes: as for `reload_config`.

    Raises:
        ValueError: As `reload_config`; or the data are not the run's: another fingerprint.
        OSError: The data can't be read.
    """
    if is_saved(run):
        dataset = _saved_data(run)
        check_data(run, dataset)
        return dataset
    # This machine may lack the run's device, and loading data needs none.
    dataset = reload_config(run, **{"device": "auto", "quiet": True, **changes}).load()
    check_data(run, dataset)
    return dataset


def _saved_data(run: Run) -> Dataset:
    """The data in the folder of a run that the user saved."""
    from asym_keras.datasets import load_dataset

    if not (run.path / DATA).is_file():
        raise ValueError(
            f"expected the data of the run in {run.path / DATA}, received none: it was saved "
            "without. Save it with a Dataset: save_run(..., data=datasets.from_arrays(...))."
        )
    return load_dataset(run.path / DATA)


def check_data(run: Run, dataset: Dataset) -> None:
    """Raises ValueError unless a run was trained on these numbers."""
    wanted, received = run.facts["dataset"]["fingerprint"], dataset.fingerprint()
    if received != wanted:
        raise ValueError(
            f"expected the data of the run in {run.path} (fingerprint {wanted}), received others "
            f"({received}, from: {dataset.source}). Put the data back, or name where they are."
        )
