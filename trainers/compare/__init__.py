"""Lays runs beside one another: what differs, how each ended, and means over seeds.

    python -m trainers.compare runs/a runs/b
    python -m trainers.compare runs/authors --csv runs.csv --figure runs.png
    python -m trainers.compare runs/authors --reference published_curves.json --strict

A folder of runs stands for all runs in it. Runs that differ in their seed alone are summarised
as mean ± standard deviation (of the sample). Two runs of the same seed and settings are shown in
the table; then the command ends with an error, since a mean would count them as two seeds. With
--reference, a table in Markdown compares the means with the published curves. They agree where
they are within three published deviations plus 1 % of the published mean. Pruning with a refitted
readout (--refit of the trainers) has a column of its own.
"""

import argparse

from asym_keras.files import user_path
from trainers.common.process import prepare_process

MODULE = "trainers.compare"


def main(argv=None) -> int:
    """Runs the command line; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog=f"python -m {MODULE}",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add, path = parser.add_argument, user_path
    add("runs", nargs="+", type=path, metavar="RUN", help="run folder, or a folder of runs")
    add("--csv", type=path, metavar="FILE.csv", help="write the table of runs, with all digits")
    words = "draw the curves that all runs have; .png, .pdf or .svg"
    add("--figure", type=path, metavar="FILE.png", help=words)
    add("--format", metavar="NAMES", help="formats of --figure, such as pdf,svg, a file each")
    words = "compare runs under --protocol authors with the published curves"
    add("--reference", type=path, metavar="published_curves.json", help=words)
    add("--strict", action="store_true", help="exit with 1 if anything disagrees with --reference")
    arguments = parser.parse_args(argv)
    from trainers.compare.report import lay_beside

    prepare_process()
    try:
        return lay_beside(arguments)
    except (OSError, ValueError) as error:
        parser.exit(2, f"error: {error}\n")
