"""Texts in arrays, with every byte that they have."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt


def array_of(value: Any) -> npt.NDArray:
    r"""`value` as an array in which texts, str or bytes, are objects.

    NumPy's own dtypes of texts, "S" and "U", drop the NULs at the end of each text, and make texts
    of numbers beside them. What is an array of such a dtype already has lost them, and stays as it
    is.

    Example:
        >>> array_of([b"ab\x00", b"c"]).tolist()
        [b'ab\x00', b'c']
    """
    array = np.asarray(value)
    if array.dtype.kind in "SU" and not isinstance(value, np.ndarray):
        return np.asarray(value, dtype=object)
    return array


def as_bytes(text: str | bytes) -> bytes:
    """The bytes of a text, UTF-8; of NumPy's kinds of str and bytes, too."""
    return text.encode() if isinstance(text, str) else bytes(text)
