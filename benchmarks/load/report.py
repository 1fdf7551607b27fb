"""Results as a table, JSON or CSV."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import math
from collections.abc import Sequence
from pathlib import Path

from asym_keras.files import write_text
from benchmarks.load.plan import Plan
from benchmarks.load.results import Result

BUSY = 0.8  # from this share of a core on, the generator may be what is measured


def table(results: Sequence[Result]) -> str:
    """One line for each model, and warnings below."""
    head = ("model", "p50 ms", "p90 ms", "p99 ms", "max ms", "requests/s", "rows/s", "errors")
    rows = [
        (
            result.name,
            *(_number(1e3 * value) for value in result.latencies),
            _number(result.throughput),
            _number(result.rows),
            str(sum(result.errors.values())),
        )
        for result in results
    ]
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    lines = [
        "  ".join(
            cell.ljust(width) if place == 0 else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in (head, *rows)
    ]
    return "\n".join([*lines, *warnings(results)])


def warnings(results: Sequence[Result]) -> list[str]:
    """Errors by code, and what makes the numbers say more of the generator than of the server."""
    texts = [
        f"{r.name}: errors: {', '.join(f'{n} {code}' for code, n in sorted(r.errors.items()))}"
        for r in results
        if r.errors
    ]
    texts += [
        f"WARNING: {r.name}: the generator used {100 * r.generator:.0f} % of a core, and may be "
        "what was measured; run it on another machine, or with fewer requests"
        for r in results
        if r.generator > BUSY
    ]
    texts += [
        f"WARNING: {r.name}: 1 % of the requests were sent {1e3 * r.late:.1f} ms late or more"
        for r in results
        if r.late > max(1e-3, 0.1 * r.latencies[0])
    ]
    return texts


def as_json(results: Sequence[Result], plan: Plan, address: str) -> str:
    """Plan and results; null stands for numbers that are missing."""
    content = {
        "address": address,
        "plan": dataclasses.asdict(plan),
        "results": [
            {k: None if isinstance(v, float) and math.isnan(v) else v for k, v in row.items()}
            for row in (result.plain() for result in results)
        ],
    }
    return json.dumps(content, indent=1) + "\n"


def as_csv(results: Sequence[Result]) -> str:
    """One line for each model, without the lists."""
    rows = [
        {k: v for k, v in result.plain().items() if not isinstance(v, (list, dict))}
        for result in results
    ]
    text = io.StringIO()
    writer = csv.DictWriter(text, rows[0], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def write(path: Path, results: Sequence[Result], plan: Plan, address: str) -> None:
    """Writes the results to `path`, which ends in `.json` or `.csv`."""
    is_csv = path.suffix == ".csv"
    write_text(path, as_csv(results) if is_csv else as_json(results, plan, address))


def _number(value: float) -> str:
    if math.isnan(value):
        return "-"
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
