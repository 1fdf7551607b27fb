"""Computes what a run's network can do after training: its pruning and its transfer curve."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

import asym_keras as ak
from trainers.common.config import HeldOut, TrainerConfig
from trainers.common.folder import RunFolder
from trainers.common.pictures import formats_of

if TYPE_CHECKING:
    from asym_keras.datasets import Dataset

logger = logging.getLogger("trainers")

PRUNING, TRANSFER = "pruning.csv", "transfer.csv"
# How this version refits readouts for classes. An earlier version did so by ridge regression.
REFITS = {"refits": "by cross-entropy"}


def missing_curves(config, folder: RunFolder) -> list[str]:
    """Names of the files that `config` asks for and `folder` lacks.

    For classes, refits of an earlier version count as missing, since it refitted in another way.
    """
    columns = _head(folder.path / PRUNING).split(",")
    refits = "train_risk_refit" in columns
    if refits and "train_accuracy" in columns:
        refits = REFITS.items() <= folder.methods().items()
    pruning = columns == [""] or (config.refit and not refits)
    transfer = config.transfer and not _head(folder.path / TRANSFER)
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
            len(dataset.x_train),
            len(dataset.x_test),
            width=config.width,
            dtype=config.dtype,
            outputs=None if dataset.labels_train is None else dataset.outputs,
        )
        if config.refit and widest < config.width:
            logger.info(
                "networks of more than %d nodes are not refitted, since that would take more than "
                "%.1f GB: their columns in %s are nan",
                widest,
                ak.pruning.REFIT_BYTES / 1e9,
                PRUNING,
            )
        options = {"refit": config.refit, "refit_widest": widest}
        rows = measured(config, model, dataset, test_rows(dataset), **options)
        Table(rows).to_csv(folder.path / PRUNING)
        if config.refit and refit_of(dataset):
            folder.note(REFITS)
    if TRANSFER in missing:
        rows = ak.transfer.transfer_curve(
            model,
            *_cast(config, dataset.transfer, test_rows(dataset.transfer)),
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
    ak.plotting.learning_curves(folder.path, formats=formats_of(config.format))


def test_rows(dataset: Dataset) -> HeldOut:
    """The test rows, as rows to measure on."""
    return HeldOut(dataset.x_test, dataset.y_test, dataset.labels_test, "the test rows")


def measured(
    config: TrainerConfig, model, dataset: Dataset, rows: HeldOut, *, importance=None, **options
) -> list[dict]:
    """The `pruning_curve` of a model: refitted on the training rows, measured on `rows`.

    Args:
        config: the run's, which names the loss, the seed and the precision.
        model: the run's network, or a cut of it.
        dataset: gives the training rows, to which readouts are refitted.
        rows: the rows to measure on.
        importance: as `pruning_curve` takes it; None: the rule of the run's protocol.
        **options: further arguments of `pruning_curve`.
    """
    if importance is None:
        importance = ak.importance.PROTOCOL_RULES[config.protocol]
    options = {**refit_of(dataset), **options}
    return ak.pruning.pruning_curve(
        model,
        *_cast(config, dataset, rows),
        labels_train=dataset.labels_train,
        labels_test=rows.labels,
        importance=importance,
        loss=config.loss(),
        seed=config.seed,
        **options,
    )


def refit_of(dataset: Dataset) -> dict[str, str]:
    """How readouts are refitted: classes by cross-entropy, numbers by ridge regression."""
    if dataset.labels_train is None:
        return {}
    return {"regression": "cross_entropy", "penalty": "auto"}


def pruned_on(dataset: Dataset, model, **options) -> list[dict]:
    """The `pruning_curve` of a model on `dataset`, whose arrays keep their dtype."""
    arrays = (dataset.x_train, dataset.y_train, dataset.x_test, dataset.y_test)
    options |= {"labels_train": dataset.labels_train, "labels_test": dataset.labels_test}
    options = {**refit_of(dataset), **options}
    return ak.pruning.pruning_curve(model, *arrays, **options)


def _cast(config, dataset, rows: HeldOut) -> list:
    arrays = (dataset.x_train, dataset.y_train, rows.x, rows.y)
    return [array.astype(config.dtype, copy=False) for array in arrays]


def _head(path: Path) -> str:
    """The first line of a CSV file, with its columns; empty if there is no such file."""
    return path.read_text(encoding="utf-8").partition("\n")[0] if path.is_file() else ""
