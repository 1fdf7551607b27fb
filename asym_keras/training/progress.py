"""What a run shows of itself while it lasts."""

from __future__ import annotations

import logging
import sys

from tqdm.auto import tqdm

from asym_keras.tables import History

logger = logging.getLogger(__name__)

# The log tells how long a run will take if it takes more seconds than this.
LONG = 5.0


class Progress:
    """A bar of the work done, with the risks of the last record; the log tells of a long run."""

    def __init__(self, run, end: float, *, disable: bool):
        done = round(1000 * run.fraction(end))
        form = "{desc}: {percentage:3.0f}%|{bar}| {elapsed}<{remaining}{postfix}"
        self._bar = tqdm(
            total=1000,
            initial=done,
            disable=disable or sys.stderr is None,  # closed, as by 2>&-
            bar_format=form,
            desc="training",
        )
        self._run, self._end = run, end
        # The first call compiles, so the time of a gradient is known after the second one.
        self._calls_to_forecast = -1 if disable else 2

    def show(self, history: History) -> None:
        """Moves the bar to where the run is."""
        self._bar.n = min(1000, round(1000 * self._run.fraction(self._end)))
        shown = {"t": f"{self._run.time:.6g}", "gradients": self._run.counters()["gradients"]}
        if len(history):
            row = history[-1]
            shown |= {k: f"{v:.4g}" for k, v in row.items() if k.endswith(("_risk", "_accuracy"))}
        self._bar.set_postfix(shown)
        if not self._calls_to_forecast:
            self._forecast()
        self._calls_to_forecast -= 1

    def close(self) -> None:
        """Leaves the bar as it is."""
        self._bar.close()

    def _forecast(self) -> None:
        gradients, seconds = self._run.estimate(self._end)
        if gradients * seconds > LONG:
            logger.info(
                "about %d gradients of %.2g s each: %.2g minutes, records not counted",
                gradients,
                seconds,
                gradients * seconds / 60,
            )
