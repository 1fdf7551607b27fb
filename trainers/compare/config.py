"""Flags of `python -m trainers.compare`."""

from __future__ import annotations

import argparse

from asym_keras.files import user_path

MODULE = "trainers.compare"


def flags_parser(description: str | None) -> argparse.ArgumentParser:
    """What reads the command line."""
    parser = argparse.ArgumentParser(
        prog=f"python -m {MODULE}",
        description=description,
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
