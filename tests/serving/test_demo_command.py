"""The demo's command line: errors, what it loads, and a whole run of it."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest
from fake_tf_serving import FakeServing, running, write_model

from asym_keras.extras import install_command
from serving.demo import __main__ as command

ROOT = Path(__file__).resolve().parents[2]
START = [sys.executable, "-m", "serving.demo"]


def test_help_loads_nothing_heavy():
    heavy = {"tensorflow", "keras", "numpy", "aiohttp", "grpc"}
    code = (
        "import sys; from serving.demo.__main__ import main\n"
        "try: main(['--help'])\n"
        "except SystemExit: print(sorted(set(sys.modules) & set(sys.argv[1:])))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *heavy], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert "--models-dir" in done.stdout
    assert done.stdout.endswith("[]\n")


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--models-dir", "nowhere"], "--models-dir: expected cards .* received none in nowhere"),
        (["--models", "a/b"], "--models: expected names .* received 'a/b'"),
        (["--models", "a", "--server", "host"], "--server: expected a URL .* received 'host'"),
        (["--models", "a", "--port", "99999"], "--port: expected a port .* received 99999"),
    ],
)
def test_bad_flags_end_with_their_message(capsys, argv, message):
    with pytest.raises(SystemExit) as end:
        command.main(argv)
    assert end.value.code == 2
    assert re.search(message, " ".join(capsys.readouterr().err.split()))


def test_without_aiohttp_the_extra_is_named(capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "aiohttp", None)  # importing it fails
    with pytest.raises(SystemExit) as end:
        command.main(["--models", "a"])
    assert end.value.code == 1
    assert install_command("serving") in capsys.readouterr().err


def test_command_serves_until_it_is_told_to_stop(tmp_path):
    write_model(tmp_path, "small")
    with running(FakeServing(small=1).app()) as server:
        flags = ["--port", "0", "--models-dir", str(tmp_path), "--server", server]
        with subprocess.Popen(
            [*START, *flags], cwd=ROOT, stderr=subprocess.PIPE, text=True
        ) as demo:
            try:
                line = demo.stderr.readline()
                address = re.match(r"demo at (http://127\.0\.0\.1:\d+/),", line)[1]
                with urllib.request.urlopen(f"{address}models.json", timeout=10) as answer:
                    assert [m["name"] for m in json.load(answer)["models"]] == ["small"]
                port = address.rstrip("/").rpartition(":")[2]
                flags[1] = port
                second = subprocess.run([*START, *flags], cwd=ROOT, capture_output=True, text=True)
                demo.send_signal(signal.SIGTERM)
                assert demo.wait(10) == 0
            finally:
                demo.kill()
    assert second.returncode == 1
    assert second.stderr.startswith("error: ")
    assert port in second.stderr
