"""Drills: a sweep by a chief and workers on loopback, some of which are killed."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from trainer_runs import read_json

ROOT = Path(__file__).resolve().parents[2]
TRIALS = 12  # a worker that was killed is back before the others have done them all
IDS = [f"{i:02d}" for i in range(TRIALS)]  # as KerasTuner numbers them
FLAGS = ("--task", "simulated", "--keep", "5", "--width", "100", "--steps", "20000", "--tuner")
FLAGS += ("random", "--records", "10", "--trials", str(TRIALS), "--early-stop", "none")
FLAGS += ("--workers", "2", "--device", "cpu")


class Drill:
    """A sweep in a process of its own, watched through its folder."""

    def __init__(self, path: Path, *flags: str):
        self.path, self.output = path, path.with_suffix(".txt")
        command = [sys.executable, "-m", "trainers.sweep", *FLAGS, "--out-dir", str(path), *flags]
        with open(self.output, "w") as file:
            self.process = subprocess.Popen(
                command, cwd=ROOT, stdout=file, stderr=subprocess.STDOUT
            )

    def text(self) -> str:
        return self.output.read_text()

    def pids(self, name: str) -> list[int]:
        """The processes that a member of the crew has had."""
        return [int(pid) for pid in re.findall(rf"^{name}: process (\d+)", self.text(), re.M)]

    def until(self, condition, seconds=300.0):
        end = time.monotonic() + seconds
        while not (found := condition()):
            assert self.process.poll() is None, self.text()
            assert time.monotonic() < end, self.text()
            time.sleep(0.05)
        return found

    def trial_of(self, worker: str) -> str | None:
        """The trial that a worker is in the midst of: begun, and not ended."""
        try:
            state = json.loads((self.path / "tuner" / "oracle.json").read_text())
        except (OSError, ValueError):
            return None
        trial = state["ongoing_trials"].get(worker)
        begun = trial is not None and (self.path / "trials" / trial / "config.json").is_file()
        return trial if begun and not (self.path / "trials" / f"{trial}.json").exists() else None

    def kill(self, name: str) -> None:
        os.kill(self.pids(name)[-1], signal.SIGKILL)

    def end(self) -> int:
        return self.process.wait(timeout=400)

    def ended(self) -> list[str]:
        return sorted(path.stem for path in (self.path / "trials").glob("*.json"))


@pytest.fixture
def drill(tmp_path):
    pytest.importorskip("keras_tuner")
    drills = []

    def start(*flags):
        drills.append(Drill(tmp_path / "s", *flags))
        return drills[-1]

    yield start
    for one in drills:
        one.process.kill()
        one.process.wait()


@pytest.mark.slow
def test_killed_members_come_back_and_the_sweep_ends_with_all_trials(drill):
    sweep = drill()
    trial = sweep.until(lambda: sweep.trial_of("worker0"))
    sweep.kill("worker0")
    sweep.until(lambda: len(sweep.pids("worker0")) == 2)
    sweep.until(lambda: trial in sweep.ended())
    assert read_json(sweep.path / "trials" / f"{trial}.json")["status"] == "completed"
    sweep.until(lambda: sweep.trial_of("worker1"))
    sweep.kill("chief")
    assert sweep.end() == 0, sweep.text()
    assert len(sweep.pids("chief")) == 2
    assert sweep.ended() == IDS
    records = [read_json(sweep.path / "trials" / f"{i}.json") for i in IDS]
    assert {record["status"] for record in records} == {"completed"}
    assert len({(r["values"]["gamma"], r["values"]["alpha"]) for r in records}) == TRIALS
    best = read_json(sweep.path / "best.json")
    values = [record["metrics"]["val_risk_pruned_refit"] for record in records]
    assert best["value"] == min(values)
    assert best["trials"] == {"completed": TRIALS}
    # Both had a part in it.
    logs = [(sweep.path / "logs" / f"worker{i}.log").read_text() for i in (0, 1)]
    assert all(re.search(r"trial \d+: .*completed", log) for log in logs)
    assert not re.search(r"^[IW]0000 ", "\n".join(logs), re.M)  # TensorFlow's notices


@pytest.mark.drill
def test_a_worker_that_keeps_dying_ends_the_sweep_and_it_can_go_on(drill):
    sweep = drill("--max-restarts", "1")
    for lives in (1, 2):
        sweep.until(lambda lives=lives: len(sweep.pids("worker1")) == lives)
        sweep.until(lambda: sweep.trial_of("worker1"))
        sweep.kill("worker1")
    assert sweep.end() == 1
    assert "error: expected worker1 to run, received its end by SIGKILL" in sweep.text()
    assert "Go on with --resume once the reason is gone" in sweep.text()
    for name in ("chief", "worker0", "worker1"):
        for pid in sweep.pids(name):
            with pytest.raises(ProcessLookupError):
                os.kill(pid, 0)
    assert not (sweep.path / "best.json").exists()
    rest = drill("--resume")
    assert rest.end() == 0, rest.text()
    assert rest.ended() == IDS
    assert read_json(rest.path / "best.json")["trials"] == {"completed": TRIALS}
