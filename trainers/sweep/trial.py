"""One trial of a sweep: a run in its own folder, and the record of how it ended."""

from __future__ import annotations

import dataclasses
import functools
import math
import shutil
import time
from pathlib import Path
from typing import Any

import asym_keras as ak
from asym_keras.datasets import Dataset
from asym_keras.tables import Table
from trainers import cifar10
from trainers.common import environment, experiment
from trainers.common.config import HeldOut, TrainerConfig
from trainers.common.experiments import Experiment, configuration, require_features
from trainers.common.folder import RunFolder
from trainers.common.tasks import TASKS
from trainers.sweep.config import Config
from trainers.sweep.curves import CURVE
from trainers.sweep.folder import SweepFolder
from trainers.sweep.stopping import TrialStopped, Watch, read_records
from trainers.sweep.validation import Validation

_PASSED_ON = ("protocol", "records", "seed", "dtype", "activation", "law", "format")
_DIGITS = 4  # of gamma and alpha; KerasTuner sends them with seven


def trial_config(sweep: Config, values: dict[str, Any], path: Path) -> TrainerConfig:
    """The configuration of a run, as its trainer has it.

    Args:
        sweep: flags of the sweep.
        values: `gamma` and `alpha`, and `width` and `steps` where they are searched.
        path: the run folder.
    """
    options: dict[str, Any] = {
        name: round(values[name], _DIGITS) for name in ("gamma", "alpha") if name in values
    }
    options |= {name: int(values[name]) for name in ("width", "steps") if name in values}
    if sweep.solver is not None:
        options["solver"] = sweep.solver
    if TASKS[sweep.task].features:
        steps = options.get("steps", sweep.steps)
        options |= cifar10.Config.leaving_out(require_features(sweep), epochs=steps is None)
    return configuration(
        sweep.task,
        sweep,
        **{name: getattr(sweep, name) for name in _PASSED_ON},
        # No choice depends on the NTG, which would cost a tenth of the time.
        ntg_examples="0",
        out_dir=str(path),
        **options | {"quiet": True, "resume": True},
    )


def run_command(sweep: Config, config: TrainerConfig) -> str:
    """The command with which the trainer itself makes this run."""
    alone = dataclasses.replace(config, resume=False)
    return Experiment(sweep.task, alone, ()).text()


class Trials:
    """Runs the trials of a sweep, one after the other, in this process.

    Args:
        sweep: flags of the sweep.
        folder: its folder.
    """

    def __init__(self, sweep: Config, folder: SweepFolder):
        self._sweep, self._folder = sweep, folder
        self._trained = 0.0  # seconds of the present trial within its trainer

    def config(self, values: dict[str, Any], path: Path) -> Any:
        """The configuration of a trial's run."""
        return trial_config(self._sweep, values, path)

    def values(self, config: Any) -> dict[str, Any]:
        """What was searched, as the record has it."""
        return {name: getattr(config, name) for name in ("gamma", "alpha", "width", "steps")}

    def prepare_device(self) -> str:
        """Picks the device, before TensorFlow does anything; returns its name."""
        return self._device

    @functools.cached_property
    def _device(self) -> str:
        return environment.prepare_device(self._sweep.device)

    @functools.cached_property
    def _data(self) -> tuple[Dataset, HeldOut]:
        config = trial_config(self._sweep, {"gamma": 0.0, "alpha": 0.5}, Path("unused"))
        dataset = config.load()
        return dataset, config.held_out(dataset)

    def run(self, trial: str, values: dict[str, Any]) -> dict[str, float]:
        """Makes the run of a trial, or goes on with it, and records how it ended.

        Args:
            trial: its id.
            values: what `trial_config` takes.

        Returns:
            What was measured, under the names of `Validation`.

        Raises:
            Exception: The trial failed, which is recorded, too.
        """
        record = self._folder.record(trial)
        if record is not None and record["status"] != "failed":
            return record["metrics"]  # the trial ended, and the process died before it said so
        import keras

        config = self.config(values, self._folder.run_path(trial))
        began, self._trained = time.monotonic(), 0.0
        try:
            status, metrics, error = self._train(trial, config)
        except Exception as failure:
            self._end(trial, config, began, "failed", {}, f"{type(failure).__name__}: {failure}")
            raise
        finally:
            keras.utils.clear_session()  # or compiled functions of all trials stay in memory
        self._end(trial, config, began, status, metrics, error)
        return metrics

    def _end(self, trial: str, config: Any, began: float, status, metrics, error) -> None:
        """Records how a trial ended; removes its checkpoint, which is five times its weights."""
        record: dict[str, Any] = {"trial": trial, "status": status, "values": self.values(config)}
        record |= {"metrics": metrics}
        seconds = time.monotonic() - began
        record |= {"error": error, "seconds": round(seconds, 3)}
        record |= {"overhead_seconds": round(seconds - self._trained, 3)}
        self._folder.write_record(record)
        shutil.rmtree(RunFolder(self._folder.run_path(trial)).checkpoint, ignore_errors=True)

    def _train(self, trial: str, config: Any):
        """Trains and measures; returns the status, the numbers and why the trial ended early."""
        dataset, held_out = self._data
        run = RunFolder(self._folder.run_path(trial))
        try:
            run.check(config, may_grow=False)
        except (FileExistsError, ValueError):  # a killed process left a run of another proposal
            shutil.rmtree(run.path)
        validation = Validation(dataset, held_out, config, self._sweep.keep)
        try:
            if not run.finished(config, dataset):
                watch = self._watch(trial, config, run, validation)
                facts = {"command": run_command(self._sweep, config), "device": self._device}
                began = time.monotonic()
                try:
                    watched = with_probe(config, "test", watch)
                    experiment.train(watched, dataset, run, facts)
                finally:
                    self._trained = time.monotonic() - began - watch.seconds
            rows = validation.curve(ak.load_run(run.path).load_model())
        except TrialStopped as stop:
            return "stopped", {**_last(run), **stop.numbers}, str(stop)
        Table(rows).to_csv(run.path / CURVE)
        [metrics] = [dict(row) for row in rows if row["kept"] == self._sweep.keep]
        del metrics["kept"]
        if not math.isfinite(metrics[self._sweep.measure()]):
            raise ValueError(f"expected a finite {self._sweep.measure()}, received {metrics}.")
        final = {k: v for k, v in run.read("metrics.json").items() if not _is_nan(v)}
        run.write("metrics.json", final)
        return "completed", {**metrics, **_kept(final)}, None

    def _watch(self, trial: str, config: TrainerConfig, run: RunFolder, validation) -> Watch:
        """The probe that a run calls instead of the test set's."""
        dataset, sweep = self._data[0], self._sweep
        end = config.end_step(len(dataset.x_train)) * config.learning_rate
        times = ak.training.record_times(end, config.records, time_step=config.learning_rate)
        return Watch(
            validation,
            run.path / "history.csv",
            times,
            sweep.measure(),
            others=functools.partial(self._others, trial) if sweep.early_stop == "median" else None,
            larger_is_better=sweep.larger_is_better(),
            resumed=run.checkpoint.exists(),
        )

    def _others(self, trial: str) -> list:
        paths = sorted(self._folder.trials.glob("*/history.csv"))
        measure = self._sweep.measure()
        return [read_records(path, measure) for path in paths if path.parent.name != trial]


def with_probe(config: TrainerConfig, name: str, probe) -> TrainerConfig:
    """The same configuration with a probe of that name, in place of one that it may have."""
    of: Any = type(config)

    class Watched(of):
        def further_probes(self, dataset) -> dict:
            return {**super().further_probes(dataset), name: probe}

    return Watched(**dataclasses.asdict(config))


_NUMBERS = ("time", "train_risk", "train_accuracy", "gradients", "wall_seconds")


def _kept(row: dict) -> dict[str, float]:
    return {name: row[name] for name in _NUMBERS if name in row}


def _last(run: RunFolder) -> dict[str, float]:
    path = run.path / "history.csv"
    return _kept(Table.from_csv(path)[-1]) if path.is_file() else {}


def _is_nan(value) -> bool:
    return isinstance(value, float) and math.isnan(value)
