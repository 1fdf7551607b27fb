"""A chief and workers that somebody else starts, and brings back when the sweep has ended."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from deploy_schemas import load_all
from trainer_runs import read_json

from trainers import sweep
from trainers.common import cli
from trainers.sweep import crew as sweep_crew
from trainers.sweep import results as sweep_results
from trainers.sweep.folder import SweepFolder
from trainers.sweep.launch import _free_port

ROOT = Path(__file__).resolve().parents[2]
(COMPOSE,) = load_all(ROOT / "trainers" / "deploy" / "compose.yaml")


def parse(*argv):
    return cli.parse_config(sweep.Config, argv, module=sweep.MODULE, description=None)


@pytest.fixture
def folder(tmp_path):
    made = SweepFolder(tmp_path / "s")
    made.open(parse("--out-dir", str(made.path), "--trials", "3"), "")
    return made


def set_states(folder, *states):
    """What KerasTuner's chief has written of its trials."""
    for trial, state in enumerate(states):
        path = folder.path / "tuner" / f"trial_{trial}" / "trial.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({"trial_id": str(trial), "status": state}))


@pytest.mark.parametrize(
    ("states", "records", "over"),
    [
        ((), (), False),
        (("COMPLETED", "COMPLETED"), (), False),
        (("COMPLETED", "FAILED", "COMPLETED"), (), True),
        (("COMPLETED", "FAILED", "RUNNING"), (), False),
        (("FAILED", "FAILED"), ("failed", "failed"), True),
        (("FAILED", "RUNNING"), ("failed", "failed"), False),
        (("COMPLETED", "FAILED"), ("completed", "failed"), False),
    ],
)
def test_a_sweep_is_over_when_no_trial_is_left_or_all_fail(states, records, over, folder):
    set_states(folder, *states)
    for trial, status in enumerate(records):
        folder.write_record({"trial": str(trial), "status": status})
    flags = ("--out-dir", str(folder.path), "--trials", "3", "--max-failures", "2")
    assert folder.is_over(parse(*flags)) is over
    assert not folder.is_over(parse(*flags, "--trials", "9", "--max-failures", "9"))


@pytest.fixture
def part(monkeypatch):
    def take(name, port):
        monkeypatch.setenv(sweep_crew.TUNER_ID, name)
        monkeypatch.setenv(sweep_crew.ORACLE_IP, "127.0.0.1")
        monkeypatch.setenv(sweep_crew.ORACLE_PORT, str(port))

    return take


@pytest.mark.parametrize(
    ("name", "listens", "serves"),
    [("chief", False, False), ("worker1", False, False), ("worker1", True, True)],
)
def test_who_comes_after_the_end_waits_for_nobody(
    name, listens, serves, folder, part, monkeypatch, caplog
):
    pytest.importorskip("keras_tuner")
    searched = []
    monkeypatch.setattr("trainers.sweep.tuner.search", lambda *_: searched.append(name))
    monkeypatch.setattr(sweep_results, "write", lambda *_: {"trial": "0"})
    monkeypatch.setattr(sweep_crew.chief_answers, "__defaults__", (0.0,))
    caplog.set_level("INFO", "trainers")
    set_states(folder, "COMPLETED", "COMPLETED", "COMPLETED")
    with socket.socket() as chief:
        chief.bind(("127.0.0.1", 0))
        if listens:
            chief.listen()
        part(name, chief.getsockname()[1])
        best = sweep.main(["--out-dir", str(folder.path), "--trials", "3", "--resume"])
    assert searched == [name] * serves
    assert best == ({"trial": "0"} if name == "chief" else None)
    assert (f"{name}: the sweep in {folder.path} is over" in caplog.text) is not serves


class Process:
    """A service of the Compose file as a process here: its part, and flags of a small sweep."""

    FLAGS = ("--task", "simulated", "--keep", "5", "--width", "100", "--steps", "20000")
    FLAGS += ("--records", "10", "--early-stop", "none", "--tuner", "random", "--device", "cpu")
    FLAGS += ("--trials", "8", "--resume")

    def __init__(self, name, path, port):
        self.name, self.path, self.log = name, path, path.with_name(f"{name}.txt")
        environment = dict(COMPOSE["services"][name]["environment"])
        assert environment[sweep_crew.ORACLE_IP] == ("0.0.0.0" if name == "chief" else "chief")
        if name != "chief":
            environment[sweep_crew.ORACLE_IP] = "localhost"
        environment[sweep_crew.ORACLE_PORT] = str(port)
        self.environment = {**os.environ, **environment}
        self.start()

    def start(self):
        command = [sys.executable, "-m", "trainers.sweep", *self.FLAGS, "--out-dir", str(self.path)]
        with open(self.log, "a") as file:
            self.process = subprocess.Popen(
                command, cwd=ROOT, env=self.environment, stdout=file, stderr=subprocess.STDOUT
            )

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        assert self.process.wait() == -signal.SIGKILL

    def end(self, seconds=400):
        assert self.process.wait(timeout=seconds) == 0, self.log.read_text()


@pytest.mark.drill
def test_the_processes_of_the_compose_file_make_a_sweep_and_come_back(tmp_path):
    pytest.importorskip("keras_tuner")
    path, port = tmp_path / "s", _free_port()
    crew = {name: Process(name, path, port) for name in ("chief", "worker0", "worker1")}
    try:

        def until(condition):
            end = time.monotonic() + 400
            while not condition():
                assert time.monotonic() < end, [p.log.read_text() for p in crew.values()]
                time.sleep(0.05)

        def has_trial(name):
            try:
                return name in read_json(path / "tuner" / "oracle.json")["ongoing_trials"]
            except (FileNotFoundError, ValueError):
                return False

        for name in ("worker1", "chief"):
            until(lambda: has_trial("worker1"))
            crew[name].kill()
            crew[name].start()
        for one in crew.values():
            one.end()
        assert sorted(p.stem for p in (path / "trials").glob("*.json")) == list("01234567")
        assert read_json(path / "best.json")["trials"] == {"completed": 8}
        tuners = {read_json(file)["tuner"] for file in (path / "trials").glob("*.json")}
        assert tuners == {"worker0", "worker1"}
        # The chief was killed while it wrote the results, when its workers had gone.
        (path / "best.json").unlink()
        crew["chief"].start()
        crew["chief"].end()
        assert read_json(path / "best.json")["trials"] == {"completed": 8}
    finally:
        for one in crew.values():
            one.process.kill()
            one.process.wait()
