"""Tables of numbers as CSV files, and what a run recorded. No TensorFlow: NumPy alone."""

from __future__ import annotations

import csv
import html
import io
import os
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from asym_keras.extras import install_command
from asym_keras.files import atomic_path, user_path, write_text

if TYPE_CHECKING:
    import pandas

_SHOWN = 5  # first and last rows of a table that is shown


class Table:
    """Rows of numbers with named columns.

    Attributes:
        rows: list of dicts, column name -> number.
    """

    def __init__(self, rows: list[dict] | None = None):
        self.rows = rows or []

    def column(self, name: str) -> np.ndarray:
        """Column `name`, float64 (rows,)."""
        if self.rows and name not in self.rows[0]:
            raise KeyError(f"Expected one of the columns {list(self.rows[0])}, received {name!r}.")
        return np.array([row[name] for row in self.rows], dtype="float64")

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> dict:
        return self.rows[index]

    def to_csv(self, path: str | os.PathLike) -> None:
        """Writes the table; floats with all their digits, so reading gives the same numbers."""
        text = io.StringIO()
        names = list(self.rows[0]) if self.rows else []
        writer = csv.DictWriter(text, fieldnames=names, lineterminator="\n")
        writer.writeheader()
        writer.writerows(self.rows)
        write_text(path, text.getvalue())

    def to_dataframe(self) -> pandas.DataFrame:
        """The table as a pandas data frame: a column each name, a row each row.

        Raises:
            ImportError: pandas is not installed; names the command.
        """
        return data_frame(self.rows)

    def __repr__(self) -> str:
        name = type(self).__name__
        if not self.rows:
            return f"{name}(no rows)"
        rows = f"{len(self)} row{'s' * (len(self) > 1)}"
        return f"{name}({rows}: {', '.join(self.rows[0])})"

    def _repr_html_(self) -> str:
        if not self.rows:
            return f"<p>{html.escape(repr(self))}</p>"
        cells = [[_cell(value) for value in row.values()] for row in self.rows]
        if len(cells) > 2 * _SHOWN + 1:
            cells = [*cells[:_SHOWN], ["…"] * len(self.rows[0]), *cells[-_SHOWN:]]
        return html_table([*self.rows[0]], cells) + f"<p>{len(self)} rows</p>"

    @classmethod
    def from_csv(cls, path: str | os.PathLike) -> Self:
        """Reads a table that `to_csv` wrote.

        Raises:
            ValueError: A line is no row of numbers; says which, and what it holds.
        """
        with open(user_path(path), newline="", encoding="utf-8") as file:
            names, *lines = list(csv.reader(file)) or [[]]
        rows = []
        for number, cells in enumerate(lines, start=2):
            if len(cells) != len(names):
                raise ValueError(f"{len(cells)} cells, not {len(names)}, in line {number}")
            row = {}
            for name, cell in zip(names, cells, strict=True):
                try:
                    row[name] = float(cell)
                except ValueError:
                    raise ValueError(f"{cell!r} in line {number}") from None
            rows.append(row)
        return cls(rows)


class History(Table):
    """Records of a run: a table with one row for each record time, and arrays beside it.

    Attributes:
        rows: list of dicts, column name -> number, in order of time.
        arrays: dict, name -> list of arrays, one a record (per-node weight change, ...).

    Example:
        >>> history = asym_keras.training.History()
        >>> history.append({"step": 0, "time": 0.0, "train_risk": 1.0}, {})
        >>> history[-1]["train_risk"]
        1.0
    """

    def __init__(self, rows: list[dict] | None = None, arrays: dict[str, list] | None = None):
        super().__init__(rows)
        self.arrays = arrays or {}

    def append(self, numbers: dict, arrays: dict[str, np.ndarray]) -> None:
        """Adds a record."""
        for name, value in arrays.items():
            self.arrays.setdefault(name, []).append(value)
        self.rows.append(numbers)  # last: a row says that the record is whole

    def arrays_to_npz(self, path: str | os.PathLike) -> None:
        """Writes `step`, `time` and the arrays, stacked along a first axis of records."""
        stacked: dict[str, Any] = {name: np.stack(v) for name, v in self.arrays.items()}
        stacked |= {name: self.column(name) for name in ("step", "time")}
        # An open file, as NumPy would put .npz behind any other name.
        with atomic_path(path) as temporary, open(temporary, "wb") as file:
            np.savez(file, **stacked)


def data_frame(rows: list[dict]) -> pandas.DataFrame:
    """Rows, column name -> value, as a pandas data frame.

    Raises:
        ImportError: pandas is not installed; names the command.
    """
    try:
        import pandas
    except ImportError as error:
        raise ImportError(
            "to_dataframe: expected the package pandas, received none. Install it with: "
            f"{install_command('pandas')}"
        ) from error
    return pandas.DataFrame(rows)


def html_table(head: Sequence[str] | None, rows: Iterable[Sequence[str]]) -> str:
    """An HTML table of text, for notebooks."""
    lines = [] if head is None else [_html_row(head, "th")]
    return f"<table>{''.join([*lines, *(_html_row(row, 'td') for row in rows)])}</table>"


def _html_row(cells: Sequence[str], tag: str) -> str:
    return f"<tr>{''.join(f'<{tag}>{html.escape(cell)}</{tag}>' for cell in cells)}</tr>"


def _cell(value: Any) -> str:
    return f"{value:.5g}" if isinstance(value, float) else str(value)
