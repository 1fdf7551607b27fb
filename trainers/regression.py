"""Trains the shallow network on a table: the UCI sets of Section 6.2, or your own data.

    python -m trainers.regression --dataset energy --gamma 0
    python -m trainers.regression --dataset airfoil --protocol authors --pairs all
    python -m trainers.regression --data my.csv --target column
    python -m trainers.regression --data my.npz

Of the rows of a table, 40 % are for training, 20 % for tests, the others for --transfer. Features
and target are scaled to mean 0 and variance 1 over the training rows. A target of text holds
classes: the targets are then one-hot. An .npz file holds x_train, y_train, x_test, y_test, which
are taken as they are. A UCI set is read from uci/ in the folder that ASYM_KERAS_DATA_DIR names, or
downloaded once. The run folder holds the configuration, the history, per-node weight changes, the
model and the figures.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

import asym_keras as ak
from trainers.common.batch import run_all
from trainers.common.cli import run_main
from trainers.common.config import TrainerConfig, knob, shared
from trainers.common.tasks import UCI

MODULE = "trainers.regression"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(TrainerConfig):
    """Flags of this trainer: the shared ones, and which table to learn."""

    steps: int = shared("steps", 100_000)
    dataset: str | None = knob(None, "a UCI set", choices=[*UCI])
    data: str | None = knob(
        None,
        "your own table (FILE.csv: a header line, then numbers), or your own arrays x_train, "
        "y_train, x_test, y_test (FILE.npz)",
        metavar="FILE",
        file="a CSV or .npz file",
    )
    target: str | None = knob(None, "column of --data FILE.csv to predict", metavar="COLUMN")
    classes: bool = knob(False, "take numbers of --target for classes, as text is", later=True)

    def __post_init__(self):
        super().__post_init__()
        if (self.dataset is None) == (self.data is None):
            received = "neither" if self.data is None else "both"
            raise ValueError(
                f"expected --dataset {{{','.join(UCI)}}}, --data FILE.csv --target COLUMN, or "
                f"--data FILE.npz, received {received}."
            )
        if self.data is not None and not self._is_npz():
            self._check_target(self.data)
            return
        given = f"--dataset {self.dataset}" if self.data is None else f"--data {self.data}"
        for flag in ("target", "classes"):
            if getattr(self, flag):
                raise ValueError(
                    f"--{flag}: expected --data FILE.csv with it, received {given}, whose targets "
                    "are given."
                )

    def _is_npz(self) -> bool:
        return self.data is not None and Path(self.data).suffix.lower() == ".npz"

    def _check_target(self, data: str) -> None:
        from asym_keras.datasets.csv_table import read_header

        names = read_header(Path(data))
        if self.target not in names:
            received = "none" if self.target is None else repr(self.target)
            raise ValueError(
                f"--target: expected a column of {data} ({', '.join(names)}), received {received}."
            )

    def task(self) -> str:
        return self.dataset or Path(str(self.data)).stem

    def load(self):
        if self.data is not None and self._is_npz():
            return ak.datasets.load_npz(self.data)
        if self.data is not None and self.target is not None:
            return ak.datasets.load_table(self.data, target=self.target, classes=self.classes)
        return ak.datasets.load_uci(str(self.dataset))


def main(argv=None) -> list[dict]:
    """Runs the command line; returns the metrics of each run."""
    return run_main(Config, run_all, argv, module=MODULE, description=__doc__)


if __name__ == "__main__":
    main()
