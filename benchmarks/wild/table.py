"""All models of the table: importing this fills it. And the cells that the quick suite runs."""

from __future__ import annotations

from collections.abc import Iterable

# Each of these puts its models into the table.
import benchmarks.wild.models_dense
import benchmarks.wild.models_images
import benchmarks.wild.models_inputs
import benchmarks.wild.models_nested
import benchmarks.wild.models_own
import benchmarks.wild.models_precision
import benchmarks.wild.models_sequences  # noqa: F401
from benchmarks.wild.entry import TABLE

# One cell a model: what it costs is tracing, about a second of a core for a Jacobian. Each
# operation but the closed form meets at least five models; all cells are in the slow suite.
TURNS = (
    *("descent", "probes", "masking", "auto", "keep all", "masking", "descent", "probes"),
    *("float64", "masking", "export", "probes", "structured", "masking", "jacobian", "descent"),
    *("flow", "ntg_predict", "save, load"),
)
# What takes long to trace where there are loops.
TRACED = ("auto", "structured", "jacobian", "float64", "ntg_predict", "save, load", "flow")


def of_kinds(kinds: Iterable[str]) -> list[str]:
    """Names of the entries of these kinds, in order."""
    return [name for name, entry in TABLE.items() if entry.kind in kinds]


def quick_operations(name: str) -> list[str]:
    """The operations of the quick suite for one entry."""
    operation = TURNS[list(TABLE).index(name) % len(TURNS)]
    return ["masking" if TABLE[name].recurrent and operation in TRACED else operation]
