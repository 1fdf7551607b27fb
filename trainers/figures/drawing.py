"""Draws figures: makes the runs that are missing, or lists them."""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import asym_keras as ak
from trainers.common.batch import RunsFailed
from trainers.common.pictures import formats_of
from trainers.common.published import PublishedCurves
from trainers.figures.config import Config
from trainers.figures.runs import experiments

if TYPE_CHECKING:
    from asym_keras.runs import Run
    from trainers.common.experiments import Experiment

logger = logging.getLogger("trainers")


def draw_all(config: Config, command: str) -> list[Path]:
    """Draws each figure, or lists its runs; exits with status 1 if a figure failed."""
    published = PublishedCurves(config.reference) if config.reference else None
    drawn: list[Path] = []
    failed: list[int] = []
    missing: set[Path] = set()
    broken: dict[str, Exception] = {}
    for number in config.numbers():
        try:
            if config.dry_run:
                _list_missing(number, config, missing)
            else:
                drawn.append(_figure(number, config, published, broken))
                print(drawn[-1])
        except (ImportError, OSError, RuntimeError, ValueError) as error:
            logger.error("figure %d: %s", number, error, exc_info=config.debug)
            failed.append(number)
    if config.dry_run:
        print(f"{len(missing)} runs missing")
    if failed:
        print(f"error: figures that failed: {', '.join(map(str, failed))}", file=sys.stderr)
        sys.exit(1)
    return drawn


def _list_missing(number: int, config: Config, seen: set[Path]) -> None:
    """Prints the runs that figure `number` needs and that no figure before it does."""
    for experiment in experiments(number, config):
        missing = [path for path in experiment.missing() if path not in seen]
        seen.update(missing)
        if missing:
            total = sum(map(len, experiment.pairs()))
            print(f"figure {number}, {experiment.task}: {len(missing)} of {total} runs missing")
            print(f"  {experiment.text()}")
            print("\n".join(f"  {path}" for path in missing))


def _figure(
    number: int, config: Config, published: PublishedCurves | None, broken: dict[str, Exception]
) -> Path:
    """Makes the runs that are missing, and draws a figure from all it needs."""
    groups: dict[str, list[list[Run]]] = {}
    for experiment in experiments(number, config):
        _complete(experiment, broken)
        groups[experiment.task] = [
            [ak.load_run(path) for path in paths] for paths in experiment.pairs()
        ]
    formats = formats_of(config.format)
    path = Path(config.out) / f"figure_{number:02d}.{formats[0]}"
    path.parent.mkdir(parents=True, exist_ok=True)
    ak.plotting.paper_figure(
        number,
        path,
        groups,
        published=published.curve if published else None,
        title=_title(number, config, groups) if config.titles else "",
        refit=config.refit,
        formats=formats,
    )
    return path


def _complete(experiment: Experiment, broken: dict[str, Exception]) -> None:
    """Makes what is missing; what failed for one figure is not tried again for the next."""
    if not experiment.missing():
        return
    text = experiment.text()
    if text in broken:
        raise broken[text]
    try:
        experiment.run()
    except (ImportError, OSError, RunsFailed, ValueError) as error:
        broken[text] = error
        raise
    still = experiment.missing()
    if still:
        lacking = ", ".join(experiment.lacking(still[0]))
        broken[text] = RuntimeError(
            f"expected {', '.join(experiment.files)} in each run, received none of {lacking} "
            f"in {still[0]}. Repeat its command with --overwrite: {text}"
        )
        raise broken[text]


def _title(number: int, config: Config, groups: dict[str, list[list[Run]]]) -> str:
    """What the runs of a figure have in common."""
    if not groups:
        return f"Figure {number}"
    runs = [run for of_task in groups.values() for group in of_task for run in group]
    tasks = ", ".join(groups)
    if config.features and "cifar10" in groups:
        tasks += f" (features: {Path(config.features).name})"
    seeds = f"{config.seeds} seeds" if config.seeds > 1 else "1 seed"
    widths = " / ".join(sorted({str(run.config["width"]) for run in runs}))
    return f"Figure {number}: {tasks}\nprotocol {config.protocol}, m = {widths}, {seeds}"
