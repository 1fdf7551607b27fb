"""The folder of a sweep: its settings, a record of each trial, and the trials' run folders."""

from __future__ import annotations

import dataclasses
import json
import time
from pathlib import Path
from typing import Any

from trainers.common.folder import SettingsFolder
from trainers.sweep import crew
from trainers.sweep.config import Config

# Flags that may differ when a sweep is resumed: they say how it is carried out, and for how long.
OPERATIONAL = (
    *("trials", "max_time", "max_failures", "pareto", "workers", "jobs", "max_restarts"),
    *("out_dir", "overwrite", "resume", "quiet", "debug", "format"),
)
_PATIENCE = 600.0  # seconds that a worker waits until its chief has made the folder


class SweepFolder(SettingsFolder):
    """`sweep.json`, `tuner/` (KerasTuner's), `trials/ID/` (run folders) and `trials/ID.json`."""

    kind, file, keys, operational = "sweep", "sweep.json", {"config", "sweep"}, OPERATIONAL

    def __init__(self, path: str | Path):
        super().__init__(path)
        self.trials = self.path / "trials"
        self.logs = self.path / "logs"

    def open(self, config: Config, command: str) -> None:
        """Makes the folder and writes `sweep.json`; a sweep that goes on keeps its own."""
        self.make(config)
        self.trials.mkdir(exist_ok=True)
        if self.settings() is None:
            self.write(self.file, self.content(config, {"sweep": command}))

    def wait_for_chief(self, config: Config, patience: float = _PATIENCE) -> None:
        """Waits until the chief has made the folder; it must be of this sweep.

        Raises:
            FileNotFoundError: There is none after `patience` seconds.
            ValueError: The folder is of a sweep with other settings.
        """
        end = time.monotonic() + patience
        while self.settings() is None:
            if time.monotonic() >= end:
                raise FileNotFoundError(
                    f"expected the chief to make {self.path / 'sweep.json'}, received none in "
                    f"{patience:g} s. Start the chief, with an --out-dir that all machines see."
                )
            time.sleep(0.2)
        self.check(dataclasses.replace(config, resume=True))

    def require_readable(self) -> None:
        """Reads all JSON files, KerasTuner's included, before a sweep goes on from them.

        Raises:
            ValueError: One is damaged; the message names it.
        """
        for path in sorted([*self.path.glob("tuner/**/*.json"), *self.trials.glob("*.json")]):
            try:
                content = json.loads(path.read_text(encoding="utf-8"))
            except ValueError as error:
                content, fault = None, str(error)
            else:
                fault = f"{type(content).__name__} of length {len(str(content))}"
            # The search keeps its state in oracle.json, so the other file beside it holds nothing.
            empty_too = path.parent.name == "tuner" and path.name != "oracle.json"
            if not (isinstance(content, dict) and (content or empty_too)):
                raise ValueError(
                    f"--resume: expected the JSON of a sweep in {path}, received {fault}. Put the "
                    "file back from a copy, or start anew: --overwrite or another --out-dir."
                )

    def is_over(self, config: Config) -> bool:
        """Whether the chief has no trial left to give or to wait for.

        That is so when all trials have ended in KerasTuner's own files, and there are `--trials` of
        them or the last ones all failed. A chief that is restarted then would wait for workers that
        have left.
        """
        paths = [*self.path.glob("tuner/trial_*/trial.json")]
        states = [json.loads(path.read_text(encoding="utf-8"))["status"] for path in paths]
        ended = all(state in ("COMPLETED", "FAILED") for state in states)
        return ended and (len(states) >= config.trials or self.keeps_failing(config))

    def keeps_failing(self, config: Config) -> bool:
        """Whether the last `--max-failures` trials all failed."""
        last = self.records()[-config.max_failures :]
        return len(last) == config.max_failures and {r["status"] for r in last} == {"failed"}

    def run_path(self, trial: str) -> Path:
        """The run folder of a trial."""
        return self.trials / trial

    def record(self, trial: str) -> dict | None:
        """The record of a trial; None if the trial has not ended."""
        name = f"trials/{trial}.json"
        return self.read(name) if (self.path / name).is_file() else None

    def write_record(self, record: dict[str, Any]) -> None:
        """Writes the record of a trial: `trial`, `status`, `values`, `metrics`, `error`, ...

        It also says which process ran the trial, by KerasTuner's id.
        """
        self.write(f"trials/{record['trial']}.json", {**record, "tuner": crew.own_id()})

    def records(self) -> list[dict]:
        """The records of all trials that have ended, in the order of their numbers."""
        trials = sorted((path.stem for path in self.trials.glob("*.json")), key=int)
        return [self.read(f"trials/{trial}.json") for trial in trials]
