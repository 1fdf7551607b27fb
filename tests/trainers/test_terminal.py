"""What commands show: tables as wide as the terminal, log lines beside bars, bars as lines."""

from __future__ import annotations

import io
import logging
import os
import subprocess
import sys

import numpy as np
import pytest
from source_files import ROOT
from synthetic_runs import write_run
from tqdm import tqdm

from asym_keras import bars
from asym_keras.bars import progress_bar
from asym_keras.startup import _DRIVERS
from trainers import compare
from trainers.common.process import BesideBars
from trainers.common.tables import aligned, fitted

ROWS = [
    ["gamma", "seed", *(f"quantity_{i}" for i in range(8)), "run"],
    ["0.5", "0", *(f"{i}.25" for i in range(8)), "runs/" + "a" * 90],
    ["1", "1", *(f"{i}.75" for i in range(8)), "runs/b"],
]


@pytest.fixture
def narrow(monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")


def test_table_goes_whole_into_a_file(monkeypatch):
    monkeypatch.delenv("COLUMNS", raising=False)
    assert fitted(ROWS, ">") == aligned(ROWS, ">")


@pytest.mark.usefixtures("narrow")
def test_table_that_fits_stays_as_it_is():
    assert fitted([row[:5] for row in ROWS], ">") == aligned([row[:5] for row in ROWS], ">")


@pytest.mark.usefixtures("narrow")
def test_wide_table_falls_into_parts_with_all_its_cells():
    lines = fitted(ROWS, ">" * 10 + "<", keys=2)
    assert max(map(len, lines)) <= 80
    heads = [line.split() for line in lines if line.startswith("gamma")]
    assert len(heads) > 2
    assert all(head[:2] == ["gamma", "seed"] for head in heads)
    assert [name for head in heads for name in head[2:]] == ROWS[0][2:]
    words = " ".join(lines).split()
    assert all(words.count(cell) == 1 for row in ROWS[1:] for cell in row[2:10])
    assert "".join(lines).replace(" ", "").count("a" * 90) == 1  # a long cell, over two lines


@pytest.mark.usefixtures("narrow")
def test_compare_fits_eighty_columns(tmp_path, capsys):
    for seed in (0, 1):
        write_run(tmp_path / f"s{seed}", seed=seed, accuracies=True)
    assert compare.main([str(tmp_path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80
    assert "pruned95_test_accuracy" in "\n".join(lines)


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_log_lines_do_not_break_into_bars(monkeypatch):
    screen = Terminal()
    monkeypatch.setattr(sys, "stderr", screen)
    record = logging.LogRecord("trainers", logging.INFO, "f", 1, "a line", None, None)
    with tqdm(total=3, file=screen, desc="bar") as bar:
        bar.update()
        bar.refresh()
        BesideBars(screen).emit(record)
    # On its own line, which the bar had left: a carriage return and blanks go before it.
    before, _, after = screen.getvalue().partition("a line\n")
    assert before.rpartition("\r")[2] == ""
    assert "bar" in after


def test_bar_without_a_terminal_is_a_line_now_and_then(monkeypatch):
    file, now = io.StringIO(), [0.0]
    monkeypatch.setattr(sys, "stderr", file)
    monkeypatch.setattr("tqdm.std.time", lambda: now[0])
    with progress_bar(total=100, desc="training") as bar:
        for _ in range(100):
            now[0] += 1.0
            bar.set_postfix(t=1)
            bar.update()
    lines = file.getvalue().splitlines()
    assert len(lines) == 4  # each 30 s, and at the end
    assert "\r" not in file.getvalue()
    assert lines[0].startswith("training:  29% 00:30")
    assert lines[-1].startswith("training: 100% 01:40")


def test_short_work_without_a_terminal_says_nothing(monkeypatch):
    file = io.StringIO()
    monkeypatch.setattr(sys, "stderr", file)
    assert list(progress_bar(range(3), desc="runs")) == [0, 1, 2]
    assert file.getvalue() == ""


def test_bar_on_a_terminal_is_tqdms_own(monkeypatch):
    monkeypatch.setattr(sys, "stderr", Terminal())
    with progress_bar(total=1) as bar:
        assert not isinstance(bar, bars._Lines)


def test_epochs_are_lines_where_nobody_watches(monkeypatch):
    for stdout, quiet, verbose in ((Terminal(), False, 1), (io.StringIO(), False, 2)):
        monkeypatch.setattr(sys, "stdout", stdout)
        assert bars.fit_verbosity(quiet) == verbose
        assert bars.fit_verbosity(True) == 0
    monkeypatch.setattr(sys, "stdout", None)
    assert bars.fit_verbosity(False) == 0


NOTICES = "I0000 00:00:1 port.cc:153] oneDNN custom operations are on."
WARNINGS = "W0000 00:00:1 gpu_device.cc:2342] Cannot dlopen some GPU libraries."


def test_start_hides_notices_and_nothing_else(tmp_path):
    """A module of this name stands for TensorFlow: it writes as its C++ does, and aborts."""
    source = f"""
import os
class config:
    def list_physical_devices(kind):
        os.write(2, b"E0000 00:00:3 cuda_platform.cc:52] failed call to cuInit: ...\\n")
os.write(2, b"WARNING: All log messages before absl::InitializeLog() is called ...\\n")
os.write(2, b"{NOTICES}\\n{WARNINGS}\\nE0000 00:00:2 cuda.cc:1] no driver\\na traceback\\n")
if os.environ["ENDS"]:
    os.write(2, b"F0000 no AVX\\n")
    os.abort()
"""
    (tmp_path / "tensorflow.py").write_text(source)
    program = (
        "import os; from asym_keras.startup import import_tensorflow; import_tensorflow()\n"
        "os.write(2, b'I0000 mine\\n')"
    )
    for ends, level, expected in (
        ("", "2", ["E0000 00:00:2 cuda.cc:1] no driver", "a traceback", "I0000 mine"]),
        ("", "1", [WARNINGS, "E0000 00:00:2 cuda.cc:1] no driver", "a traceback"]),
        ("yes", "2", ["E0000 00:00:2 cuda.cc:1] no driver", "a traceback", "F0000 no AVX"]),
    ):
        environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": level, "ENDS": ends}
        environment["PYTHONPATH"] = f"{tmp_path}:{os.environ.get('PYTHONPATH', os.getcwd())}"
        done = subprocess.run(
            [sys.executable, "-c", program], env=environment, capture_output=True, text=True
        )
        lines = done.stderr.splitlines()
        if any(driver.exists() for driver in _DRIVERS) and not ends:  # where it is an error
            lines.remove("E0000 00:00:3 cuda_platform.cc:52] failed call to cuInit: ...")
        assert lines[: len(expected)] == expected
        assert bool(done.returncode) == bool(ends)


@pytest.mark.slow
def test_a_program_that_imports_keras_itself_shows_no_notices(tmp_path):
    x, y = np.eye(4, dtype="float32"), np.arange(4) % 2
    np.savez(tmp_path / "own.npz", x_train=x, y_train=y, x_test=x, y_test=y)
    command = [sys.executable, "-m", "trainers.nested", "--data", str(tmp_path / "own.npz")]
    command += ["--widths", "2,4", "--epochs", "1", "--quiet", "--out-dir", str(tmp_path / "run")]
    environment = {k: v for k, v in os.environ.items() if k != "TF_CPP_MIN_LOG_LEVEL"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert not [
        line for line in done.stderr.splitlines() if line[:5] in ("I0000", "W0000", "WARNI")
    ]
