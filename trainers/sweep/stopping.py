"""Which trials are ended early, and the probe that watches for it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from time import monotonic

import numpy as np

from asym_keras.tables import Table
from trainers.sweep.validation import Validation

LEAST_OTHERS = 5
# Shares of the time at which a trial is measured. A flow to t costs about sqrt(t), so these are
# 35, 50 and 70 % of its work; a measurement of 100 nodes on MNIST takes some seconds.
LOOKS = (0.125, 0.25, 0.5)

_ROUND_OFF = 1e-9  # relative, of times; CSV files keep all their digits

Records = tuple[np.ndarray, np.ndarray]  # times and values, float64 (records,)
_NO_RECORDS: Records = (np.empty(0), np.empty(0))


class TrialStopped(Exception):
    """A trial that was ended early.

    Args:
        reason: in words.
        numbers: what was measured at the end, and `time`.
    """

    def __init__(self, reason: str, numbers: dict[str, float]):
        super().__init__(reason)
        self.numbers = numbers


def is_hopeless(
    own: Records, others: Sequence[Records], *, larger_is_better: bool
) -> tuple[bool, float, float]:
    """The median rule.

    Let t be the time of a trial's last record and b the best value it has had. For each other
    trial whose records reach t, let b_i be the best value it had had by then. The trial is
    hopeless if there are at least `LEAST_OTHERS` of them and b is worse than the median of the
    b_i. Trials that failed or were ended early count as far as they came.

    Args:
        own: records of the trial.
        others: records of each other trial.
        larger_is_better: whether the best value is the largest.

    Returns:
        Whether it is hopeless, b, and the median (nan with too few others).
    """
    sign, time = 1.0 if larger_is_better else -1.0, own[0][-1]
    reached = []
    for times, values in others:
        known = sign * values[(times <= time * (1 + _ROUND_OFF)) & np.isfinite(values)]
        if len(known) and times[-1] >= time * (1 - _ROUND_OFF):
            reached.append(known.max())
    finite = own[1][np.isfinite(own[1])]
    best = (sign * finite).max() if len(finite) else -np.inf
    if len(reached) < LEAST_OTHERS:
        return False, float(sign * best), float("nan")
    median = np.median(reached)
    return bool(best < median), float(sign * best), float(sign * median)


def read_records(path: Path, name: str) -> Records:
    """Times and values of column `name` in a `history.csv`; empty if there is no such file yet."""
    try:
        history = Table.from_csv(path)
    except FileNotFoundError:
        history = Table()
    if not len(history) or name not in history[0]:
        return _NO_RECORDS
    return history.column("time"), history.column(name)


class Watch:
    """The probe that replaces the test set's: it measures the pruned network on validation rows.

    Its columns are those of `Validation.of`. They have numbers at the first record at or after each
    of the `LOOKS`, shares of the whole time, and are nan elsewhere. The columns of the test set are
    nan everywhere, because no trial may see it. Where the run is hopeless, the probe raises.

    Args:
        validation: what measures.
        history: the run's `history.csv`, which holds a record when the next one is made.
        times: record times, float64 (records,).
        measure: name of the column that is judged.
        others: gives the records of the other trials; None: no trial is ended early.
        larger_is_better: of the column.
        resumed: whether the run goes on from a checkpoint.

    Attributes:
        seconds: how long its measurements took.

    Raises:
        TrialStopped: The median rule says so.
    """

    def __init__(
        self,
        validation: Validation,
        history: Path,
        times: np.ndarray,
        measure: str,
        *,
        others: Callable[[], list[Records]] | None,
        larger_is_better: bool,
        resumed: bool,
    ):
        self._validation, self._history, self._times = validation, history, np.asarray(times)
        self._measure, self._others = measure, others
        self._larger, self.seconds = larger_is_better, 0.0
        ends = self._times[-1]
        looks = {float(self._times[self._times >= share * ends][0]) for share in LOOKS}
        self._looks = looks - {float(ends)}
        # A checkpoint may be older than history.csv, so that the time of the run is not known
        # until it has written its next record.
        self._known, self._begun = not resumed, False

    def __call__(self, model) -> dict[str, float]:
        known, self._known = self._known, True
        before = read_records(self._history, self._measure) if self._begun else _NO_RECORDS
        self._begun = True
        last = before[0][-1] if len(before[0]) else -1.0
        ahead = self._times[self._times > max(last, last * (1 + _ROUND_OFF))]
        time = float(ahead[0] if len(ahead) else self._times[-1])
        if not known or time not in self._looks:
            return self._row(None)
        began = monotonic()
        numbers = self._validation.of(model)
        self.seconds += monotonic() - began
        if self._others is not None:
            own = np.append(before[0], time), np.append(before[1], numbers[self._measure])
            hopeless, best, median = is_hopeless(own, self._others(), larger_is_better=self._larger)
            if hopeless:
                raise TrialStopped(
                    f"{self._measure} {best:.6g} at best until t = {time:g}, by when half of the "
                    f"others had {median:.6g} or better",
                    {**numbers, "time": time},
                )
        return self._row(numbers)

    def _row(self, numbers: dict[str, float] | None) -> dict[str, float]:
        names = self._validation.names()
        kinds = ("risk", "accuracy") if "val_accuracy_pruned" in names else ("risk",)
        nothing = dict.fromkeys([*(f"test_{kind}" for kind in kinds), *names], float("nan"))
        return {**nothing, **(numbers or {})}
