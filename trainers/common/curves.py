"""Computes what a run's network can do after training: its pruning and its transfer curve."""

from __future__ import annotations

import csv
import logging
from typing import TYPE_CHECKING

import asym_keras as ak
from trainers.common.config import HeldOut, TrainerConfig
from trainers.common.folder import RunFolder

if TYPE_CHECKING:
    from asym_keras.datasets import Dataset

logger = logging.getLogger("trainers")

PRUNING, TRANSFER = "pruning.csv", "transfer.csv"


def missing_curves(config, folder: RunFolder) -> list[str]:
    """Names of the files that `config` asks for and `folder` lacks."""
    columns = _columns(folder, PRUNING)
    pruning = not columns or (config.refit and "train_risk_refit" not in columns)
    transfer = config.transfer and not _columns(folder, TRANSFER)
    return [PRUNING] * pruning + [TRANSFER] * transfer


def write_curves(config, dataset, folder: RunFolder) -> None:
    """Computes the curves that are asked for and not there, from the run's `model.keras`."""
    missing = missing_curves(config, folder)
    if not missing:
        return
    from asym_keras.tables import Table

    model = ak.load_run(folder.path).load_model()
    if PRUNING in missing:
        widest = ak.pruning.widest_refit(
            len(dataset.x_train), len(dataset.x_test), width=config.width, dtype=config.dtype
        )
        if config.refit and widest < config.width:
            logger.info(
                "networks of more than %d nodes are not refitted, which would take more than "
                "%.1f GB: their columns in %s are nan",
                widest,
                ak.pruning.REFIT_BYTES / 1e9,
                PRUNING,
            )
        options = {"refit": config.refit, "refit_widest": widest}
        rows = measured(config, model, dataset, test_rows(dataset), **options)
        Table(rows).to_csv(folder.path / PRUNING)
    if TRANSFER in missing:
        rows = ak.transfer.transfer_curve(
            model,
            *_arrays(config, dataset.transfer),
            labels_train=dataset.transfer.labels_train,
            labels_test=dataset.transfer.labels_test,
            importance=ak.importance.PROTOCOL_RULES[config.protocol],
            seed=config.seed,
            progress=not config.quiet,
            **ak.transfer.transfer_settings(
                config.protocol, classification=dataset.is_classification
            ),
        )
        Table(rows).to_csv(folder.path / TRANSFER)
    ak.plotting.learning_curves(folder.path)


def test_rows(dataset: Dataset) -> HeldOut:
    """The test rows, as rows to measure on."""
    return HeldOut(dataset.x_test, dataset.y_test, dataset.labels_test, "the test rows")


def measured(
    config: TrainerConfig, model, dataset: Dataset, rows: HeldOut, *, importance=None, **options
) -> list[dict]:
    """The `pruning_curve` of a model, from the training rows of `dataset` to `rows`.

    Args:
        config: of the run, which names the loss, the seed and the precision.
        model: the run's network, or a cut of it.
        dataset: gives the training rows, to which readouts are refitted.
        rows: to measure on.
        importance: as `pruning_curve` takes it; None: the rule of the run's protocol.
        **options: further ones of `pruning_curve`.
    """
    arrays = (dataset.x_train, dataset.y_train, rows.x, rows.y)
    if importance is None:
        importance = ak.importance.PROTOCOL_RULES[config.protocol]
    return ak.pruning.pruning_curve(
        model,
        *(array.astype(config.dtype, copy=False) for array in arrays),
        labels_train=dataset.labels_train,
        labels_test=rows.labels,
        importance=importance,
        loss=config.loss(),
        seed=config.seed,
        **options,
    )


def _arrays(config, dataset) -> list:
    names = ("x_train", "y_train", "x_test", "y_test")
    return [getattr(dataset, name).astype(config.dtype, copy=False) for name in names]


def _columns(folder: RunFolder, name: str) -> list[str]:
    """The column names of a CSV file; none if there is no such file."""
    path = folder.path / name
    if not path.is_file():
        return []
    with open(path, newline="", encoding="utf-8") as file:
        return next(csv.reader(file), [])
