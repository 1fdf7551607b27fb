"""What each figure of the paper needs: which runs, of which trainer, with which flags."""

from __future__ import annotations

from pathlib import Path

import asym_keras as ak
from trainers.common.experiments import Experiment, configuration, require_features
from trainers.common.tasks import TASKS
from trainers.figures.config import Config

# Figure 11 varies gamma; the paper gives no list. Other figures have the protocol's four pairs.
_PAIRS = {11: "0:0.4,0.25:0.4,0.5:0.4,0.75:0.4,1:0.4"}


def experiments(number: int, settings: Config) -> list[Experiment]:
    """The experiments of a figure.

    Args:
        number: of the figure.
        settings: flags of `trainers.figures`.

    Raises:
        ImportError: There is no such trainer.
        ValueError: A flag is missing, or the trainer refuses one.
    """
    tables: dict[str, set[str]] = {}
    for panel in ak.plotting.PAPER_FIGURES[number]:
        tables.setdefault(panel.task, set()).add(ak.plotting.QUANTITIES[panel.quantity].table)
    return [
        Experiment(
            task,
            configuration(
                task,
                settings,
                protocol=settings.protocol,
                pairs=_PAIRS.get(number, "all"),
                seeds=settings.seeds,
                jobs=settings.jobs,
                out_dir=str(Path(settings.runs) / task),
                resume=True,
                refit=settings.refit and "pruning" in of,
                transfer=TASKS[task].transfer,
                **{"features": require_features(settings)} if TASKS[task].features else {},
            ),
            ("metrics.json", "nodes.npz", *sorted(f"{t}.csv" for t in of | {"history"})),
        )
        for task, of in tables.items()
    ]
