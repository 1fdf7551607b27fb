"""Memory and time of training and pruning at long widths, on MNIST; each in its own process.

    python -m benchmarks.width
    python -m benchmarks.width --widths 100000 --examples 50000 --parts descent
    python -m benchmarks.width --longer
    python -m benchmarks.width --largest 8

The first prints the table of docs/long_widths.md, with exponents fitted to it. `--longer` trains
a flow 100 times as long, to see whether the peak grows. `--largest GB` measures, for either
solver, networks about as wide as the stated peak (`asym_keras.training.peak_bytes`) lets into so
much memory, with 50,000 examples there. Tables go to stdout, progress to stderr.
"""

from __future__ import annotations

import argparse
import json
import math
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.common import neighbours, program
from benchmarks.common.report import exponent
from benchmarks.width.case import FLOW_TIME, PARTS

WIDTHS = (2000, 5000, 10_000, 20_000, 50_000, 100_000)
INPUT_DIM, OUTPUTS, TEST_EXAMPLES = 784, 10, 5000
FULL_TILE = 10_000  # width from which 5,000 examples fill a tile of activations
LONGER_WIDTH, LONGER = 10_000, 100
LARGEST_EXAMPLES, LARGEST_TRAINED = 50_000, 2000
LARGEST_TRIES = 4  # widths of the search, each narrower by a twentieth


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = program.Parser("width", __doc__)
    parser.add_argument("--widths", type=int, nargs="+", default=WIDTHS, help="2,000 to 100,000")
    parser.add_argument("--examples", type=int, default=5000, help="training examples (5000)")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--longer", action="store_true", help="the peak of a long run")
    parser.add_argument("--largest", type=float, metavar="GB", help="widest network in so much")
    parser.add_patience()
    arguments = parser.parse(argv)
    if min(arguments.widths) < 1 or arguments.examples < 2:
        parser.error("expected --widths of at least 1 and --examples of at least 2")
    return arguments


def measure(width: int, part: str, patience: float = 0.0, **options) -> dict:
    """One case in a process of its own; `others` is the share of the cores others took."""
    program.say(f"width {width:,}: {part} {options or ''}")
    command = [sys.executable, "-m", "benchmarks.width.case"]
    for name, value in {"width": width, "part": part, **options}.items():
        command += [f"--{name.replace('_', '-')}", str(value)]
    neighbours.wait_until_quiet(patience)
    watch = neighbours.Watch()
    done = subprocess.run(
        command, cwd=Path(__file__).parents[2], stdout=subprocess.PIPE, text=True, check=True
    )
    return {**json.loads(done.stdout.splitlines()[-1]), "others": watch.share()}


def stated(width: int, solver: str, examples: int) -> int:
    """The peak that the library states for these data."""
    from asym_keras.training import peak_bytes

    return peak_bytes(examples + TEST_EXAMPLES, INPUT_DIM, width, OUTPUTS, solver=solver)


def width_table(results: dict[int, dict[str, dict]], examples: int) -> str:
    """Markdown: seconds and peaks by width; in the last row exponents."""
    parts = list(next(iter(results.values())))
    solvers = [part for part in parts if part != "pruning"]
    columns: dict[str, list[float]] = {"weights MB": [4e-6 * INPUT_DIM * m for m in results]}

    def column(name: str, part: str, key: str, unit: float) -> None:
        columns[name] = [result[part][key] * unit for result in results.values()]

    if solvers:
        column("s a gradient", solvers[-1], "seconds", 1.0)
    if "pruning" in parts:
        column("s of the pruning curve", "pruning", "seconds", 1.0)
    for part in parts:
        column(f"{part}: peak GB", part, "peak", 1e-9)
        if part in solvers:
            columns[f"{part}: stated GB"] = [1e-9 * stated(m, part, examples) for m in results]
    lines = [["width", *columns], ["---:"] * (1 + len(columns))]
    for i, m in enumerate(results):
        lines.append([f"{m:,}", *(f"{numbers[i]:.3g}" for numbers in columns.values())])
    fitted = [exponent(list(results), numbers) for numbers in columns.values()]
    if len(results) > 1:
        lines.append(["exponent", *(f"{number:.2f}" for number in fitted)])
        beyond = {
            f"{part}: peak GB": _exponent_beyond({m: r[part] for m, r in results.items()}, examples)
            for part in solvers
        }
        bare = [beyond.get(name, math.nan) for name in columns]
        cells = ("" if math.isnan(number) else f"{number:.2f}" for number in bare)
        lines.append([f"without constants, from {FULL_TILE:,}", *cells])
    shares = [case["others"] for result in results.values() for case in result.values()]
    note = f"Others took up to {max(shares):.0%} of the cores meanwhile."
    return "\n".join([*(f"| {' | '.join(line)} |" for line in lines), "", note])


def _exponent_beyond(cases: dict[int, dict], examples: int) -> float:
    """Of the peak without process, data and a full tile of activations, which no width changes."""
    from asym_keras.training.memory import WEIGHT_COPIES

    wide = {m: case for m, case in cases.items() if m >= FULL_TILE}
    rest = []
    for m, case in wide.items():
        copies = 4 * INPUT_DIM * m * WEIGHT_COPIES[case["part"]]
        rest.append(case["peak"] - (stated(m, case["part"], examples) - copies))
    return exponent(list(wide), rest) if rest and min(rest) > 0 else math.nan


def slopes(results: dict[int, dict[str, dict]]) -> str:
    """What 10,000 nodes more take, between the two widest networks: a constant is no part of it."""
    *_, narrow, wide = sorted(results)
    rows = []
    for part in results[wide]:
        more = (results[wide][part]["peak"] - results[narrow][part]["peak"]) / (wide - narrow)
        copies = more / (4 * INPUT_DIM)
        rows.append(f"{part}: {1e4 * more / 1e9:.2f} GB a 10,000 nodes, {copies:.1f} weights' size")
    return "; ".join(rows)


def longer_table(patience: float) -> str:
    """Markdown: the peak of a short and of a long flow."""
    lines = ["| time t | gradients | peak GB |", "| ---: | ---: | ---: |"]
    for end_time in (FLOW_TIME, LONGER * FLOW_TIME):
        case = measure(LONGER_WIDTH, "flow", patience, end_time=end_time)
        lines.append(f"| {end_time:g} | {case['gradients']} | {case['peak'] / 1e9:.3f} |")
    return "\n".join(lines)


def largest_table(limit: float, patience: float) -> str:
    """Markdown: the widest network, of those tried, whose measured peak is within the limit."""
    lines = ["| solver | width | stated GB | peak GB |", "| --- | ---: | ---: | ---: |"]
    for solver in ("flow", "descent"):
        base, each = (stated(m, solver, LARGEST_EXAMPLES) for m in (10**5, 2 * 10**5))
        width = 1.05 * 10**5 * (1 + (limit - base) / (each - base))
        for _ in range(LARGEST_TRIES):
            m = 1000 * math.floor(width / 1000)
            # A tile of examples enters a product at once: how many tiles there are only takes time.
            held = LARGEST_EXAMPLES - LARGEST_TRAINED
            case = measure(m, solver, patience, examples=LARGEST_TRAINED, idle=held)
            peak = case["peak"] + case["held"]  # the idle examples as tensors, too
            sizes = (1e-9 * stated(m, solver, LARGEST_EXAMPLES), peak / 1e9)
            lines.append(f"| {solver} | {m:,} | {sizes[0]:.2f} | {sizes[1]:.2f} |")
            if peak <= limit:
                break
            width *= 0.95
    return "\n".join(lines)


def main(argv: Sequence[str] | None = None) -> None:
    arguments = parse(argv)
    program.start()
    if arguments.longer:
        print(longer_table(arguments.patience))
    elif arguments.largest is not None:
        print(largest_table(1e9 * arguments.largest, arguments.patience))
    else:
        results = {
            width: {
                part: measure(width, part, arguments.patience, examples=arguments.examples)
                for part in arguments.parts
            }
            for width in sorted(arguments.widths)
        }
        print(f"MNIST, {arguments.examples:,} training examples, float32\n")
        print(width_table(results, arguments.examples))
        if len(results) > 1:
            print(f"\n{slopes(results)}")


if __name__ == "__main__":
    main()
