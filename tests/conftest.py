"""Options, shared fixtures and the guard against a CI run that runs nothing."""

from __future__ import annotations

import collections
import gc
import os
import signal
from pathlib import Path

# Before TensorFlow and matplotlib are imported by any test module.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ["MPLBACKEND"] = "Agg"
os.environ.pop("COLUMNS", None)  # of the terminal that pytest-xdist tells its workers of
if "PYTEST_XDIST_WORKER" in os.environ:
    # A worker a core: more threads would only wait for each other. What a test starts inherits it.
    for variable in ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "OMP_NUM_THREADS"):
        os.environ.setdefault(variable, "1")

import pytest

ROOT = Path(__file__).resolve().parents[1]
# Marks of long tests, and the option that runs them; a test with both is a drill.
LONG = {"drill": "--run-drills", "slow": "--run-slow"}
SLOW = 20  # quick tests that take about as long as a slow one
# Folders of tests that train.
TRAINS = ("benchmarks", "serving", "theory", "trainers", "training", "wild")


class RunCount:
    """How many tests have run; with pytest-xdist, in all workers: their reports come here."""

    tests = 0

    def pytest_runtest_logreport(self, report):
        self.tests += report.when == "call" and not report.skipped


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


@pytest.fixture(scope="module", autouse=True)
def small_runs_without_xla(request):
    """In the quick run XLA compiles what asks for it by name, or has the mark `xla`.

    A small run takes less time than XLA needs to compile it. With `--run-slow` all tests but the
    trainers' train as users do.
    """
    folder = request.node.path.parent.name
    as_users_do = request.config.getoption("--run-slow") and folder != "trainers"
    if folder not in TRAINS or as_users_do or request.node.get_closest_marker("xla"):
        yield
        return
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("asym_keras.compilation.JIT_LIMIT", 0)
        yield


def pytest_addoption(parser):
    parser.addoption("--run-slow", action="store_true", help="run the tests marked slow, too")
    parser.addoption("--run-drills", action="store_true", help="run the tests marked drill, too")


def pytest_collection_modifyitems(config, items):
    cost: collections.Counter[Path] = collections.Counter()
    for item in items:
        mark = next((mark for mark in LONG if item.get_closest_marker(mark)), None)
        if mark and not config.getoption(LONG[mark]):
            item.add_marker(pytest.mark.skip(reason=f"{mark}: give {LONG[mark]} to run it"))
        else:
            cost[item.path] += SLOW if mark else 1
    # The dearest files first, or a worker begins one when the other has come to the end.
    items.sort(key=lambda item: -cost[item.path])


def pytest_configure(config):
    config.pluginmanager.register(RunCount(), "run-count")
    # A model is a web of cycles; Python looks for them so often that it takes a twentieth of the
    # time. Tests that ask what is kept alive collect by themselves.
    gc.set_threshold(20_000, 20, 100)
    # A shell starts what is in the background without Ctrl-C, and nohup without the end of the
    # terminal; and so would be what tests start.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if hasattr(signal, "SIGHUP"):  # not on Windows
        signal.signal(signal.SIGHUP, signal.SIG_DFL)


def pytest_sessionfinish(session):
    if ran_nothing(session.config):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter, config):
    if ran_nothing(config):
        terminalreporter.write_line("CI: expected tests to run, received none.", red=True)


def ran_nothing(config) -> bool:
    """Whether no test ran though this is a CI run that has all it needs: a fault."""
    ci = os.environ.get("CI", "").lower() == "true"
    if not ci or not shared_path("data").is_dir() or config.option.collectonly:
        return False
    return not config.pluginmanager.get_plugin("run-count").tests
