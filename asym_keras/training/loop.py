"""`train`: a model, data and a method, checked; then a session of steps and records."""

from __future__ import annotations

import dataclasses
import logging
import os
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from asym_keras.backend import require_tensorflow
from asym_keras.graphs import layers_of, own_training
from asym_keras.tables import History
from asym_keras.training.checkpoint import Checkpoint, digest
from asym_keras.training.descent import GradientDescent
from asym_keras.training.distributed import DistributedObjective
from asym_keras.training.flow import GradientFlow
from asym_keras.training.objective import Objective
from asym_keras.training.probes import by_name
from asym_keras.training.session import Session
from asym_keras.training.workers import Workers

logger = logging.getLogger(__name__)

SPACINGS = ("cubic", "log")


def record_times(
    end_time: float, count: int = 50, *, time_step: float = 1.0, spacing: str = "cubic"
) -> np.ndarray:
    """Times to record at: 0, then whole steps, denser early, to `end_time`.

    Learning curves bend early. `"cubic"`, steps that grow like a cube, puts half of the records
    into the first eighth of the time, and still leaves no wide gap at the end. `"log"` lays them
    evenly on a logarithmic axis, from the first step on.

    Returns:
        float64 array, strictly increasing, at most `count` long.

    Raises:
        ValueError: Another spacing.
    """
    if spacing not in SPACINGS:
        raise ValueError(f"record_times: expected spacing in {SPACINGS}, received {spacing!r}.")
    steps = end_time / time_step
    if spacing == "log" and steps > 1.0 and count > 2:
        grid = np.concatenate([[0.0], np.round(np.geomspace(1.0, steps, count - 1))])
    else:
        grid = np.round(steps * np.linspace(0.0, 1.0, count) ** 3)
    return np.unique(np.minimum(time_step * grid, end_time))


def train(
    model: keras.Model,
    x: Any,
    y: Any,
    *,
    method: GradientDescent | GradientFlow,
    end_time: float,
    loss: Any = "mse",
    times: npt.ArrayLike | None = None,
    probes: Mapping[str, Callable] | Iterable[Callable] | None = None,
    train_risk: bool = True,
    target_risk: float = -np.inf,
    checkpoint: str | os.PathLike | None = None,
    checkpoint_seconds: float = 30.0,
    resume: bool = False,
    progress: bool = True,
    on_record: Callable[[History], None] | None = None,
    strategy: tf.distribute.Strategy | None = None,
) -> History:
    """Trains `model` in place on `(x, y)` by `method` to time `end_time`, recording on the way.

    Time t is that of the gradient flow `dW/dt = -grad L(W)`; N steps of descent reach
    t = learning_rate * N. The risk L is the mean of `loss` over all examples (and outputs).

    Args:
        model: built Keras model with one output.
        x, y: training inputs, array (n, ...) or a list or dict of them as the model takes it, and
            targets (n, ...), or integer class labels where the loss takes them.
        method: how to train.
        end_time: time t to reach.
        loss: in any form that `model.compile` takes: name, `keras.losses.Loss`, function or other
            callable of `(y, predictions)` with one value per example.
        times: record times, increasing; 0 and `end_time` may be among them. Descent records
            at the nearest step. None: `record_times(end_time)`.
        probes: what to record besides the training risk: a list of probes that name their own
            columns, as `RiskProbe` and `WeightChange` do, or a dict from the column's name to a
            function of the model. See `asym_keras.training.probes`.
        train_risk: record the training risk as `train_risk`, unless a probe does so already.
            False: only what the probes give, which saves a pass over the data at each record.
        target_risk: stop where the training risk (of a mini-batch, with mini-batches) is at or
            below this: at the end of a flow's step, or after a descent's step from there.
        checkpoint: folder of the run's checkpoint. None: none is written.
        checkpoint_seconds: least time between two checkpoints; one is written at the end too.
        resume: go on from the checkpoint, if there is one. The model must be as it was made. A run
            goes on from its end where `end_time` is larger than it was; its records stay.
        progress: show a progress bar.
        on_record: called with the history after each record.
        strategy: sums the gradients of parts of the examples over its replicas; None: no parts.
            Results agree up to round-off, so a run may go on with another strategy. With several
            workers (processes), all call `train` alike; each gets the weights and a history of
            its own probes. All read the checkpoint from one folder; worker 0 writes it.

    Returns:
        The history; the model holds the weights at the end.

    Raises:
        ValueError: Bad arguments, or a model that the method can't train; before training.
        CheckpointError: The checkpoint is damaged or of another run.
        TrainingError: Divergence. The model and the checkpoint hold the last good state.
        WorkerLostError: Another worker is gone. The checkpoint stays as it was last written.
        FileExistsError: There is a checkpoint, and `resume` is False.
        KeyboardInterrupt: Ctrl-C. The model and the checkpoint hold the last good state.

    Example:
        >>> model, x = asym_keras.shallow_network(3, width=8, seed=0), np.eye(3, dtype="float32")
        >>> method = asym_keras.training.GradientDescent(learning_rate=0.5)
        >>> options = {"method": method, "end_time": 10.0, "progress": False}
        >>> history = asym_keras.training.train(model, x, x[:, :1], **options)
        >>> bool(history[-1]["train_risk"] < history[0]["train_risk"])
        True
    """
    require_tensorflow("train")
    if resume and checkpoint is None:
        raise ValueError(
            "train: expected the folder of a checkpoint to resume from, received resume=True and "
            "checkpoint=None. Name the folder (checkpoint=...), or leave resume out."
        )
    workers = Workers(strategy)
    with workers.loss_told():
        objective = _objective(model, x, y, loss, method, workers)
        times = _check_times(times, end_time, method)
        named = by_name(probes or {})
        identity = _identity(method, objective, times)
        workers.require_equal({**identity, "target risk": float(target_risk)})
        with Session(
            method,
            objective,
            times,
            target_risk=target_risk,
            probes=named,
            train_risk=train_risk,
            checkpoint=None if checkpoint is None else Checkpoint(checkpoint, identity),
            seconds=checkpoint_seconds,
            resume=resume,
            progress=progress,
            on_record=on_record,
            workers=workers,
        ) as session:
            while session.record():
                session.advance()
        return session.history


def _objective(model, x, y, loss, method, workers: Workers) -> Objective:
    own = [name for name in own_training(model) if name in ("train_step", "compute_loss")]
    if own:
        logger.warning(
            "train: %s of %s (%s) not used, as by fit: what falls is the mean of loss=%r",
            " and ".join(own),
            model.name,
            type(model).__name__,
            loss,
        )
    options = {"loss": loss, "batch_size": method.batch_size, "jit_compile": method.jit_compile}
    if workers.strategy is None:
        return Objective(model, x, y, **options)
    return DistributedObjective(model, x, y, workers=workers, **options)


def _check_times(times, end_time: float, method) -> list[float]:
    if not (np.isfinite(end_time) and end_time > 0):
        raise ValueError(f"Expected a positive end_time, received {end_time}.")
    if times is None:
        times = record_times(end_time, time_step=method.time_step)
    array = np.asarray(times, dtype="float64")
    if array.ndim != 1 or not array.size or not ((array >= 0) & (array <= end_time)).all():
        raise ValueError(
            f"Expected record times between 0 and end_time={end_time}, received {times!r}."
        )
    array = np.append(array, end_time)
    if method.whole_steps:
        steps = np.round(array / method.time_step)
        if not steps[-1]:
            raise ValueError(
                f"Expected end_time of at least one step ({method.time_step}), received {end_time}."
            )
        array = method.time_step * steps
    return np.unique(array).tolist()


def _identity(method, objective: Objective, times) -> dict:
    """What has to be equal if a run is to go on where another one stopped."""
    model, data = objective.model, (objective.x, objective.y)
    return {
        "method": {"name": type(method).__name__, **dataclasses.asdict(method)},
        "loss": objective.loss.identity,
        "end time": times[-1],
        "record times": digest([np.asarray(times)]),
        # Names are left out, because Keras numbers them within a process.
        "model": [[list(v.shape), str(v.dtype)] for v in model.variables],
        "activations": _activations(model),
        "initial weights": digest(v.value for v in model.variables),
        "training data": digest(tf.nest.flatten(data, expand_composites=True)),
    }


def _activations(model) -> list[str]:
    """Names of the activations of a model's layers, which its weights do not tell."""
    held = [la.activation for la in layers_of(model) if callable(getattr(la, "activation", None))]
    return [getattr(f, "__name__", type(f).__name__) for f in held]
