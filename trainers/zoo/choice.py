"""Which of a task's runs makes the best small network, by rows that the cards don't report."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import asym_keras as ak
from trainers.common.curves import measured
from trainers.common.experiments import Experiment
from trainers.common.reload import check_data, reload_config, reload_data


@dataclasses.dataclass(frozen=True)
class Choice:
    """The best network of a task with `keep` nodes.

    Attributes:
        run: folder of the run.
        gamma, alpha: its pair.
        keep: nodes that stay.
        refit: whether the readout is fitted anew.
        risk: on the held-out rows.
        accuracy: on the held-out rows; None for a regression.
    """

    run: Path
    gamma: float
    alpha: float
    keep: int
    refit: bool
    risk: float
    accuracy: float | None

    @property
    def rank(self) -> tuple[float, float, bool]:
        """Less is better: accuracy if there is one, then risk, then the plain readout."""
        return (-(self.accuracy or 0.0), self.risk, self.refit)


def choose(experiment: Experiment, keeps: Sequence[int]) -> list[Choice]:
    """The best (gamma, alpha), refitted or not, for each number of nodes.

    Best is the highest accuracy, or for a regression the lowest risk, on rows held out from
    training that are not the test rows. Readouts are refitted to the training rows alone.

    Args:
        experiment: the runs, all of which must be there.
        keeps: numbers of nodes.

    Returns:
        One choice for each of `keeps`, in their order.
    """
    candidates = _candidates(experiment, keeps)
    return [min((c for c in candidates if c.keep == k), key=lambda c: c.rank) for k in keeps]


def _candidates(experiment: Experiment, keeps: Sequence[int]) -> list[Choice]:
    runs = [ak.load_run(path) for [path] in experiment.pairs()]
    data = reload_data(runs[0])
    config = reload_config(runs[0])
    held_out = config.held_out(data)
    candidates = []
    for run in runs:
        check_data(run, data)
        pruned = [run.config["width"] - keep for keep in keeps]
        rows = measured(config, run.load_model(), data, held_out, pruned=pruned, refit=True)
        pair = run.path, run.config["gamma"], run.config["alpha"]
        for row in rows:
            for refit, suffix in ((False, ""), (True, "_refit")):
                numbers = row[f"test_risk{suffix}"], row.get(f"test_accuracy{suffix}")
                candidates.append(Choice(*pair, row["kept"], refit, *numbers))
    return candidates
