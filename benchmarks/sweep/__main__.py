"""Sweeps: the share of the time that is not training, and how much faster two workers are than one.

    python -m benchmarks.sweep
    python -m benchmarks.sweep --trials 4 --steps 20000 --json numbers.json

Runs one sweep of MNIST twice, by one worker and by two, each of one thread: the same random pairs,
no early stop. A trial at gamma = 0.5 takes about half a minute. The table goes to stdout, progress
to stderr. The status is 1 if the sweeps disagree; a missed target is only reported.
"""

from __future__ import annotations

import argparse
import csv
import dataclasses
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.common import neighbours, program

OVERHEAD, SPEEDUP = 0.05, 1.8  # targets
_ONE_THREAD = ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "OMP_NUM_THREADS")
_TOLERANCE = 2e-3  # of accuracies, in which single images may fall on either side


@dataclasses.dataclass(frozen=True)
class Sweep:
    """A sweep as it was measured.

    Attributes:
        workers: how many.
        seconds: from the command's start to its end.
        searching: seconds from the start of the first trial to the end of the last.
        training: seconds within the trainer, summed over trials.
        outside: seconds of trials outside it (looks, curves, records), summed.
        others: share of the cores that other programs used.
        found: objective of each (gamma, alpha).
    """

    workers: int
    seconds: float
    searching: float
    training: float
    outside: float
    others: float
    found: dict[str, float]


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = program.Parser("sweep", __doc__)
    parser.add_argument("--trials", type=int, default=8, help="of each sweep; even (8)")
    parser.add_argument("--steps", type=int, default=200_000, help="of each trial (200000)")
    parser.add_patience()
    parser.add_json()
    arguments = parser.parse(argv)
    if arguments.trials < 2 or arguments.trials % 2:
        parser.error(f"--trials: expected an even number, received {arguments.trials}")
    return arguments


def run(workers: int, arguments: argparse.Namespace, path: Path) -> Sweep:
    """Runs a sweep in processes of its own."""
    neighbours.wait_until_quiet(arguments.patience)
    program.say(f"{workers} worker(s)")
    flags = ["--task", "mnist", "--keep", "100", "--tuner", "random", "--early-stop", "none"]
    flags += ["--gammas", "0.5:0.5", "--trials", str(arguments.trials), "--out-dir", str(path)]
    flags += ["--steps", str(arguments.steps), "--workers", str(workers)]
    watch, began = neighbours.Watch(), time.monotonic()
    subprocess.run(
        [sys.executable, "-m", "trainers.sweep", *flags],
        env={**os.environ, **dict.fromkeys(_ONE_THREAD, "1")},
        stdout=subprocess.DEVNULL,
        check=True,
    )
    seconds, others = time.monotonic() - began, watch.share()
    with (path / "trials.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    ends = {
        row["trial"]: (path / "trials" / f"{row['trial']}.json").stat().st_mtime for row in rows
    }
    first = min(ends[row["trial"]] - float(row["seconds"]) for row in rows)
    outside = sum(float(row["overhead_seconds"]) for row in rows)
    return Sweep(
        workers,
        seconds,
        max(ends.values()) - first,
        sum(float(row["seconds"]) for row in rows) - outside,
        outside,
        others,
        {f"{row['gamma']}, {row['alpha']}": float(row["objective"]) for row in rows},
    )


def table(sweeps: Sequence[Sweep]) -> str:
    """A row each sweep."""
    head = (
        "workers",
        "seconds",
        "searching",
        "training",
        "outside",
        "overhead",
        "of all",
        "others",
    )
    lines = [" ".join(f"{name:>10}" for name in head)]
    for sweep in sweeps:
        numbers = (sweep.seconds, sweep.searching, sweep.training, sweep.outside)
        shares = (overhead(sweep), 1 - sweep.training / sweep.workers / sweep.seconds, sweep.others)
        cells = [f"{sweep.workers:>10}", *(f"{n:>10.1f}" for n in numbers)]
        lines.append(" ".join([*cells, *(f"{share:>10.1%}" for share in shares)]))
    return "\n".join(lines)


def overhead(sweep: Sweep) -> float:
    """Share of the search that is not training, in [0, 1]."""
    return 1 - sweep.training / (sweep.workers * sweep.searching)


def disagreements(one: Sweep, two: Sweep) -> list[str]:
    """Trials that the sweeps do not share, or whose objectives differ."""
    return [
        f"{pair}: {one.found.get(pair)} by one worker, {two.found.get(pair)} by two"
        for pair in sorted({*one.found, *two.found})
        if abs(one.found.get(pair, -1.0) - two.found.get(pair, -2.0)) > _TOLERANCE
    ]


def main(argv: Sequence[str] | None = None) -> int:
    arguments = parse(argv)
    machine = program.start()
    with tempfile.TemporaryDirectory() as scratch:
        sweeps = [run(workers, arguments, Path(scratch) / str(workers)) for workers in (1, 2)]
    one, two = sweeps
    faults = disagreements(one, two)
    speedup = one.seconds / two.seconds
    print(table(sweeps), "\n")
    for name, number, met in (
        ("overhead, one worker", f"{overhead(one):.1%}", overhead(one) < OVERHEAD),
        ("two workers are faster by", f"{speedup:.2f}", speedup >= SPEEDUP),
    ):
        print(f"{name:<28}{number:>8}  {'met' if met else 'MISSED'}")
    print(f"targets: overhead below {OVERHEAD:.0%}, at least {SPEEDUP} times as fast")
    print("\n".join(faults))
    measured = [dataclasses.asdict(sweep) for sweep in sweeps]
    program.write_numbers(arguments, machine=machine, sweeps=measured)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
