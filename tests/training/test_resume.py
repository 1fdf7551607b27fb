"""A run that is interrupted or killed and resumed is, bit for bit, the run that was not."""

from __future__ import annotations

import functools
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import keras
import numpy as np
import pytest
from crossed import some_slow
from training_runs import KINDS, XLA, InterruptAt, assert_bit_identical, run_kind, weights_of

from asym_keras.training import (
    Checkpoint,
    CheckpointError,
    GradientDescent,
    GradientFlow,
    train,
)


@functools.cache
def uninterrupted(kind, records=6):
    model, history = run_kind(kind, records=records)
    return [v.numpy() for v in model.variables], history


def assert_resumes(kind, folder, **options):
    """Resuming gives the uninterrupted run's history, weights and state."""
    model, history = run_kind(kind, checkpoint=folder, resume=True, **options)
    values, expected = uninterrupted(kind, **options)
    assert_bit_identical(history, expected)
    for variable, value in zip(model.variables, values, strict=True):
        assert variable.numpy().tobytes() == value.tobytes()
    assert (np.diff(history.column("wall_seconds")) >= 0).all()


@pytest.fixture(params=[kind for kind in KINDS if kind != XLA])
def kind(request):
    return request.param


@pytest.mark.parametrize(
    "case",
    some_slow(
        [("full batch", 4), ("flow", 0)],
        [(kind, record) for kind in ("mini-batches", "stateful") for record in (0, 4)],
    ),
)
def test_interrupted_run_resumes_bit_identically(case, tmp_path):
    kind, record = case
    with pytest.raises(KeyboardInterrupt):
        run_kind(kind, checkpoint=tmp_path, probes={"stop": InterruptAt(record)})
    assert_resumes(kind, tmp_path)


@pytest.mark.slow
def test_run_may_be_interrupted_again_and_again(tmp_path):
    for record in (1, 0, 2, 1):  # counted from where the run goes on
        with pytest.raises(KeyboardInterrupt):
            run_kind(
                "stateful", checkpoint=tmp_path, resume=True, probes={"stop": InterruptAt(record)}
            )
    assert_resumes("stateful", tmp_path)


def test_interrupt_after_a_record_does_not_record_it_twice(tmp_path):
    def stop(history):
        if len(history) == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_kind("mini-batches", checkpoint=tmp_path, on_record=stop)
    assert_resumes("mini-batches", tmp_path)


def test_interrupted_run_leaves_the_weights_of_its_checkpoint_in_the_model(tmp_path):
    make, method, _ = KINDS["full batch"]
    model, x, y = make()
    probes = {"stop": InterruptAt(2)}
    with pytest.raises(KeyboardInterrupt):
        train(model, x, y, method=method, end_time=30.0, times=[0, 10, 20], probes=probes,
              checkpoint=tmp_path, progress=False)  # fmt: skip
    with np.load(tmp_path / "state.npz") as file:
        np.testing.assert_array_equal(file["w0"].ravel(), weights_of(model))
    recorded = uninterrupted("full batch")[1].arrays["weights"]
    np.testing.assert_array_equal(weights_of(model), recorded[2])


@pytest.mark.slow
def test_finished_run_resumes_to_itself(kind, tmp_path):
    _, history = run_kind(kind, checkpoint=tmp_path)
    assert_bit_identical(history, uninterrupted(kind)[1])  # saving changes nothing
    assert_resumes(kind, tmp_path)


def test_resume_without_a_checkpoint_starts_anew(tmp_path):
    assert_resumes("full batch", tmp_path / "new")


def test_resume_from_nowhere_is_refused():
    with pytest.raises(ValueError, match=r"expected the folder of a checkpoint to resume from"):
        run_kind("full batch", resume=True)


def test_checkpoint_without_resume_is_refused_and_kept(tmp_path):
    run_kind("full batch", checkpoint=tmp_path)
    before = (tmp_path / "state.npz").read_bytes()
    with pytest.raises(FileExistsError, match=r"Expected no checkpoint in .*Set resume=True"):
        run_kind("full batch", checkpoint=tmp_path)
    assert (tmp_path / "state.npz").read_bytes() == before


@pytest.mark.slow
def test_probes_start_with_the_initial_weights_on_resume_too(kind, tmp_path):
    class Start:
        weights = None

        def start(self, model):
            assert self.weights is None
            self.weights = weights_of(model)

        def __call__(self, model):
            return {}

    with pytest.raises(KeyboardInterrupt):
        run_kind(kind, checkpoint=tmp_path, probes={"stop": InterruptAt(4)})
    probe = Start()
    run_kind(kind, checkpoint=tmp_path, resume=True, probes={"start": probe})
    np.testing.assert_array_equal(probe.weights, uninterrupted(kind)[1].arrays["weights"][0])


def test_equal_model_resumes_whatever_its_automatic_names(tmp_path):
    small_run(tmp_path, model=keras.Sequential([keras.Input((4,)), constant()]))
    small_run(tmp_path, model=keras.Sequential([keras.Input((4,)), constant()]))


def constant():
    return keras.layers.Dense(2, kernel_initializer="ones")


def small_run(folder, **changes):
    make, _, _ = KINDS["full batch"]
    model, x, y = make()
    options = {"method": GradientDescent(0.5), "end_time": 2.0, "times": [0, 1], **changes}
    model, x, y = (options.pop(k, v) for k, v in (("model", model), ("x", x), ("y", y)))
    return train(model, x, y, checkpoint=folder, resume=True, progress=False, **options)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """The folder of a small run."""
    small_run(folder := tmp_path_factory.mktemp("finished"))
    return folder


def trained():
    model, _, _ = KINDS["full batch"][0]()
    model.trainable_variables[0].assign_add(np.full((4, 12), 1e-9))
    return model


@pytest.mark.parametrize(
    ("changes", "names"),
    [
        ({"x": np.zeros((15, 4))}, ["training data"]),
        ({"y": np.zeros((15, 2))}, ["training data"]),
        ({"method": GradientDescent(0.25)}, ["method", "'learning_rate': 0.25"]),
        ({"method": GradientDescent(0.5, batch_size=5)}, ["method", "'batch_size': 5"]),
        ({"method": GradientDescent(0.5, seed=1)}, ["method", "'seed': 1"]),
        ({"method": KINDS["flow"][1]}, ["method", "GradientFlow"]),
        ({"loss": "mae"}, ["loss ('mse' there, 'mae' here)"]),
        ({"loss": lambda y, p: p[:, 0]}, ["loss"]),
        ({"end_time": 1.5}, ["end time (2.0 there, 1.5 here)", "record times"]),
        ({"times": [0, 1.5]}, ["record times"]),
        ({"model": KINDS["full batch"][0](seed=1)[0]}, ["initial weights"]),
        ({"model": KINDS["full batch"][0](width=5)[0]}, ["model", "initial weights"]),
        ({"model": trained()}, ["initial weights"]),
    ],
    ids=lambda value: ", ".join(map(str, value))[:40],
)
def test_checkpoint_of_another_run_is_refused_by_what_differs(changes, names, finished, tmp_path):
    if callable(changes.get("loss")):
        small_run(tmp_path, loss=lambda y, p: p[:, 1])
    else:
        shutil.copytree(finished, tmp_path, dirs_exist_ok=True)
    before = (tmp_path / "state.npz").read_bytes()
    with pytest.raises(CheckpointError, match="differs in") as caught:
        small_run(tmp_path, **changes)
    assert all(name in str(caught.value) for name in names)
    assert (tmp_path / "state.npz").read_bytes() == before


def test_damaged_checkpoint_is_refused(tmp_path):
    small_run(tmp_path)
    (tmp_path / "state.npz").write_bytes((tmp_path / "state.npz").read_bytes()[:500])
    with pytest.raises(CheckpointError, match="to be a whole checkpoint"):
        small_run(tmp_path)


@pytest.mark.parametrize("method", [GradientDescent(0.5), KINDS["flow"][1]])
def test_run_that_met_its_target_resumes_to_itself(method, tmp_path):
    options = {"method": method, "end_time": 200.0, "target_risk": 0.5}
    first = small_run(tmp_path, **options)
    assert first[-1]["time"] < 200.0
    assert_bit_identical(small_run(tmp_path, **options), first)


LONG_KINDS = ("mini-batches", "stateful", XLA)


def kill_and_resume(kind, folder, *, records, seed):
    """Kills a run of `kind` in a process of its own, at a moment drawn from `seed`."""
    here = Path(__file__).resolve().parents[1]
    script = (
        f"from training_runs import run_slowly; run_slowly({kind!r}, {str(folder)!r}, {records})"
    )
    environment = {**os.environ, "PYTHONPATH": f"{here}{os.pathsep}{here.parent}"}
    process = subprocess.Popen([sys.executable, "-c", script], env=environment)
    checkpoint = Checkpoint(folder, {})
    try:
        deadline = time.monotonic() + 120
        while not checkpoint.exists() and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(np.random.default_rng(seed).uniform(0.0, 1.0))
        assert process.poll() is None, "the run ended before it was killed"
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    with np.load(checkpoint.path) as file:
        saved = len(file["history/weights"]) if "history/weights" in file.files else 0
    assert saved <= records
    assert_resumes(kind, folder, records=records)


@pytest.mark.parametrize("seed", [0, *(pytest.param(s, marks=pytest.mark.drill) for s in (1, 2))])
@pytest.mark.parametrize(
    "kind",
    ["full batch", "flow", *(pytest.param(k, marks=pytest.mark.drill) for k in LONG_KINDS)],
)
@pytest.mark.slow
def test_run_killed_at_any_moment_resumes_bit_identically(kind, seed, tmp_path):
    kill_and_resume(kind, tmp_path, records=300, seed=seed)


@pytest.mark.parametrize("method", [GradientDescent(0.5), GradientFlow(1e-4, 1e-4)], ids=["d", "f"])
def test_run_goes_on_from_its_end_to_a_later_one(method, tmp_path):
    make = KINDS["full batch"][0]
    short = {"method": method, "end_time": 2.0, "times": [0, 1]}
    small_run(tmp_path / "run", **short)
    longer = {"method": method, "end_time": 4.0, "times": [0, 1.5, 3]}
    model = make()[0]
    history = small_run(tmp_path / "run", model=model, **longer)
    assert history.column("time").tolist() == [0, 1, 2, 3, 4]
    whole = make()[0]
    small_run(tmp_path / "whole", model=whole, **longer)
    compare = np.testing.assert_array_equal if method.whole_steps else close
    for one, other in zip(model.get_weights(), whole.get_weights(), strict=True):
        compare(one, other)
    with pytest.raises(CheckpointError, match="end time"):
        small_run(tmp_path / "run", **short)


def close(one, other):
    np.testing.assert_allclose(one, other, atol=1e-3)


def test_checkpoint_of_another_activation_is_refused(tmp_path):
    def relu():
        model = KINDS["full batch"][0]()[0]
        model.layers[0].activation = keras.activations.relu
        return model

    small_run(tmp_path)
    with pytest.raises(CheckpointError, match="differs in activations"):
        small_run(tmp_path, model=relu())
