"""What a trial is judged by: its pruned network on rows that are neither trained nor tested on."""

from __future__ import annotations

import dataclasses

import numpy as np

from asym_keras.datasets import Dataset
from trainers.common.config import HeldOut, TrainerConfig
from trainers.common.curves import measured

# Numbers of nodes in the curve that each trial leaves; to refit wider networks takes seconds.
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
        """Risk and accuracy of `model` with `keep` nodes, the readout as it is and refitted."""
        [row] = self._rows(model, [self.keep])
        return {name: row[name] for name in self.names()}

    def curve(self, model) -> list[dict[str, float]]:
        """Rows `kept`, `val_risk_pruned`, ... by increasing number of nodes, `keep` among them."""
        return self._rows(model, sorted({*(k for k in KEPT if k <= self.config.width), self.keep}))

    def _rows(self, model, kept: list[int]) -> list[dict[str, float]]:
        """Measures all cuts on the widest of them, which spares a pass of the whole network."""
        import scipy.linalg  # noqa: F401 - the limit below reaches only libraries that are loaded
        from threadpoolctl import threadpool_limits

        from asym_keras.importance import PROTOCOL_RULES, importance_order, node_importance
        from asym_keras.pruning import prune

        rule, seed = PROTOCOL_RULES[self.config.protocol], self.config.seed
        # Ranks, not importances, so that ties are broken once, as they are for the whole network.
        ranks = np.argsort(importance_order(node_importance(model, rule), seed)[::-1])
        small = prune(model, kept[-1], importance=ranks)
        # On a busy machine, two threads of a small factorisation wait for each other for seconds.
        with threadpool_limits(1):
            rows = measured(
                self.config,
                small,
                self.dataset,
                self.held_out,
                pruned=[kept[-1] - k for k in kept],
                refit=True,
                importance=np.extract(ranks >= len(ranks) - kept[-1], ranks),
            )
        # Pruning curves have other names: `test_risk_refit` for `val_risk_pruned_refit`.
        columns = {n: n.replace("val_", "test_").replace("_pruned", "") for n in self.names()}
        return [
            {"kept": row["kept"], **{name: row[column] for name, column in columns.items()}}
            for row in reversed(rows)
        ]
