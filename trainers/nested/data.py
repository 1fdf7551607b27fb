"""The data that a command names, and what is left out of training."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

import asym_keras as ak
from asym_keras.datasets import Dataset
from trainers import mnist
from trainers.common.experiments import configuration


@dataclasses.dataclass(frozen=True, eq=False)
class Rows:
    """Examples with their labels or targets.

    Attributes:
        x: float32 (n, d).
        y: int64 (n,) labels, or float32 (n, K) targets of a regression.
    """

    x: np.ndarray
    y: np.ndarray

    def __len__(self) -> int:
        return len(self.x)


def load(config: Any) -> Dataset:
    """The `Dataset` that the flags of `config` name."""
    if config.data is not None:
        data = (
            ak.datasets.load_table(config.data, target=str(config.target))
            if config.is_table()
            else ak.datasets.load_npz(config.data)
        )
    elif config.task == "mnist":
        return mnist.load_images(config.examples or mnist.BUNDLED)
    else:
        options: dict[str, Any] = {"features": config.features} if config.features else {}
        data = configuration(str(config.task), _Settings(), **options).load()
    data = dataclasses.replace(data, transfer=None)
    if config.examples is None:
        return data
    if config.examples > len(data.x_train):
        raise ValueError(
            f"--examples: expected at most {len(data.x_train)}, which {data.name} has, received "
            f"{config.examples}."
        )
    labels, taken = data.labels_train, drawn(len(data.x_train), config.examples)
    return dataclasses.replace(
        data,
        x_train=data.x_train[taken],
        y_train=data.y_train[taken],
        labels_train=None if labels is None else labels[taken],
    )


class _Settings:
    """Settings of which no flag goes to the task's own trainer."""

    width = steps = device = quiet = debug = None


def test_rows(data: Dataset) -> Rows:
    """The test rows."""
    return Rows(data.x_test, data.y_test if data.labels_test is None else data.labels_test)


def drawn(rows: int, count: int) -> np.ndarray:
    """Which `count` of `rows` rows are taken, always the same ones: bool (rows,).

    Files are often sorted by class: their first and last rows are no sample of the others.
    """
    taken = np.zeros(rows, bool)
    taken[np.random.default_rng(0).permutation(rows)[:count]] = True
    return taken


def split(data: Dataset, share: float) -> tuple[Rows, Rows | None]:
    """The training rows that are left when a `share` of them is drawn, and those drawn.

    Both are in the order of the file. The second is None if it has no rows.
    """
    targets = data.y_train if data.labels_train is None else data.labels_train
    if not share:
        return Rows(data.x_train, targets), None
    left = max(1, round(share * len(targets)))
    out = drawn(len(targets), left)
    return Rows(data.x_train[~out], targets[~out]), Rows(data.x_train[out], targets[out])
