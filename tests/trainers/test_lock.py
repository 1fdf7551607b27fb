"""One command at a time in a folder, by a lock that no killed process leaves behind."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import logging
import os
import signal
import socket
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest
from trainer_runs import SMALL, small_data

from trainers import mnist, sweep
from trainers.common import cli, curves, experiment
from trainers.common.lock import LOCK, FolderInUse, clear, folder_lock, is_free
from trainers.sweep import crew as sweep_crew
from trainers.sweep import launch as sweep_launch
from trainers.sweep import results as sweep_results
from trainers.sweep.folder import SweepFolder

ROOT = Path(__file__).resolve().parents[2]
# Holds the folder that it is given until it is killed.
HOLD = """
import sys, time
from trainers.common.lock import folder_lock
with folder_lock(sys.argv[1]):
    print("held", flush=True)
    time.sleep(60)
"""


@contextlib.contextmanager
def holder(path):
    command = [sys.executable, "-c", HOLD, str(path)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout.readline() == "held\n"
            yield process
        finally:
            process.kill()


@pytest.fixture(autouse=True)
def no_crew(monkeypatch):
    for name in (sweep_crew.TUNER_ID, sweep_crew.ORACLE_IP, sweep_crew.ORACLE_PORT):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.delenv(sweep_crew.LAUNCHED, raising=False)
    monkeypatch.setattr(sweep_crew, "follow_launcher", lambda: None)


def test_who_has_the_folder_is_named_and_leaves_nothing_when_killed(tmp_path):
    with holder(tmp_path / "a" / "b") as process:
        with pytest.raises(FolderInUse, match="expected a folder that no other command") as caught:
            folder_lock(tmp_path / "a" / "b").__enter__()
        assert f"process {process.pid} on {socket.gethostname()}, since " in str(caught.value)
        since = datetime.fromisoformat(str(caught.value).split("since ")[1].split(",")[0])
        assert 0 <= (datetime.now(UTC) - since).total_seconds() < 60
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert (tmp_path / "a" / "b" / LOCK).is_file()
        with folder_lock(tmp_path / "a" / "b"):
            assert json.loads((tmp_path / "a" / "b" / LOCK).read_text())["pid"] == os.getpid()


def test_a_lock_ends_with_its_block_and_with_an_error(tmp_path):
    with contextlib.suppress(ZeroDivisionError), folder_lock(tmp_path):
        with pytest.raises(FolderInUse):
            folder_lock(tmp_path).__enter__()
        raise ZeroDivisionError
    assert [*tmp_path.iterdir()] == []
    with folder_lock(tmp_path):
        pass


def test_a_lock_on_a_file_that_its_holder_has_just_removed_is_none(tmp_path, monkeypatch):
    flock, opened = fcntl.flock, []

    def late(file, how):
        if not opened:
            (tmp_path / LOCK).unlink()  # by its holder's end, between opening and locking
        opened.append(file)
        flock(file, how)

    monkeypatch.setattr(fcntl, "flock", late)
    with folder_lock(tmp_path):
        assert len(opened) == 2
        with pytest.raises(FolderInUse):
            folder_lock(tmp_path).__enter__()


def test_who_has_not_written_its_name_yet_has_the_folder_too(tmp_path):
    with folder_lock(tmp_path):
        (tmp_path / LOCK).write_text("")
        with pytest.raises(FolderInUse, match="which another process has"):
            folder_lock(tmp_path).__enter__()


def test_a_child_does_not_keep_the_lock(tmp_path):
    with folder_lock(tmp_path):
        child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    with folder_lock(tmp_path):
        assert child.poll() is None
    child.communicate()


def test_a_file_system_without_locks_is_told(tmp_path, monkeypatch, caplog):
    def flock(file, how):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", flock)
    with caplog.at_level(logging.WARNING, "trainers"), folder_lock(tmp_path), folder_lock(tmp_path):
        pass
    assert f"no locks in {tmp_path} (No locks available): see to it yourself" in caplog.text


def test_a_folder_that_cannot_be_made_is_told(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match=r"received one that can't .*choose another --out-dir"):
        folder_lock(tmp_path / "file" / "b").__enter__()


def test_a_lock_is_nothing_in_a_folder_and_outlasts_what_is(tmp_path):
    assert is_free(tmp_path / "none")
    with folder_lock(tmp_path / "s"):
        assert is_free(tmp_path / "s")
        (tmp_path / "s" / "sub").mkdir()
        (tmp_path / "s" / "sub" / "x").touch()
        (tmp_path / "s" / "y").touch()
        (tmp_path / "s" / "z").symlink_to(tmp_path)
        assert not is_free(tmp_path / "s")
        inode = (tmp_path / "s" / LOCK).stat().st_ino
        clear(tmp_path / "s")
        assert [path.name for path in (tmp_path / "s").iterdir()] == [LOCK]
        assert (tmp_path / "s" / LOCK).stat().st_ino == inode
    assert tmp_path.is_dir()
    (tmp_path / "file").touch()
    assert not is_free(tmp_path / "file")


def parse(*argv):
    return cli.parse_config(sweep.Config, argv, module=sweep.MODULE, description=None)


@pytest.fixture
def searched(monkeypatch):
    """Sweeps that search nothing: who came as far, and whether its folder was locked."""
    pytest.importorskip("keras_tuner")
    found = []

    def note(config, folder, *_):
        try:
            with folder_lock(folder.path):
                found.append("free")
        except FolderInUse:
            found.append("locked")

    monkeypatch.setattr("trainers.sweep.tuner.search", note)
    monkeypatch.setattr(sweep_launch, "launch", note)
    monkeypatch.setattr(sweep_results, "write", lambda *_: {"trial": "0"})
    return found


@pytest.mark.parametrize(
    ("part", "launched", "flags", "expected"),
    [
        (None, False, [], "locked"),
        (None, False, ["--workers", "2"], "locked"),
        ("chief", False, [], "locked"),
        ("chief", True, ["--workers", "2"], "free"),
        ("worker0", False, [], "free"),
        ("worker0", True, ["--workers", "2"], "free"),
    ],
)
def test_one_process_of_a_sweep_has_its_folder(
    part, launched, flags, expected, searched, tmp_path, monkeypatch
):
    flags = ["--out-dir", str(tmp_path / "s"), "--resume", *flags]
    SweepFolder(tmp_path / "s").open(parse(*flags), "")
    if part is not None:
        monkeypatch.setenv(sweep_crew.TUNER_ID, part)
        monkeypatch.setenv(sweep_crew.ORACLE_IP, "127.0.0.1")
        monkeypatch.setenv(sweep_crew.ORACLE_PORT, "1")
    if launched:
        monkeypatch.setenv(sweep_crew.LAUNCHED, "1")
    sweep.main(flags)
    assert searched == [expected]


@pytest.mark.parametrize("flag", ["--resume", "--overwrite"])
def test_a_sweep_that_runs_is_left_alone(flag, searched, tmp_path, capsys):
    flags = ["--out-dir", str(tmp_path / "s")]
    SweepFolder(tmp_path / "s").open(parse(*flags), "the first command")
    with holder(tmp_path / "s") as process:
        with pytest.raises(SystemExit):
            sweep.main([*flags, flag])
        assert f"which process {process.pid} on " in capsys.readouterr().err
        assert searched == []
        assert "the first command" in (tmp_path / "s" / "sweep.json").read_text()
        process.kill()
        process.wait()
        sweep.main([*flags, flag])
    assert searched == ["locked"]


@pytest.fixture
def trainings(monkeypatch):
    """Runs without training; notes whether their folder was locked."""
    noted = []

    def train(config, dataset, folder, facts, *, workers):
        with pytest.raises(FolderInUse):
            folder_lock(folder.path).__enter__()
        folder.open(config, {**facts, "dataset": experiment.describe(dataset)})
        noted.append(folder.path)
        folder.write("metrics.json", {"test_risk": 1.0})

    monkeypatch.setattr(experiment, "train", train)
    monkeypatch.setattr(curves, "missing_curves", lambda *_: [])
    return noted


def test_a_run_that_runs_is_left_alone(trainings, tmp_path, capsys):
    run = tmp_path / "run"
    flags = [*SMALL, "--data", str(small_data(tmp_path / "small.npz")), "--out-dir", str(run)]
    with holder(run) as process:
        with pytest.raises(SystemExit):
            mnist.main(flags)
        assert f"which process {process.pid} on " in capsys.readouterr().err
        assert is_free(run)
    mnist.main(flags)
    with holder(run):
        mnist.main([*flags, "--resume"])  # finished: nothing is written
        with pytest.raises(SystemExit):
            mnist.main([*flags, "--overwrite"])
    assert trainings == [run]
    mnist.main([*flags, "--overwrite"])
    assert trainings == [run, run]
