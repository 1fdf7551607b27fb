"""No program outlives the one that started it."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import sys

import pytest
import worker_processes

from serving import server_log, tether

# Ties a program to itself, says its process id, and waits; `stop` leaves a file.
LAUNCHER = """
import subprocess, sys, time
from serving import tether
program, *stop = sys.argv[1:]
with tether.tied(stop) as tie:
    process = subprocess.Popen([sys.executable, "-ISc", program], start_new_session=True)
    tie(process.pid)
    print(process.pid, flush=True)
    time.sleep(60)
"""
OBEYS = "import time; print('up', flush=True); time.sleep(60)"
DEAF = f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); {OBEYS}"


def ends(pipe, seconds: float) -> bool:
    """Whether all who may write into a pipe end within some seconds."""
    while select.select([pipe], [], [], seconds)[0]:
        if not os.read(pipe.fileno(), 4096):
            return True
    return False


@pytest.mark.parametrize("by", [signal.SIGKILL, signal.SIGTERM, signal.SIGHUP, "group"])
def test_the_end_of_the_launcher_is_that_of_its_program(tmp_path, by):
    touched = tmp_path / "stopped"
    stop = [sys.executable, "-ISc", f"open({str(touched)!r}, 'w')"]
    with subprocess.Popen(
        [sys.executable, "-c", LAUNCHER, OBEYS, *stop],
        cwd=worker_processes.TESTS.parent,
        stdout=subprocess.PIPE,
        start_new_session=True,
    ) as launcher:
        for _ in range(2):  # the launcher has told, and the program is up
            assert launcher.stdout.readline()
        kill = os.killpg if by == "group" else os.kill
        kill(launcher.pid, signal.SIGKILL if by == "group" else by)
        assert ends(launcher.stdout, 20)
    assert touched.exists()


@pytest.mark.slow
def test_a_program_that_is_deaf_is_killed():
    launcher = worker_processes.start(["-c", LAUNCHER, DEAF])
    while "up" not in launcher.stdout.readline():
        pass
    launcher.kill()
    assert ends(launcher.stdout, 30)
    worker_processes.ended([launcher])


def test_a_launcher_that_ends_well_leaves_the_program_to_itself(tmp_path):
    touched = tmp_path / "stopped"
    with subprocess.Popen([sys.executable, "-ISc", OBEYS], stdout=subprocess.PIPE) as program:
        with tether.tied([sys.executable, "-ISc", f"open({str(touched)!r}, 'w')"]) as tie:
            tie(program.pid)
        assert program.poll() is None
        program.kill()
    assert not touched.exists()


def test_a_log_that_nobody_reads_any_more_is_still_taken(monkeypatch):
    ours, theirs = os.pipe(), os.pipe()
    os.close(theirs[0])  # as by `| head -1`
    with os.fdopen(ours[1], "w") as server, os.fdopen(theirs[1], "w") as closed:
        monkeypatch.setattr(sys, "stderr", closed)
        log = server_log.ServerLog(os.fdopen(ours[0]))
        server.write("x\n" * 100_000)  # more than a pipe holds
        server.write("{name: m version: 1} failed: broken\n")
        server.flush()
        server.close()
        assert log.failures(wait=20) == {("m", 1): "broken"}
        with contextlib.suppress(OSError):
            closed.close()


def test_a_watcher_that_was_killed_harms_nobody(monkeypatch):
    started = []
    real = subprocess.Popen
    monkeypatch.setattr(
        tether.subprocess, "Popen", lambda *a, **o: started.append(real(*a, **o)) or started[0]
    )
    with tether.tied() as tie:
        started[0].kill()
        started[0].wait()
        tie(os.getpid())
