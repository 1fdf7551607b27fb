"""Named columns of numbers, from a CSV file."""

from __future__ import annotations

import csv
import dataclasses
import io
import itertools
import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

from asym_keras.files import user_path

Float64Array = npt.NDArray[np.float64]

_DELIMITERS = (",", ";", "\t")


@dataclasses.dataclass(frozen=True, eq=False)
class Table:
    """Named columns of finite numbers."""

    names: list[str]  # without the blanks around them
    values: Float64Array  # (rows, columns), in the order of the file


def read_csv(path: Path, *, without: str | None = None) -> Table:
    """`parse_csv` of a file; FileNotFoundError where there is none."""
    return parse_csv(*_content(path), without=without)


def read_words(path: Path, column: str) -> list[tuple[int, str]]:
    """The cells of a column as text, without the blanks around them, and their lines.

    Cells are "" where a line is too short, of which `read_csv` says more.
    """
    names, records = _header(*_content(path))
    place = names.index(column)
    return [
        (line, record[place].strip() if place < len(record) else "") for line, record in records
    ]


def read_header(path: Path) -> list[str]:
    """The column names of a CSV file; raises as `read_csv`, but looks at no number."""
    return _header(*_content(path))[0]


def parse_csv(content: bytes, origin: str, *, without: str | None = None) -> Table:
    """The numbers of a CSV file with a header line; the arguments are those of `read_records`.

    The column `without`, which may hold text, is left out.

    Raises:
        ValueError: As `read_records`; a header without names for at least two columns; a line
            of another length, or a cell that is no finite number; no row.
    """
    names, records = _header(content, origin)
    kept = [k for k, name in enumerate(names) if name != without]
    values = []
    for line, record in records:
        if len(record) != len(names):
            raise ValueError(
                f"{origin}: expected {len(names)} cells in each line as in the header, received "
                f"{len(record)} in line {line}; repair that line"
            )
        values.append([_number(record[k], k, line, names, origin) for k in kept])
    if not values:
        raise ValueError(f"{origin}: expected rows of numbers below the header, received none")
    return Table([names[k] for k in kept], np.array(values, dtype=np.float64))


def read_records(content: bytes, origin: str) -> Iterator[tuple[int, list[str]]]:
    """The cells of each line of a CSV file that is not blank, and the number of that line.

    Cells are separated by commas, semicolons or tabs, and may be quoted. The first line's, which
    are names, may have line breaks in quotes; in others a line break tells of a lost quote.
    A byte order mark may stand before all. Errors name the `origin`.

    Raises:
        ValueError: Not UTF-8 text, or a quote without its end: names its line.
    """
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{origin}: expected a CSV file in UTF-8, received other bytes ({error}); save it as "
            "CSV in UTF-8"
        ) from None
    if "\0" in text:
        line = 1 + _line_breaks(text[: text.index("\0")])
        raise ValueError(
            f"{origin}: expected a CSV file in UTF-8, received a NUL character in line {line}; "
            "save it as CSV in UTF-8"
        )
    # With another delimiter than its own, a file's header or its first row falls into fewer cells:
    # decimal commas split numbers, not names.
    delimiter = max(_DELIMITERS, key=lambda mark: _fewest_cells(text, mark))
    return _records(text, delimiter, origin)


def is_number(cell: str) -> bool:
    """Whether a cell holds a number, NaN and the infinities included."""
    if "_" in cell or not cell.strip().isascii():  # float() takes 2024_01 and digits of any script
        return False
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _content(path: Path) -> tuple[bytes, str]:
    path = user_path(path)
    if not path.is_file():
        raise FileNotFoundError(
            f"expected a CSV file, received {path.absolute()}, which is no file"
        )
    return path.read_bytes(), str(path)


def _header(content: bytes, origin: str) -> tuple[list[str], Iterator[tuple[int, list[str]]]]:
    """Column names, and the lines that follow with their numbers."""
    # Lines of nothing but delimiters, as spreadsheets leave them, are blank too.
    records = (r for r in read_records(content, origin) if any(map(str.strip, r[1])))
    line, header = next(records, (1, []))
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
    if all(is_number(name) for name in names):
        raise ValueError(
            f"{origin}: expected a header line with column names, received numbers "
            f"({', '.join(names[:3])}, ...); add a line of names at the top"
        )
    return names, records


def _records(text: str, delimiter: str, origin: str) -> Iterator[tuple[int, list[str]]]:
    ended = False

    def lines() -> Iterator[str]:
        nonlocal ended
        yield from io.StringIO(text, newline="")
        ended = True  # asked for more: between two records, or for the end of a quoted cell

    reader = csv.reader(lines(), delimiter=delimiter)
    first = True
    while True:
        start = reader.line_num + 1
        try:
            record = next(reader, None)
        except csv.Error:  # above the limit for a cell: here all before that line
            before = io.StringIO(text, newline="").readlines()[start - 1 : reader.line_num]
            if not any('"' in line for line in before):
                raise ValueError(
                    f"{origin}: expected cells of at most {csv.field_size_limit()} characters, "
                    f"received a longer one in line {start}; is this a table?"
                ) from None
            before[-1] = before[-1][: csv.field_size_limit()] if len(before) == 1 else ""
            record, ended = next(csv.reader(before, delimiter=delimiter)), True
        if record is None:
            return
        if ended or (reader.line_num > start and not first):
            line = start + sum(map(_line_breaks, record[:-1])) if ended else start
            raise ValueError(
                f"{origin}: expected quoted cells that end in their line, received a quote in line "
                f"{line} without its end; add the end, or remove the quote"
            )
        if len(record) > 1 or any(map(str.strip, record)):
            first = False
            yield start, record


def _line_breaks(text: str) -> int:
    return text.count("\n") + text.count("\r") - text.count("\r\n")


def _fewest_cells(text: str, delimiter: str) -> int:
    """Cells of the header or of the first row, whichever has fewer."""
    beginning = io.StringIO(text[: csv.field_size_limit()], newline="")
    records = (r for r in csv.reader(beginning, delimiter=delimiter) if any(map(str.strip, r)))
    return min((len(record) for record in itertools.islice(records, 2)), default=0)


def _number(cell: str, column: int, line: int, names: list[str], origin: str) -> float:
    number = float(cell) if is_number(cell) else math.nan
    if math.isfinite(number):
        return number
    received = repr(cell) if cell.strip() else "an empty cell"
    advice = "repair or remove the line, or encode or remove the column"
    if is_number(cell.replace(",", ".", 1)) and "," in cell:
        advice = "write numbers with a decimal point"
    raise ValueError(
        f"{origin}: column {names[column]!r}: expected finite numbers, received {received} in "
        f"line {line}; {advice}"
    )
