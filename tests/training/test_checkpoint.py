"""Checkpoints: whole, of this run, or refused with a reason; and never half-written."""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from asym_keras.training import Checkpoint, CheckpointError
from asym_keras.training import checkpoint as module

IDENTITY = {
    "method": {"name": "GradientFlow", "rtol": 0.1},
    "end time": 1 / 3,
    "model": [["w", [2]]],
}
ARRAYS = {
    "w0": np.random.default_rng(0).normal(size=(5, 4)).astype("float32"),
    "history/nodes": np.array([1e-300, np.pi, -0.0]),
    "s0": np.array([2**31, 7], "uint32"),
}
VALUES = {"run": {"time": 0.1 + 0.2, "previous": None}, "rows": [{"step": 3, "risk": 5e-324}]}


@pytest.fixture
def saved(tmp_path):
    checkpoint = Checkpoint(tmp_path / "checkpoint", IDENTITY)
    checkpoint.save(ARRAYS, VALUES)
    return checkpoint


def assert_loads(checkpoint):
    arrays, values = checkpoint.load()
    assert values == VALUES
    assert arrays.keys() == ARRAYS.keys()
    for name, array in ARRAYS.items():
        assert arrays[name].dtype == array.dtype
        assert arrays[name].tobytes() == array.tobytes()


def assert_refused(checkpoint):
    with pytest.raises(
        CheckpointError, match=r"to be a whole checkpoint .* Put back a good"
    ) as caught:
        checkpoint.load()
    assert str(checkpoint.path) in str(caught.value)


def test_checkpoint_gives_back_every_bit(saved):
    assert_loads(saved)
    assert [path.name for path in saved.path.parent.iterdir()] == ["state.npz"]


def test_checkpoint_exists_once_saved(tmp_path):
    checkpoint = Checkpoint(tmp_path / "deep" / "folder", IDENTITY)
    assert not checkpoint.exists()
    checkpoint.save(ARRAYS, VALUES)
    assert checkpoint.exists()


def test_equal_identity_in_another_order_is_the_same_run(saved):
    # Tuples become lists in JSON: that is no difference either.
    same = {"model": (("w", (2,)),), **{k: v for k, v in IDENTITY.items() if k != "model"}}
    assert_loads(Checkpoint(saved.path.parent, same))


@pytest.mark.parametrize("share", [0.0, 0.001, 0.1, 0.5, 0.9, 0.999])
def test_truncated_checkpoint_is_refused(saved, share):
    content = saved.path.read_bytes()
    saved.path.write_bytes(content[: int(share * len(content))])
    assert_refused(saved)


@pytest.mark.slow
@pytest.mark.parametrize("mask", [0x01, 0x20, 0xFF])
def test_flipped_byte_anywhere_is_refused_or_harmless(saved, mask):
    content = saved.path.read_bytes()
    refused = 0
    for place in range(0, len(content), 7):
        damaged = bytearray(content)
        damaged[place] ^= mask
        saved.path.write_bytes(damaged)
        try:
            assert_loads(saved)  # a byte that no reader looks at: dates, attributes
        except CheckpointError:
            refused += 1
    assert refused > len(content) / 7 / 3


def test_other_files_are_refused(saved, tmp_path):
    np.savez(tmp_path / "other.npz", weights=np.ones(3))
    np.savez(tmp_path / "number.npz", header=np.array("3"))
    np.savez(tmp_path / "format.npz", header=np.array('{"format": "asym_keras checkpoint 0"}'))
    np.savez(tmp_path / "object.npz", header=np.array({}, dtype=object))
    np.save(tmp_path / "array.npy", np.ones(3))
    (tmp_path / "pickle.npz").write_bytes(pickle.dumps({"w0": np.ones(3)}))
    (tmp_path / "text.npz").write_text("not a checkpoint\n" * 40)
    files = [*tmp_path.glob("*.np?")]
    assert len(files) == 7
    for file in files:
        saved.path.write_bytes(file.read_bytes())
        assert_refused(saved)


def test_another_format_is_refused_though_it_has_all_that_is_read(saved, monkeypatch):
    monkeypatch.setattr(module, "FORMAT", "asym_keras checkpoint 1")
    saved.save(ARRAYS, VALUES)
    monkeypatch.undo()
    assert_refused(saved)


def test_pickled_code_is_not_run(saved, tmp_path):
    class Harm:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "harm"),)

    saved.path.write_bytes(pickle.dumps(Harm()))
    assert_refused(saved)
    np.savez(saved.path, header=np.array([Harm()], dtype=object))
    assert_refused(saved)
    assert not (tmp_path / "harm").exists()


def test_checkpoint_of_another_run_names_what_differs(saved):
    other = {**IDENTITY, "end time": 2.0, "method": {"name": "GradientDescent"}, "loss": "mse"}
    with pytest.raises(CheckpointError, match=r"differs in end time .*, loss .*, method") as caught:
        Checkpoint(saved.path.parent, other).load()
    message = str(caught.value)
    assert "end time (0.3333333333333333 there, 2.0 here)" in message
    assert "loss (None there, 'mse' here)" in message
    assert "model" not in message.replace(str(saved.path), "")
    assert "use another folder" in message


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_crash_while_saving_leaves_the_old_checkpoint(saved, monkeypatch, error):
    def half(path, **arrays):
        path.write_bytes(b"PK\x03\x04 half of a check")
        raise error

    monkeypatch.setattr(module.np, "savez", half)
    with pytest.raises(type(error)):
        saved.save({"w0": np.zeros(2)}, {})
    monkeypatch.undo()
    assert_loads(saved)
    assert [path.name for path in saved.path.parent.iterdir()] == ["state.npz"]


def test_saving_sweeps_up_what_a_killed_process_left(saved):
    (saved.path.parent / ".abc.tmp.npz").write_bytes(b"half")
    saved.save(ARRAYS, VALUES)
    assert [path.name for path in saved.path.parent.iterdir()] == ["state.npz"]


SAVE_FOR_EVER = """
import itertools, sys
import numpy as np
from asym_keras.training import Checkpoint

checkpoint = Checkpoint(sys.argv[1], {})
for i in itertools.count():
    checkpoint.save({f"w{k}": np.full(20_000, i) for k in range(5)}, {"count": i})
"""


@pytest.mark.parametrize(
    "seed", [0, *(pytest.param(s, marks=pytest.mark.drill) for s in (1, 2, 3))]
)
@pytest.mark.slow
def test_killed_process_leaves_a_whole_checkpoint(tmp_path, seed):
    checkpoint = Checkpoint(tmp_path, {})
    process = subprocess.Popen([sys.executable, "-c", SAVE_FOR_EVER, str(tmp_path)])
    try:
        deadline = time.monotonic() + 120
        while not checkpoint.exists() and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(np.random.default_rng(seed).uniform(0.0, 0.5))
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    arrays, values = checkpoint.load()
    assert len(arrays) == 5
    assert all((array == values["count"]).all() for array in arrays.values())
    checkpoint.save(ARRAYS, VALUES)
    assert [path.name for path in tmp_path.iterdir()] == ["state.npz"]


def test_home_folder_is_found(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    checkpoint = Checkpoint("~/run", IDENTITY)
    checkpoint.save(ARRAYS, VALUES)
    assert checkpoint.path == tmp_path / "run" / "state.npz"
    assert_loads(Checkpoint("~/run", IDENTITY))
    assert [path.name for path in tmp_path.iterdir()] == ["run"]
