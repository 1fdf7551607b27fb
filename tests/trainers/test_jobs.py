"""Calls in several processes: results, errors, deaths, interruptions."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from job_calls import square, threads, wait

from trainers.common.jobs import in_processes

ROOT = Path(__file__).resolve().parents[2]


def until(condition, seconds=30.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)


def alive(process):
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


def test_a_death_or_an_error_costs_its_own_call_only():
    ended = dict(in_processes(square, [2, 13, 3, -1, 4, 13, 5], jobs=2))
    assert sorted(ended) == list(range(7))
    results = {place: future.result() for place, future in ended.items() if not future.exception()}
    assert results == {0: 4, 2: 9, 4: 16, 6: 25}
    assert "received -1" in str(ended[3].exception())
    for place in (1, 5):
        assert isinstance(ended[place].exception(), RuntimeError)
        assert "Try fewer --jobs" in str(ended[place].exception())


def test_a_program_without_a_main_guard_is_told_so(tmp_path):
    program = "from job_calls import square; from trainers.common.jobs import in_processes\n"
    program += "for _, future in in_processes(square, [2], 1): print(future.exception())"
    (tmp_path / "program.py").write_text(program)
    path = os.pathsep.join([str(ROOT), str(ROOT / "tests")])
    done = subprocess.run(
        [sys.executable, str(tmp_path / "program.py")],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert 'if __name__ == "__main__": main(...)' in done.stdout
    assert "memory" not in done.stdout


def test_processes_are_kept_and_share_the_cores(monkeypatch):
    monkeypatch.delenv("TF_NUM_INTRAOP_THREADS", raising=False)
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    monkeypatch.setattr(os, "cpu_count", lambda: 6)
    seen = [future.result() for _, future in in_processes(threads, range(9), jobs=2)]
    assert 1 <= len({process for process, _, _ in seen}) <= 2
    # What the user has set stays.
    assert {(tensorflow, others) for _, tensorflow, others in seen} == {("3", "7")}


def test_processes_are_interrupted_and_waited_for(tmp_path):
    paths = [tmp_path / "long", tmp_path / "longer"]
    calls = in_processes(wait, paths, jobs=2)

    def interrupt():
        until(lambda: all(path.exists() for path in paths))
        # To the thread that waits, as the kernel does: only there it ends the wait.
        signal.pthread_kill(threading.main_thread().ident, signal.SIGALRM)

    def ctrl_c(signum, frame):
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, ctrl_c)
    try:
        threading.Thread(target=interrupt).start()
        with pytest.raises(KeyboardInterrupt):
            next(calls)
    finally:
        signal.signal(signal.SIGALRM, before)
    for path in paths:
        assert path.with_name(f"{path.name}.interrupted").exists()
        until(lambda path=path: not alive(int(path.read_text())))


@pytest.mark.slow
def test_processes_end_with_a_first_one_that_is_killed(tmp_path):
    program = (
        "from job_calls import wait; from trainers.common.jobs import in_processes\n"
        f"if __name__ == '__main__': list(in_processes(wait, [{str(tmp_path / 'long')!r}], 1))"
    )
    (tmp_path / "program.py").write_text(program)
    path = os.pathsep.join([str(ROOT), str(ROOT / "tests")])
    first = subprocess.Popen(
        [sys.executable, str(tmp_path / "program.py")], env={**os.environ, "PYTHONPATH": path}
    )
    until((tmp_path / "long").exists)
    first.kill()
    first.wait()
    until(lambda: not alive(int((tmp_path / "long").read_text())))
    # It had no time to do anything else.
    assert not (tmp_path / "long.interrupted").exists()
