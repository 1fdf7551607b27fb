"""What a tensor in a model holds of nodes, and what stands in their way."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np


class Obstacle(Exception):
    """Nodes go to what can't be cut; says to what, why, and what would do instead."""


@dataclasses.dataclass(frozen=True, eq=False)
class Nodes:
    """Entries of a tensor along one axis, each of one node or of none."""

    axis: int  # of the tensor, whose axis 0 is the examples'
    labels: np.ndarray  # int (size,), the node that each entry belongs to; -1: to none
    constants: np.ndarray  # float64 (size,), what each entry is where its node is masked

    def entries(self, nodes: Any) -> np.ndarray:
        """Places of the entries of `nodes` and of those that belong to none."""
        return np.flatnonzero((self.labels < 0) | np.isin(self.labels, nodes))

    def dropped(self, nodes: Any) -> np.ndarray:
        """Places of the other entries."""
        return np.flatnonzero((self.labels >= 0) & ~np.isin(self.labels, nodes))

    @property
    def leave_zero(self) -> bool:
        """Whether masked nodes leave nothing."""
        return not self.constants[self.labels >= 0].any()

    def same_as(self, other: Nodes) -> bool:
        """Whether another tensor holds the same, constants to rounding."""
        return (
            self.axis == other.axis
            and np.array_equal(self.labels, other.labels)
            and np.allclose(self.constants, other.constants, rtol=1e-3, atol=1e-6)
        )


def all_nodes(units: int, axis: int) -> Nodes:
    """What a layer of so many nodes returns: a masked node is zero."""
    return Nodes(axis, np.arange(units), np.zeros(units))


def describe(operation: Any) -> str:
    """Name and class, as every message has them."""
    return f"{operation.name!r} ({type(operation).__name__})"
