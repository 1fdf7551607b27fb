"""A cell of the table: what came of one operation, and how a number is held to its reference."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np

from asym_keras.training import TrainingError

# Largest difference, as a share of the largest number of the reference.
TOLERANCE = {"float64": 1e-7, "float32": 1e-3, "float16": 5e-2, "bfloat16": 2e-1}
REFUSALS = (ValueError, TrainingError)


class Wrong(Exception):
    """Neither right nor refused."""


class Refused(Exception):
    """The library said no; holds what it said."""


@dataclasses.dataclass(frozen=True)
class Cell:
    """What came: `"right"`, `"refused"` or `"wrong"`, and what was said."""

    outcome: str
    message: str = ""


def ask(function: Callable, *args, **kwargs) -> Any:
    """Calls the library; its refusals are told apart from faults of all other kinds."""
    try:
        return function(*args, **kwargs)
    except REFUSALS as error:
        raise Refused(" ".join(str(error).split())) from error
    except Exception as error:
        said = " ".join(str(error).split())[:400]
        raise Wrong(f"{type(error).__name__}: {said}") from error


def close(what: str, received, expected, tolerance: float) -> None:
    """Raises `Wrong` unless arrays agree, beside the largest number of the reference."""
    received, expected = (np.asarray(a).astype("float64") for a in (received, expected))
    if received.shape != expected.shape:
        raise Wrong(f"{what}: shape {received.shape}, expected {expected.shape}")
    if not np.isfinite(expected).all():
        raise Wrong(f"{what}: the reference is not finite")
    off = np.abs(received - expected).max(initial=0.0)
    largest = np.abs(expected).max(initial=0.0)
    if not off <= tolerance * largest:
        raise Wrong(f"{what}: off by {off:.3g} of at most {largest:.3g}")


def close_outputs(what: str, received, expected, tolerance: float) -> None:
    if len(received) != len(expected):
        raise Wrong(f"{what}: {len(received)} outputs, expected {len(expected)}")
    for i, (a, b) in enumerate(zip(received, expected, strict=True)):
        close(f"{what} (output {i})", a, b, tolerance)
