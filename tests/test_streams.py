"""Programs whose standard streams are closed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PROGRAM = """
import os, sys
{before}
from asym_keras.streams import open_closed_streams
open_closed_streams()
print("lost"); print("lost", file=sys.stderr)
os.write(2, b"of a library in C")
with open({path!r}, "w") as file:
    file.write(str(file.fileno()))
"""


@pytest.mark.parametrize("closed", ["2>&-", ">&-", "<&- >&- 2>&-"])
def test_what_is_written_to_a_closed_stream_goes_nowhere(tmp_path, closed):
    file = tmp_path / "data"
    program = PROGRAM.format(before="", path=str(file))
    done = subprocess.run(
        ["bash", "-c", f'exec "$0" -c "$1" {closed}', sys.executable, program],
        cwd=ROOT,
        capture_output=True,
    )
    assert done.returncode == 0, done.stderr
    assert int(file.read_text()) > 2


def test_a_script_in_the_place_of_a_stream(tmp_path):
    file, script = tmp_path / "data", tmp_path / "run.sh"
    script.write_text('"$@"\n')
    program = PROGRAM.format(before="", path=str(file)).replace('os.write(2, b"of a library', "#")
    command = ["bash", "-c", 'exec bash "$@" 2>&-', "", script, sys.executable, "-c", program]
    done = subprocess.run(command, cwd=ROOT, capture_output=True)
    assert done.returncode == 0
    assert file.read_text()
    assert script.read_text() == '"$@"\n'


def test_a_number_that_is_another_files_is_left_alone(tmp_path):
    file = tmp_path / "first"
    before = f"first = open({str(file)!r}, 'wb', buffering=0); assert first.fileno() == 2"
    program = PROGRAM.format(before=before, path=str(tmp_path / "data"))
    command = ["bash", "-c", 'exec "$0" -c "$1" 2>&-', sys.executable, program]
    subprocess.run(command, cwd=ROOT, capture_output=True, check=True)
    assert file.read_bytes() == b"of a library in C"  # as it was written, not by us


def test_a_bar_without_stderr(monkeypatch):
    from asym_keras.training.progress import Progress

    class Run:
        time = 0.5

        def fraction(self, end):
            return 0.5

        def counters(self):
            return {"gradients": 1}

    monkeypatch.setattr(sys, "stderr", None)
    bar = Progress(Run(), 1.0, disable=False)
    bar.show([])
    bar.close()
