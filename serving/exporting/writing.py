"""Exports a network as a SavedModel for TensorFlow Serving, checked, in a version of its own.

    python -m serving.export runs/mnist-paper-g0-a0.4-m2000-flow-s0 --keep 100 --refit
    python -m serving.export mnist_gamma0_k100
    python -m serving.export --presets --to saved_models

SOURCE is a run folder, which is pruned to --keep nodes; the name of a preset; or a FILE.keras with
its card FILE.json beside. What is written is saved_models/NAME/VERSION, which the model server
mounts as /models/NAME. It appears whole or not at all, and no version is overwritten.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import logging
import os
import platform
import shlex
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from asym_keras.files import user_path

if TYPE_CHECKING:
    from serving.sources import Source

MODULE = "serving.export"
logger = logging.getLogger(MODULE)


def export_model(
    model,
    card: dict[str, Any],
    to: str | os.PathLike[str],
    *,
    half: bool = False,
    version: int | None = None,
    warmup: bool = True,
    command: str | None = None,
    measure: Callable[[Callable], dict[str, float]] | None = None,
) -> Path:
    """Writes a packaged model as a new version `to/<name>/<version>`, and checks it.

    Args:
        model: functional `keras.Model`, raw values float32 (n, d) -> (n, K).
        card: its card; `name` is the model's.
        to: folder of the models; made if it is not there.
        half: float16 weights inside. All signatures stay float32.
        version: number of the version; None: one more than the largest there is.
        warmup: whether to write warm-up requests.
        command: what was called, for the card.
        measure: function of the network, itself a function from raw values (n, d) to outputs
            (n, K), whose numbers become `metrics.half` of the card. Used with `half`.

    Returns:
        Path of the version.

    Raises:
        FileExistsError: This version exists.
        ModuleNotFoundError: The warm-up requests need the extra `serving`.
        OSError: The folder can't be written.
        ValueError: A card that does not fit the model, or a SavedModel that answers otherwise
            than the model.

    Example:
        >>> packaged = serving.package.package("runs/mnist-paper-g0-a0.4-m2000-flow-s0", keep=100)
        >>> export_model(packaged.model, packaged.card, "saved_models")
        PosixPath('saved_models/mnist_gamma0_k100/1')
    """
    from serving.card import check_card, write_card
    from serving.check import HALF_TOLERANCE, TOLERANCE, check_saved_model
    from serving.network import as_network
    from serving.saved_model import write_saved_model
    from serving.versions import new_version
    from serving.warmup import check_installed, write_warmup

    dim, outputs = _shape(model)
    card = check_card(card, dim=dim, outputs=outputs)
    if warmup:
        check_installed()
    network = as_network(model, half=half)
    with new_version(user_path(to) / card["name"], version) as new:
        names = write_saved_model(network, card, new.temporary)
        if warmup:
            write_warmup(new.temporary, card, names)
        tolerance = HALF_TOLERANCE if half else TOLERANCE
        difference = check_saved_model(new.temporary, model, network, card, tolerance=tolerance)
        metrics = measure(network.outputs) if half and measure else None
        card = _with_export(card, network, half, difference, command, metrics)
        write_card(new.temporary, card)
    assert new.path is not None
    _report(new.path, card, outputs)
    return new.path


def _shape(model) -> tuple[int, int]:
    import keras

    one = isinstance(model, keras.Model) and [len(model.inputs), len(model.outputs)] == [1, 1]
    shapes = [tuple(t.shape) for t in (*model.inputs, *model.outputs)] if one else []
    if not one or any(len(shape) != 2 or shape[1] is None for shape in shapes):
        received = " -> ".join(map(str, shapes)) or type(model).__name__
        raise ValueError(
            "expected a Keras model of raw values (None, d) -> (None, K), received "
            f"{received}. Package it with serving.package."
        )
    return shapes[0][1], shapes[1][1]


def _with_export(card, network, half, difference, command, metrics) -> dict[str, Any]:
    """The card with what this export adds; the packaged model's own card stays as it is."""
    from serving.card import portable_command
    from serving.readme import LONG_INPUT

    inputs = dict(card["inputs"])
    if network.chain is not None and inputs["kind"] != "image" and inputs["dim"] <= LONG_INPUT:
        # In the middle of the training data: what a request may look like.
        inputs.setdefault("example", [float(f"{value:.4g}") for value in network.chain.centre])
    export = {
        "half": half,
        "folded": network.chain is not None,
        "largest_difference": float(f"{difference:.2g}"),
        "versions": _versions(),
    }
    added = {"half": metrics} if metrics else {}
    return {
        **card,
        "inputs": inputs,
        "metrics": {**card["metrics"], **added},
        "commands": [*card["commands"], *([portable_command(command)] if command else [])],
        "export": export,
    }


def _versions() -> dict[str, str]:
    import asym_keras

    packages = ("tensorflow", "keras", "numpy")
    return {
        "asym_keras": asym_keras.__version__,
        "python": platform.python_version(),
        **{name: importlib.metadata.version(name) for name in packages},
    }


def _report(path: Path, card, outputs: int) -> None:
    from serving.readme import curl
    from serving.warmup import FILE

    size = sum(f.stat().st_size for f in path.rglob("*") if f.is_file() and f != path / FILE)
    full = 4 * card["width"] * (card["inputs"]["dim"] + outputs)
    precision = "float16" if card["export"]["half"] else "float32"
    logger.info(
        "%s: %.3g MB with %d nodes in %s; the weights of all %d in float32: %.3g MB",
        *(path, size / 1e6, card["kept"], precision, card["width"], full / 1e6),
    )
    logger.info(
        "checked: largest difference from the Keras model %.1g of its largest output",
        card["export"]["largest_difference"],
    )
    for name, value in card["metrics"].get("half", {}).items():
        whole = card["metrics"].get("refit" if card["refit"] else "pruned", {}).get(name)
        beside = "" if whole is None else f" ({whole:.4g} with float32 ones)"
        logger.info("%s %.4g with float16 weights%s", name.replace("_", " "), value, beside)
    logger.info("%s", curl(card))


def parse(argv=None) -> argparse.Namespace:
    """The flags of the command line; a bad value ends the program with its message."""
    from serving.versions import check_name, check_version

    parser = argparse.ArgumentParser(
        prog=f"python -m {MODULE}",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("source", nargs="?", metavar="SOURCE", help="run, preset or FILE.keras")
    parser.add_argument("--presets", action="store_true", help="export every preset")
    parser.add_argument("--keep", type=int, help="nodes that stay of a run's network")
    parser.add_argument("--refit", action="store_true", help="fit a run's readout anew")
    parser.add_argument("--name", help="name of the model (default: its card's)")
    parser.add_argument(
        "--to", default="saved_models", metavar="DIR", help="folder of the models (%(default)s)"
    )
    parser.add_argument("--half", action="store_true", help="float16 weights inside")
    parser.add_argument("--version", type=int, metavar="N", help="default: the next number")
    parser.add_argument(
        "--no-warmup", action="store_true", help="no warm-up requests (extra: serving)"
    )
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
        _check_pruning(flags)
    except ValueError as error:
        parser.error(str(error))
    return flags


def _check_pruning(flags) -> None:
    from serving.sources import is_run

    if is_run(flags.source):
        if flags.keep is None:
            raise ValueError("--keep: expected the number of a run's nodes to keep, received none.")
    elif flags.keep is not None or flags.refit:
        source = flags.source or "--presets"
        raise ValueError(
            f"--keep and --refit: expected a run folder, received {source}: no folder. Name one "
            "that a trainer wrote; presets and FILE.keras are pruned already."
        )


def load_sources(flags) -> Iterator[Source]:
    """Yields each packaged model that the flags name."""
    from serving import sources

    if flags.presets:
        yield from sources.presets()
    elif sources.is_run(flags.source):
        yield sources.run(
            flags.source,
            keep=flags.keep,
            refit=flags.refit,
            name=flags.name,
            measured=flags.half,
        )
    elif flags.source.endswith(".keras"):
        yield sources.file(flags.source)
    else:
        yield sources.preset(flags.source)


def run(flags, command: str) -> list[Path]:
    """Exports what the flags name; returns the versions."""
    from serving.warmup import check_installed

    if not flags.no_warmup:
        check_installed()
    paths = []
    for source in load_sources(flags):
        card = source.card if flags.name is None else {**source.card, "name": flags.name}
        paths.append(
            export_model(
                source.model,
                card,
                flags.to,
                half=flags.half,
                version=flags.version,
                warmup=not flags.no_warmup,
                command=command,
                measure=source.measure,
            )
        )
    if not paths:
        raise ValueError(
            "--presets: expected presets in the package, received none. Build them with "
            "`python -m trainers.zoo`, or name a SOURCE."
        )
    return paths


def main(argv=None) -> list[Path]:
    """Runs the command line; returns the versions that were written."""
    flags = parse(argv)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    for name in ("absl", "tensorflow"):  # each tells of every file, and of TF1's loader
        logging.getLogger(name).setLevel(logging.ERROR)
    command = shlex.join(["python", "-m", MODULE, *(sys.argv[1:] if argv is None else argv)])
    try:
        paths = run(flags, command)
    except (ImportError, OSError, RuntimeError, TypeError, ValueError) as error:
        if flags.debug:
            raise
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)
    for path in paths:
        print(path)
    return paths


if __name__ == "__main__":
    main()
