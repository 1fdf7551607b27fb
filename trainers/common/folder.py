"""Folders that know their settings: a run's folder, and what it shares with a sweep's."""

from __future__ import annotations

import dataclasses
import json
import logging
import shutil
from pathlib import Path
from typing import ClassVar

from asym_keras.files import atomic_path, write_text
from asym_keras.run_settings import OPERATIONAL
from trainers.common.config import settings_of
from trainers.common.lock import clear, is_free, make_folder

logger = logging.getLogger("trainers")


class SettingsFolder:
    """A folder that knows the flags it was made with.

    Args:
        path: the folder.

    Attributes:
        kind: what is kept in it.
        file: its JSON file with the flags, as `config`.
        keys: what this file must hold; if it lacks one of them, another program made it.
        operational: flags that may differ when a command resumes.
    """

    kind: ClassVar[str]
    file: ClassVar[str]
    keys: ClassVar[set[str]]
    operational: ClassVar[tuple[str, ...]]

    def __init__(self, path: str | Path):
        self.path = Path(path)
        self.figures = self.path / "figures"

    def check(self, config, *, may_grow: bool = True) -> None:
        """Refuses a folder that `config` must not write to.

        Args:
            config: the flags.
            may_grow: whether `--resume` takes larger values of `config.growing`, such as `--steps`.

        Raises:
            FileExistsError: Something is there, and neither `--resume` nor `--overwrite` fits.
            ValueError: `--resume` finds other settings or methods in the folder.
        """
        there = self.settings()
        if is_free(self.path) or (config.overwrite and there is not None):
            return
        if there is None or not config.resume:
            kind = f"something that is no {self.kind}" if there is None else f"a {self.kind}"
            ways = "" if there is None else "--resume, --overwrite or "
            raise FileExistsError(
                f"expected a new or empty folder, received {self.path}, where {kind} is. "
                f"Use {ways}another --out-dir."
            )
        ours, there = json.loads(json.dumps(dataclasses.asdict(config))), _completed(there, config)
        differing = [k for k in ours if k not in self.operational and there.get(k) != ours[k]]
        if differing and not (may_grow and _grows(there, ours, differing, config.growing)):
            raise ValueError(
                f"--resume: expected the settings of the {self.kind} in {self.path}, received "
                "others: "
                + ", ".join(f"{k} ({there.get(k)!r} there, {ours[k]!r} here)" for k in differing)
                + f". Repeat its flags ({self.file} holds its command)."
            )
        was = self.methods()
        others = [f"{k} ({now} here)" for k, now in config.methods().items() if was.get(k) != now]
        if others:
            raise ValueError(
                f"--resume: expected a {self.kind} of this version in {self.path}, received one of "
                f"an earlier version, with other {', '.join(others)}. Its numbers and new ones do "
                "not belong in one table. Start anew in another --out-dir."
            )

    def make(self, config) -> None:
        """Makes the folder; `--overwrite` empties it first."""
        self.check(config)
        if config.overwrite and self.path.exists():
            clear(self.path)
        make_folder(self.path)
        self.figures.mkdir(exist_ok=True)

    def settings(self) -> dict | None:
        """The flags that the folder was made with; None where it is of another kind."""
        try:
            content = self.read(self.file)
            return content["config"] if self.keys <= content.keys() else None
        except (AttributeError, KeyError, OSError, ValueError):
            return None

    def methods(self) -> dict[str, str]:
        """How the numbers in the folder were computed, as `Flags.methods` has it."""
        return self.read(self.file).get("methods", {})

    def content(self, config, facts: dict) -> dict:
        """What `file` says of a new folder: the flags, and `facts`."""
        methods = config.methods()
        return {"config": settings_of(config), **facts, **({"methods": methods} if methods else {})}

    def read(self, name: str) -> dict:
        """Reads one of the folder's JSON files."""
        try:
            return json.loads((self.path / name).read_text(encoding="utf-8"))
        except ValueError as error:
            raise ValueError(f"expected JSON in {self.path / name}, received {error}.") from error

    def write(self, name: str, content: dict) -> None:
        """Writes a JSON file."""
        write_text(self.path / name, json.dumps(content, indent=2) + "\n")


def _completed(there: dict, config) -> dict:
    """The settings of a folder, with the defaults of flags that are newer than it."""
    later = {f.name: f.default for f in dataclasses.fields(config) if f.metadata["later"]}
    return {**later, **there}


def _grows(there: dict, ours: dict, differing: list[str], growing: tuple[str, ...]) -> bool:
    """Whether all settings that differ are among `growing` and larger than they were."""
    return all(
        name in growing and None not in (there.get(name), ours[name]) and there[name] < ours[name]
        for name in differing
    )


class RunFolder(SettingsFolder):
    """One run's folder: `config.json`, `history.csv`, `metrics.json`, `model.keras`, ..."""

    kind, file, keys = "run", "config.json", {"config", "command", "dataset"}
    operational: ClassVar[tuple[str, ...]] = OPERATIONAL

    def __init__(self, path: str | Path):
        super().__init__(path)
        self.checkpoint = self.path / "checkpoint"

    def open(self, config, facts: dict) -> None:
        """Makes the folder and writes `config.json`: the settings, and `facts` of the run."""
        self.make(config)
        content = self.content(config, facts)
        if not (config.resume and self.settings() is not None):
            self.write(self.file, content)
            return
        self.require_data(facts["dataset"]["fingerprint"])
        if self.is_behind(config):
            self._reopen(content)

    def _reopen(self, content: dict) -> None:
        """Makes a finished run unfinished, so that it goes on from its end to a later one."""
        if not self.checkpoint.is_dir():
            raise ValueError(
                f"--resume: expected the checkpoint of the run in {self.checkpoint} to go on from "
                "its end, received none. Start anew with --overwrite."
            )
        for name, was in (self.settings() or {}).items():
            now = content["config"].get(name)
            if name not in self.operational and now != was:
                logger.info("%s: goes on from %s %s to %s", self.path, name, was, now)
        # metrics.json goes first: it marks the run as finished. The others tell of its former end.
        for name in ("metrics.json", "pruning.csv", "transfer.csv", "nodes.npz", "model.keras"):
            (self.path / name).unlink(missing_ok=True)
        self.write(self.file, content)

    def note(self, methods: dict[str, str]) -> None:
        """Adds `methods` to the folder's record of how its numbers were computed."""
        content = self.read(self.file)
        self.write(self.file, {**content, "methods": {**self.methods(), **methods}})

    def is_behind(self, config) -> bool:
        """Whether the run in the folder ends before that of `config`, which has more `--steps`."""
        there = self.settings() or {}
        pairs = [(there.get(name), getattr(config, name)) for name in config.growing]
        return any(None not in pair and pair[0] < pair[1] for pair in pairs)

    def require_space(self, model, dtype: str) -> None:
        """Raises OSError unless a run's checkpoint and model have room where the folder is."""
        # A flow's checkpoint holds five sets of weights. There are two checkpoints while a new one
        # replaces the old one.
        size = 12 * model.count_params() * (8 if dtype == "float64" else 4) + 2**20
        free = shutil.disk_usage(self.path).free
        if free < size:
            raise OSError(
                f"expected {size / 2**20:.0f} MiB of free space for the run's checkpoint and model "
                f"in {self.path}, received {free / 2**20:.0f} MiB. Make room, or choose another "
                "--out-dir."
            )

    def save(self, model) -> None:
        """Writes `model.keras`."""
        with atomic_path(self.path / "model.keras") as temporary:
            model.save(temporary)

    def finished(self, config, dataset) -> bool:
        """Whether training is complete, to the end that `config` has.

        Raises:
            ValueError: It is, but `dataset` holds other data than the run's.
        """
        if not (self.path / "metrics.json").is_file() or self.is_behind(config):
            return False
        self.require_data(dataset.fingerprint())
        return True

    def require_data(self, fingerprint: str) -> None:
        """Raises ValueError unless the run in the folder had data of this fingerprint."""
        there = self.read(self.file)["dataset"]["fingerprint"]
        if there != fingerprint:
            raise ValueError(
                f"--resume: expected the data of the run in {self.path} (fingerprint {there}), "
                f"received others ({fingerprint}). Put the data back, or start anew in another "
                "--out-dir."
            )
