"""What a comparison of runs prints and writes."""

from __future__ import annotations

import argparse
from pathlib import Path

from asym_keras import plotting
from asym_keras.runs import Run, find_runs, load_run
from trainers.common.pictures import formats_of
from trainers.common.published import PublishedCurves
from trainers.compare import comparison, summaries


def lay_beside(arguments: argparse.Namespace) -> int:
    """Prints and writes what the flags ask for; returns the exit status."""
    if arguments.strict and arguments.reference is None:
        raise ValueError("--strict: expected --reference with it, received none.")
    if arguments.format is not None and arguments.figure is None:
        raise ValueError("--format: expected --figure with it, received none.")
    formats = None if arguments.format is None else formats_of(arguments.format)
    published = PublishedCurves(arguments.reference) if arguments.reference else None
    # A run that is named twice, by two paths perhaps, counts once.
    paths = {path.resolve(): path for folder in arguments.runs for path in find_runs(folder)}
    runs = [load_run(path) for path in paths.values()]
    # In the paper's order, from symmetrical to asymmetrical; equal pairs stay in the order given.
    # Networks without node scalings come last.
    runs.sort(key=lambda run: [-run.config.get(name, -1.0) for name in ("gamma", "alpha")])
    print(summaries.aligned_table(summaries.table(runs)))
    if arguments.csv:
        summaries.write_csv(arguments.csv, runs)
        print(f"\n{arguments.csv}")
    # After the table, which may show two runs of one seed; a mean of them is refused here.
    groups = summaries.groups_of(runs)
    over_seeds = summaries.seed_table(groups)
    if over_seeds:
        print(f"\n{summaries.aligned_table(over_seeds)}")
    disagreements = _compare_published(groups, published) if published else 0
    if arguments.figure:
        print("\n" + "\n".join(map(str, _draw(arguments.figure, groups, published, formats))))
    return int(arguments.strict and disagreements > 0)


def _compare_published(groups: list[list[Run]], published) -> int:
    """Prints the comparison; returns how many numbers disagree."""
    rows, silent = [], []
    for group, label in zip(groups, summaries.labels_of(groups), strict=True):
        try:
            rows += comparison.compare(group, published)
        except ValueError as error:
            silent.append(f"not compared: {group[0].task}, {label}: {error}")
    if not rows:
        reasons = "\n".join(silent) or "no run is finished"
        raise ValueError(
            "--reference: expected finished runs under --protocol authors of what was published, "
            f"received none.\n{reasons}"
        )
    print("\n" + "\n".join([*comparison.table(rows), *silent]))
    return sum(not row.agrees for row in rows)


def _draw(path: Path, groups: list[list[Run]], published, formats) -> list[Path]:
    protocols = {group[0].config.get("protocol") for group in groups}
    theirs = published.curve if published and protocols == {"authors"} else None
    labels = summaries.labels_of(groups)
    plotting.several_runs(path, groups, labels=labels, published=theirs, formats=formats)
    return [path] if formats is None else [path.with_suffix(f".{name}") for name in formats]
