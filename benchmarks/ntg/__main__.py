"""The neural tangent Gram matrix: time and memory of our methods beside peers.

    python -m benchmarks.ntg --peer-python .venv-bench/bin/python \
        --neural-tangents-python .venv-neural-tangents/bin/python
    python -m benchmarks.ntg --scaling

Every contender, ours too, runs in processes of its own, peers in environments of their own
(benchmarks/requirements.txt, benchmarks/requirements-neural-tangents.txt). All get the same
examples and weights, and their matrices are compared. `--scaling` measures ours alone, against
n, m and d, and fits exponents. The tables go to stdout, progress to stderr. The status is 1 if
two matrices that should agree do not; a missed target is only reported.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks.common import Array, neighbours, program
from benchmarks.ntg import contenders as ways
from benchmarks.ntg import report, scaling
from benchmarks.ntg.cases import CASES, Case
from benchmarks.ntg.contenders import CONTENDERS, Contender
from benchmarks.ntg.results import OURS, CaseResult

LONG_SECONDS = 5.0  # a contender that takes longer for one call is run in one round only


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = program.Parser("ntg", __doc__)
    parser.add_argument("--only", choices=CASES, metavar="CASE", help=f"one of {', '.join(CASES)}")
    parser.add_argument("--scaling", action="store_true", help="cost against n, m, d; no peers")
    parser.add_argument("--rounds", type=int, default=3, help="rounds; the best counts (3)")
    for module, (option, folder, _) in ways.ENVIRONMENTS.items():
        parser.add_argument(
            f"--{option.replace('_', '-')}",
            default=f"{folder}/bin/python",
            metavar="PYTHON",
            help=f"interpreter of {module.removeprefix('peers.')} ({folder}/bin/python)",
        )
    parser.add_patience()
    parser.add_json()
    arguments = parser.parse(argv)
    if arguments.scaling and arguments.only:
        parser.error("--scaling: expected no --only beside it, it has sizes of its own")
    return arguments


def measure(
    case: Case, contenders: Sequence[Contender], arguments: argparse.Namespace
) -> CaseResult:
    """Measures one case: all contenders in turn, round by round."""
    from asym_keras.ntg.assembly import TILE_BYTES

    pythons = ways.interpreters(arguments)
    outcomes = [ways.start(c, case, pythons[c.program]) for c in contenders]
    reference: Array | None = None
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        case.save(folder / "input.npz")
        for number in range(arguments.rounds):
            for contender, outcome in zip(contenders, outcomes, strict=True):
                if outcome.missing or outcome.best > LONG_SECONDS:
                    continue
                names = f"{outcome.framework} {outcome.method}"
                program.say(f"{case.name}: round {number + 1} of {arguments.rounds}, {names}")
                python = pythons[contender.program]
                neighbours.wait_until_quiet(arguments.patience)
                watch = neighbours.Watch()
                ntg = ways.run(contender, case, python, folder, outcome)
                outcome.others.append(watch.share())
                if reference is None and outcome.is_ours:
                    reference = ntg
                elif ntg is not None and reference is not None:
                    outcome.difference = _difference(ntg, reference)
    return CaseResult(case.name, case.shape, case.result_bytes, TILE_BYTES, outcomes)


def _difference(ntg: Array, reference: Array) -> float:
    return float(np.linalg.norm(ntg - reference) / np.linalg.norm(reference))


def measure_scaling(arguments: argparse.Namespace) -> list[scaling.Series]:
    """Measures our methods on shallow networks of several sizes."""
    all_series = scaling.all_series()
    for series in all_series:
        contender = next(c for c in CONTENDERS if (c.framework, c.method) == (OURS, series.method))
        for size in series.sizes:
            result = measure(series.case(size), [contender], arguments)
            (outcome,) = result.outcomes
            if outcome.missing:
                series.missing = outcome.missing
                break
            series.seconds.append(outcome.best)
    return all_series


def main(argv: Sequence[str] | None = None) -> int:
    arguments = parse(argv)
    machine = program.start()
    if arguments.scaling:
        series = measure_scaling(arguments)
        print(f"Seconds of our methods\n\n{scaling.scaling_table(series)}")
        numbers = {"scaling": [dataclasses.asdict(s) for s in series]}
        faults = [s.missing for s in series if s.missing]
    else:
        results = [
            measure(case, [c for c in CONTENDERS if case.kind in c.kinds], arguments)
            for case in ([CASES[arguments.only]] if arguments.only else CASES.values())
        ]
        faults = report.disagreements(results)
        parts = [
            report.case_table(results),
            report.outcome_table(results),
            report.notes(results, arguments.rounds),
            report.targets(results),
            *report.warnings(results),
            *faults,
        ]
        print("\n\n".join(parts))
        numbers = {"cases": [dataclasses.asdict(r) for r in results]}
    program.write_numbers(arguments, machine=machine, **numbers)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
