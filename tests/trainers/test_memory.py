"""Memory that is free, read off a machine of files, and runs that are refused for want of it."""

from __future__ import annotations

import types

import numpy as np
import psutil
import pytest
import tensorflow as tf
from trainer_runs import SMALL, parse

from asym_keras.training import peak_bytes
from trainers import mnist
from trainers.common import memory

MEBI = 2**20


@pytest.fixture
def nine_mebi(monkeypatch):
    """A machine with 9 MiB free."""
    free = types.SimpleNamespace(available=9 * MEBI)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: free)
    return free


def groups(root, files):
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


def dataset(examples):
    x = np.broadcast_to(np.float32(0), (examples, 784))
    return types.SimpleNamespace(x_train=x, x_test=x[:10], input_dim=784, outputs=10)


def test_a_machine_without_cgroups(tmp_path, nine_mebi):
    assert memory.available_bytes(tmp_path) == 9 * MEBI


def test_this_machine_has_memory():
    assert 0 < memory.available_bytes() < psutil.virtual_memory().total
    assert 2**20 < memory._resident_bytes() < psutil.virtual_memory().total


def test_the_tightest_cgroup_counts(tmp_path, nine_mebi):
    group = "sys/fs/cgroup/user"
    files = {
        "proc/self/cgroup": "0::/user/job\n",
        f"{group}/memory.max": f"{5 * MEBI}\n",
        f"{group}/memory.current": f"{3 * MEBI}\n",
        f"{group}/memory.stat": f"anon 1\ninactive_file {MEBI // 2}\n",
        f"{group}/job/memory.max": "max\n",
        f"{group}/job/memory.current": f"{2 * MEBI}\n",
    }
    assert memory.available_bytes(groups(tmp_path, files)) == 2.5 * MEBI
    nine_mebi.available = MEBI
    assert memory.available_bytes(tmp_path) == MEBI


def test_a_cgroup_of_version_1(tmp_path, nine_mebi):
    group = "sys/fs/cgroup/memory"
    files = {
        f"{group}/memory.limit_in_bytes": f"{5 * MEBI}",
        f"{group}/memory.usage_in_bytes": f"{3 * MEBI}",
    }
    assert memory.available_bytes(groups(tmp_path, files)) == 2 * MEBI


@pytest.mark.parametrize(
    ("flags", "ways"),
    [
        ([], "--solver descent, a smaller --width, or"),
        (["--solver", "descent", "--dtype", "float64"], "Use a smaller --width, --dtype float32"),
    ],
)
def test_a_run_that_does_not_fit_is_refused(flags, ways, monkeypatch):
    config = parse("--width", "100000", *flags)
    needed = peak_bytes(5010, 784, 100_000, 10, dtype=config.dtype, solver=config.solver)
    monkeypatch.setattr(memory, "_resident_bytes", lambda: 10**9)
    monkeypatch.setattr(memory, "available_bytes", lambda: needed - 10**9)
    memory.require_memory(config, dataset(5000))
    monkeypatch.setattr(memory, "available_bytes", lambda: needed - 10**9 - 1)
    with pytest.raises(ValueError, match=f"about {needed / 1e9:.1f} GB .* width 100000 .*{ways}"):
        memory.require_memory(config, dataset(5000))
    monkeypatch.setattr(tf.config, "get_visible_devices", lambda kind: ["a GPU"])
    memory.require_memory(config, dataset(5000))


def test_small_runs_are_never_refused(monkeypatch):
    monkeypatch.setattr(memory, "available_bytes", lambda: 1)
    memory.require_memory(parse("--width", "2000"), dataset(5000))


def test_a_refused_run_leaves_nothing(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(memory, "available_bytes", lambda: 0)
    monkeypatch.setattr(memory, "_resident_bytes", lambda: 0)
    folder = tmp_path / "run"
    with pytest.raises(SystemExit):
        mnist.main([*SMALL, "--width", "90000", "--out-dir", str(folder)])
    assert "received 0.0 GB available" in capsys.readouterr().err
    assert not folder.exists()
