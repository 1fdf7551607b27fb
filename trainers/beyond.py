"""What the paper could not ask: long training, small budgets of nodes, and ordinary Keras models.

    python -m trainers.beyond --study long-time
    python -m trainers.beyond --study budget
    python -m trainers.beyond --study one-training

long-time     the simulated task to t = 10,000,000: does gamma = 0 catch up, and do the others
              converge at the rate of Theorem 4.1?
budget        MNIST: which gamma, alpha and training time is best for 20, 50, 100 or 200 nodes?
one-training  the layer in an ordinary Keras model under Adam and cross-entropy: one training that
              serves every width, beside plain Dense networks.

Each study writes a table, `<study>.csv`, and a figure, `<study>.png`, and goes on where it stopped.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from trainers import _cli
from trainers._cli import knob

MODULE = "trainers.beyond"
STUDIES = ("long-time", "budget", "one-training")


def _shared(name: str) -> Any:
    """The flag `name` of the other trainers."""
    field = _cli.TrainerConfig.__dataclass_fields__[name]
    return dataclasses.field(default=field.default, metadata=field.metadata)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """Flags of this program."""

    study: str | None = knob(None, "which question", choices=[*STUDIES])
    width: int = _shared("width")
    steps: int | None = knob(
        None, "time t to train to (default: 10,000,000; budget: 200,000)", metavar="T"
    )
    epochs: int = knob(20, "of each network of --study one-training")
    examples: int = knob(10_000, "training images of --study one-training, at most 60,000")
    seeds: int = knob(1, "seeds 0 to N-1 of each setting", metavar="N")
    jobs: int = _shared("jobs")
    records: int = knob(100, "records of a run")
    out_dir: str = knob("runs/beyond", "folder of the runs, tables and figures")
    device: str = _shared("device")
    quiet: bool = _shared("quiet")
    debug: bool = _shared("debug")

    def __post_init__(self):
        if self.study is None:
            raise ValueError(f"--study: expected one of {', '.join(STUDIES)}, received none.")
        least = {"width": 200, "steps": 1, "epochs": 1, "examples": 100, "seeds": 1, "records": 2}
        for name, bound in least.items():
            value = getattr(self, name)
            if value is not None and value < bound:
                raise ValueError(f"--{name}: expected at least {bound}, received {value}.")
        if self.jobs < 1:
            raise ValueError(f"--jobs: expected at least 1, received {self.jobs}.")

    def path(self, suffix: str) -> Path:
        """The study's file with this suffix."""
        return Path(self.out_dir) / f"{self.study}{suffix}"


def main(argv=None) -> list[dict]:
    """Runs the command line; returns the rows of the study's table."""
    config = _cli.parse_config(Config, argv, module=MODULE, description=__doc__)

    def body(config):
        if config.study == "long-time":
            from trainers._beyond_long_time import run
        elif config.study == "budget":
            from trainers._beyond_budget import run
        else:
            from trainers._beyond_one_training import run
        return run(config)

    return _cli.run_main(body, config, argv, module=MODULE)


if __name__ == "__main__":
    main()
