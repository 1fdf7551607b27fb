"""Who proposes the trials of a sweep: KerasTuner's oracles, with what a long sweep needs."""

from __future__ import annotations

import json
import math
import time
from pathlib import Path
from typing import Any

import keras_tuner as kt
from keras_tuner.engine.trial import TrialStatus
from threadpoolctl import threadpool_limits

from asym_keras.files import write_text
from trainers.common.config import PAIRS

# Two proposals are the same point if they differ by less in every coordinate, scaled to [0, 1].
SAME = 0.01
_DRAWS = 100


class _Proposals(kt.Oracle):
    """What the oracles of a sweep do beyond KerasTuner's.

    - They propose no point twice. KerasTuner's Bayesian search returns to the corners of the space.
    - They propose nothing more when the time is over, or after many failures in a row. KerasTuner's
      own limit of failures would leave a chief that waits for workers for ever.
    - When the chief is restarted, a worker keeps the trial that it runs. KerasTuner would give the
      trial to a second worker, too, and both would write into its folder.
    - They write files whole or not at all, and run a trial that was begun but is in no list.

    Args:
        config: flags of the sweep.
        crew: ids of all tuners of the sweep; None: not known.
        **options: those of KerasTuner's oracle.
    """

    def __init__(self, config, crew: set[str] | None, **options: Any):
        super().__init__(**options, max_consecutive_failed_trials=None)
        self._config, self._crew = config, crew
        self._end = math.inf if config.max_time is None else time.time() + config.max_time
        self._ongoing_there: dict[str, Any] = {}
        self.verbose = 0

    def populate_space(self, trial_id: str) -> dict:
        if time.time() >= self._end or self._all_failed():
            return {"status": TrialStatus.STOPPED, "values": None}
        # The search multiplies thousands of tiny matrices, for which several threads would only
        # wait for each other, on a busy machine for seconds.
        with threadpool_limits(1):
            response = self._paper_pair() or super().populate_space(trial_id)
        for _ in range(_DRAWS):
            if response["status"] != TrialStatus.RUNNING or self._is_new(response["values"]):
                return response
            response = {"status": TrialStatus.RUNNING, "values": self._random_values()}
        return {"status": TrialStatus.STOPPED, "values": None}

    def _paper_pair(self) -> dict | None:
        pairs = PAIRS[self._config.protocol] if self._config.paper_first else ()
        if len(self.trials) >= len(pairs):
            return None
        gamma, alpha = pairs[len(self.trials)]
        values = self._random_values() | {"gamma": gamma, "alpha": alpha}
        return {"status": TrialStatus.RUNNING, "values": values}

    def _all_failed(self) -> bool:
        ended = [self.trials[trial].status for trial in self.end_order]
        last = ended[-self._config.max_failures :]
        return len(last) == self._config.max_failures and set(last) == {TrialStatus.FAILED}

    def _is_new(self, values: dict | None) -> bool:
        if values is None:
            return False
        place = self._place(values)
        others = [self._place(trial.hyperparameters.values) for trial in self.trials.values()]
        return all(
            max(abs(a - b) for a, b in zip(place, other, strict=True)) >= SAME for other in others
        )

    def _place(self, values: dict) -> list[float]:
        """Coordinates in [0, 1]; alpha has no effect at gamma = 1."""
        place = []
        for hp in self.hyperparameters.space:
            fixed = isinstance(hp, kt.engine.hyperparameters.Fixed)
            moot = hp.name == "alpha" and values["gamma"] == 1.0
            place.append(0.5 if fixed or moot else hp.value_to_prob(values[hp.name]))
        return place

    def set_state(self, state: dict) -> None:
        super().set_state(state)
        self._ongoing_there = dict(self.ongoing_trials)

    def reload(self) -> None:
        super().reload()
        # When a trial ends, KerasTuner first saves it and then takes it off the list of running
        # ones. A process that dies between the two leaves an ended trial there.
        for trial_id in {*self._retry_queue} & {*self.end_order}:
            self._retry_queue.remove(trial_id)
        for tuner, trial in self._ongoing_there.items():
            waits = trial.trial_id in self._retry_queue
            if waits and (self._crew is None or tuner in self._crew):
                self._retry_queue.remove(trial.trial_id)
                self.ongoing_trials[tuner] = trial
        known = {trial.trial_id for trial in self.ongoing_trials.values()} | {*self._retry_queue}
        begun = [t.trial_id for t in self.trials.values() if t.status == TrialStatus.RUNNING]
        self._retry_queue += sorted(set(begun) - known)

    def save(self) -> None:
        write_text(self._get_oracle_fname(), json.dumps(self.get_state()))

    def _save_trial(self, trial) -> None:
        path = Path(self._get_trial_dir(trial.trial_id)) / "trial.json"
        write_text(path, json.dumps(trial.get_state()))


class RandomOracle(_Proposals, kt.oracles.RandomSearchOracle):
    """Random points of the space."""


class BayesianOracle(_Proposals, kt.oracles.BayesianOptimizationOracle):
    """The points that are best or least known, by a Gaussian process fitted to the trials."""
