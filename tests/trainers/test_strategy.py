"""`--strategy` of the trainers: what is refused, what workers leave behind, what ends them."""

from __future__ import annotations

import json
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from trainer_runs import SMALL, parse, read_json, small_data, write_run
from worker_processes import ended, start, tf_configs

from asym_keras.training import History
from trainers import mnist
from trainers.common import peers, strategy


def config(cluster=None, task=None, **others):
    cluster = cluster or {"worker": ["a:1", "b:2"]}
    return json.dumps(
        {"cluster": cluster, "task": task or {"type": "worker", "index": 1}, **others}
    )


def test_task_is_read_from_tf_config(monkeypatch):
    monkeypatch.setenv("TF_CONFIG", config())
    assert strategy.read_task("multiworker") == strategy.Task(1, ("a:1", "b:2"))
    assert not strategy.read_task("multiworker").is_first
    assert strategy.read_task("mirrored").is_first  # whatever the environment says


@pytest.mark.parametrize(
    ("text", "received"),
    [
        (None, "JSON object with cluster and task, received none"),
        ("{", "received {"),
        ("[1]", r"received \[1\]"),
        ('{"cluster": {"worker": ["a:1"]}}', "cluster and task, received"),
        (config({"worker": ["a:1"], "ps": ["b:2"]}), r"workers alone, received .*'ps', 'worker'"),
        (config(task={"type": "evaluator", "index": 0}), "task type 'evaluator'"),
        (config({"worker": ["a"]}), r"addresses host:port, received \['a'\]"),
        (config({"worker": ["a:1", "b:70000"]}), r"addresses host:port, received .*b:70000"),
        (config({"worker": ["a:1", "a:1"]}), "different addresses"),
        (config(task={"type": "worker", "index": True}), "index from 0 to 1, received True"),
        (config(task={"type": "worker", "index": 2}), "index from 0 to 1, received 2"),
        (config(task={"type": "worker", "index": "0"}), "index from 0 to 1, received '0'"),
    ],
)
def test_unusable_tf_config_is_told_with_an_example(text, received, monkeypatch, capsys):
    monkeypatch.delenv("TF_CONFIG", raising=False)
    if text is not None:
        monkeypatch.setenv("TF_CONFIG", text)
    with pytest.raises(SystemExit) as caught:
        mnist.main([*SMALL, "--strategy", "multiworker"])
    assert caught.value.code == 1
    message = capsys.readouterr().err
    assert re.search(received, message)
    assert "TF_CONFIG='{" in message


def test_jobs_beside_a_strategy_are_refused(capsys):
    with pytest.raises(SystemExit):
        parse("--strategy", "mirrored", "--jobs", "2", "--seeds", "2")
    assert "--strategy mirrored: expected runs one after another, received --jobs 2" in (
        capsys.readouterr().err
    )


def test_a_run_may_go_on_with_another_strategy(tmp_path):
    write_run(tmp_path / "run").check(parse("--resume", "--strategy", "mirrored"))


def test_one_device_gives_the_same_run(tmp_path, caplog, monkeypatch):
    monkeypatch.setattr("asym_keras.plotting.learning_curves", lambda folder, **_: [])
    argv = [*SMALL, "--solver", "descent", "--data", small_data(tmp_path / "d.npz")]
    argv += ["--dtype", "float64", "--out-dir"]
    caplog.set_level("INFO")
    mnist.main([*argv, str(tmp_path / "none")])
    mnist.main([*argv, str(tmp_path / "mirrored"), "--strategy", "mirrored"])
    assert "one replica only" in caplog.text
    assert_same_history(tmp_path / "none", tmp_path / "mirrored")
    written = read_json(tmp_path / "mirrored" / "config.json")
    assert (written["config"]["strategy"], written["replicas"]) == ("mirrored", 1)


def assert_same_history(folder, other):
    ours, theirs = (History.from_csv(f / "history.csv") for f in (folder, other))
    assert len(ours) == len(theirs) > 2
    for name in ("time", "train_risk", "test_risk", "weight_change", "gradients"):
        np.testing.assert_allclose(ours.column(name), theirs.column(name), rtol=1e-10, atol=1e-10)


def watch(pid, seconds, *addresses):
    command = [sys.executable, "-IS", peers.__file__, str(pid), str(seconds), "0", *addresses]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_a_port_in_use_is_told_before_anybody_waits(monkeypatch, capsys):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"localhost:{taken.getsockname()[1]}"
        task = strategy.Task(1, ("127.0.0.1:1", address))
        with pytest.raises(OSError, match=f"own address in TF_CONFIG, {address}, to have a free"):
            strategy.make_strategy("multiworker", task)


def test_a_host_of_its_own_that_nobody_knows_is_told():
    task = strategy.Task(0, ("no.such.invalid:1", "127.0.0.1:1"))
    with pytest.raises(OSError, match=r"no\.such\.invalid:1, to have a host name that is known"):
        strategy._require_own_address(task, patience=0)
    strategy._require_own_address(strategy.Task(0, ("[::1]:0", "no.such.invalid:1")))


def test_watcher_says_which_host_nobody_knows():
    with subprocess.Popen(["sleep", "60"]) as waiting:
        with watch(waiting.pid, 0.1, "127.0.0.1:0", "no.such.invalid:1") as watcher:
            message = watcher.stderr.read()
    assert re.search(r"worker 1 \(no\.such\.invalid:1: .*(known|resolution|address)", message)


def test_watcher_ends_a_process_that_waits_in_vain():
    waiting = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    # Port 0 is nobody's.
    watcher = watch(waiting.pid, 0.1, "127.0.0.1:0", "127.0.0.1:0")
    assert waiting.wait(20) == -signal.SIGKILL
    message = watcher.stderr.read()
    assert "expected 2 workers to start within 0.1 seconds" in message
    assert "no answer from: worker 1 (127.0.0.1:0: Connection refused). Start them all" in message
    watcher.communicate(timeout=20)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_watcher_that_is_told_to_end_ends_the_process_first(number):
    # TensorFlow holds the interpreter while it waits, so that the process can't heed a signal.
    with subprocess.Popen(["sleep", "60"]) as waiting:
        watcher = watch(waiting.pid, 60, "127.0.0.1:0", "127.0.0.1:0")
        heeds = f"/proc/{watcher.pid}/status"
        while not int(Path(heeds).read_text().split("SigCgt:")[1].split()[0], 16) >> 14 & 1:
            pass  # its handlers are not there yet
        watcher.send_signal(number)
        _, errors = watcher.communicate(timeout=20)
        assert waiting.wait(20) == -signal.SIGKILL
    assert "interrupted while waiting for the other workers" in errors


def test_watcher_leaves_a_process_whose_wait_is_over():
    waiting = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    try:
        watcher = watch(waiting.pid, 60, "127.0.0.1:0")
        _, errors = watcher.communicate(timeout=20)
        assert (watcher.returncode, errors, waiting.poll()) == (0, "", None)
    finally:
        waiting.kill()
        waiting.wait()


@pytest.mark.slow
def test_a_missing_worker_ends_the_command():
    code = (
        "from trainers import mnist\nfrom trainers.common import strategy\n"
        "strategy.WAIT_SECONDS = 8.0\n"
        f"mnist.main([*{SMALL}, '--strategy', 'multiworker'])"
    )
    configs = tf_configs()
    [(status, _, errors)] = ended([start(["-c", code], tf_config=configs[0])])
    assert status == -signal.SIGKILL
    missing = json.loads(configs[0])["cluster"]["worker"][1]
    assert f"received no answer from: worker 1 ({missing}: Connection refused)" in errors


def start_two(argv, folders):
    """Two workers of a trainer, each with an --out-dir of its own."""
    command = ["-m", "trainers.mnist", *argv, "--strategy", "multiworker", "--out-dir"]
    return [
        start([*command, folder], tf_config=text)
        for folder, text in zip(folders, tf_configs(), strict=True)
    ]


@pytest.mark.slow
def test_two_workers_leave_one_run_folder(tmp_path):
    argv = [*SMALL, "--data", small_data(tmp_path / "d.npz"), "--dtype", "float64"]
    # By descent: steps of a flow across rounded kinks magnify round-off.
    argv += ["--seeds", "2", "--solver", "descent"]
    mnist.main([*argv, "--out-dir", str(tmp_path / "alone")])
    results = ended(start_two(argv, [tmp_path / "first", tmp_path / "second"]))
    for status, _, errors in results:
        assert status == 0, errors
    assert results[1][1] == ""
    assert not (tmp_path / "second").exists()
    for alone in (tmp_path / "alone").iterdir():
        first = tmp_path / "first" / alone.name
        assert {p.name for p in alone.iterdir()} == {p.name for p in first.iterdir()}
        assert_same_history(alone, first)
        assert read_json(first / "config.json")["replicas"] == 2
    # All is there: nothing is trained, and both end.
    again = ended(start_two([*argv, "--resume"], [tmp_path / "first", tmp_path / "second"]))
    assert [status for status, _, _ in again] == [0, 0], again


@pytest.mark.slow
@pytest.mark.parametrize(
    ("dying", "by", "left"),
    [
        pytest.param(0, signal.SIGKILL, -signal.SIGKILL, marks=pytest.mark.drill),
        pytest.param(1, signal.SIGKILL, -signal.SIGKILL, marks=pytest.mark.drill),
        pytest.param(0, signal.SIGTERM, 130, marks=pytest.mark.drill),
        (1, signal.SIGTERM, 130),
    ],
)
def test_a_worker_that_ends_early_ends_the_other_with_advice(dying, by, left, tmp_path):
    argv = [*SMALL, "--data", small_data(tmp_path / "d.npz"), "--dtype", "float64"]
    argv += ["--solver", "descent", "--steps", "200000", "--records", "200"]
    processes = start_two(argv, [tmp_path / "first", tmp_path / "second"])
    history = tmp_path / "first" / "history.csv"
    deadline = time.monotonic() + 90
    while not (history.exists() and len(history.read_text().splitlines()) > 20):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    processes[dying].send_signal(by)
    killed = time.monotonic()
    results = ended(processes)
    assert time.monotonic() - killed < 30
    assert results[dying][0] == left
    if by == signal.SIGTERM:
        assert "go on with:" in results[dying][2]
        assert dying or (tmp_path / "first" / "checkpoint" / "state.npz").exists()
    status, _, errors = results[1 - dying]
    assert status == 1
    assert "error: A worker was lost: expected all 2 workers" in errors
    assert "--resume" in errors
    assert "Traceback" not in errors
