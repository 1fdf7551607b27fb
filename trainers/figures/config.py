"""Flags of `python -m trainers.figures`."""

from __future__ import annotations

import dataclasses

from trainers.common.config import Flags, knob, shared

NUMBERS = range(1, 12)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(Flags):
    """Flags of this program."""

    figure: str = knob("all", "which figure", choices=[*map(str, NUMBERS), "all"])
    protocol: str = shared("protocol")
    seeds: int = knob(5, "run seeds 0 to N-1", metavar="N", least=1)
    jobs: int = knob(1, "runs at once, in processes that share the cores", least=1)
    runs: str = knob("runs/paper-figures", "where runs are kept, a folder for each task")
    out: str = knob("figures", "where figures are written")
    format: str = shared("format")
    titles: bool = knob(False, "a title above each figure: tasks, protocol, width and seeds")
    reference: str | None = knob(
        None,
        "draw published curves with crosses, under --protocol authors",
        metavar="published_curves.json",
        file="a file",
    )
    refit: bool = knob(
        False, "draw pruning with a refitted readout too, with rings; the paper does not"
    )
    width: int | None = knob(
        None, "hidden nodes, for a quick look (default: the trainer's)", least=1
    )
    steps: int | None = knob(None, "steps, for a quick look (default: the trainer's)", least=1)
    features: str | None = knob(
        None, "features of CIFAR-10, for Figures 4 and 11", metavar="FILE.npz", file="a file"
    )
    device: str = shared("device")
    dry_run: bool = knob(False, "list the runs that are missing; make none, draw nothing")
    quiet: bool = shared("quiet")
    debug: bool = shared("debug")

    def __post_init__(self):
        super().__post_init__()
        if self.reference is not None and self.protocol != "authors":
            raise ValueError(
                "--reference: expected --protocol authors, with which the published curves were "
                f"drawn, received --protocol {self.protocol}."
            )

    def numbers(self) -> list[int]:
        """The figures to draw."""
        return [*NUMBERS] if self.figure == "all" else [int(self.figure)]
