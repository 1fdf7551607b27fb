"""The folder of a sweep: its settings, a record of each trial, and the trials' run folders."""

from __future__ import annotations

import dataclasses
import json
import time
from pathlib import Path
from typing import Any

from trainers.common.lock import clear, is_free
from trainers.sweep import crew
from trainers.sweep.config import Config

# Flags in which a sweep that goes on may differ: how it is carried out, and for how long.
OPERATIONAL = (
    *("trials", "max_time", "max_failures", "pareto", "workers", "jobs", "max_restarts"),
    *("out_dir", "overwrite", "resume", "quiet", "debug"),
)
_PATIENCE = 600.0  # seconds that a worker waits for its chief to make the folder


class SweepFolder:
    """`sweep.json`, `tuner/` (KerasTuner's), `trials/ID/` (run folders) and `trials/ID.json`.

    Args:
        path: the folder.
    """

    def __init__(self, path: str | Path):
        self.path = Path(path)
        self.trials = self.path / "trials"
        self.figures = self.path / "figures"
        self.logs = self.path / "logs"

    def check(self, config: Config) -> None:
        """Refuses a folder that `config` must not write to.

        Raises:
            FileExistsError: Something is there, and neither `--resume` nor `--overwrite` fits.
            ValueError: The sweep to go on with has other settings.
        """
        if is_free(self.path):
            return
        there = self._settings_there()
        if config.overwrite and there is not None:
            return
        if there is None or not config.resume:
            kind = "something that is no sweep" if there is None else "a sweep"
            ways = "" if there is None else "--resume, --overwrite or "
            raise FileExistsError(
                f"expected a new or empty folder, received {self.path}, where {kind} is. "
                f"Use {ways}another --out-dir."
            )
        ours = _settings(config)
        differing = [k for k in ours if k not in OPERATIONAL and there.get(k) != ours[k]]
        if differing:
            raise ValueError(
                f"--resume: expected the settings of the sweep in {self.path}, received others: "
                + ", ".join(f"{k} ({there.get(k)!r} there, {ours[k]!r} here)" for k in differing)
                + ". Repeat its flags (sweep.json holds its command)."
            )

    def open(self, config: Config, command: str) -> None:
        """Makes the folder and writes `sweep.json`; a sweep that goes on keeps its own."""
        self.check(config)
        if config.overwrite and self.path.exists():
            clear(self.path)
        self.trials.mkdir(parents=True, exist_ok=True)
        self.figures.mkdir(exist_ok=True)
        if self._settings_there() is None:
            self.write("sweep.json", {"config": _settings(config), "sweep": command})

    def wait_for_chief(self, config: Config, patience: float = _PATIENCE) -> None:
        """Waits until the chief has made the folder; it must be of this sweep.

        Raises:
            FileNotFoundError: There is none after `patience` seconds.
            ValueError: The folder is of a sweep with other settings.
        """
        end = time.monotonic() + patience
        while self._settings_there() is None:
            if time.monotonic() >= end:
                raise FileNotFoundError(
                    f"expected the chief to make {self.path / 'sweep.json'}, received none in "
                    f"{patience:g} s. Start the chief, with an --out-dir that all machines see."
                )
            time.sleep(0.2)
        self.check(dataclasses.replace(config, resume=True))

    def is_over(self, config: Config) -> bool:
        """Whether a chief has no trial left to give or to wait for, whoever asks.

        So it is when all trials have ended, in KerasTuner's own books, or the last ones failed.
        A chief that was brought back then would wait for workers that are gone.
        """
        paths = [*self.path.glob("tuner/trial_*/trial.json")]
        states = [json.loads(path.read_text(encoding="utf-8"))["status"] for path in paths]
        ended = all(state in ("COMPLETED", "FAILED") for state in states)
        return ended and (len(states) >= config.trials or self.keeps_failing(config))

    def keeps_failing(self, config: Config) -> bool:
        """Whether the last `--max-failures` trials all failed."""
        last = self.records()[-config.max_failures :]
        return len(last) == config.max_failures and {r["status"] for r in last} == {"failed"}

    def _settings_there(self) -> dict | None:
        try:
            content = json.loads((self.path / "sweep.json").read_text(encoding="utf-8"))
            return content["config"] if "sweep" in content else None
        except (KeyError, OSError, TypeError, ValueError):
            return None

    def run_path(self, trial: str) -> Path:
        """The run folder of a trial."""
        return self.trials / trial

    def record(self, trial: str) -> dict | None:
        """What a trial that has ended left; None: it has not."""
        path = self.trials / f"{trial}.json"
        return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None

    def write_record(self, record: dict[str, Any]) -> None:
        """Writes the record of a trial: `trial`, `status`, `values`, `metrics`, `error`, ...

        It says, too, who ran it, by KerasTuner's id.
        """
        self.write(f"trials/{record['trial']}.json", {**record, "tuner": crew.own_id()})

    def records(self) -> list[dict]:
        """The records of all trials that have ended, in the order of their numbers."""
        paths = sorted(self.trials.glob("*.json"), key=lambda path: int(path.stem))
        return [json.loads(path.read_text(encoding="utf-8")) for path in paths]

    def write(self, name: str, content: dict) -> None:
        """Writes a JSON file, whole or not at all."""
        from asym_keras.files import write_text

        write_text(self.path / name, json.dumps(content, indent=2) + "\n")


def _settings(config: Config) -> dict:
    return json.loads(json.dumps(dataclasses.asdict(config)))
