"""Memory that is free, read off a machine of files, and runs that are refused for want of it."""

from __future__ import annotations

import types

import numpy as np
import pytest
import tensorflow as tf
from trainer_runs import SMALL, parse

from asym_keras.training import peak_bytes
from trainers import mnist
from trainers.common import memory

MEBI = 2**20


def machine(root, free_kibi, files=()):
    files = {"proc/meminfo": f"MemTotal: 99 kB\nMemAvailable:  {free_kibi} kB\n", **dict(files)}
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


def dataset(examples):
    x = np.broadcast_to(np.float32(0), (examples, 784))
    return types.SimpleNamespace(x_train=x, x_test=x[:10], input_dim=784, outputs=10)


def test_a_machine_without_cgroups(tmp_path):
    assert memory.available_bytes(machine(tmp_path, 2048)) == 2 * MEBI


def test_a_machine_that_does_not_tell(tmp_path):
    assert memory.available_bytes(tmp_path) is None


def test_the_tightest_cgroup_counts(tmp_path):
    group = "sys/fs/cgroup/user"
    files = {
        "proc/self/cgroup": "0::/user/job\n",
        f"{group}/memory.max": f"{5 * MEBI}\n",
        f"{group}/memory.current": f"{3 * MEBI}\n",
        f"{group}/memory.stat": f"anon 1\ninactive_file {MEBI // 2}\n",
        f"{group}/job/memory.max": "max\n",
        f"{group}/job/memory.current": f"{2 * MEBI}\n",
    }
    assert memory.available_bytes(machine(tmp_path, 9 * 1024, files)) == 2.5 * MEBI
    assert memory.available_bytes(machine(tmp_path, 1024, files)) == MEBI


def test_a_cgroup_of_version_1(tmp_path):
    group = "sys/fs/cgroup/memory"
    files = {
        f"{group}/memory.limit_in_bytes": f"{5 * MEBI}",
        f"{group}/memory.usage_in_bytes": f"{3 * MEBI}",
    }
    assert memory.available_bytes(machine(tmp_path, 9 * 1024, files)) == 2 * MEBI


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
