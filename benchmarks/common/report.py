"""Tables and numbers as text."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import numpy as np


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Aligned columns: words to the left, numbers to the right."""
    rows = [list(row) for row in rows]
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    right = [not row[:1].isalpha() for row in (rows[0] if rows else head)]

    def line(cells: Sequence[str]) -> str:
        aligned = (
            cell.rjust(width) if numeric else cell.ljust(width)
            for cell, width, numeric in zip(cells, widths, right, strict=True)
        )
        return "  ".join(aligned).rstrip()

    return "\n".join([line(head), line(["-" * width for width in widths]), *map(line, rows)])


def percent(share: float) -> str:
    """A share in [0, 1] in percent."""
    return "-" if math.isnan(share) else f"{100 * share:.0f} %"


def number(value: float) -> str:
    """Three digits, or whole numbers from a hundred on."""
    if math.isnan(value):
        return "-"
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def exponent(sizes: Sequence[float], values: Sequence[float]) -> float:
    """Exponent b of the power law `a size**b`: by least squares of the logarithms, or NaN."""
    if len(values) != len(sizes) or len(set(sizes)) < 2:
        return math.nan
    x = np.log(sizes) - np.mean(np.log(sizes))
    return float(x @ np.log(values) / (x @ x))
