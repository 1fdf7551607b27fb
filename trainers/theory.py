"""Lays the paper's theory beside a training run: each bound and expectation, and what is measured.

    python -m trainers.theory --dataset simulated --gamma 0.5
    python -m trainers.theory --dataset orthogonal --activation tanh --gamma 1 --width 3400
    python -m trainers.theory --dataset mnist --gamma 0 --activation tanh
    python -m trainers.theory --dataset concrete --gamma 1
    python -m trainers.theory --data my.npz --examples 50
    python -m trainers.theory --data my.csv --target column

Trains by gradient flow from N(0, 1) weights, draws further initialisations, and prints a table.
The theorems are on networks of one output: one column of the targets is taken.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from trainers import _cli, regression
from trainers._cli import knob

MODULE = "trainers.theory"
EXAMPLES = {"simulated": 100, "orthogonal": 2, "mnist": 100}
EXAMPLES |= dict.fromkeys(regression.DATASETS, 100)
INPUT_DIM = {"simulated": 50, "orthogonal": 1000}


def _shared(name: str, default=dataclasses.MISSING) -> Any:
    """The flag `name` of the other trainers, here with a default of its own if one is given."""
    field = _cli.TrainerConfig.__dataclass_fields__[name]
    if default is dataclasses.MISSING:
        default = field.default
    return dataclasses.field(default=default, metadata=field.metadata)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """Flags of this trainer."""

    dataset: str = knob("simulated", "what to train on", choices=[*EXAMPLES])
    data: str | None = knob(
        None,
        "train on your own arrays x_train, y_train, x_test, y_test (FILE.npz) instead, or on your "
        "own table (FILE.csv) with --target",
        metavar="FILE",
    )
    data_seed: int = knob(0, "seed of the data of --dataset simulated and orthogonal")
    input_dim: int | None = knob(
        None, "dimension of the same (default: 50, and 1000 for orthogonal)", metavar="D"
    )
    examples: int | None = knob(
        None, "the first N training examples, all if fewer (default: 100; orthogonal: 2)"
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
    gamma: float = _shared("gamma", 0.5)
    alpha: float = _shared("alpha")
    width: int = _shared("width")
    activation: str = knob("relu", "relu, tanh, softplus, sigmoid or another name of Keras")
    delta: float = knob(0.1, "probability with which the theorems may fail, in (0, 1)")
    steps: int | None = knob(
        None,
        "time t to train to (default: where bound (b) is exp(-5), at most 1,000,000; "
        "with gamma = 0 as for gamma = 1, with kappa_n = 0 by the least positive eigenvalue)",
        metavar="T",
    )
    records: int = _shared("records")
    rtol: float | None = knob(
        None,
        "relative tolerance of the flow (default: 0.001 of how far the weights are expected to "
        "move, at most 0.01)",
    )
    atol: float | None = knob(None, "absolute tolerance of the flow (default: the same)")
    draws: int = knob(100, "initialisations for the expectations at t = 0")
    seed: int = knob(0, "seed of initial weights, readout and draws")
    device: str = _shared("device")
    dtype: str = _shared("dtype", "float64")
    out_dir: str | None = knob(None, "run folder (default: runs/theory-<dataset>-<settings>)")
    overwrite: bool = _shared("overwrite")
    resume: bool = _shared("resume")
    quiet: bool = knob(False, "no progress bars")
    debug: bool = _shared("debug")

    def __post_init__(self):
        from asym_keras.scaling import node_scalings

        node_scalings(self.width, self.gamma, self.alpha)
        least = {"examples": 1, "input_dim": 1, "steps": 1, "records": 2, "draws": 2}
        for name, bound in {**least, "seed": 0, "data_seed": 0}.items():
            value = getattr(self, name)
            if value is not None and value < bound:
                raise ValueError(
                    f"--{name.replace('_', '-')}: expected at least {bound}, received {value}."
                )
        for name in ("rtol", "atol"):
            value = getattr(self, name)
            if value is not None and not 0.0 < value < float("inf"):
                raise ValueError(f"--{name}: expected a positive number, received {value}.")
        if not 0.0 < self.delta < 1.0:
            raise ValueError(f"--delta: expected a number in (0, 1), received {self.delta}.")
        if self.resume and self.overwrite:
            raise ValueError("expected --resume or --overwrite, received both.")
        self._check_data()

    def _check_data(self) -> None:
        if self.data is not None and self.dataset != "simulated":
            raise ValueError("expected --data FILE or --dataset, received both.")
        if self._is_table():
            self._table()
        elif self.data is not None and not Path(self.data).is_file():
            raise ValueError(
                f"--data: expected an .npz or .csv file, received no such file: {self.data}."
            )
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
            n, d = (
                self.examples or EXAMPLES["orthogonal"],
                self.input_dim or INPUT_DIM[self.dataset],
            )
            if n > d:
                raise ValueError(
                    f"--examples: expected at most --input-dim {d} orthogonal ones, received {n}."
                )

    def _is_table(self) -> bool:
        return self.data is not None and Path(self.data).suffix.lower() == ".csv"

    def _table(self) -> regression.Config:
        """The same table as `trainers.regression` has it, which checks file and column."""
        if self._is_table():
            return regression.Config(data=self.data, target=self.target)
        return regression.Config(dataset=self.dataset)

    def column(self) -> int:
        """Number k of the target among those of the dataset. A table has one, by name."""
        return 0 if self.target is None or self._is_table() else int(self.target)

    def task(self) -> str:
        """Name of the data in folder names."""
        return Path(self.data).stem if self.data else self.dataset

    def path(self) -> Path:
        """The run folder."""
        name = f"theory-{self.task()}-g{self.gamma:g}-a{self.alpha:g}-m{self.width}-s{self.seed}"
        return Path(self.out_dir or Path("runs") / name)

    def count(self) -> int:
        """Training examples to take, n, if there are as many."""
        return self.examples or EXAMPLES[self.dataset]

    def load(self):
        """The dataset that the flags name."""
        from asym_keras import datasets

        if self._is_table() or self.dataset in regression.DATASETS:
            return self._table().load()
        if self.data:
            return datasets.load_npz(self.data)
        if self.dataset == "mnist":
            return datasets.load_mnist()
        generate = (
            datasets.load_simulated if self.dataset == "simulated" else datasets.load_orthogonal
        )
        return generate(
            examples=self.count(),
            input_dim=self.input_dim or INPUT_DIM[self.dataset],
            seed=self.data_seed,
        )


def main(argv=None) -> dict:
    """Runs the command line; returns the content of `theory.json`."""
    config = _cli.parse_config(Config, argv, module=MODULE, description=__doc__)

    def body(config):
        from trainers._theory_run import run

        return run(config, argv=argv, module=MODULE)

    return _cli.run_main(body, config, argv, module=MODULE)


if __name__ == "__main__":
    main()
