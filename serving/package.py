"""Packages a run: writes its pruned network, which takes raw values and gives answers, and a card.

    python -m serving.package runs/mnist-paper-g0-a0.4-m2000-flow-s0 --keep 100 --refit --to models
    python -m serving.package runs/nested-mnist-mlp-m2000-s0 --to models

NAME.keras is an ordinary Keras model: pixels 0 to 255 or columns in their own units go in, scores
or answers in the target's unit come out. NAME.json is its card: data, licence, how it was trained,
and its test metrics beside those of the whole network.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from asym_keras.files import user_path
from asym_keras.startup import import_tensorflow
from serving import commands
from serving.exporting.packaging import Packaged as Packaged
from serving.exporting.packaging import package as package


def main(argv: Sequence[str] | None = None) -> Path:
    """Runs the command line; returns the path of the model."""
    parser = commands.parser("serving.package", __doc__)
    add = parser.add_argument
    add("run", help="run folder")
    add("--keep", type=int, help="nodes that stay; a nested run keeps all widths")
    add("--refit", action="store_true", help="fit the readout anew")
    add("--name", help="default: TASK_gammaGAMMA_kKEEP")
    add("--to", required=True, metavar="DIR", help="where the two files go")
    add("--overwrite", action="store_true", help="replace files of that name")
    add("--unmeasured", action="store_true", help="a card without metrics")
    flags = parser.parse_args(argv)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    paths: list[Path] = []

    def work() -> None:
        import_tensorflow()
        packaged = _packaged(flags)
        paths.append(packaged.save(flags.to, overwrite=flags.overwrite))

    if status := commands.status_of(work):
        sys.exit(status)
    print(paths[0])
    return paths[0]


def _packaged(flags: argparse.Namespace) -> Packaged:
    from asym_keras.runs import load_run
    from serving.exporting.nested_packaging import is_nested, package_nested

    run = load_run(user_path(flags.run))
    if not is_nested(run):
        if flags.keep is None:
            raise ValueError("--keep: expected the number of nodes to keep, received none.")
        options = {"keep": flags.keep, "refit": flags.refit, "name": flags.name}
        return package(run, **options, measure=not flags.unmeasured)
    given = [name for name in ("keep", "refit", "unmeasured") if getattr(flags, name)]
    if given:
        raise ValueError(
            f"--{given[0]}: expected a run of one width, received {flags.run}, which is nested: it "
            "is packaged with all its widths. Leave the flag out."
        )
    return package_nested(run, name=flags.name)


if __name__ == "__main__":
    main()
