"""KerasTuner's part of a sweep: what is searched, and who runs the trials."""

from __future__ import annotations

import json
import logging
import os
from pathlib import Path

import grpc
import keras_tuner as kt
from keras_tuner.engine.base_tuner import BaseTuner

from asym_keras.files import write_text
from trainers.sweep import crew
from trainers.sweep.folder import SweepFolder
from trainers.sweep.nested import NestedTrials, declare
from trainers.sweep.oracle import BayesianOracle, RandomOracle
from trainers.sweep.results import write_trials
from trainers.sweep.trial import Trials

logger = logging.getLogger("trainers")


class RunHyperModel(kt.HyperModel):
    """A network as a function of what is searched.

    That is gamma, alpha and, where they are searched, width and steps. With --nested it is a
    network of several widths, and a function of the rate and the widths' weights, too. `build`
    gives the configuration of a run, from which the run makes its network. `fit` makes the run: it
    trains, prunes and measures on validation rows.

    Args:
        config: flags of the sweep.
        folder: its folder.
    """

    def __init__(self, config, folder: SweepFolder):
        super().__init__()
        self.trials = (Trials if config.nested is None else NestedTrials)(config, folder)
        self._config = config

    def declare_hyperparameters(self, hp: kt.HyperParameters) -> None:
        """Declares the space that is searched."""
        config = self._config
        for name, (low, high) in (("gamma", config.gamma_range()), ("alpha", config.alpha_range())):
            _ = hp.Float(name, low, high) if low < high else hp.Fixed(name, low)
        for name, searched, (low, high) in (
            ("width", config.widths, config.width_range()),
            ("steps", config.times, config.time_range()),
        ):
            if searched is not None:
                _ = hp.Int(name, low, high, sampling="log") if low < high else hp.Fixed(name, low)
        if config.nested is not None:
            declare(config, hp)

    def build(self, hp: kt.HyperParameters):
        """The run's configuration, which has no folder yet."""
        self.declare_hyperparameters(hp)
        return self.trials.config(hp.values, Path("unused"))

    def fit(self, hp: kt.HyperParameters, model, *, trial_id: str) -> dict[str, float]:
        """Makes the run of a trial; returns what was measured."""
        return self.trials.run(trial_id, hp.values)


class ChiefLost(kt.errors.FatalError, RuntimeError):
    """The chief did not answer; the worker ends, and asks again when it is brought back."""


class RunTuner(BaseTuner):
    """Runs the trials that its oracle, here or at the chief, proposes.

    Args:
        config: flags of the sweep.
        folder: its folder, open; the search continues from the state that it holds.
        role: of this process, from `crew.role`.
    """

    def __init__(self, config, folder: SweepFolder, role: str):
        hypermodel = RunHyperModel(config, folder)
        space = kt.HyperParameters()
        hypermodel.declare_hyperparameters(space)
        oracle = {"random": RandomOracle, "bayesian": BayesianOracle}[config.tuner](
            config,
            crew.known_ids(config, role),
            objective=kt.Objective(
                config.measure(), direction="max" if config.larger_is_better() else "min"
            ),
            max_trials=config.trials,
            hyperparameters=space,
            seed=config.seed + 1,  # KerasTuner takes 0 for a random seed
        )
        self._config, self._folder = config, folder
        # Without KerasTuner's own overwriting, by which a worker would delete the others' results.
        options = {"directory": str(folder.path), "project_name": "tuner", "overwrite": False}
        super().__init__(oracle, hypermodel, **options)

    def run_trial(self, trial) -> dict[str, float]:
        """Makes the run of a trial."""
        hp = trial.hyperparameters
        return self.hypermodel.fit(hp, self.hypermodel.build(hp), trial_id=trial.trial_id)

    def _run_and_update_trial(self, trial) -> None:
        try:
            super()._run_and_update_trial(trial)
        except grpc.RpcError as error:  # KerasTuner would take it for a failure of the trial
            raise _lost(error) from error

    def on_search_begin(self) -> None:
        """Saves before the first trial, so that a killed process finds it again."""
        self.save()

    def on_trial_end(self, trial) -> None:
        """Tells the oracle, then the user."""
        super().on_trial_end(trial)
        write_trials(self._config, self._folder)
        record = self._folder.record(trial.trial_id)
        if record is not None and not self._config.quiet:
            logger.info("%s", _line(record, self._config.measure()))

    def save(self) -> None:
        if not self._is_worker():
            self.oracle.save()
        write_text(self._get_tuner_fname(), json.dumps(self.get_state()))


def search(config, folder: SweepFolder, role: str) -> None:
    """Runs trials until the oracle has no more; a chief is the oracle of its workers instead.

    Args:
        config: flags of the sweep.
        folder: its folder, open.
        role: of this process, from `crew.role`.

    Raises:
        ChiefLost: The chief died while it was asked.
    """
    tuner = RunTuner(config, folder, role)
    if role != "chief":
        tuner.hypermodel.trials.prepare_device()
    try:
        tuner.search()
    except grpc.RpcError as error:
        raise _lost(error) from error


def _lost(error: grpc.RpcError) -> ChiefLost:
    where = ":".join(os.environ[name] for name in (crew.ORACLE_IP, crew.ORACLE_PORT))
    return ChiefLost(
        f"expected the chief at {where} to answer, received {error.code().name}. Start this worker "
        "again, with the same id, once the chief is there: what it has measured is kept."
    )


def _line(record: dict, measure: str) -> str:
    """A trial in one line."""
    who = os.environ.get(crew.TUNER_ID)
    values = ", ".join(f"{name} {value:g}" for name, value in record["values"].items())
    parts = [f"trial {record['trial']}: {values}: {record['status']}"]
    if measure in record["metrics"]:
        parts.append(f"{measure} {record['metrics'][measure]:.5g}")
    if record["error"]:
        parts.append(record["error"].splitlines()[0])
    return (f"{who}: " if who else "") + ", ".join([*parts, f"{record['seconds']:.0f} s"])
