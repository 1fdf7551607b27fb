"""The published curves, read from their file and looked up by pair."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import asym_keras as ak

if TYPE_CHECKING:
    from asym_keras.plotting import MeanCurve

RUNS = 5


class PublishedCurves:
    """Curves of the published figures, `{dataset: {figure: {series: {label: {x, y, std}}}}}`.

    Args:
        path: the JSON file.

    Raises:
        ValueError: It is not such a file.
    """

    def __init__(self, path: str | Path):
        self.path = Path(path)
        try:
            content = json.loads(self.path.read_text(encoding="utf-8"))
            self._series = {
                (task, figure): dict(of["series"])
                for task, figures in content.items()
                for figure, of in figures.items()
            }
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise ValueError(
                "--reference: expected a file of published curves, "
                f"{{dataset: {{figure: {{series: ...}}}}}}, received {path} "
                f"({type(error).__name__}: {error})."
            ) from error

    def has_task(self, task: str) -> bool:
        """Whether there is a curve of the task."""
        return any(of == task for of, _ in self._series)

    def curve(self, task: str, quantity: str, gamma: float, alpha: float) -> MeanCurve | None:
        """The curve of a quantity of `asym_keras.plotting.QUANTITIES`, or None."""
        import numpy as np

        label = "gamma=1.0" if gamma == 1 else f"alpha={alpha}, gamma={float(gamma)}"
        found = self._series.get((task, ak.plotting.QUANTITIES[quantity].published), {}).get(label)
        if found is None:
            return None
        x, mean, std = (np.array(found[name], dtype="float64") for name in ("x", "y", "std"))
        return ak.plotting.MeanCurve(x, mean, std, RUNS)
