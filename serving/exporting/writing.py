"""Writes a packaged model as a version folder, once its SavedModel answers as the model does."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from asym_keras.files import user_path
from serving.card import check_card, package_versions, portable_command, write_card
from serving.exporting import warmup as warmup_requests
from serving.readme import LONG_INPUT, curl
from serving.versions import WARMUP_FILE, new_version

if TYPE_CHECKING:
    from serving.exporting.network import Network

logger = logging.getLogger("serving.export")


def export_packaged(
    model: Any,
    card: dict[str, Any],
    to: str | os.PathLike[str],
    *,
    half: bool = False,
    version: int | None = None,
    warmup: bool = True,
    command: str | None = None,
    measure: Callable[[Callable], dict[str, float]] | None = None,
) -> Path:
    """Writes a packaged model as a new version `to/<name>/<version>`: see `export_model`."""
    from serving.exporting.check import check_saved_model
    from serving.exporting.network import as_network
    from serving.exporting.saved_model import write_saved_model

    if "widths" in card:
        from serving.exporting.nested import export_nested

        if half:
            received = f"received {card['name']!r}, which is nested. Leave it out."
            raise ValueError(f"half: expected a model of one width, {received}")
        return export_nested(model, card, to, version=version, warmup=warmup, command=command)
    dim, outputs = _shape(model)
    card = check_card(card, dim=dim, outputs=outputs)
    if warmup:
        warmup_requests.check_installed()
    network = as_network(model, half=half)
    with new_version(user_path(to) / card["name"], version) as new:
        names = write_saved_model(network, card, new.temporary)
        if warmup:
            warmup_requests.write_warmup(new.temporary, card, names)
        difference = check_saved_model(new.temporary, model, network, card, half=half)
        metrics = {"half": measure(network.outputs)} if half and measure else {}
        card = _with_export(card, network, metrics, command)
        card["export"] = {
            "half": half,
            "folded": network.chain is not None,
            "largest_difference": float(f"{difference:.2g}"),
            "versions": package_versions(),
        }
        write_card(new.temporary, card)
    assert new.path is not None
    _report(new.path, card, outputs)
    return new.path


def _shape(model: Any) -> tuple[int, int]:
    import keras

    one = isinstance(model, keras.Model) and [len(model.inputs), len(model.outputs)] == [1, 1]
    shapes = [tuple(t.shape) for t in (*model.inputs, *model.outputs)] if one else []
    if not one or any(len(shape) != 2 or shape[1] is None for shape in shapes):
        received = " -> ".join(map(str, shapes)) or type(model).__name__
        expected = "expected a Keras model of raw values (None, d) -> (None, K)"
        raise ValueError(f"{expected}, received {received}. Package it with serving.package.")
    return shapes[0][1], shapes[1][1]


def _with_export(
    card: dict[str, Any], network: Network, metrics: dict[str, Any], command: str | None
) -> dict[str, Any]:
    """The card with what this export adds. The packaged model's own card is not changed."""
    inputs = dict(card["inputs"])
    if network.chain is not None and inputs["kind"] != "image" and inputs["dim"] <= LONG_INPUT:
        # The centre of the training data shows what a request looks like.
        inputs.setdefault("example", [float(f"{value:.4g}") for value in network.chain.centre])
    commands = [*card["commands"], *([portable_command(command)] if command else [])]
    return {**card, "inputs": inputs, "metrics": card["metrics"] | metrics, "commands": commands}


def _report(path: Path, card: dict[str, Any], outputs: int) -> None:
    files = [f for f in path.rglob("*") if f.is_file() and f != path / WARMUP_FILE]
    size = sum(file.stat().st_size for file in files)
    full = 4 * card["width"] * (card["inputs"]["dim"] + outputs)
    precision = "float16" if card["export"]["half"] else "float32"
    logger.info(
        "%s: %.3g MB with %d nodes in %s; the weights of all %d in float32: %.3g MB",
        *(path, size / 1e6, card["kept"], precision, card["width"], full / 1e6),
    )
    checked = "checked: largest difference from the Keras model %.1g of its largest output"
    logger.info(checked, card["export"]["largest_difference"])
    for name, value in card["metrics"].get("half", {}).items():
        whole = card["metrics"].get("refit" if card["refit"] else "pruned", {}).get(name)
        beside = "" if whole is None else f" ({whole:.4g} with float32 ones)"
        logger.info("%s %.4g with float16 weights%s", name.replace("_", " "), value, beside)
    logger.info("%s", curl(card))
