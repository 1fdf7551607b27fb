"""Lays runs beside one another: what differs, how each ended, and means over seeds.

    python -m trainers.compare runs/a runs/b
    python -m trainers.compare runs/authors --csv runs.csv --figure runs.png
    python -m trainers.compare runs/authors --reference published_curves.json --strict

A folder of runs stands for all runs in it. Runs that differ in their seed alone are summarised
as mean ± standard deviation (of the sample). Two of the same seed and settings are shown in the
table, and nothing is made of them: in a mean they would count as two seeds. With --reference the
means are compared with the published curves, Markdown: they agree where they are within three
published deviations plus 1 % of the mean; pruning with a refitted readout (--refit of the
trainers) stands beside.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from asym_keras.files import user_path

if TYPE_CHECKING:
    from asym_keras.runs import Run

MODULE = "trainers.compare"


def main(argv=None) -> int:
    """Runs the command line; returns the exit status."""
    parser = _parser()
    arguments = parser.parse_args(argv)
    from trainers import _cli

    _cli.prepare_process()
    try:
        return _body(arguments)
    except (OSError, ValueError) as error:
        parser.exit(2, f"error: {error}\n")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=f"python -m {MODULE}",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("runs", nargs="+", type=user_path, metavar="RUN", help="run folder, or a folder of runs")
    add(
        "--csv", type=user_path, metavar="FILE.csv", help="write the table of runs, with all digits"
    )
    add("--figure", type=user_path, metavar="FILE.png", help="draw the curves that all runs have")
    add(
        "--reference",
        type=user_path,
        metavar="published_curves.json",
        help="compare runs under --protocol authors with the published curves",
    )
    add("--strict", action="store_true", help="exit with 1 if anything disagrees with --reference")
    return parser


def _body(arguments: argparse.Namespace) -> int:
    if arguments.strict and arguments.reference is None:
        raise ValueError("--strict: expected --reference with it, received none.")
    from asym_keras.runs import find_runs, load_run
    from trainers import _compare
    from trainers._published import PublishedCurves

    published = PublishedCurves(arguments.reference) if arguments.reference else None
    # A folder that is named twice, by whatever path, is one run.
    paths = {path.resolve(): path for folder in arguments.runs for path in find_runs(folder)}
    runs = [load_run(path) for path in paths.values()]
    # In the paper's order, from symmetrical to asymmetrical; what is equal stays as it was named.
    runs.sort(key=lambda run: (-run.config["gamma"], -run.config["alpha"]))
    print(_compare.aligned(_compare.table(runs)))
    if arguments.csv:
        _compare.write_csv(arguments.csv, runs)
        print(f"\n{arguments.csv}")
    # Only now: two runs of one seed may lie side by side, but not enter a mean.
    groups = _compare.groups_of(runs)
    over_seeds = _compare.seed_table(groups)
    if over_seeds:
        print(f"\n{_compare.aligned(over_seeds)}")
    disagreements = _compare_published(groups, published) if published else 0
    if arguments.figure:
        _draw(arguments.figure, groups, published)
        print(f"\n{arguments.figure}")
    return int(arguments.strict and disagreements > 0)


def _compare_published(groups: list[list[Run]], published) -> int:
    """Prints the comparison; returns how many numbers disagree."""
    from trainers import _compare, _published

    rows, silent = [], []
    for group, label in zip(groups, _compare.labels_of(groups), strict=True):
        try:
            rows += _published.compare(group, published)
        except ValueError as error:
            silent.append(f"not compared: {group[0].task}, {label}: {error}")
    if not rows:
        reasons = "\n".join(silent) or "no run is finished"
        raise ValueError(
            "--reference: expected finished runs under --protocol authors of what was published, "
            f"received none.\n{reasons}"
        )
    print("\n" + "\n".join([*_published.markdown(rows), *silent]))
    return sum(not row.agrees for row in rows)


def _draw(path: Path, groups: list[list[Run]], published) -> None:
    from asym_keras import plotting
    from trainers import _compare

    def theirs(*of):
        return published.curve(*of) if protocols == {"authors"} else None

    protocols = {group[0].config.get("protocol") for group in groups}
    plotting.several_runs(
        path,
        groups,
        labels=_compare.labels_of(groups),
        published=theirs if published else None,
    )


if __name__ == "__main__":
    sys.exit(main())
