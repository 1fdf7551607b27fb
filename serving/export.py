"""Exports a network as a SavedModel for TensorFlow Serving, checked, in a version of its own.

    python -m serving.export runs/mnist-paper-g0-a0.4-m2000-flow-s0 --keep 100 --refit
    python -m serving.export mnist_gamma0_k100
    python -m serving.export --presets --to saved_models
    python -m serving.export mnist_nested

SOURCE is a run folder, which is pruned to --keep nodes (one of trainers.nested is exported with a
signature for each width); the name of a preset; or a FILE.keras with
its card FILE.json beside. What is written is saved_models/NAME/VERSION, which the model server
mounts as /models/NAME. It appears whole or not at all, and no version is overwritten.
"""

from __future__ import annotations

import argparse
import logging
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from serving import commands
from serving.exporting import sources, warmup
from serving.exporting.writing import export_model as export_model
from serving.versions import check_name, check_version

MODULE = "serving.export"


def parse(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """The flags of the command line; a bad value ends the program with its message."""
    parser = commands.parser(MODULE, __doc__)
    add = parser.add_argument
    add("source", nargs="?", metavar="SOURCE", help="run, preset or FILE.keras")
    add("--presets", action="store_true", help="export every preset")
    add("--keep", type=int, help="nodes that stay of a run's network")
    add("--refit", action="store_true", help="fit a run's readout anew")
    add("--name", help="name of the model (default: its card's)")
    add("--to", default="saved_models", metavar="DIR", help="folder of the models (%(default)s)")
    add("--half", action="store_true", help="float16 weights inside")
    add("--version", type=int, metavar="N", help="default: the next number")
    add("--no-warmup", action="store_true", help="no warm-up requests (extra: serving)")
    add("--debug", action="store_true", help="show tracebacks")
    flags = parser.parse_args(argv)
    try:
        if (flags.source is None) != flags.presets:
            raise ValueError("expected SOURCE or --presets, and not both.")
        if flags.name is not None:
            check_name(flags.name)
        if flags.version is not None:
            check_version(flags.version)
        if flags.presets and flags.name is not None:
            raise ValueError("--name: expected one SOURCE, received --presets. Leave it out.")
        _check_pruning(flags)
    except ValueError as error:
        parser.error(str(error))
    return flags


def _check_pruning(flags: argparse.Namespace) -> None:
    if not sources.is_run(flags.source) and (flags.keep is not None or flags.refit):
        source = flags.source or "--presets"
        raise ValueError(
            f"--keep and --refit: expected a run folder, received {source}: no folder. Name one "
            "that a trainer wrote; presets and FILE.keras are pruned already."
        )


def run(flags: argparse.Namespace, command: str) -> list[Path]:
    """Exports what the flags name; returns the versions."""
    from asym_keras.startup import import_tensorflow

    import_tensorflow()  # which --help does without
    from asym_keras.backend import require_tensorflow

    require_tensorflow(MODULE)
    if not flags.no_warmup:
        warmup.check_installed()
    options = {"keep": flags.keep, "refit": flags.refit, "name": flags.name}
    named = None if flags.presets else sources.load(flags.source, **options, measured=flags.half)
    found = sources.presets() if named is None else [named]
    how = {"half": flags.half, "version": flags.version, "warmup": not flags.no_warmup}
    paths = []
    for source in found:
        card = source.card if flags.name is None else {**source.card, "name": flags.name}
        how |= {"command": command, "measure": source.measure}
        paths.append(export_model(source.model, card, flags.to, **how))
    if not paths:
        cure = "Build them with `python -m trainers.zoo`, or name a SOURCE."
        raise ValueError(f"--presets: expected presets in the package, received none. {cure}")
    return paths


def main(argv: Sequence[str] | None = None) -> list[Path]:
    """Runs the command line; returns the versions that were written."""
    flags = parse(argv)
    commands.start_log()
    for name in ("absl", "tensorflow"):  # they report every file, and that TF1's loader is old
        logging.getLogger(name).setLevel(logging.ERROR)
    command = shlex.join(["python", "-m", MODULE, *(sys.argv[1:] if argv is None else argv)])
    paths: list[Path] = []
    # A card of the user's own may hold values of any type.
    status = commands.status_of(
        lambda: paths.extend(run(flags, command)), debug=flags.debug, also=(TypeError,)
    )
    if status:
        sys.exit(status)
    print(*paths, sep="\n")
    return paths


if __name__ == "__main__":
    main()
