"""What a run shows of itself while it lasts."""

from __future__ import annotations

import logging

from tqdm.auto import tqdm

from asym_keras.training.history import History

logger = logging.getLogger(__name__)


class Bar:
    """Progress bar in shares of the work, with the last record's risks and accuracies."""

    def __init__(self, run, end: float, *, disable: bool):
        done = round(1000 * run.fraction(end))
        form = "{desc}: {percentage:3.0f}%|{bar}| {elapsed}<{remaining}{postfix}"
        self._bar = tqdm(
            total=1000, initial=done, disable=disable, bar_format=form, desc="training"
        )
        self._run, self._end = run, end

    def show(self, history: History) -> None:
        """Moves the bar to where the run is."""
        self._bar.n = min(1000, round(1000 * self._run.fraction(self._end)))
        shown = {"t": f"{self._run.time:.6g}", "gradients": self._run.counters()["gradients"]}
        if len(history):
            row = history[-1]
            shown |= {k: f"{v:.4g}" for k, v in row.items() if k.endswith(("_risk", "_accuracy"))}
        self._bar.set_postfix(shown)

    def close(self) -> None:
        """Leaves the bar as it is."""
        self._bar.close()


def announce(run, end: float, *, disable: bool = False) -> None:
    """Logs how long a run to time `end` will take, if that is long."""
    gradients, seconds = run.estimate(end)
    if gradients * seconds > 5 and not disable:
        logger.info(
            "about %d gradients of %.2g s each: %.2g minutes, records not counted",
            gradients,
            seconds,
            gradients * seconds / 60,
        )
