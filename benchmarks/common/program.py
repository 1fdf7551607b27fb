"""What the benchmarks' command lines share: parsers, the machine at the top, numbers in a file."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.common import machine


class Parser(argparse.ArgumentParser):
    """A parser for `python -m benchmarks.NAME`, with --patience and, if wanted, --json."""

    def __init__(self, name: str, description: str | None):
        super().__init__(
            prog=f"python -m benchmarks.{name}",
            description=description,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )

    def add_patience(self) -> None:
        """Adds the flag that `wait_until_quiet` takes its seconds from."""
        self.add_argument(
            "--patience",
            type=float,
            default=30.0,
            metavar="SECONDS",
            help="longest wait for a quiet machine, before each measurement (30)",
        )

    def add_json(self) -> None:
        """Adds the flag that `write_numbers` takes its path from."""
        self.add_argument("--json", type=Path, metavar="FILE", help="write all numbers here too")

    def parse(self, argv: Sequence[str] | None) -> argparse.Namespace:
        """The arguments; a path that can't be written and no round at all are errors."""
        arguments = self.parse_args(argv)
        if getattr(arguments, "rounds", 1) < 1:
            self.error(f"--rounds: expected at least 1, received {arguments.rounds}")
        path = getattr(arguments, "json", None)
        if path and not path.absolute().parent.is_dir():
            self.error(f"--json: expected an existing folder, received {path.parent}")
        return arguments


def start() -> dict[str, str | int]:
    """Prints and returns what the machine is; TensorFlow's notices are not shown."""
    described = machine.describe()
    print("\n".join(f"{name}: {value}" for name, value in described.items()) + "\n")
    return described


def say(message: str) -> None:
    """Tells of the progress, on stderr."""
    print(message, file=sys.stderr, flush=True)


def write_numbers(arguments: argparse.Namespace, **numbers: Any) -> None:
    """Writes the numbers to the file of --json, if it was given."""
    if arguments.json:
        arguments.json.write_text(json.dumps(numbers, indent=1) + "\n", encoding="utf-8")
