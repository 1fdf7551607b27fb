"""Rows for a model of several inputs, or of texts, from the named columns of a table."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from asym_keras.datasets import csv_table
from serving.client.signatures import Signature, TensorSpec


def takes_columns(signature: Signature) -> bool:
    """Whether a table for this signature needs names of columns.

    For several inputs the order of the columns does not say which column is which input, and in a
    table of texts a line of names looks like a row.
    """
    texts = any(spec.dtype == "object" for spec in signature.inputs.values())
    return len(signature.inputs) > 1 or texts


def read_columns(file: Path, signature: Signature) -> dict[str, npt.NDArray]:
    """Arrays by input name. Columns with other names are ignored.

    An input (n,) or (n, 1) is the column with its name. An input (n, k) is the columns NAME_0 to
    NAME_(k-1).

    Raises:
        ValueError: A column is missing, there are no rows, or a cell is no number where numbers are
            expected. The message names the column or cell.
    """
    columns = {name: _columns(name, spec) for name, spec in sorted(signature.inputs.items())}
    lines = list(csv_table.read_records(file.read_bytes(), file.name))
    names = [cell.strip() for cell in lines[0][1]] if lines else []
    wanted = [column for each in columns.values() for column in each]
    missing = [column for column in wanted if names.count(column) != 1]
    if missing:
        raise ValueError(
            f"its first line has to name {', '.join(wanted)}, each once; "
            f"missing or repeated: {missing}"
        )
    if len(lines) < 2:
        raise ValueError("no row below its names")
    for number, cells in lines[1:]:
        if len(cells) != len(names):
            raise ValueError(f"{len(cells)} cells in line {number}, under {len(names)} names")
    rows = {}
    for name, spec in signature.inputs.items():
        places = [names.index(column) for column in columns[name]]
        found = [[_cell(line, place, spec) for place in places] for line in lines[1:]]
        values = np.array(found, object) if spec.dtype == "object" else np.array(found)
        shape = () if spec.shape is None else spec.shape[1:]
        rows[name] = values.reshape(len(found), *(size or 1 for size in shape))
    return rows


def _columns(name: str, spec: TensorSpec) -> list[str]:
    inner = None if spec.shape is None else spec.shape[1:]
    if inner is None or None in inner:
        raise ValueError(f"{name!r} is {spec.plain()}, of no fixed size; give an .npz file")
    count = math.prod(size for size in inner if size is not None)
    return [name] if count == 1 else [f"{name}_{i}" for i in range(count)]


def _cell(line: tuple[int, Sequence[str]], place: int, spec: TensorSpec) -> object:
    number, cells = line
    if spec.dtype == "object":
        return cells[place].encode()
    if not csv_table.is_number(cells[place]):
        raise ValueError(f"{cells[place]!r} in line {number}")
    return reader_of(spec)(cells[place])


def reader_of(spec: TensorSpec) -> Callable[[str], float | int]:
    """The function that reads a cell with a number. For an integer input it keeps all digits."""
    return _whole if (spec.dtype or "").startswith(("int", "uint")) else float


def _whole(cell: str) -> float | int:
    try:
        return int(cell)
    except ValueError:  # 3.0 and 1e3 are whole numbers, too; the signature refuses 3.5 later
        value = float(cell)
        return int(value) if value.is_integer() else value
