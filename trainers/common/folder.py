"""The run folder: what a trainer leaves behind, each file whole or not at all."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path

from trainers.common.lock import clear, is_free, make_folder

# Flags that change how a run is carried out, not what it is: `--resume` may differ in them.
OPERATIONAL = (
    *("out_dir", "overwrite", "resume", "quiet", "debug", "tensorboard", "pairs", "seeds"),
    *("jobs", "refit", "transfer", "strategy"),
)


class RunFolder:
    """One run's folder: `config.json`, `history.csv`, `metrics.json`, `model.keras`, ...

    Args:
        path: the folder.
    """

    def __init__(self, path: str | Path):
        self.path = Path(path)
        self.checkpoint = self.path / "checkpoint"
        self.figures = self.path / "figures"

    def check(self, config) -> None:
        """Refuses a folder that `config` must not write to.

        Raises:
            FileExistsError: Something is there, and neither `--resume` nor `--overwrite` fits.
            ValueError: The run to resume has another configuration.
        """
        if is_free(self.path):
            return
        is_run = self._is_run()
        if config.overwrite and is_run:
            return
        if not (config.resume and is_run):
            kind = "a run" if is_run else "something that is no run"
            ways = "--resume, --overwrite or another --out-dir" if is_run else "another --out-dir"
            raise FileExistsError(
                f"expected a new or empty folder, received {self.path}, where {kind} is. "
                f"Use {ways}."
            )
        theirs = self.read("config.json")["config"]
        ours = json.loads(json.dumps(_settings(config)))
        differing = [k for k in ours if k not in OPERATIONAL and theirs.get(k) != ours[k]]
        if differing:
            raise ValueError(
                f"--resume: expected the settings of the run in {self.path}, received others: "
                + ", ".join(f"{k} ({theirs.get(k)!r} there, {ours[k]!r} here)" for k in differing)
                + ". Repeat its flags (config.json holds its command)."
            )

    def open(self, config, facts: dict) -> None:
        """Makes the folder and writes `config.json`: the settings, and `facts` of the run."""
        self.check(config)
        if config.overwrite and self.path.exists():
            clear(self.path)
        make_folder(self.path)
        self.figures.mkdir(exist_ok=True)
        if config.resume and self._is_run():
            self._check_data(facts["dataset"])
        else:
            self.write("config.json", {"config": _settings(config), **facts})

    def require_space(self, size: int) -> None:
        """Raises OSError unless `size` bytes are free where the folder is."""
        free = shutil.disk_usage(self.path).free
        if free < size:
            raise OSError(
                f"expected {size / 2**20:.0f} MiB of free space for the run's checkpoint and model "
                f"in {self.path}, received {free / 2**20:.0f} MiB. Make room, or choose another "
                "--out-dir."
            )

    def finished(self) -> bool:
        """Whether training is complete."""
        return (self.path / "metrics.json").is_file()

    def _is_run(self) -> bool:
        """Whether a trainer made this folder: other programs write a `config.json`, too."""
        try:
            return {"config", "command", "dataset"} <= self.read("config.json").keys()
        except (AttributeError, OSError, ValueError):
            return False

    def _check_data(self, dataset: dict) -> None:
        theirs = self.read("config.json")["dataset"]["fingerprint"]
        if theirs != dataset["fingerprint"]:
            raise ValueError(
                f"--resume: expected the data of the run in {self.path} (fingerprint {theirs}), "
                f"received others ({dataset['fingerprint']}). Put the data back, or start anew "
                "in another --out-dir."
            )

    def read(self, name: str) -> dict:
        """Reads one of the folder's JSON files."""
        try:
            return json.loads((self.path / name).read_text(encoding="utf-8"))
        except ValueError as error:
            raise ValueError(f"expected JSON in {self.path / name}, received {error}.") from error

    def write(self, name: str, content: dict) -> None:
        """Writes a JSON file."""
        from asym_keras.files import write_text

        write_text(self.path / name, json.dumps(content, indent=2) + "\n")


def _settings(config) -> dict:
    return dataclasses.asdict(config)
