"""Prints the table of models and operations, in Markdown.

    python -m benchmarks.wild --out docs/any_model.md
    python -m benchmarks.wild --only LSTM --operations "auto;masking"
    python -m benchmarks.wild --kind own --cells cells.json    # in parts

The status is 1 if a cell is wrong: neither equal to its reference nor refused as expected.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import tensorflow as tf

from benchmarks.wild import operations, report
from benchmarks.wild.cells import Cell
from benchmarks.wild.table import TABLE, quick_operations


def parse(argv: Sequence[str] | None) -> tuple[argparse.Namespace, list[str], list[str]]:
    """The flags, and the names of the models and of the operations that they ask for."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.wild",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--only", default="", help="models whose names hold this")
    parser.add_argument("--kind", help="models of this kind")
    parser.add_argument("--operations", help="some of them, by semicolons")
    parser.add_argument("--quick", action="store_true", help="the cells of the quick suite")
    parser.add_argument("--cells", type=Path, help="JSON of cells; only wrong ones run again")
    parser.add_argument("--out", type=Path, help="file to write; none: stdout")
    arguments = parser.parse_args(argv)
    known = list(operations.OPERATIONS)
    asked = arguments.operations.split(";") if arguments.operations else known
    if not set(asked) <= set(known):
        parser.error(
            f"--operations: expected some of {';'.join(known)}, received {';'.join(asked)}"
        )
    names = [
        name
        for name, entry in TABLE.items()
        if arguments.only in name and arguments.kind in (None, entry.kind)
    ]
    if not names:
        parser.error(f"expected models, received none with {arguments.only!r} of {arguments.kind}")
    return arguments, names, asked


def _load(path: Path | None) -> dict[tuple[str, str], Cell]:
    """The cells of runs before, by model and operation."""
    if path is None or not path.exists():
        return {}
    return {(m, o): Cell(*cell) for m, o, *cell in json.loads(path.read_text("utf-8"))}


def _save(path: Path | None, cells: dict[tuple[str, str], Cell]) -> None:
    if path is not None:
        rows = [[*key, cell.outcome, cell.message] for key, cell in cells.items()]
        path.write_text(json.dumps(rows, indent=0), encoding="utf-8")


def main(argv: Sequence[str] | None = None) -> int:
    arguments, names, asked = parse(argv)
    tf.get_logger().setLevel("ERROR")  # each model is traced anew, on purpose
    kept = _load(arguments.cells)
    rows: dict[str, dict[str, Cell]] = {}
    for name in names:
        entry, quick = TABLE[name], quick_operations(name)
        chosen = [o for o in asked if not arguments.quick or o in quick]
        began = time.monotonic()
        rows[name] = {o: kept.get((name, o)) or operations.run(entry, o) for o in chosen}
        kept |= {(name, o): cell for o, cell in rows[name].items() if cell.outcome != "wrong"}
        _save(arguments.cells, kept)
        print(f"{time.monotonic() - began:6.1f} s  {name}", file=sys.stderr, flush=True)
        for operation, cell in rows[name].items():
            if cell.outcome == "wrong":
                print(f"  WRONG {operation}: {cell.message}", file=sys.stderr, flush=True)
    text = report.page(rows, asked)
    if arguments.out is None:
        print(text, end="")
    else:
        arguments.out.write_text(text, encoding="utf-8")
    return any(cell.outcome == "wrong" for row in rows.values() for cell in row.values())


if __name__ == "__main__":
    sys.exit(main())
