"""The stated peak of memory beside measured ones, and that nothing is copied without need."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from problems import tanh_problem

from asym_keras.training import Checkpoint, GradientFlow, Objective, RiskProbe, memory, peak_bytes
from asym_keras.training.checkpoint import digest

ROOT = Path(__file__).resolve().parents[2]
MEBI = 2**20


def allocated(function) -> int:
    """Most bytes that Python and NumPy hold at once while `function` runs."""
    tracemalloc.start()
    try:
        function()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("solver", ["flow", "descent"])
def test_peak_by_hand(solver):
    copies = memory.WEIGHT_COPIES[solver]
    small = 2 * 10 * 7 * 4 + 1.2 * 4 * 10 * 100 * 4 + copies * 5 * 100 * 4
    assert peak_bytes(10, 5, 100, 2, solver=solver) == int(memory.PROCESS_BYTES + small)
    large = 2 * 10**6 * 7 * 8 + 1.2 * 512 * MEBI + copies * 5 * 10**6 * 8
    stated = peak_bytes(10**6, 5, 10**6, 2, dtype="float64", solver=solver)
    assert stated == int(memory.PROCESS_BYTES + large)


def test_peak_of_a_solver_that_is_none():
    with pytest.raises(ValueError, match=r"one of \['descent', 'flow'\], received 'sgd'"):
        peak_bytes(10, 5, 100, solver="sgd")


@pytest.mark.drill
@pytest.mark.parametrize("solver", ["flow", "descent"])
@pytest.mark.parametrize(
    ("examples", "least", "most"),
    # 400 training examples fill no tile: nothing is summed over tiles, and less is held.
    [(2000, 0.75, 1.2), (400, 0.6, 1.0)],
)
def test_stated_peak_is_near_the_measured_one(solver, examples, least, most):
    command = [sys.executable, "-m", "benchmarks.width.case", "--width", "30000"]
    command += ["--part", solver, "--examples", str(examples)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    measured = json.loads(done.stdout.splitlines()[-1])["peak"]
    stated = peak_bytes(examples + 5000, 784, 30_000, 10, solver=solver)
    assert least * stated < measured < most * stated


def test_training_and_its_probe_share_tensors():
    model, x, y = tanh_problem("float32")
    x, y = tf.constant(x), tf.constant(y)
    probe = RiskProbe("train", x, y)
    probe.start(model)
    objective = Objective(model, x, y)
    assert objective.x is x
    assert objective.y is y
    assert probe._evaluator.x is x
    assert probe._evaluator.y is y


@pytest.mark.parametrize("given", ["float32", "float64"])
def test_tensors_of_another_type_are_cast(given):
    model, x, y = tanh_problem("float64")
    objective = Objective(model, tf.constant(x.astype(given)), tf.constant(y.astype(given)))
    assert objective.x.dtype == objective.y.dtype == "float64"
    np.testing.assert_array_equal(objective.x, x.astype(given))


def test_digest_is_of_all_bytes_and_copies_none():
    arrays = [np.arange(MEBI, dtype="float64"), np.float32(1.5), np.zeros((0, 3)), np.arange(6.0)]
    arrays[3] = arrays[3].reshape(2, 3).T  # not contiguous
    joined = b"".join(np.ascontiguousarray(a).tobytes() for a in arrays)
    assert digest(arrays) == hashlib.sha256(joined).hexdigest()[:16]
    assert digest(map(tf.constant, arrays)) == digest(arrays)
    tensor = tf.constant(arrays[0])
    assert allocated(lambda: digest([tensor])) < 1 * MEBI


def test_checkpoint_of_tensors_holds_no_copy_of_them(tmp_path):
    tensors = {f"w{i}": tf.fill([12 * MEBI], float(i)) for i in range(2)}  # 48 MiB each
    checkpoint = Checkpoint(tmp_path, {})
    # NumPy writes 16 MiB at once.
    assert allocated(lambda: checkpoint.save(tensors, {})) < 20 * MEBI
    arrays, _ = checkpoint.load()
    np.testing.assert_array_equal(arrays["w1"], tensors["w1"])


def test_a_flow_holds_no_step_before_last_while_it_tries_the_next(monkeypatch):
    model, x, y = tanh_problem()
    run = GradientFlow().start(Objective(model, x, y))
    run.advance(10.0, 10.0)
    assert run._now.last_weights is not run.weights
    tried = []

    def watched(now, step, stages, attempt=run._try):
        for state in (now, run._now):
            tried.append(state.last_weights is now.weights and state.last_slope is now.slope)
        return attempt(now, step, stages)

    monkeypatch.setattr(run, "_try", watched)
    run.advance(10.0, 10.0)
    assert tried
    assert all(tried)
    assert run._now.last_weights is not run.weights
