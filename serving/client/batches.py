"""Splits large inputs into parts, and joins the answers to the parts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from serving.client.signatures import Arrays


def split(arrays: Arrays, batch_size: int | None) -> Iterator[Arrays]:
    """Yields parts of at most `batch_size` rows, in order. Inputs without rows make one part.

    Raises:
        ValueError: `batch_size` is below 1, or the inputs do not have equally many rows.
    """
    if batch_size is None:
        yield arrays
        return
    if batch_size < 1:
        raise ValueError(f"batch_size: expected at least 1, received {batch_size}")
    rows = {name: array.shape[0] if array.ndim else None for name, array in arrays.items()}
    count = next(iter(rows.values()), None)
    if count is None or set(rows.values()) != {count}:
        received = f"received {rows}; leave batch_size out to send them as they are"
        raise ValueError(f"batch_size: expected inputs with equally many rows, {received}")
    for start in range(0, max(count, 1), batch_size):
        yield {name: array[start : start + batch_size] for name, array in arrays.items()}


def join(parts: Sequence[Arrays], sizes: Sequence[int]) -> dict[str, npt.NDArray]:
    """Outputs of all parts by name, joined along the axis of rows.

    Args:
        parts: outputs of each part.
        sizes: number of rows in the inputs of each part.

    Raises:
        ValueError: An output does not have one row for each row of the inputs.
    """
    for part, size in zip(parts, sizes, strict=True):
        for name, array in part.items():
            if array.shape[:1] != (size,):
                raise ValueError(
                    f"batch_size: expected a row of output {name!r} for each of {size} rows of the "
                    f"inputs, received shape {array.shape}; leave batch_size out"
                )
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
