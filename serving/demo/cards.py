"""Which models of a folder can read a drawing, and what their cards say about them."""

from __future__ import annotations

import dataclasses
import logging
from pathlib import Path

from serving.card import FILE, read_card
from serving.versions import find_versions

SHAPE = (28, 28)
logger = logging.getLogger("serving.demo")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Facts:
    """What the page says of a model; None for what is not known.

    Attributes:
        nodes: hidden nodes that were kept.
        width: hidden nodes of the network before pruning.
        size: bytes of graph and weights.
        accuracy: on the test images, in [0, 1].
        classes: names of the classes, in the order of the scores.
    """

    title: str | None = None
    nodes: int | None = None
    width: int | None = None
    size: int | None = None
    accuracy: float | None = None
    classes: tuple[str, ...] | None = None


def find_models(folder: Path) -> dict[str, Facts]:
    """Models of `folder` that classify images of 28 x 28 pixels, smallest first.

    Args:
        folder: Holds `<name>/<version>/card.json`; the newest version with a card counts.

    Returns:
        Facts by model name, without the models whose newest card is broken: a warning names these.
    """
    found = {}
    for path in sorted(folder.glob("[!.]*/")):
        described = [v for v in find_versions(path).values() if (v / FILE).is_file()]
        if described and (facts := _facts(described[-1])):
            found[path.name] = facts
    return dict(sorted(found.items(), key=lambda item: (item[1].nodes or 0, item[0])))


def _facts(version: Path) -> Facts | None:
    try:
        card = read_card(version)
        if card.get("kind") == "keras":  # any Keras model: its card says nothing of images
            return None
        inputs = card["inputs"]
        is_drawing = inputs["kind"] == "image" and tuple(inputs["shape"]) == SHAPE
        if card["task"] != "classification" or not is_drawing:
            return None
        classes = card["outputs"]["classes"]
        return Facts(
            title=card["title"],
            nodes=card["kept"],
            width=card["width"],
            size=_size(version),
            accuracy=_accuracy(card["metrics"]),
            classes=tuple(classes) if classes else None,
        )
    except (OSError, ValueError, TypeError, KeyError) as error:
        logger.warning("%s: expected a model's card, received %r; left out", version, error)
        return None


def _accuracy(metrics: dict[str, dict[str, float]]) -> float | None:
    """Test accuracy of the served network: that of the last step in the card's metrics."""
    taken = [step for step in ("full", "pruned", "refit", "half") if step in metrics]
    return metrics[taken[-1]].get("test_accuracy") if taken else None


def _size(version: Path) -> int:
    files = [version / "saved_model.pb", *version.glob("variables/*")]
    return sum(file.stat().st_size for file in files if file.is_file())
