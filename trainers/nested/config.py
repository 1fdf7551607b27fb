"""Flags of `python -m trainers.nested`."""

from __future__ import annotations

import dataclasses
import itertools
from pathlib import Path
from typing import TYPE_CHECKING, Any

import asym_keras as ak
from trainers.common.config import Flags, knob, shared
from trainers.common.tasks import TASKS

if TYPE_CHECKING:
    import numpy as np

    from asym_keras.datasets import Dataset

MODULE = "trainers.nested"
WIDTHS = "20,50,100,200,500,2000"
RATES = "0.001,0.003,0.01,0.03"
# No scaling: alpha has no effect, and stays its default.
PLAIN: dict[str, Any] = {"gamma": 1.0, "alpha": 0.4}
# An earlier version began with random readouts, and left out the last rows.
READOUTS = {"first readouts": "zeros for classes"}
DRAWN = {"left-out rows": "drawn"}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(Flags):
    """Flags of this program."""

    task: str | None = knob(None, "what to learn", choices=[*TASKS])
    data: str | None = knob(
        None,
        "your own data instead: arrays x_train, y_train, x_test, y_test, or a table",
        metavar="FILE",
        file="an .npz or .csv file",
    )
    target: str | None = knob(None, "column of a table to predict", metavar="COLUMN")
    features: str | None = knob(
        None, "ready features of CIFAR-10, for no backbone", metavar="FILE.npz", file="an .npz file"
    )
    examples: int | None = knob(
        None,
        "train on N examples: the first of MNIST, or N drawn from other data, the same in each run "
        "(default: all; of MNIST the 10,000 of the package)",
        least=10,
    )
    network: str = knob(
        "mlp",
        "layers before the hidden nodes: none, or two convolutions of 16 and 32 channels",
        choices=["mlp", "cnn"],
    )
    widths: str = knob(
        WIDTHS, "widths to train for, increasing to m; or 'auto': halves of --width down to 16"
    )
    width: int | None = knob(None, "hidden nodes, m, with --widths auto (default: 2000)", least=1)
    one_readout: bool = knob(False, "one readout for all widths: smaller, and a little worse")
    weights: str = knob(
        "equal",
        "weights of the widths in the loss: equal, or GAMMA:ALPHA for a law of node scalings",
        metavar="LAW",
    )
    gamma: float = shared("gamma", PLAIN["gamma"])
    alpha: float = shared("alpha", PLAIN["alpha"])
    epochs: int = knob(8, "passes over the training examples", least=1)
    batch_size: int = knob(128, "examples of a step", least=1)
    learning_rate: float = knob(0.01, "Adam's first rate", positive=True)
    held_out: float = knob(
        0.0,
        "share of the training examples to draw and leave out, the same in each run: they are "
        "measured after each epoch, and choose the threshold of anytime prediction",
        least=0,
        most=0.5,
    )
    baselines: bool = knob(False, "train and tune a Dense network of each width, too")
    rates: str = knob(RATES, "rates that --baselines tries for each width")
    seed: int = shared("seed")
    seeds: int | None = shared("seeds")
    device: str = shared("device")
    out_dir: str | None = knob(None, "run folder (default: runs/nested-<settings>)")
    overwrite: bool = shared("overwrite")
    resume: bool = shared("resume")
    tensorboard: bool = shared("tensorboard")
    quiet: bool = shared("quiet")
    debug: bool = shared("debug")

    def __post_init__(self):
        super().__post_init__()
        self._check_data()
        widths = self.all_widths()  # whose last one is m
        if self.width not in (None, widths[-1]):
            raise ValueError(
                f"--width: expected m, the last of --widths ({widths[-1]}), received {self.width}. "
                "Leave it out, or say --widths auto."
            )
        object.__setattr__(self, "width", widths[-1])
        ak.node_scalings(widths[-1], self.gamma, self.alpha)
        self.law()
        self.tried()
        if self.gamma == PLAIN["gamma"] and self.alpha != PLAIN["alpha"]:
            raise ValueError(
                f"--alpha: expected --gamma below 1 with it, received alpha {self.alpha:g} and "
                "gamma 1, the default, with which it has no effect. Add --gamma 0.5, for example."
            )
        if not self.baselines and self.rates != RATES:
            raise ValueError(
                f"--rates: expected --baselines with it, which tries them, received {self.rates} "
                "alone. The rate of the nested network is --learning-rate."
            )

    def _check_data(self) -> None:
        if (self.task is None) == (self.data is None):
            received = "neither" if self.data is None else "both"
            raise ValueError(f"expected --task or --data FILE, received {received}.")
        if self.is_table() != (self.target is not None):
            raise ValueError(
                "--target: expected it with --data FILE.csv, and only there, received "
                f"--data {self.data} and --target {self.target}."
            )
        if self.data is not None and Path(self.data).suffix not in (".npz", ".csv"):
            raise ValueError(f"--data: expected a .npz or .csv file, received {self.data}.")
        if self.features is not None and self.task != "cifar10":
            raise ValueError("--features: expected --task cifar10 with it, received another.")
        if self.is_table() and self.target is not None:
            from asym_keras.datasets.csv_table import read_header

            names = read_header(Path(str(self.data)))
            if self.target not in names:
                raise ValueError(
                    f"--target: expected a column of {self.data} ({', '.join(names)}), received "
                    f"{self.target!r}."
                )

    def is_table(self) -> bool:
        """Whether the data are the user's own table."""
        return self.data is not None and self.data.endswith(".csv")

    def all_widths(self) -> tuple[int, ...]:
        """The widths, increasing; the last is that of the whole network."""
        if self.widths == "auto":
            from asym_keras.nesting import auto_widths

            return auto_widths(self.width or 2000)
        words = self.widths.split(",")
        if not all(word.strip().isdecimal() for word in words):
            raise ValueError(
                f"--widths: expected 'auto', or whole numbers such as 20,50,2000, received "
                f"{self.widths!r}."
            )
        widths = tuple(map(int, words))
        if widths[0] < 1 or any(a >= b for a, b in itertools.pairwise(widths)):
            raise ValueError(
                f"--widths: expected numbers from 1 on that increase, received {self.widths}."
            )
        return widths

    def law(self) -> np.ndarray | None:
        """Weights of the widths in the loss; None: equal."""
        if self.weights == "equal":
            return None
        try:
            gamma, alpha = map(float, self.weights.split(":"))
        except ValueError:
            raise ValueError(
                f"--weights: expected 'equal' or GAMMA:ALPHA, received {self.weights!r}."
            ) from None
        from asym_keras.nesting import prefix_weights

        widths = self.all_widths()
        return prefix_weights(widths, ak.node_scalings(widths[-1], gamma, alpha))

    def tried(self) -> tuple[float, ...]:
        """The rates that baselines are tuned over, increasing."""
        try:
            rates = tuple(sorted({float(word) for word in self.rates.split(",")}))
        except ValueError:
            rates = ()
        if not rates or not 0.0 < rates[0] <= rates[-1] < float("inf"):
            raise ValueError(
                f"--rates: expected positive numbers such as 0.003,0.01, received {self.rates!r}."
            )
        return rates

    def run_seeds(self) -> list[int]:
        """The seeds to run."""
        return [self.seed] if self.seeds is None else list(range(self.seeds))

    def methods(self) -> dict[str, str]:
        """How readouts begin, and how the rows that are left out are chosen."""
        fewer = self.examples is not None and self.task != "mnist"
        return READOUTS | (DRAWN if self.held_out or fewer else {})

    def name(self) -> str:
        """The task's name in folder names."""
        return self.task or Path(str(self.data)).stem

    def home(self) -> Path:
        """Where table and figure go: the run's folder, or the one of several runs."""
        if self.out_dir is not None:
            return Path(self.out_dir)
        scaled = "" if self.gamma == 1.0 else f"-g{self.gamma:g}-a{self.alpha:g}"
        seed = "" if self.seeds is not None else f"-s{self.seed}"
        return Path("runs") / f"nested-{self.name()}-{self.network}-m{self.width}{scaled}{seed}"

    def runs(self) -> list[tuple[Config, Path]]:
        """The configuration and the folder of each seed."""
        if self.seeds is None:
            return [(self, self.home())]
        seeds = self.run_seeds()
        return [(dataclasses.replace(self, seed=s), self.home() / f"seed-{s}") for s in seeds]

    def load(self) -> Dataset:
        """The `Dataset` that the flags name."""
        from trainers.nested.data import load

        return load(self)
