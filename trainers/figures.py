"""Draws the figures of the paper, from runs that are there and those that it makes.

    python -m trainers.figures --figure 1
    python -m trainers.figures --figure all --protocol authors --dry-run
    python -m trainers.figures --figure 10 --protocol authors --reference published_curves.json
    python -m trainers.figures --figure 1 --seeds 2 --width 200 --steps 1000 --runs runs/quick

Lines are means over seeds, bands one standard deviation. Beside each figure_NN.png stands a
figure_NN.csv with the numbers drawn. Runs are kept in --runs, a folder for each task, and taken
from there the next time. A figure that can't be drawn is reported, and the others go on.
"""

from __future__ import annotations

import dataclasses
import logging
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from trainers import _cli
from trainers._cli import knob

if TYPE_CHECKING:
    from asym_keras.runs import Run
    from trainers._figures import Experiment
    from trainers._published import PublishedCurves

MODULE = "trainers.figures"
NUMBERS = range(1, 12)

logger = logging.getLogger("trainers")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """Flags of this program."""

    figure: str = knob("all", "which figure", choices=[*map(str, NUMBERS), "all"])
    protocol: str = knob(
        "paper", "what the paper says or what its figures show", choices=[*_cli.PAIRS]
    )
    seeds: int = knob(5, "run seeds 0 to N-1", metavar="N")
    jobs: int = knob(1, "runs at once, in processes that share the cores")
    runs: str = knob("runs/paper-figures", "where runs are kept, a folder for each task")
    out: str = knob("figures", "where figures are written")
    reference: str | None = knob(
        None,
        "draw published curves dashed, under --protocol authors",
        metavar="published_curves.json",
    )
    refit: bool = knob(
        False, "draw pruning with a refitted readout too, dotted; the paper does not"
    )
    width: int | None = knob(None, "hidden nodes, for a quick look (default: the trainer's)")
    steps: int | None = knob(None, "steps, for a quick look (default: the trainer's)")
    features: str | None = knob(
        None, "features of CIFAR-10, for Figures 4 and 11", metavar="FILE.npz"
    )
    device: str = knob("auto", "where to run", choices=["auto", "cpu", "gpu"])
    dry_run: bool = knob(False, "list the runs that are missing; make none, draw nothing")
    quiet: bool = knob(False, "no progress bar")
    debug: bool = knob(False, "show tracebacks")

    def __post_init__(self):
        for name in ("seeds", "jobs", "width", "steps"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"--{name}: expected at least 1, received {value}.")
        for name in ("reference", "features"):
            value = getattr(self, name)
            if value is not None and not Path(value).is_file():
                raise ValueError(f"--{name}: expected a file, received no such file: {value}.")
        if self.reference is not None and self.protocol != "authors":
            raise ValueError(
                "--reference: expected --protocol authors, with which the published curves were "
                f"drawn, received --protocol {self.protocol}."
            )

    def numbers(self) -> list[int]:
        """The figures to draw."""
        return [*NUMBERS] if self.figure == "all" else [int(self.figure)]


def main(argv=None) -> list[Path]:
    """Runs the command line; returns the figures written."""
    config = _cli.parse_config(Config, argv, module=MODULE, description=__doc__)
    return _cli.run_main(_figures, config, argv, module=MODULE)


def _figures(config: Config) -> list[Path]:
    """Draws each figure, or lists its runs; what fails is told, and ends in exit status 1."""
    from trainers._published import PublishedCurves

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
    from trainers._figures import experiments

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
    from asym_keras import plotting
    from asym_keras.runs import load_run
    from trainers._figures import experiments

    groups: dict[str, list[list[Run]]] = {}
    for experiment in experiments(number, config):
        _complete(experiment, broken)
        groups[experiment.task] = [
            [load_run(path) for path in paths] for paths in experiment.pairs()
        ]
    path = Path(config.out) / f"figure_{number:02d}.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    plotting.paper_figure(
        number,
        path,
        groups,
        published=published.curve if published else None,
        title=_title(number, config, groups),
        refit=config.refit,
    )
    return path


def _complete(experiment: Experiment, broken: dict[str, Exception]) -> None:
    """Makes what is missing; what failed for one figure is not tried again for the next."""
    from trainers._batch import RunsFailed

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


if __name__ == "__main__":
    main()
