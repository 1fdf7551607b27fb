"""Tables of text: in aligned columns, in those that fit the terminal, or in Markdown."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator, Sequence

_GAP = 2  # between columns
_LEAST = 20  # characters that a long cell gets in a line, however narrow the terminal is


def aligned(rows: Sequence[Sequence[str]], signs: str = "<") -> list[str]:
    """Lines with the cells in columns of equal width.

    Args:
        rows: the cells, the same number in each row.
        signs: `<` (left) or `>` (right) for each column; the last sign also serves all further
            columns.
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    signs = signs.ljust(len(widths), signs[-1])
    return [
        "  ".join(
            f"{cell:{sign}{width}}" for cell, sign, width in zip(row, signs, widths, strict=True)
        ).rstrip()
        for row in rows
    ]


def fitted(rows: Sequence[Sequence[str]], signs: str = "<", *, keys: int = 1) -> list[str]:
    """Lines as of `aligned`, which fit the terminal that they are printed on.

    A table that is too wide becomes parts, one below the other, each of which begins with the
    first columns. A cell that is longer than a line goes on in the next. Files and pipes get
    whole tables.

    Args:
        rows: the cells, the same number in each row.
        signs: as for `aligned`.
        keys: how many of the first columns tell the rows apart.
    """
    lines, width = aligned(rows, signs), _terminal_width()
    if width is None or max(map(len, lines), default=0) <= width:
        return lines
    columns = [*zip(*rows, strict=True)]
    signs = signs.ljust(len(columns), signs[-1])
    parts = []
    for places in _parts([max(map(len, column)) for column in columns], keys, width):
        taken = sum(max(map(len, columns[k])) + _GAP for k in places[:-1])
        room = max(_LEAST, width - taken)
        cells = [line for row in rows for line in _wrapped([row[k] for k in places], room)]
        parts.append(aligned(cells, "".join(signs[k] for k in places)))
    return [line for part in parts for line in ["", *part]][1:]


def fits(lines: Sequence[str]) -> bool:
    """Whether lines fit the terminal; where none is, they always do."""
    width = _terminal_width()
    return width is None or max(map(len, lines), default=0) <= width


def _terminal_width() -> int | None:
    """The width of the terminal that standard output is, or what `COLUMNS` says; None: neither."""
    if not (sys.stdout.isatty() or os.environ.get("COLUMNS")):
        return None
    return shutil.get_terminal_size().columns


def _parts(widths: list[int], keys: int, width: int) -> Iterator[list[int]]:
    """Indices of the columns of each part: the first ones, and as many others as have room."""
    first = [*range(keys)]
    part = list(first)
    for place in range(keys, len(widths)):
        wide = sum(widths[k] + _GAP for k in [*part, place]) - _GAP
        if wide > width and len(part) > keys:
            yield part
            part = list(first)
        part.append(place)
    yield part


def _wrapped(cells: list[str], room: int) -> Iterator[list[str]]:
    """A row in as many lines as its last cell needs."""
    *others, last = cells
    for start in range(0, max(1, len(last)), room):
        yield [*(others if not start else [""] * len(others)), last[start : start + room]]


def markdown(rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines of a Markdown table; the first row is its head."""
    head, *body = (" | ".join(cell.replace("|", r"\|") for cell in row) for row in rows)
    return [f"| {line} |" for line in (head, " | ".join(["---"] * len(rows[0])), *body)]
