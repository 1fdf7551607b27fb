"""The training loop that both methods share: records, probes, checkpoints, resume, progress."""

from __future__ import annotations

import dataclasses
import hashlib
import logging
import os
import time
from collections.abc import Callable, Mapping

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf
from tqdm.auto import tqdm

from asym_keras.training.checkpoint import Checkpoint
from asym_keras.training.descent import GradientDescent
from asym_keras.training.errors import TrainingError
from asym_keras.training.flow import GradientFlow
from asym_keras.training.history import History
from asym_keras.training.objective import Objective

logger = logging.getLogger(__name__)


def record_times(end_time: float, count: int = 50, *, time_step: float = 1.0) -> np.ndarray:
    """Times to record at: 0, then whole steps that grow like a cube, to `end_time`.

    Learning curves bend early: a cube puts half of the records into the first eighth of the
    time, and still leaves no wide gap at the end.

    Returns:
        float64 array, strictly increasing, at most `count` long.
    """
    grid = np.round(end_time / time_step * np.linspace(0.0, 1.0, count) ** 3)
    return np.unique(np.minimum(time_step * grid, end_time))


def train(
    model: keras.Model,
    x,
    y,
    *,
    method: GradientDescent | GradientFlow,
    end_time: float,
    loss="mse",
    times: npt.ArrayLike | None = None,
    probes: Mapping[str, Callable] | None = None,
    target_risk: float = -np.inf,
    checkpoint: str | os.PathLike | None = None,
    checkpoint_seconds: float = 30.0,
    resume: bool = False,
    progress: bool = True,
    on_record: Callable[[History], None] | None = None,
) -> History:
    """Trains `model` in place on `(x, y)` by `method` to time `end_time`, recording on the way.

    Time t is that of the gradient flow `dW/dt = -grad L(W)`; N steps of descent reach
    t = learning_rate * N. The risk L is the mean of `loss` over all examples (and outputs).

    Args:
        model: built Keras model.
        x, y: training inputs (n, ...) and targets (n, ...).
        method: how to train.
        end_time: time t to reach.
        loss: name, `keras.losses.Loss` or function of `(y, predictions)`.
        times: record times, increasing; 0 and `end_time` may be among them. Descent records
            at the nearest step. None: `record_times(end_time)`.
        probes: name -> probe, see `asym_keras.training.probes`. None: the training risk.
        target_risk: stop where the training risk (of a mini-batch, with mini-batches) is at or
            below this: at the end of a flow's step, or after a descent's step from there.
        checkpoint: folder of the run's checkpoint. None: none is written.
        checkpoint_seconds: least time between two checkpoints; one is written at the end too.
        resume: go on from the checkpoint, if there is one. The model must be as it was made.
        progress: show a progress bar.
        on_record: called with the history after each record.

    Returns:
        The history; the model holds the weights at the end.

    Raises:
        ValueError: Bad arguments, or a model that the method can't train; before training.
        CheckpointError: The checkpoint is damaged or of another run.
        TrainingError: Divergence. The model and the checkpoint hold the last good state.
        KeyboardInterrupt: Ctrl-C. The same.
    """
    objective = Objective(
        model, x, y, loss=loss, batch_size=method.batch_size, jit_compile=method.jit_compile
    )
    times = _check_times(times, end_time, method)
    probes = {"train_risk": _own_risk(objective)} if probes is None else dict(probes)
    saved = None
    snapshot, seconds, history, stopped = None, 0.0, History(), False
    if checkpoint is not None:
        saved = Checkpoint(checkpoint, _identity(method, objective, loss, times))
        if saved.exists() and not resume:
            raise FileExistsError(
                f"Expected no checkpoint in {saved.path.parent}, received one of another run. "
                "Set resume=True to go on from it, or choose another folder."
            )
        if saved.exists():
            loaded, values = saved.load()
            seconds, stopped = values["seconds"], values["stopped"]
            history = _unpack(values["rows"], loaded)
            snapshot = loaded, values["run"]
            del loaded
    for probe in probes.values():
        if hasattr(probe, "start"):
            probe.start(model)
    run = method.start(objective, snapshot)
    del snapshot  # as large as all that the method keeps
    if progress:
        _announce(run, times[-1])
    began = time.monotonic() - seconds

    def record(at: float) -> None:
        objective.assign(run.at(at), run.state)
        numbers, arrays = _call_probes(probes, model)
        elapsed = {"wall_seconds": round(time.monotonic() - began, 3)}
        row = {"step": _whole(at / method.time_step), "time": at}
        history.append({**row, **numbers, **run.counters(), **elapsed}, arrays)
        if on_record is not None:
            on_record(history)

    def save() -> None:
        if saved is not None:
            arrays, values = run.snapshot()
            elapsed = time.monotonic() - began
            state = {"run": values, "rows": history.rows, "seconds": elapsed, "stopped": stopped}
            saved.save({**arrays, **_pack(history)}, state)

    reached = history[-1]["time"] if len(history) else -1.0
    pending = [t for t in times if t > reached]
    if stopped:
        pending = [t for t in _cut(pending, run.time) if t > reached]
    last_saved = time.monotonic()
    bar = _Bar(run, times[-1], disable=not progress)
    try:
        while pending:
            while pending and pending[0] <= run.time * (1 + 1e-12):
                record(pending.pop(0))
            bar.show(history)
            if not pending:
                break
            if time.monotonic() - last_saved >= checkpoint_seconds:
                save()
                last_saved = time.monotonic()
            descent = isinstance(method, GradientDescent)
            risk = run.advance(pending[0] if descent else times[-1], target_risk)
            if risk <= target_risk:
                pending, stopped = _cut(pending, run.time), True
        save()
    except (KeyboardInterrupt, TrainingError):
        save()
        raise
    finally:
        objective.assign(run.weights, run.state)
        bar.close()
    return history


class _Bar:
    """Progress bar in shares of the work, with the last record's risks and accuracies."""

    def __init__(self, run, end: float, *, disable: bool):
        done = round(1000 * run.fraction(end))
        form = "{desc}: {percentage:3.0f}%|{bar}| {elapsed}<{remaining}{postfix}"
        self._bar = tqdm(
            total=1000, initial=done, disable=disable, bar_format=form, desc="training"
        )
        self._run, self._end = run, end

    def show(self, history: History) -> None:
        self._bar.n = min(1000, round(1000 * self._run.fraction(self._end)))
        shown = {"t": f"{self._run.time:.6g}", "gradients": self._run.counters()["gradients"]}
        if len(history):
            row = history[-1]
            shown |= {k: f"{v:.4g}" for k, v in row.items() if k.endswith(("_risk", "_accuracy"))}
        self._bar.set_postfix(shown)

    def close(self) -> None:
        self._bar.close()


def _check_times(times, end_time: float, method) -> list[float]:
    if not (np.isfinite(end_time) and end_time > 0):
        raise ValueError(f"Expected a positive end_time, received {end_time}.")
    if times is None:
        times = record_times(end_time, time_step=method.time_step)
    array = np.asarray(times, dtype="float64")
    if array.ndim != 1 or not array.size or (array < 0).any() or (array > end_time).any():
        raise ValueError(f"Expected record times between 0 and end_time={end_time}.")
    array = np.append(array, end_time)
    if isinstance(method, GradientDescent):
        steps = np.round(array / method.time_step)
        if not steps[-1]:
            raise ValueError(
                f"Expected end_time of at least one step ({method.time_step}), received {end_time}."
            )
        array = method.time_step * steps
    return np.unique(array).tolist()


def _cut(times: list[float], end: float) -> list[float]:
    """Record times of a run that stops at `end`."""
    return [*(t for t in times if t < end), end]


def _identity(method, objective: Objective, loss, times) -> dict:
    """What must be equal for a run to go on where another stopped."""
    model = objective.model
    return {
        "method": {"name": type(method).__name__, **dataclasses.asdict(method)},
        "loss": _loss_identity(loss),
        "end time": times[-1],
        "record times": _digest([np.asarray(times)]),
        # Not their names, which Keras counts up within a process.
        "model": [[list(v.shape), str(v.dtype)] for v in model.variables],
        "initial weights": _digest(v.value for v in model.variables),
        "training data": _digest(tf.nest.flatten((objective.x, objective.y))),
    }


def _loss_identity(loss):
    if isinstance(loss, keras.losses.Loss):
        return keras.saving.serialize_keras_object(loss)
    return loss if isinstance(loss, str) else f"{loss.__module__}.{loss.__qualname__}"


def _digest(arrays) -> str:
    digest = hashlib.sha256()
    for array in arrays:
        # A view of the bytes: these are as large as the weights and the data.
        digest.update(np.ascontiguousarray(array).reshape(-1).view("uint8").data)
    return digest.hexdigest()[:16]


def _own_risk(objective: Objective) -> Callable:
    return lambda model: objective.evaluate()[0]


def _call_probes(probes, model) -> tuple[dict, dict]:
    """Numbers and arrays that the probes give, in their order."""
    numbers, arrays = {}, {}
    for name, probe in probes.items():
        result = probe(model)
        for key, value in (result if isinstance(result, dict) else {name: result}).items():
            value = np.asarray(value)
            if value.ndim:
                arrays[key] = value
            else:
                numbers[key] = value.item()
    return numbers, arrays


def _pack(history: History) -> dict[str, np.ndarray]:
    return {f"history/{name}": np.stack(values) for name, values in history.arrays.items()}


def _unpack(rows: list[dict], arrays: dict[str, np.ndarray]) -> History:
    kept = {k.split("/", 1)[1]: list(v) for k, v in arrays.items() if k.startswith("history/")}
    return History(rows, kept)


def _announce(run, end: float) -> None:
    gradients, seconds = run.estimate(end)
    if gradients * seconds > 5:
        logger.info(
            "about %d gradients of %.2g s each: %.2g minutes, records not counted",
            gradients,
            seconds,
            gradients * seconds / 60,
        )


def _whole(step: float) -> int | float:
    """Step numbers as integers where they are."""
    return round(step) if abs(step - round(step)) < 1e-6 else step
