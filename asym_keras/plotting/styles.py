"""How a curve looks: one colour and one line style for one gamma and alpha, in every figure."""

from __future__ import annotations

import colorsys
import dataclasses
import json
from pathlib import Path
from typing import Any

from asym_keras.runs import Run

# M. Okabe and K. Ito, "Color universal design" (2008), without the yellow, which is too pale on
# paper. They can be told apart with every kind of colour vision.
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9", "#000000")
# These can be told apart without any colour.
DASHES: tuple[Any, ...] = (
    "-",
    (0, (6, 2)),
    (0, (6, 2, 1, 2)),
    (0, (3, 1.5)),
    (0, (6, 2, 1, 2, 1, 2)),
    (0, (9, 2, 3, 2)),
    (0, (1, 1)),
)
# The pairs of the paper and of its figures, (gamma, alpha); at gamma = 1 alpha has no effect.
_PAIRS = (
    *((1.0, None), (0.5, 0.7), (0.5, 0.5), (0.0, 0.4)),
    *((0.2, 0.5), (0.25, 0.4), (0.75, 0.4)),
)


@dataclasses.dataclass(frozen=True)
class Style:
    """Colour and dashes of a line, as matplotlib takes them."""

    colour: str
    dashes: Any = "-"


def style_of(run: Run) -> Style:
    """The style of a run's curves, by what its network depends on: gamma, alpha and the law.

    The seven pairs of the paper have colours that everybody can tell apart. Of other pairs gamma
    makes the hue, from red to blue, and alpha the lightness, so that near pairs look alike.
    """
    return style_of_pair(*run.pair)


def style_of_pair(gamma: float | None, alpha: float | None, law: str = "zipf") -> Style:
    """`style_of` for numbers; None for what a network does not have, or does not depend on.

    Example:
        >>> asym_keras.plotting.style_of_pair(0.0, 0.4)
        Style(colour='#D55E00', dashes=(0, (3, 1.5)))
    """
    pair = (gamma, None if gamma == 1 else alpha)
    if law == "zipf" and pair in _PAIRS:
        place = _PAIRS.index(pair)
        return Style(COLOURS[place], DASHES[place])
    if gamma is None:
        return Style("#555555", DASHES[0])
    red, green, blue = colorsys.hls_to_rgb(0.7 * gamma, 0.25 + 0.4 * (alpha or 0.5), 0.7)
    # Made of the pair's digits, since Python's hash differs from process to process.
    place = sum(map(ord, f"{gamma:g} {alpha} {law}")) % len(DASHES)
    colour = "".join(f"{round(255 * part):02X}" for part in (red, green, blue))
    return Style(f"#{colour}", DASHES[place])


def colour_in(folder: Path) -> str:
    """The colour of the run in a folder, finished or not; its only line is solid."""
    path = folder / "config.json"
    config = json.loads(path.read_text(encoding="utf-8"))["config"] if path.is_file() else {}
    if config.get("gamma") is None:
        return COLOURS[0]
    return style_of_pair(config["gamma"], config.get("alpha"), config.get("law", "zipf")).colour


def styles_of(groups: list[Run]) -> list[Style]:
    """The styles of several lines in one figure; those of one pair differ in their dashes."""
    found: list[Style] = []
    for run in groups:
        style = style_of(run)
        first = DASHES.index(style.dashes)
        tries = [dataclasses.replace(style, dashes=(*DASHES, *DASHES)[first + k]) for k in range(7)]
        found.append(next((one for one in tries if one not in found), style))
    return found
