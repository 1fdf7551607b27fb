"""Nested presets in the gallery: one line for each, with the accuracy or risk of every width."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from trainers.common.tables import markdown

HEAD = ("nested preset", "test accuracy or risk, by nodes", "anytime: accuracy, mean nodes", "kB")


def is_nested(card: Any) -> bool:
    """Whether a card is of a network of several widths."""
    return isinstance(card, dict) and "widths" in card


def nested_table(folder: Path) -> str:
    """A table in Markdown of the nested presets in `folder`, by name; empty if there is none.

    Raises:
        ValueError: A card that can't be read.
    """
    rows: list[tuple[str, ...]] = []
    for path in sorted(folder.glob("*.json")):
        try:
            card = json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise ValueError(f"expected JSON in {path}, received {error}.") from error
        if is_nested(card):
            size = path.with_suffix(".keras").stat().st_size
            rows.append(
                (f"`{card['name']}`", _numbers(card), _anytime(card), f"{size / 1000:,.0f}")
            )
    return "\n".join(markdown([HEAD, *rows])) if rows else ""


def _numbers(card: dict[str, Any]) -> str:
    accuracy = card["task"] == "classification"
    name, form = ("test_accuracy", ".4f") if accuracy else ("test_risk", ".3g")
    numbers = card["metrics"]["widths"]
    return ", ".join(f"{width}: {numbers[str(width)][name]:{form}}" for width in card["widths"])


def _anytime(card: dict[str, Any]) -> str:
    found = card.get("anytime")
    return f"{found['test_accuracy']:.4f}, {found['mean_width']:.0f}" if found else ""
