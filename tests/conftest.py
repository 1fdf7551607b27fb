"""Options, shared fixtures and the guard against a CI run that runs nothing."""

from __future__ import annotations

import os
import signal
from pathlib import Path

# Before TensorFlow and matplotlib are imported by any test module.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ["MPLBACKEND"] = "Agg"

import pytest

ROOT = Path(__file__).resolve().parents[1]
TESTS_RUN = pytest.StashKey[int]()


def shared_path(*parts: str) -> Path:
    """Path in the folder of shared files, beside the repository unless the environment says."""
    return Path(os.environ.get("ASYM_KERAS_SHARED") or ROOT.parent / "shared").joinpath(*parts)


def existing_shared_path(*parts: str) -> Path:
    path = shared_path(*parts)
    if not path.exists():
        pytest.skip(f"no {path}; set ASYM_KERAS_SHARED to the folder that holds {'/'.join(parts)}")
    return path


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder with the data sets that are not in the package."""
    return existing_shared_path("data")


@pytest.fixture(scope="session")
def reference() -> Path:
    """JSON file of the published curves."""
    return existing_shared_path("reference", "published_curves.json")


def pytest_addoption(parser):
    parser.addoption("--run-slow", action="store_true", help="run the tests marked slow, too")


def pytest_collection_modifyitems(config, items):
    if config.getoption("--run-slow"):
        return
    skip = pytest.mark.skip(reason="slow: give --run-slow to run it")
    for item in items:
        if item.get_closest_marker("slow"):
            item.add_marker(skip)


def pytest_configure(config):
    config.stash[TESTS_RUN] = 0
    # A shell starts what is in the background without Ctrl-C, and so would be what tests start.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item):
    item.config.stash[TESTS_RUN] += 1
    return (yield)


def pytest_sessionfinish(session):
    if in_ci_with_data(session.config) and not session.config.stash[TESTS_RUN]:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter, config):
    if in_ci_with_data(config) and not config.stash[TESTS_RUN]:
        terminalreporter.write_line("CI: expected tests to run, received none.", red=True)


def in_ci_with_data(config) -> bool:
    """Whether this is a CI run that has all it needs, so that running no test is a fault."""
    ci = os.environ.get("CI", "").lower() == "true"
    return ci and shared_path("data").is_dir() and not config.option.collectonly
