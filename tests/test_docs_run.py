"""README and Getting started, run as printed: here, from a fresh clone, and from a wheel."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from docs_pages import GETTING_STARTED, README, ROOT, Block, blocks, read

# All the tests would run this one, and so themselves.
MAKE = """
make() {
    if [ "$1" = test ]; then set -- test ARGS='-n0 tests/test_scaling.py'; fi
    command make "$@"
}
"""
CLEAN = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "VENV", "PYTHON", "ARGS")


def script(page: Path) -> str:
    """The page as one script: its commands, and each Python block as a program of its own."""
    lines = ["set -eu", MAKE]
    for block in blocks(read(page), "sh", "python"):
        lines.append(
            f"python - <<'SNIPPET'\n{block.text}SNIPPET\n"
            if block.language == "python"
            else block.text
        )
    return "\n".join(lines)


def run(text: str, folder: Path, **variables: str) -> str:
    environment = {key: value for key, value in os.environ.items() if key not in CLEAN}
    environment |= {"TF_CPP_MIN_LOG_LEVEL": "2", "MPLBACKEND": "Agg", **variables}
    done = subprocess.run(
        ["bash", "-c", text], cwd=folder, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, f"{text}\n{done.stdout[-3000:]}\n{done.stderr[-6000:]}"
    return done.stdout


@pytest.fixture(scope="module")
def index(tmp_path_factory) -> None:
    """Skips where no package index can be reached."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest"]
    command += [str(tmp_path_factory.mktemp("index")), "setuptools>=77"]
    if subprocess.run(command, capture_output=True).returncode:
        pytest.skip("no package index: pip download setuptools fails")


@pytest.fixture
def clone(tmp_path) -> Path:
    """The files that a clone has once this is committed."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    names = subprocess.check_output(command, cwd=ROOT, text=True).splitlines()
    for name in names:
        if (ROOT / name).is_file() and not name.startswith("saved_models/"):
            (tmp_path / "clone" / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, tmp_path / "clone" / name)
    return tmp_path / "clone"


@pytest.mark.slow
def test_readme_snippets_run_alone(tmp_path):
    snippets = blocks(read(README), "python")
    assert snippets
    for snippet in snippets:
        error = float(python(snippet, tmp_path).rsplit(maxsplit=1)[-1])
        assert 0 < error < 0.15  # the targets' variance is 1.5


def python(snippet: Block, folder: Path) -> str:
    program = f"{sys.executable} - <<'SNIPPET'\n{snippet.text}SNIPPET\n"
    return run(program, folder, PYTHONPATH=str(ROOT))


@pytest.mark.drill
@pytest.mark.parametrize("page", [README, GETTING_STARTED], ids=str)
def test_page_runs_from_a_fresh_clone(page, clone, index):
    printed = run(script(page), clone)
    assert (clone / ".venv").is_dir()
    assert "mean squared error" in printed


@pytest.mark.drill
def test_getting_started_runs_from_a_wheel(clone, tmp_path, index):
    run(f"{sys.executable} -m build --wheel --outdir dist", clone)
    (wheel,) = (clone / "dist").glob("*.whl")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    shutil.copy(wheel, elsewhere)
    line = "python -m pip install --editable .\n"
    other = f"python -m pip install ./{wheel.name}\n"
    assert other.strip() in read(GETTING_STARTED)
    text = script(GETTING_STARTED)
    assert line in text
    assert "right: 0.8" in run(text.replace(line, other), elsewhere)
