"""The zoo's presets as tables in Markdown, between two marks of a page."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from trainers.common.tables import markdown
from trainers.common.tasks import TASKS
from trainers.zoo.nested import is_nested

BEGIN = "<!-- zoo: begin, written by `python -m trainers.zoo_gallery` -->"
END = "<!-- zoo: end -->"

# What the gallery reads of a card, by part; "" is the card itself.
_KEYS = {
    "": ("name", "task", "inputs", "outputs", "gamma", "alpha", "width", "kept", "refit", "data"),
    "inputs": ("dim",),
    "outputs": ("classes",),
    "data": ("name", "licence", "examples"),
    "metrics": ("full", "pruned", "units"),
}


_HEAD = (
    *("preset", "nodes", "gamma, alpha", "readout"),
    *("test accuracy", "of all nodes", "test risk", "of all nodes", "kB", "all nodes, kB"),
)


@dataclasses.dataclass(frozen=True)
class Entry:
    """A preset.

    Attributes:
        card: what is known of it.
        size: bytes of its `.keras` file.
    """

    card: dict[str, Any]
    size: int

    @property
    def task(self) -> str:
        """The task's name, as the trainers have it."""
        return self.card["data"]["name"]

    @property
    def metric(self) -> str:
        """What it is judged by: its column in the card."""
        return "test_accuracy" if self.card["task"] == "classification" else "test_risk"

    @property
    def whole_size(self) -> int:
        """Bytes of the whole network's weights in float32."""
        inputs, classes = self.card["inputs"]["dim"], self.card["outputs"]["classes"]
        return 4 * self.card["width"] * (inputs + (len(classes) if classes else 1))

    def value(self, metric: str | None = None) -> float | None:
        """A metric of the network as it stands in the file."""
        return self._metrics("refit" if self.card["refit"] else "pruned", metric)

    def whole_value(self, metric: str | None = None) -> float | None:
        """The same of the network that it was cut from."""
        return self._metrics("full", metric)

    def _metrics(self, kind: str, metric: str | None) -> float | None:
        return self.card["metrics"][kind].get(metric or self.metric)


def read_entries(folder: Path) -> list[Entry]:
    """The presets of a folder that have one width: by task, in the zoo's order, then by nodes.

    Raises:
        FileNotFoundError: There is none, or a card without its model.
        ValueError: A card that can't be read, or was not measured.
    """
    entries = [e for path in sorted(folder.glob("*.json")) if (e := _entry(path)) is not None]
    if not entries:
        raise FileNotFoundError(
            f"expected presets in {folder}, received none. Make them: python -m trainers.zoo"
        )
    order = {name: place for place, name in enumerate(TASKS)}
    return sorted(
        entries,
        key=lambda e: (order.get(e.task, len(order)), e.task, e.card["kept"], e.card["name"]),
    )


def by_task(entries: Sequence[Entry]) -> dict[str, list[Entry]]:
    """The entries of each task, in their order."""
    tasks: dict[str, list[Entry]] = {}
    for entry in entries:
        tasks.setdefault(entry.task, []).append(entry)
    return tasks


def tables(entries: Sequence[Entry]) -> str:
    """Two tables: the networks, and the data that they were trained on.

    Args:
        entries: from `read_entries`.
    """
    networks: list[tuple[str, ...]] = [_HEAD]
    networks += [_network(entry) for entry in entries]
    data = [("data", "examples, training + test", "risk", "licence", "presets, kB")]
    for task, of in by_task(entries).items():
        card = of[0].card
        rows = " + ".join(f"{n:,}" for n in card["data"]["examples"] or ()) or "not known"
        licence = card["data"]["licence"] or "not known"
        size = _kilobytes(sum(entry.size for entry in of))
        data.append((task, rows, card["metrics"]["units"], licence, size))
    return "\n".join([*markdown(networks), "", *markdown(data)])


def replaced(page: str, text: str) -> str:
    """`page` with `text` between the two marks.

    Raises:
        ValueError: The page has not just one mark of each kind, in this order.
    """
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end or BEGIN in rest or END in before + after:
        raise ValueError(
            f"expected one line {BEGIN!r} and below it one line {END!r}, received a page without, "
            "or with several. Put them where the tables belong."
        )
    return f"{before}{BEGIN}\n\n{text}\n\n{END}{after}"


def _entry(path: Path) -> Entry | None:
    """The preset of a card; None: a nested one, which has a table of its own."""
    model = path.with_suffix(".keras")
    if not model.is_file():
        raise FileNotFoundError(
            f"expected {model.name} beside {path}, received no such file. Make the zoo again: "
            "python -m trainers.zoo"
        )
    try:
        card = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"expected JSON in {path}, received {error}.") from error
    return None if is_nested(card) else Entry(_checked(card, path), model.stat().st_size)


def _checked(card: Any, path: Path) -> dict[str, Any]:
    for part, keys in _KEYS.items():
        content = card if not part or not isinstance(card, dict) else card.get(part)
        missing = [key for key in keys if not isinstance(content, dict) or key not in content]
        if missing:
            raise ValueError(
                f"{path}: expected {part or 'a card'} with {', '.join(missing)}, received none. "
                "Package the network with its metrics: python -m trainers.zoo"
            )
    if card["refit"] and "refit" not in card["metrics"]:
        raise ValueError(
            f"{path}: expected metrics of the refitted readout, received none. Package the network "
            "with its metrics: python -m trainers.zoo"
        )
    return card


def _network(entry: Entry) -> tuple[str, ...]:
    card = entry.card
    return (
        f"`{card['name']}`",
        str(card["kept"]),
        f"{card['gamma']:g}, {card['alpha']:g}",
        "refitted" if card["refit"] else "as trained",
        _places(entry.value("test_accuracy")),
        _places(entry.whole_value("test_accuracy")),
        _figures(entry.value("test_risk")),
        _figures(entry.whole_value("test_risk")),
        _kilobytes(entry.size),
        _kilobytes(entry.whole_size),
    )


def _places(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"


def _figures(value: float | None) -> str:
    return "" if value is None else f"{value:#.3g}".rstrip(".")


def _kilobytes(size: int) -> str:
    return f"{size / 1000:,.0f}"
