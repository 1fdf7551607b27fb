"""Where the gradient flow ends beside plain descent, and the gradients that it takes.

    python -m benchmarks.flow_accuracy                        # flows now, descent from the file
    python -m benchmarks.flow_accuracy --only energy --rounding 0
    python -m benchmarks.flow_accuracy --reference            # descent anew: hours
    python -m benchmarks.flow_accuracy --tolerances 1e-2 1e-4 # MNIST by several tolerances

Protocol `authors`. Descent has the rate 1 and float64 and is kept in flow_reference.json; what is
there is not computed again unless the file is deleted, so that --reference can be interrupted. The
flow runs in float32, as the trainers have it. The status is 1 if a risk differs by more than 5 %.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from asym_keras.startup import import_tensorflow
from benchmarks.common import program
from benchmarks.flow_accuracy import reference
from benchmarks.flow_accuracy.reference import CASES, Case

FAILURE = 0.05
COLUMNS = (
    *("run", "gradients", "steps", "rejected", "s", "descent's risk", "its chatter"),
    *("train risk", "test risk", "weight change"),
)


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = program.Parser("flow_accuracy", __doc__)
    tasks = sorted({case.task for case in CASES})
    parser.add_argument("--only", choices=tasks, nargs="+", help="these tasks alone")
    parser.add_argument("--seeds", type=int, nargs="+", help="these seeds alone")
    parser.add_argument("--reference", action="store_true", help="compute what the file lacks")
    parser.add_argument("--rounding", type=float, help="of kinks; 0: none (the flow's default)")
    parser.add_argument(
        "--tolerances", type=float, nargs="+", help="MNIST with these rtol = atol, the last exact"
    )
    arguments = parser.parse_args(argv)
    if arguments.rounding is not None and not 0 <= arguments.rounding < float("inf"):
        parser.error(f"--rounding: expected at least 0, received {arguments.rounding}")
    return arguments


def compare(case: Case, rounding: float | None) -> tuple[list[str], float]:
    """The row of a case, and the largest share by which a risk differs; NaN: not known."""
    from asym_keras.training import GradientFlow

    flow = GradientFlow(rounding="auto" if rounding is None else rounding)
    last, seconds, _ = reference.run(case, flow, dtype="float32")
    counts = [str(last[name]) for name in ("gradients", "solver_steps", "rejected_steps")]
    descent = reference.read().get(case.name)
    if descent is None:
        risk = f"{last['train_risk']:.5g}"
        return [case.name, *counts, f"{seconds:.1f}", "", "", risk, "", ""], float("nan")
    names = ("train_risk", "test_risk", "weight_change")
    differences = [last[name] / descent[name] - 1 for name in names]
    known = [f"{descent['train_risk']:.5g}", f"{descent['chatter']:.2%}"]
    cells = [f"{difference:+.2%}" for difference in differences]
    return [case.name, *counts, f"{seconds:.1f}", *known, *cells], max(map(abs, differences[:2]))


def by_tolerance(tolerances: Sequence[float]) -> None:
    """Prints what tolerances come to on MNIST, t = 200,000, beside the last of them."""
    from asym_keras.training import GradientFlow

    print(_line(("gamma", "alpha", "tolerance", "gradients", "train risk", "s", "difference")))
    for gamma, alpha in ((1.0, 0.4), (0.0, 0.4)):
        case = Case("mnist", gamma, alpha, 0, 200_000.0)
        runs = [reference.run(case, GradientFlow(t, t), dtype="float32") for t in tolerances]
        exact = runs[-1][0]["train_risk"]
        for tolerance, (last, seconds, _) in zip(tolerances, runs, strict=True):
            risk = last["train_risk"]
            cells = (gamma, alpha, tolerance, last["gradients"], f"{risk:.6f}", f"{seconds:.1f}")
            print(_line((*map(str, cells), f"{risk / exact - 1:+.3%}")), flush=True)


def _line(cells: Sequence[str]) -> str:
    return "  ".join(f"{cell:>{20 if i == 0 else 14}}" for i, cell in enumerate(cells))


def main(argv: Sequence[str] | None = None) -> int:
    """Prints the table; returns the status."""
    arguments = parse(argv)
    import_tensorflow()
    if arguments.tolerances:
        by_tolerance(arguments.tolerances)
        return 0
    cases = [
        case
        for case in CASES
        if case.task in (arguments.only or [case.task])
        and case.seed in (arguments.seeds or [case.seed])
    ]
    if arguments.reference:
        for case in cases:
            if case.name not in reference.read():
                print(f"descent: {case.name}", file=sys.stderr)
                print(case.name, reference.compute(case), flush=True)
        return 0
    print(_line(COLUMNS))
    worst = 0.0
    for case in cases:
        cells, difference = compare(case, arguments.rounding)
        print(_line(cells), flush=True)
        worst = max(worst, 0.0 if difference != difference else difference)
    return int(worst > FAILURE)


if __name__ == "__main__":
    sys.exit(main())
