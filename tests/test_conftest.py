"""The guard against a CI run that runs nothing, in one process and with pytest-xdist."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from crossed import crossed

ROOT = Path(__file__).resolve().parents[1]


CASES = {  # what is in the environment, what is asked for, how it ends
    "tests that run": ("true", "test_docstring_rule_sees_a_fault", pytest.ExitCode.OK),
    "nothing in CI": ("true", "no_such_test", pytest.ExitCode.TESTS_FAILED),
    "nothing elsewhere": ("", "no_such_test", pytest.ExitCode.NO_TESTS_COLLECTED),
}


@pytest.mark.slow
@pytest.mark.parametrize(("case", "workers"), crossed(CASES, ["-n0", "-n1"]))
def test_a_ci_run_that_runs_nothing_fails(case, workers, tmp_path):
    ci, selected, status = CASES[case]
    (tmp_path / "data").mkdir()
    ended = subprocess.run(
        [sys.executable, "-m", "pytest", "tests/test_house.py", workers, "-q", "-k", selected],
        cwd=ROOT,
        env={**os.environ, "CI": ci, "ASYM_KERAS_SHARED": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert ended.returncode == status, ended.stdout + ended.stderr
    assert ("CI: expected tests to run" in ended.stdout) == (status == 1)
