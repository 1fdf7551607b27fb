"""Exports a network as a SavedModel for TensorFlow Serving, checked, in a version of its own.

    python -m serving.export runs/mnist-paper-g0-a0.4-m2000-flow-s0 --keep 100 --refit
    python -m serving.export mnist_gamma0_k100
    python -m serving.export --presets --to saved_models
    python -m serving.export mnist_nested
    python -m serving.export my.keras --name fraud --to models --labels labels.txt

SOURCE is one of these: a run folder, which is pruned to --keep nodes (a run of trainers.nested is
exported with a signature for each width); the name of a preset; a FILE.keras with its card
FILE.json beside it, as serving.package writes them; any other FILE.keras. The export writes the
folder saved_models/NAME/VERSION, whole or not at all, and overwrites no version. The model server
mounts saved_models/NAME as /models/NAME.
"""

from __future__ import annotations

import argparse
import logging
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from asym_keras.files import user_path
from serving import commands
from serving.exporting import sources, warmup
from serving.exporting.exports import export_model as export_model
from serving.exporting.own_files import load_own
from serving.versions import check_name, check_version

MODULE = "serving.export"
logger = logging.getLogger(MODULE)
_TASKS = ("classify", "regress", "raw")
_OWN = {"labels": "--labels", "task": "--task", "warm_up": "--warm-up", "facts": "--card"}
_KEEP = (
    "nodes that stay of a run's network, by the rule of its protocol; of a FILE.keras with an "
    "AsymScaledDense by the paper's rule, which needs no data (for another one use "
    "asym_keras.prune in Python), with a NestedReadout the first ones"
)
_HALF = (
    "float16 weights inside; not for nested models: such a SOURCE is refused, and --presets writes "
    "nested presets with float32 weights"
)
_OWN |= {"modules": "--import"}  # flags for a FILE.keras that serving.package did not write


def parse(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """The flags of the command line; a bad value ends the program with its message."""
    parser = commands.parser(MODULE, __doc__)
    add = parser.add_argument
    add("source", nargs="?", metavar="SOURCE", help="run, preset or FILE.keras")
    add("--presets", action="store_true", help="export every preset")
    add("--keep", type=int, help=_KEEP)
    add("--refit", action="store_true", help="fit a run's readout anew")
    add("--name", help="name of the model (default: its card's)")
    add("--to", default="saved_models", metavar="DIR", help="folder of the models (%(default)s)")
    add("--half", action="store_true", help=_HALF)
    add("--version", type=int, metavar="N", help="default: the next number")
    add("--no-warmup", action="store_true", help="no warm-up requests (extra: serving)")
    own = parser.add_argument_group("of a FILE.keras without a card")
    add = own.add_argument
    add("--task", choices=_TASKS, help="signature beside serving_default (by the outputs)")
    add("--labels", metavar="FILE", help="names of the classes, one a line")
    add("--warm-up", metavar="FILE.npz", help="rows for warm-up requests, arrays by input name; "
        "a subclassed model takes its dtypes from them (zeros and 'a')")  # fmt: skip
    many: dict[str, Any] = {"action": "append", "default": []}
    add("--card", **many, dest="facts", metavar="KEY=VALUE", help="a fact for the card; repeatable")
    add("--import", **many, dest="modules", metavar="MODULE",
        help="module or .py file that registers the model's classes; repeatable")  # fmt: skip
    parser.add_argument("--debug", action="store_true", help="show tracebacks")
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
        _check_kind(flags)
        if _is_own(flags):
            check_name(_name(flags))
    except ValueError as error:
        parser.error(str(error))
    return flags


def _is_own(flags: argparse.Namespace) -> bool:
    """Whether SOURCE is exported as any Keras model: it has no card, or flags replace its card."""
    if flags.source is None or not flags.source.endswith(".keras"):
        return False
    return not _card_of(flags.source).is_file() or bool(_own_flags(flags))


def _card_of(source: str) -> Path:
    return user_path(source).with_suffix(".json")


def _own_flags(flags: argparse.Namespace) -> list[str]:
    return [text for name, text in _OWN.items() if getattr(flags, name)]


def _check_kind(flags: argparse.Namespace) -> None:
    """Refuses flags that do not go with this kind of SOURCE."""
    source = flags.source or "--presets"
    if _is_own(flags):
        for name, text in (("refit", "--refit"), ("half", "--half")):
            if getattr(flags, name):
                received = f"received {source}, which has no card. Leave it out."
                if _card_of(source).is_file():
                    instead = ", ".join(_own_flags(flags))
                    received = f"received {source} with {instead} in place of its card. "
                    received += "Leave one out."
                raise ValueError(f"{text}: expected a run or a packaged model, {received}")
        if flags.warm_up and flags.no_warmup:
            raise ValueError("--warm-up and --no-warmup: expected one of them, received both.")
        return
    if own := _own_flags(flags):
        raise ValueError(f"{', '.join(own)}: expected a FILE.keras, received {source}.")
    of_one_width = sources.is_run(flags.source) and sources.has_one_width(flags.source)
    if of_one_width and flags.keep is None:
        raise ValueError(sources.NO_KEEP)
    if sources.is_run(flags.source) and not of_one_width and flags.half:
        received = f"received {source}, which is nested. Leave it out."
        raise ValueError(f"--half: expected a run of one width, {received}")
    if not sources.is_run(flags.source) and (flags.keep is not None or flags.refit):
        raise ValueError(
            f"--keep and --refit: expected a run folder, received {source}: no folder. Name one "
            "that a trainer wrote; presets and FILE.keras with a card are pruned already."
        )


def _run_own(flags: argparse.Namespace, command: str) -> list[Path]:
    """Exports a model of the user's own."""
    facts = dict(_fact(text) for text in flags.facts)
    model = load_own(flags.source, flags.modules)
    options = {"task": flags.task, "labels": flags.labels, "keep": flags.keep, "card": facts}
    options |= {"warmup": flags.warm_up or not flags.no_warmup, "version": flags.version}
    return [export_model(model, _name(flags), flags.to, command=command, **options)]


def _name(flags: argparse.Namespace) -> str:
    return flags.name if flags.name is not None else Path(flags.source).stem


def _fact(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not equals or not key:
        raise ValueError(f"--card: expected KEY=VALUE, received {text!r}.")
    return key, value


def run(flags: argparse.Namespace, command: str) -> list[Path]:
    """Exports what the flags name; returns the versions."""
    from asym_keras.startup import import_tensorflow

    import_tensorflow()  # not at the top, so that --help is fast
    from asym_keras.backend import require_tensorflow

    require_tensorflow(MODULE)
    if not flags.no_warmup:
        warmup.check_installed()
    if _is_own(flags):
        return _run_own(flags, command)
    options = {"keep": flags.keep, "refit": flags.refit, "name": flags.name}
    named = None if flags.presets else sources.load(flags.source, **options, measured=flags.half)
    found = sources.presets() if named is None else [named]
    how: dict[str, Any] = {"version": flags.version, "warmup": not flags.no_warmup}
    paths = []
    for source in found:
        card = source.card if flags.name is None else {**source.card, "name": flags.name}
        how |= {"command": command, "measure": source.measure, "half": flags.half}
        if flags.presets and flags.half and "widths" in card:
            logger.info("%s: float32 weights, since --half is not for nested models", card["name"])
            how["half"] = False
        paths.append(export_model(source.model, card, flags.to, **how))
    if not paths:
        cure = "Build them with `python -m trainers.zoo`, or name a SOURCE."
        raise ValueError(f"--presets: expected presets in the package, received none. {cure}")
    return paths


def main(argv: Sequence[str] | None = None) -> list[Path]:
    """Runs the command line; returns the versions that were written."""
    flags = parse(argv)
    commands.start_log()
    # They report every file that is written, and warn that the TF1 loader is deprecated.
    for name in ("absl", "tensorflow"):
        logging.getLogger(name).setLevel(logging.ERROR)
    command = shlex.join(["python", "-m", MODULE, *(sys.argv[1:] if argv is None else argv)])
    paths: list[Path] = []
    # A user's own card may hold values of any type, so reading it may raise a TypeError.
    status = commands.status_of(
        lambda: paths.extend(run(flags, command)), debug=flags.debug, also=(TypeError,)
    )
    if status:
        sys.exit(status)
    print(*paths, sep="\n")
    return paths


if __name__ == "__main__":
    main()
