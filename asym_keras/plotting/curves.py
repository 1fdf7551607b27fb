"""The quantities that the paper draws, and their curves in one run."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import numpy as np

from asym_keras.runs import Run
from asym_keras.tables import Table

_X = {
    "history": ("step", "step"),
    "pruning": ("pruned", "nodes kept"),
    "transfer": ("features", "features"),
}


@dataclasses.dataclass(frozen=True)
class Quantity:
    """A quantity with a curve.

    Attributes:
        name: its key in `QUANTITIES`.
        table: where it stands: `"history"`, `"pruning"` or `"transfer"`.
        column: column of that table.
        text: what an axis says of it, with mathematics as matplotlib has it.
        published: name of its curve among the published ones.
    """

    name: str
    table: str
    column: str
    text: str
    published: str

    @property
    def x_column(self) -> str:
        """The column of x. For pruning these are the pruned nodes; figures show the nodes kept."""
        return _X[self.table][0]

    @property
    def x_text(self) -> str:
        """The label of the x axis."""
        return _X[self.table][1]

    def drawn(self, x: np.ndarray, *values: np.ndarray, width: int) -> tuple[np.ndarray, ...]:
        """A curve as it is drawn: pruning over the nodes kept of `width`, where any are kept."""
        if self.table != "pruning":
            return (x, *values)
        kept = width - x
        return tuple(array[kept > 0] for array in (kept, *values))

    @property
    def is_risk(self) -> bool:
        """Whether it is a risk: positive, and often spread over decades."""
        return self.column.endswith("risk")

    def column_of(self, *, refit: bool) -> str:
        """`column`, or with `refit` the one for which the readout of the kept nodes is refitted."""
        return f"{self.column}_refit" if refit else self.column

    def text_for(self, protocol: str) -> str:
        """`text`, as the curves under `protocol` are to be read."""
        if self.name == "ntg_change" and protocol == "authors":
            return self.text + r"$^{\,1/2}$"
        return self.text


def _quantities() -> Iterator[Quantity]:
    risks = {
        "train_risk": ("training risk", "trainrisk"),
        "test_risk": ("test risk", "testrisk"),
        "train_accuracy": ("training accuracy", "trainacc"),
        "test_accuracy": ("test accuracy", "testacc"),
    }
    training = {
        **risks,
        "weight_change": (r"$\|\mathbf{w}_{tj} - \mathbf{w}_{0j}\|$", "wdiff"),
        "ntg_change": (r"$\|\hat\Theta_t - \hat\Theta_0\|_2$", "ntkdiff"),
        "ntg_min_eigenvalue": (r"eig$_\min(\hat\Theta_t)$", "ntkmineig"),
    }
    for name, (text, published) in training.items():
        yield Quantity(name, "history", name, text, published)
    for table, short, word in (("pruning", "prune", "pruned"), ("transfer",) * 3):
        for name, (text, published) in risks.items():
            full = f"{table}_{name}"
            yield Quantity(full, table, name, f"{text}, {word}", f"{short}_{published}")


# By name: train_risk, ..., weight_change, ..., pruning_train_risk, ..., transfer_train_risk, ...
QUANTITIES = {quantity.name: quantity for quantity in _quantities()}


def has_curve(run: Run, quantity: str, *, refit: bool = False) -> bool:
    """Whether the run has the curve of a quantity of `QUANTITIES`; `refit`: the refitted one."""
    of = QUANTITIES[quantity]
    table = getattr(run, of.table)
    return bool(table) and of.column_of(refit=refit) in table[0]


def curve(run: Run, quantity: str, *, refit: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """Curve of a quantity in one run, as the paper's figures show it.

    The weight change is that of the node with the largest one at the end, where there is a
    `nodes.npz`, else the largest at each record. Under protocol `authors` the NTG change is the
    square root of the spectral norm.

    Args:
        run: the run.
        quantity: a key of `QUANTITIES`.
        refit: take the pruning curve whose readouts are refitted.

    Returns:
        float64 (points,): steps, numbers of pruned nodes or of features; and the values there.

    Raises:
        ValueError: The run has no such curve.
    """
    of = QUANTITIES[quantity]
    if not has_curve(run, quantity, refit=refit):
        raise ValueError(
            f"expected {of.column_of(refit=refit)} in {of.table}.csv of {run.path}, received none. "
            "Run it again with the flags that record it."
        )
    root = run.config.get("protocol") == "authors"
    return table_curve(getattr(run, of.table), run.nodes, quantity, root=root, refit=refit)


def table_curve(
    table: Table, nodes: dict[str, np.ndarray] | None, quantity: str, *, root: bool, refit: bool
) -> tuple[np.ndarray, np.ndarray]:
    """`curve` of the tables themselves; `root` takes the square root of the NTG change."""
    of = QUANTITIES[quantity]
    values = table.column(of.column_of(refit=refit))
    if of.name == "weight_change" and nodes is not None and "node_weight_change" in nodes:
        changes = nodes["node_weight_change"]
        values = changes[:, np.argmax(changes[-1])]
    if of.name == "ntg_change" and root:
        values = np.sqrt(values)
    return table.column(of.x_column), values
