"""Named columns of numbers, from a CSV file."""

from __future__ import annotations

import csv
import dataclasses
import io
import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

Float64Array = npt.NDArray[np.float64]

_DELIMITERS = (",", ";", "\t")


@dataclasses.dataclass(frozen=True, eq=False)
class Table:
    """Named columns of finite numbers.

    Attributes:
        names: Column names, without the blanks around them.
        values: float64 `(rows, columns)`, in the order of the file.
    """

    names: list[str]
    values: Float64Array


def read_csv(path: Path) -> Table:
    """The numbers of a CSV file with a header line.

    Raises:
        FileNotFoundError: No such file.
        ValueError: As `parse_csv`.
    """
    return parse_csv(_content(path), str(path))


def read_header(path: Path) -> list[str]:
    """The column names of a CSV file; raises as `read_csv`, but looks at no number."""
    return _header(_content(path), str(path))[0]


def parse_csv(content: bytes, origin: str) -> Table:
    """The numbers of a CSV file with a header line, from its bytes.

    Args:
        content: UTF-8, with or without byte order mark.
        origin: Where they came from, for errors.

    Raises:
        ValueError: Not UTF-8; a header without names for at least two columns; a line of
            another length, or a cell that is no finite number; no row.
    """
    names, records = _header(content, origin)
    values = []
    for line, record in records:
        if len(record) != len(names):
            raise ValueError(
                f"{origin}: expected {len(names)} cells in each line as in the header, received "
                f"{len(record)} in line {line}; repair that line"
            )
        values.append([_number(cell, k, line, names, origin) for k, cell in enumerate(record)])
    if not values:
        raise ValueError(f"{origin}: expected rows of numbers below the header, received none")
    return Table(names, np.array(values, dtype=np.float64))


def _content(path: Path) -> bytes:
    if not path.is_file():
        raise FileNotFoundError(f"expected a CSV file, received {path}, which is no file")
    return path.read_bytes()


def _header(content: bytes, origin: str) -> tuple[list[str], Iterator[tuple[int, list[str]]]]:
    """Column names, and the lines that follow with their numbers."""
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{origin}: expected a CSV file in UTF-8, received other bytes ({error}); save it as "
            "CSV in UTF-8"
        ) from None
    # With another delimiter than its own, a file's header or its first row falls into fewer cells:
    # decimal commas split numbers, not names.
    delimiter = max(_DELIMITERS, key=lambda mark: _fewest_cells(text, mark))
    records = _records(text, delimiter)
    try:
        line, header = next(records, (1, []))
    except csv.Error as error:
        raise ValueError(f"{origin}: expected CSV, received a damaged file ({error})") from None
    names = [cell.strip() for cell in header]
    if len(names) < 2:
        raise ValueError(
            f"{origin}: expected a header line with at least 2 column names, separated by comma, "
            f"semicolon or tab, received {names[0][:50] if names else 'an empty file'!r}; add it"
        )
    for k, name in enumerate(names):
        if not name:
            raise ValueError(
                f"{origin}: expected a name for each column, received none for column {k + 1} in "
                f"line {line}; name it, or leave it out (a table's index, say)"
            )
        if name in names[:k]:
            raise ValueError(
                f"{origin}: expected each column name once, received {name!r} twice; rename one"
            )
    if all(_is_number(name) for name in names):
        raise ValueError(
            f"{origin}: expected a header line with column names, received numbers "
            f"({', '.join(names[:3])}, ...); add a line of names at the top"
        )
    return names, records


def _records(text: str, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """Lines that are not blank, with the number of each."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    for record in reader:
        if any(cell.strip() for cell in record):
            yield reader.line_num, record


def _fewest_cells(text: str, delimiter: str) -> int:
    """Cells of the header or of the first row, whichever has fewer."""
    records = _records(text, delimiter)
    try:
        return min((len(record) for _, record in (next(records, (0, [])) for _ in range(2))))
    except csv.Error:
        return 0


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _number(cell: str, column: int, line: int, names: list[str], origin: str) -> float:
    number = float(cell) if _is_number(cell) else math.nan
    if math.isfinite(number):
        return number
    received = repr(cell) if cell.strip() else "an empty cell"
    advice = "repair or remove the line, or encode or remove the column"
    if _is_number(cell.replace(",", ".", 1)) and "," in cell:
        advice = "write numbers with a decimal point"
    raise ValueError(
        f"{origin}: column {names[column]!r}: expected finite numbers, received {received} in "
        f"line {line}; {advice}"
    )
