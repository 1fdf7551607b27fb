"""The command that serves: flags, errors, the line that says where, signals."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

import fake_servers
import pytest

from serving import commands, launch, serve

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def models(tmp_path):
    for folder in ("a/1", "a/2", "b/5"):
        (tmp_path / "models" / folder).mkdir(parents=True)
    return tmp_path / "models"


@pytest.fixture
def fake(tmp_path, monkeypatch):
    path = fake_servers.executable(tmp_path / "bin" / launch.BINARY, fake_servers.BINARY)
    monkeypatch.setenv("PATH", str(path.parent))
    monkeypatch.setenv("FAKE_RECORD", str(tmp_path / "record.json"))
    return path


def test_neither_is_there(models, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert serve.main(["--models", str(models)]) == 1
    error = capsys.readouterr().err
    for part in (launch.BINARY, "docker pull tensorflow/serving", "--preview", "received neither"):
        assert part in error


@contextlib.contextmanager
def command(*arguments):
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        [sys.executable, "-m", "serving.serve", *map(str, arguments)],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()  # or a failed test would wait for it for ever


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_the_command_stops_the_server_on_a_signal(models, fake, tmp_path, number):
    with command("--models", models, "--rest-port", 0, "--grpc-port", 0) as process:
        line = json.loads(process.stdout.readline())
        flags = fake_servers.record(tmp_path)["flags"]
        assert line == {
            "ready": True,
            "server": launch.BINARY,
            "host": "127.0.0.1",
            "rest_port": int(flags["rest_api_port"]),
            "grpc_port": int(flags["port"]),
            "models": ["a", "b"],
        }
        process.send_signal(number)
        _, log = process.communicate(timeout=20)
    assert process.returncode == 0, log
    assert (tmp_path / "ended").exists()
    assert "listens on every address" in log
    assert "Traceback" not in log


@pytest.mark.slow
def test_the_server_does_not_outlive_a_command_that_is_killed(models, fake, tmp_path):
    with command("--models", models, "--rest-port", 0, "--grpc-port", 0) as process:
        port = json.loads(process.stdout.readline())["rest_port"]
        process.kill()
        process.communicate(timeout=20)  # until the server, which has the same log, has ended, too
    assert (tmp_path / "ended").exists()
    launch.require_free("127.0.0.1", port)


@pytest.mark.slow
def test_nohup_is_heeded(models, fake):
    ignored = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # what starts now inherits it
    try:
        with command("--models", models, "--rest-port", 0, "--grpc-port", 0) as process:
            assert process.stdout.readline()
            process.send_signal(signal.SIGHUP)
            with pytest.raises(subprocess.TimeoutExpired):
                process.wait(1)
            process.terminate()
            process.communicate(timeout=20)
    finally:
        signal.signal(signal.SIGHUP, ignored)
    assert process.returncode == 0


def test_a_server_that_ends_by_itself_is_an_error(models, fake, tmp_path):
    with command("--models", models, "--rest-port", 0, "--grpc-port", 0) as process:
        port = json.loads(process.stdout.readline())["rest_port"]
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/quit"):
            _, log = process.communicate(timeout=20)
    assert process.returncode == 1
    assert "expected it to run on, received its end with code 3" in log


def test_damaged_models_are_left_out_and_named_at_the_end(models, fake, monkeypatch):
    monkeypatch.setenv("FAKE_DAMAGED", json.dumps({"a": "DATA_LOSS: cut off"}))
    flags = ["--models", models, "--rest-port", 0, "--grpc-port", 0]
    with command(*flags) as process:
        _, log = process.communicate(timeout=20)
    assert process.returncode == 1
    assert "error: expected every model to load, received a version 2: DATA_LOSS: cut off." in log
    with command(*flags, "--skip-damaged") as process:
        assert json.loads(process.stdout.readline())["models"] == ["b"]
        process.send_signal(signal.SIGINT)
        _, log = process.communicate(timeout=20)
    assert process.returncode == 0, log
    assert "left out, and the others start: a version 2: DATA_LOSS: cut off\n" in log
    assert log.endswith("left out from the start on: a version 2: DATA_LOSS: cut off\n")


def test_damaged_models_alone_are_an_error(models, fake, monkeypatch, capsys):
    monkeypatch.setenv("FAKE_DAMAGED", json.dumps({"a": "DATA_LOSS", "b": "NOT_FOUND"}))
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    flags = ["--models", str(models), "--rest-port", "0", "--grpc-port", "0", "--skip-damaged"]
    assert serve.main(flags) == 1
    assert "received only models to leave out: ['a', 'b']" in capsys.readouterr().err


def test_batching_warns_of_what_it_merges(models, fake):
    flags = ["--models", models, "--rest-port", 0, "--grpc-port", 0, "--batching", "--image", "x"]
    with command(*flags) as process:
        process.stdout.readline()
        process.send_signal(signal.SIGINT)
        _, log = process.communicate(timeout=20)
    assert "only where every client is your own" in log
    assert f"--image is not used: {launch.BINARY} on PATH comes first" in log


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--grpc-max-threads", "0"], "--grpc-max-threads: expected a number above 0"),
        (["--load-retries", "-1"], "--load-retries: expected a number from 0 on, received -1"),
        (["--rest-port", "5", "--grpc-port", "5"], "expected another one than --grpc-port"),
        (["--rest-port", "70000"], "expected a port from 0 to 65535"),
        (["--threads", "0"], "--threads: expected a number above 0, received 0"),
        (["--poll-seconds", "-1"], "--poll-seconds: expected a number from 0 on"),
        (["--poll-seconds", "nan"], "--poll-seconds: expected a number from 0 on"),
        (["--poll-seconds", "inf"], "--poll-seconds: expected at most 2147483 seconds"),
        (["--timeout", "inf", "--preview"], "--timeout: expected at most 2147483 seconds"),
        (["--timeout", "1e10"], "--timeout: expected at most 2147483 seconds"),
        (["--start-timeout", "nan"], "--start-timeout: expected a number above 0"),
        (["--max-batch-size", "128"], "--max-batch-size: expected --batching beside it"),
        (
            ["--batching", "--max-batch-size", "100000"],
            "--max-batch-size: expected 1 to 65536 rows, the most of one request, received 100000",
        ),
        (["--batching", "--max-batch-size", "0"], "--max-batch-size: expected 1 to 65536 rows"),
        (
            ["--batching", "--batch-timeout-micros", "-1"],
            "--batch-timeout-micros: expected a number from 0 on, received -1",
        ),
        (["--batch-timeout-micros", "0"], "--batch-timeout-micros: expected --batching beside it"),
    ],
)
def test_flags_that_are_refused(models, capsys, arguments, message):
    with pytest.raises(SystemExit):
        serve.main(["--models", str(models), *arguments])
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    "given",
    [
        ["--batching"],
        ["--max-batch-size", "128"],  # the default, but it was asked for
        ["--load-retries", "0"],
        ["--start-timeout", "120"],
        ["--image", launch.IMAGE],
        ["--skip-damaged", "--verbose"],
    ],
)
def test_the_preview_refuses_flags_of_the_real_server(models, capsys, given):
    with pytest.raises(SystemExit):
        serve.main(["--models", str(models), "--preview", *given])
    names = ", ".join(text for text in given if text.startswith("--"))
    assert f"{names}: expected the real server, received --preview" in capsys.readouterr().err


def test_flags_that_were_not_given_have_their_defaults(models):
    for more in ([], ["--preview"], ["--batching"]):
        flags = serve._parse(["--models", str(models), *more])
        assert (flags.max_batch_size, flags.timeout_micros) == (128, 0)
        assert (flags.load_retries, flags.start_seconds) == (0, 120.0)


def test_the_longest_times_pass(models, tmp_path):
    """The model server holds milliseconds in 32 bits. For the models one may wait for ever."""
    times = ["--timeout", "2147483", "--poll-seconds", "2147483", "--start-timeout", "inf"]
    flags = serve._parse(["--models", str(models), *times])
    settings = launch.Settings(**commands.fields_of(launch.Settings, flags))
    command, _ = launch._command(launch.Program("server"), settings, tmp_path)
    assert settings.start_seconds == float("inf")
    assert "--rest_api_timeout_in_ms=2147483000" in command
    assert "--file_system_poll_wait_seconds=2147483" in command
    assert 1000 * commands.LONGEST_SECONDS <= 2**31 - 1


@pytest.mark.parametrize("flag", ["--rest-port", "--grpc-port"])
def test_a_port_in_use_is_told_before_the_preview_loads_anything(models, capsys, flag):
    other = {"--rest-port": "--grpc-port", "--grpc-port": "--rest-port"}[flag]
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        assert serve.main(["--models", str(models), "--preview", flag, port, other, "0"]) == 1
    assert f"port {port}: expected a free one" in capsys.readouterr().err


def test_help_loads_nothing_heavy():
    code = (
        "import sys, serving.serve as s\n"
        "try: s.main(['--help'])\n"
        "except SystemExit: pass\n"
        "heavy = {'tensorflow', 'keras', 'grpc', 'aiohttp', 'numpy', 'google.protobuf'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "--preview" in done.stdout


def test_a_name_that_is_no_utf_8_is_named(capfd):
    def work():
        "# A page\n\nof a/caf\udce9 x\n and more".encode()

    assert commands.status_of(work) == 1
    assert (
        "expected names and paths in UTF-8, received 'of a/caf\\udce9 x'; rename"
        in capfd.readouterr().err
    )
    with pytest.raises(UnicodeEncodeError):
        commands.status_of(work, debug=True)
