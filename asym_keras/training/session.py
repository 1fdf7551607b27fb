"""One run of training: its records, its checkpoints, and where it goes on from."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

import keras
import numpy as np

from asym_keras.tables import History
from asym_keras.training.checkpoint import Checkpoint
from asym_keras.training.errors import TrainingError, WorkerLostError
from asym_keras.training.objective import Objective
from asym_keras.training.progress import Progress
from asym_keras.training.workers import Workers


class Session:
    """A run from its start, or from its checkpoint, to its last record.

    It is a context manager: whatever ends the run, the model gets the weights that were reached,
    and the checkpoint gets the state, unless a worker was lost.

    Args:
        method: `GradientDescent`, `GradientFlow`, or another with `time_step`, `whole_steps` and
            `start(objective, snapshot)`; what that returns has `time`, `weights`, `state`, `risk`,
            `fraction`, `counters`, `estimate`, `advance`, `at` and `snapshot` as a `FlowRun` has.
        objective: the risk to reduce.
        times: record times, increasing.
        seconds: least time between two checkpoints.
        workers: the processes that train the model together.
        probes: by name.
        target_risk, train_risk, checkpoint, resume, progress, on_record: as of `train`.

    Attributes:
        history: of all records.

    Raises:
        FileExistsError: There is a checkpoint, and `resume` is False.
        CheckpointError: The run can't go on from it.
    """

    def __init__(
        self,
        method,
        objective: Objective,
        times: list[float],
        *,
        target_risk: float,
        probes: Mapping[str, Callable],
        train_risk: bool,
        checkpoint: Checkpoint | None,
        seconds: float,
        resume: bool,
        progress: bool,
        on_record: Callable[[History], None] | None,
        workers: Workers,
    ):
        self._objective, self._probes, self._on_record = objective, probes, on_record
        self._checkpoint, self._seconds, self._workers = checkpoint, seconds, workers
        self._time_step, self._end, self._target = method.time_step, times[-1], target_risk
        arrays, values = _restored(checkpoint, resume)
        # Asked before the first collective operation: a worker that goes on from the checkpoint
        # and one that begins anew would wait for each other for ever.
        workers.require_equal({"checkpoint, which all read from one folder": values["seconds"]})
        kept = {k.split("/", 1)[1]: list(v) for k, v in arrays.items() if k.startswith("history/")}
        self.history = History(values["rows"], kept)
        # A run whose first records went without it goes on without it: a table has one head.
        self._train_risk = train_risk and (not values["rows"] or "train_risk" in values["rows"][0])
        for probe in probes.values():
            if hasattr(probe, "start"):
                probe.start(objective.model)
        self._run = method.start(objective, (arrays, values["run"]) if values["run"] else None)
        del arrays  # they are as large as everything that the method keeps
        self._stopped = values["stopped"]
        self._began, self._saved = time.monotonic() - values["seconds"], time.monotonic()
        reached = self.history[-1]["time"] if len(self.history) else -1.0
        times = _cut(times, self._run.time) if self._stopped else times
        self._pending = [t for t in times if t > reached]
        self._progress = Progress(self._run, self._end, disable=not progress)

    def __enter__(self) -> Session:
        return self

    def __exit__(self, kind, error, trace) -> None:
        try:
            # If a worker was lost, a step was interrupted, and its state must not be saved.
            lost = isinstance(error, WorkerLostError)
            if kind is None or (issubclass(kind, (KeyboardInterrupt, TrainingError)) and not lost):
                self._save()
        finally:
            self._objective.assign(self._run.weights, self._run.state)
            self._progress.close()

    def record(self) -> bool:
        """Makes the records that are due. Returns whether more will come."""
        run = self._run
        if run.risk <= self._target and not self._stopped:
            self._pending, self._stopped = _cut(self._pending, run.time), True
        while self._pending and self._pending[0] <= run.time * (1 + 1e-12):
            self._record(self._pending[0])
            del self._pending[0]
        self._progress.show(self.history)
        return bool(self._pending)

    def advance(self) -> None:
        """Takes some steps towards the next record."""
        if time.monotonic() - self._saved >= self._seconds:
            self._save()
            self._saved = time.monotonic()
        with self._workers.loss_told():
            self._run.advance(self._pending[0], self._end, self._target)

    def _record(self, at: float) -> None:
        self._objective.assign(self._run.at(at), self._run.state)
        numbers, arrays = _call_probes(self._probes, self._objective.model)
        if self._train_risk and "train_risk" not in numbers:
            numbers = {"train_risk": self._objective.evaluate()[0], **numbers}
        elapsed = {"wall_seconds": round(time.monotonic() - self._began, 3)}
        step = at / self._time_step
        if abs(step - round(step)) < 1e-6:
            step = round(step)
        row = {"step": step, "time": at}
        self.history.append({**row, **numbers, **self._run.counters(), **elapsed}, arrays)
        if self._on_record is not None:
            self._on_record(self.history)

    def _save(self) -> None:
        if self._checkpoint is None or not self._workers.is_first:
            return
        arrays, values = self._run.snapshot()
        seconds = time.monotonic() - self._began
        state = {"run": values, "rows": self.history.rows, "seconds": seconds}
        state["stopped"] = self._stopped
        self._checkpoint.save({**arrays, **_pack(self.history)}, state)


def _restored(checkpoint: Checkpoint | None, resume: bool) -> tuple[dict, dict]:
    """Arrays and values of the checkpoint, or else those of a run that has not begun."""
    if checkpoint is None or not checkpoint.exists():
        return {}, {"run": None, "rows": [], "seconds": 0.0, "stopped": False}
    if not resume:
        raise FileExistsError(
            f"Expected no checkpoint in {checkpoint.path.parent}, received one. "
            "Set resume=True to go on from it, or choose another folder."
        )
    return checkpoint.load()


def _cut(times: list[float], end: float) -> list[float]:
    """Record times of a run that stops at `end`."""
    return [*(t for t in times if t < end), end]


def _call_probes(probes, model: keras.Model) -> tuple[dict, dict]:
    """Numbers and arrays that the probes give, in their order."""
    numbers: dict[str, float] = {}
    arrays: dict[str, np.ndarray] = {}
    for name, probe in probes.items():
        result = probe(model)
        for key, value in (result if isinstance(result, dict) else {name: result}).items():
            if key in numbers or key in arrays:
                raise ValueError(
                    f"train: expected each column from one probe, received {key!r} from two, the "
                    f"second time from the probe {name!r}. Leave one out, or name it otherwise."
                )
            value = np.asarray(value)
            if value.ndim:
                arrays[key] = value
            else:
                numbers[key] = value.item()
    return numbers, arrays


def _pack(history: History) -> dict[str, np.ndarray]:
    # Ctrl-C may come when the arrays of a record have been added, and its row has not.
    rows = len(history)
    return {f"history/{k}": np.stack(v[:rows]) for k, v in history.arrays.items() if v[:rows]}
