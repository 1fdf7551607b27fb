"""Flags of `python -m trainers.zoo`."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from trainers.common.config import Flags, flag_of, knob, shared
from trainers.common.tasks import TASKS

PRESETS = Path(__file__).resolve().parents[2] / "asym_keras" / "presets"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(Flags):
    """Flags of this program."""

    tasks: str = knob(",".join(TASKS), "which tasks, separated by commas")
    keep: str = knob("20,50,100", "numbers of nodes that stay, separated by commas")
    runs: str = knob("runs/paper-figures", "where runs are kept, a folder for each task")
    presets_dir: str | None = knob(None, "where presets go (default: the package's own folder)")
    saved_models: str = knob("saved_models", "where SavedModels go")
    no_export: bool = knob(False, "write presets only")
    features: str | None = knob(
        None, "features of CIFAR-10, for the task cifar10", metavar="FILE.npz", file="a file"
    )
    jobs: int = knob(1, "runs at once, in processes that share the cores", least=1)
    width: int | None = knob(
        None, "hidden nodes, for a quick look (default: the trainer's)", least=1
    )
    steps: int | None = knob(None, "steps, for a quick look (default: the trainer's)", least=1)
    device: str = shared("device")
    dry_run: bool = knob(False, "list the runs that are missing; make none, write nothing")
    quiet: bool = shared("quiet")
    debug: bool = shared("debug")

    def __post_init__(self):
        super().__post_init__()
        for name in self.names():
            if name not in TASKS:
                raise ValueError(f"--tasks: expected some of {','.join(TASKS)}, received {name!r}.")
        widest = 2000 if self.width is None else self.width
        if not 1 <= min(self.keeps()) <= max(self.keeps()) <= widest:
            raise ValueError(f"--keep: expected numbers from 1 to {widest}, received {self.keep}.")
        quick = [name for name in ("width", "steps") if getattr(self, name) is not None]
        if quick and self.presets_dir is None:
            raise ValueError(
                f"{flag_of(quick[0])}: expected --presets-dir with it, since networks of a quick "
                "look don't belong in the package, received none."
            )

    def names(self) -> list[str]:
        """The tasks."""
        return self.tasks.split(",")

    def keeps(self) -> list[int]:
        """The numbers of nodes, each once, increasing."""
        words = self.keep.split(",")
        if not all(word.isdecimal() for word in words):
            raise ValueError(
                f"--keep: expected whole numbers such as 20,50,100, received {self.keep!r}."
            )
        return sorted({int(word) for word in words})
