"""Flags of `python -m trainers.theory`."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import asym_keras as ak
from trainers import regression
from trainers.common import network
from trainers.common.config import Flags, knob, shared
from trainers.common.tasks import UCI

EXAMPLES = {"simulated": 100, "orthogonal": 2, "mnist": 100, **dict.fromkeys(UCI, 100)}
INPUT_DIM = {"simulated": 50, "orthogonal": 1000}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(Flags):
    """Flags of this trainer."""

    dataset: str = knob("simulated", "what to train on", choices=[*EXAMPLES])
    data: str | None = knob(
        None,
        "train on your own arrays x_train, y_train, x_test, y_test (FILE.npz) instead, or on your "
        "own table (FILE.csv) with --target",
        metavar="FILE",
        file="an .npz or .csv file",
    )
    data_seed: int = knob(0, "seed of the data of --dataset simulated and orthogonal", least=0)
    input_dim: int | None = knob(
        None,
        "dimension of the inputs of --dataset simulated (default: 50) and orthogonal (1000)",
        metavar="D",
        least=1,
    )
    examples: int | None = knob(
        None, "take at most the first N examples (default: 100; orthogonal: 2)", least=1
    )
    target: str | None = knob(
        None,
        "what to predict, since the theorems have one output: a number k of the targets "
        "(default: 0), or the name of a column of FILE.csv",
        metavar="COLUMN",
    )
    scale: str = knob(
        "max",
        "'max' divides the inputs by their largest norm, for Assumption 2.1(a)",
        choices=["max", "none"],
    )
    gamma: float = shared("gamma", 0.5)
    alpha: float = shared("alpha")
    width: int = shared("width")
    law: str = shared("law")
    activation: str = knob("relu", "relu, tanh, softplus, sigmoid or another name of Keras")
    delta: float = knob(0.1, "probability with which the theorems may fail, in (0, 1)")
    steps: int | None = knob(
        None,
        "time t to train to (default: when bound (b) has fallen to exp(-5), at most 1,000,000; for "
        "gamma = 0 as for 1, for kappa_n = 0 by the least positive eigenvalue)",
        metavar="T",
        least=1,
    )
    records: int = shared("records")
    record_spacing: str = shared("record_spacing")
    rtol: float | None = knob(
        None,
        "relative tolerance of the flow (default: 0.001 of how far the weights are expected to "
        "move, at most 0.01)",
        positive=True,
    )
    atol: float | None = knob(
        None, "absolute tolerance of the flow (default: as that of --rtol)", positive=True
    )
    draws: int = knob(100, "initialisations for the expectations at t = 0", least=2)
    seed: int = knob(0, "seed of initial weights, readout and draws", least=0)
    format: str = shared("format")
    device: str = shared("device")
    dtype: str = shared("dtype", "float64")
    out_dir: str | None = knob(None, "run folder (default: runs/theory-<dataset>-<settings>)")
    overwrite: bool = shared("overwrite")
    resume: bool = shared("resume")
    quiet: bool = knob(False, "no progress bars")
    debug: bool = shared("debug")

    def __post_init__(self):
        super().__post_init__()
        ak.node_scalings(self.width, self.gamma, self.alpha)
        object.__setattr__(self, "law", network.resolved(self.law))
        self.scalings()
        if not 0.0 < self.delta < 1.0:
            raise ValueError(f"--delta: expected a number in (0, 1), received {self.delta}.")
        if self.data is not None and self.dataset != "simulated":
            raise ValueError("expected --data FILE or --dataset, received both.")
        if self._is_table():
            self._table()
        elif self.target is not None and not self.target.isdecimal():
            raise ValueError(
                f"--target: expected a number of the targets, from 0, received {self.target!r}; "
                "a name is for a column of --data FILE.csv."
            )
        if self.input_dim is not None and (self.data or self.dataset not in INPUT_DIM):
            raise ValueError(
                "--input-dim: expected --dataset simulated or orthogonal, received "
                f"{self.data or self.dataset}, whose dimension is given."
            )
        if self.dataset == "orthogonal":
            n, d = self.count(), self.input_dim or INPUT_DIM[self.dataset]
            if n > d:
                raise ValueError(
                    f"--examples: expected at most --input-dim {d} orthogonal ones, received {n}."
                )

    def _is_table(self) -> bool:
        return self.data is not None and Path(self.data).suffix.lower() == ".csv"

    def _table(self) -> regression.Config:
        """The flags of `trainers.regression` for the same table; it checks file and column."""
        if self._is_table():
            return regression.Config(data=self.data, target=self.target)
        return regression.Config(dataset=self.dataset)

    def column(self) -> int:
        """Number k of the target among those of the dataset. A table has one, by name."""
        return 0 if self.target is None or self._is_table() else int(self.target)

    def task(self) -> str:
        """Name of the data in folder names."""
        return Path(self.data).stem if self.data else self.dataset

    def scalings(self):
        """The node scalings, float64 (width,)."""
        return network.scalings(self.law, self.width, self.gamma, self.alpha)

    def path(self) -> Path:
        """The run folder."""
        pair = f"g{self.gamma:g}-a{self.alpha:g}"
        law = network.law_in_names(self.law)
        name = f"theory-{self.task()}-{pair}-m{self.width}{law}-s{self.seed}"
        return Path(self.out_dir or Path("runs") / name)

    def count(self) -> int:
        """Training examples to take, n, if there are as many."""
        return self.examples or EXAMPLES[self.dataset]

    def load(self):
        """The dataset that the flags name."""
        if self._is_table() or self.dataset in UCI:
            data = self._table().load()
            if data.is_classification:
                raise ValueError(
                    f"--target: expected a column of numbers, since the theorems have one output, "
                    f"received {self.target!r} of {self.data}, which holds classes."
                )
            return data
        if self.data:
            return ak.datasets.load_npz(self.data)
        if self.dataset == "mnist":
            return ak.datasets.load_mnist()
        return getattr(ak.datasets, f"load_{self.dataset}")(  # simulated or orthogonal
            examples=self.count(),
            input_dim=self.input_dim or INPUT_DIM[self.dataset],
            seed=self.data_seed,
        )
