"""The launcher: who dies is brought back, for a while; who is left is ended."""

from __future__ import annotations

import dataclasses
import itertools
import logging
import os
import subprocess
import sys
import time

import pytest

from trainers import sweep
from trainers.common import cli
from trainers.sweep import crew as sweep_crew
from trainers.sweep import launch as sweep_launch
from trainers.sweep.folder import SweepFolder
from trainers.sweep.launch import CrewFailed, Member, supervise


@pytest.fixture
def member(tmp_path):
    def make(name, *lives, done=lambda: 0):
        """A process whose lives end with these statuses, or wait for a minute."""
        left = list(lives)

        def start():
            life = left.pop(0)
            code = (
                f"import sys, time; time.sleep({60 if life == 'wait' else 0}); sys.exit({life!r})"
            )
            return subprocess.Popen([sys.executable, "-IS", "-c", code])

        return Member(name, start, tmp_path / f"{name}.log", done)

    return make


def test_the_dead_are_brought_back_and_the_chief_is_ended_last(member, caplog):
    caplog.set_level(logging.INFO, "trainers")
    chief, workers = member("chief", 7, "wait"), [member("worker0", 0), member("worker1", 3, 0)]
    supervise(chief, workers, max_restarts=1)
    assert [m.restarts for m in (chief, *workers)] == [1, 0, 1]
    assert all(m.process.poll() is not None for m in (chief, *workers))
    assert "worker1 ended with status 3: restart 1 of 1" in caplog.text
    assert "chief ended with status 7: restart 1 of 1" in caplog.text


def test_who_keeps_dying_ends_the_crew_with_its_last_words(member):
    chief, workers = member("chief", "wait"), [member("worker0", 5, 5), member("worker1", "wait")]
    lines = [f"line {i}" for i in range(20)]
    workers[0].log.write_text("\n".join(lines))
    with pytest.raises(CrewFailed, match=r"expected worker0 to run, .* with status 5") as caught:
        supervise(chief, workers, max_restarts=1)
    assert "after 1 restarts in a row" in str(caught.value)
    assert "  line 19\n" in str(caught.value)
    assert "line 11" not in str(caught.value)
    assert all(m.process.poll() is not None for m in (chief, *workers))


def test_restarts_count_anew_once_a_trial_has_ended(member, caplog):
    caplog.set_level(logging.INFO, "trainers")
    trials = itertools.chain([0, 1, 1, 2, 2, 3], itertools.repeat(3))  # at starts and ends
    worker = member("worker0", 5, 5, 5, 0, done=lambda: next(trials))
    supervise(member("chief", "wait"), [worker], max_restarts=1)
    assert caplog.text.count("worker0 ended with status 5: restart 1 of 1") == 3
    trials = itertools.chain([0, 1, 1, 1], itertools.repeat(1))
    worker = member("worker0", 5, 5, 0, done=lambda: next(trials))
    with pytest.raises(CrewFailed):
        supervise(member("chief", "wait"), [worker], max_restarts=1)


def test_a_chief_that_has_ended_well_ends_the_rest(member):
    began = time.monotonic()
    workers = [member("worker0", 0), member("worker1", "wait")]
    supervise(member("chief", 0), workers, max_restarts=0)
    assert time.monotonic() - began < 30
    assert workers[1].process.poll() is not None


def test_trials_are_counted_by_who_ended_them(tmp_path, monkeypatch):
    folder = SweepFolder(tmp_path / "s")
    folder.trials.mkdir(parents=True)
    (folder.trials / "0.json").write_text('{"trial": "0"}')  # of an older version
    for trial, name in (("1", "worker0"), ("2", "worker1"), ("3", "worker1")):
        monkeypatch.setenv(sweep_crew.TUNER_ID, name)
        folder.write_record({"trial": trial})
    crew = []
    monkeypatch.setattr(
        sweep_launch, "supervise", lambda chief, workers, **_: crew.extend([chief, *workers])
    )
    flags = ["--workers", "3", "--out-dir", str(folder.path)]
    config = cli.parse_config(sweep.Config, flags, module=sweep.MODULE, description=None)
    sweep_launch.launch(config, folder)
    assert {m.name: m.done() for m in crew} == {
        "chief": 4,
        "worker0": 1,
        "worker1": 2,
        "worker2": 0,
    }


def test_members_are_the_same_command_with_a_part_each(tmp_path, monkeypatch):
    folder, started, crew = SweepFolder(tmp_path / "s"), [], []
    folder.path.mkdir()
    monkeypatch.setattr(
        sweep_launch, "supervise", lambda chief, workers, **_: crew.extend([chief, *workers])
    )
    flags = ["--keep", "9", "--overwrite", "--max-time=500", "--pareto", "--workers", "2"]
    config = cli.parse_config(sweep.Config, flags, module=sweep.MODULE, description=None)
    sweep_launch.launch(config, folder)
    monkeypatch.setattr(subprocess, "Popen", lambda words, **of: started.append((words, of)))
    for one in crew:
        one.start()
    for (words, options), name in zip(started, ("chief", "worker0", "worker1"), strict=True):
        assert words[:3] == [sys.executable, "-m", "trainers.sweep"]
        own = cli.parse_config(sweep.Config, words[3:], module="", description=None)
        assert 400 < own.max_time < 500
        assert own == dataclasses.replace(
            config, overwrite=False, resume=True, out_dir=str(folder.path), max_time=own.max_time
        )
        assert options["env"][sweep_crew.TUNER_ID] == name
        assert options["env"][sweep_crew.LAUNCHED] == str(os.getpid())
        assert options["stdout"].name == str(folder.logs / f"{name}.log")
