"""Tables of text: in aligned columns, or in Markdown."""

from __future__ import annotations

from collections.abc import Sequence


def aligned(rows: Sequence[Sequence[str]], signs: str = "<") -> list[str]:
    """Lines with the cells in columns of equal width.

    Args:
        rows: the cells, as many in each row.
        signs: `<` or `>` for each column, to which side its cells go; the last sign is that of
            all further columns.
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    signs = signs.ljust(len(widths), signs[-1])
    return [
        "  ".join(
            f"{cell:{sign}{width}}" for cell, sign, width in zip(row, signs, widths, strict=True)
        ).rstrip()
        for row in rows
    ]


def markdown(rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines of a Markdown table; the first row is its head."""
    head, *body = (" | ".join(cell.replace("|", r"\|") for cell in row) for row in rows)
    return [f"| {line} |" for line in (head, " | ".join(["---"] * len(rows[0])), *body)]
