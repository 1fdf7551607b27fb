"""What a trial is judged by: its pruned network on rows that are neither trained nor tested on."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from asym_keras.datasets import Dataset
    from trainers._cli import TrainerConfig
    from trainers._zoo_runs import HeldOut

# Numbers of nodes of the curve that each trial leaves. Refits of wider networks take seconds.
KEPT = (5, 10, 20, 50, 100, 200)


@dataclasses.dataclass(frozen=True, eq=False)
class Validation:
    """Measures networks of one trial.

    Attributes:
        dataset: training rows, to which readouts are refitted.
        held_out: the rows to measure on.
        config: the trial's configuration.
        keep: nodes that stay.
    """

    dataset: Dataset
    held_out: HeldOut
    config: TrainerConfig
    keep: int

    def names(self) -> list[str]:
        """Names of the numbers."""
        kinds = ["risk"] + ["accuracy"] * (self.held_out.labels is not None)
        return [f"val_{kind}_pruned{suffix}" for suffix in ("", "_refit") for kind in kinds]

    def of(self, model) -> dict[str, float]:
        """Risk and accuracy of `model` with `keep` nodes, the readout as it is and refitted.

        The network is cut before it is asked, so that a look costs keep / m of a forward pass.
        """
        from asym_keras.importance import PROTOCOL_RULES
        from asym_keras.pruning import prune

        rule = PROTOCOL_RULES[self.config.protocol]
        small = prune(model, self.keep, importance=rule, seed=self.config.seed)
        [row] = self._rows(small, [0], refit=True)
        return {name: row[_column(name)] for name in self.names()}

    def curve(self, model) -> list[dict[str, float]]:
        """Rows `kept`, `val_risk_pruned`, ... by increasing number of nodes, `keep` among them."""
        width = self.config.width
        kept = sorted({*(k for k in KEPT if k <= width), self.keep})
        rows = self._rows(model, [width - k for k in kept], refit=True)
        return [
            {"kept": row["kept"], **{name: row[_column(name)] for name in self.names()}}
            for row in reversed(rows)
        ]

    def _rows(self, model, pruned: list[int], *, refit: bool) -> list[dict]:
        return measure(self.config, model, self.dataset, self.held_out, pruned=pruned, refit=refit)


def measure(
    config: TrainerConfig, model, dataset: Dataset, rows: HeldOut, *, pruned, refit: bool
) -> list[dict]:
    """`pruning_curve` from the training rows of `dataset` to `rows`, as the trainer has it."""
    from asym_keras.importance import PROTOCOL_RULES
    from asym_keras.pruning import pruning_curve

    arrays = (dataset.x_train, dataset.y_train, rows.x, rows.y)
    return pruning_curve(
        model,
        *(array.astype(config.dtype) for array in arrays),
        labels_train=dataset.labels_train,
        labels_test=rows.labels,
        importance=PROTOCOL_RULES[config.protocol],
        loss=config.loss(),
        pruned=pruned,
        refit=refit,
        seed=config.seed,
    )


def nothing_measured(names) -> dict[str, float]:
    """The columns `names` without numbers."""
    return dict.fromkeys(names, float(np.nan))


def _column(name: str) -> str:
    """`test_risk_refit` of `val_risk_pruned_refit`: the second part's name in a pruning curve."""
    return name.replace("val_", "test_").replace("_pruned", "")
