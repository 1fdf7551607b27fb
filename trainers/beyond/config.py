"""Flags of `python -m trainers.beyond`."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from trainers.common.config import Flags, TrainerConfig, knob, shared
from trainers.common.experiments import passed_on

STUDIES = ("long-time", "budget", "one-training")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(Flags):
    """Flags of this program."""

    study: str | None = knob(None, "which question", choices=[*STUDIES])
    width: int = knob(2000, "hidden nodes, m", least=200)
    steps: int | None = knob(
        None, "time t to train to (default: 10,000,000; budget: 200,000)", metavar="T", least=1
    )
    epochs: int = knob(20, "epochs of each network of --study one-training", least=1)
    examples: int = knob(
        10_000, "training images of --study one-training, at most 60,000", least=100, most=60_000
    )
    seeds: int = knob(1, "run seeds 0 to N-1 of each setting", metavar="N", least=1)
    jobs: int = shared("jobs")
    records: int = knob(100, "rows of a run's history, for --study long-time", least=2)
    out_dir: str = knob("runs/beyond", "folder of the runs, tables and figures")
    device: str = shared("device")
    quiet: bool = shared("quiet")
    debug: bool = shared("debug")

    def __post_init__(self):
        super().__post_init__()
        if self.study is None:
            raise ValueError(f"--study: expected one of {', '.join(STUDIES)}, received none.")

    def path(self, suffix: str) -> Path:
        """The study's file with this suffix."""
        return Path(self.out_dir) / f"{self.study}{suffix}"

    def batch(self, of: type[TrainerConfig], **options: Any) -> TrainerConfig:
        """The study's runs, by a trainer with these flags; complete runs are not repeated."""
        own = {"seeds": self.seeds, "jobs": self.jobs, "out_dir": str(self.path(""))}
        return of(resume=True, **options | passed_on(self) | own)
