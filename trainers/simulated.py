"""Trains the shallow network on simulated data, as in Section 6.1 and Figure 1 of the paper.

    python -m trainers.simulated --gamma 0
    python -m trainers.simulated --protocol authors --pairs all --seeds 5 --out-dir runs/simulated

The data are 100 inputs, uniform on the unit sphere in d = 50 dimensions, with the targets
5/d sum_j sin(pi x_j) plus noise. The run folder holds the configuration, the history, per-node
weight changes, the model and the figures.
"""

from __future__ import annotations

import dataclasses

import asym_keras as ak
from trainers.common.batch import run_all
from trainers.common.cli import run_main
from trainers.common.config import HeldOut, TrainerConfig, knob, shared

MODULE = "trainers.simulated"

NOISE = {"paper": 1.0, "authors": 0.1}
FRESH_EXAMPLES = 1_000


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(TrainerConfig):
    """Flags of this trainer: the shared ones, and what the data are drawn from."""

    steps: int = shared("steps", 50_000)
    data_seed: int = knob(0, "seed of the data, which are the same in all runs", least=0)
    examples: int = knob(100, "training examples n, and as many test examples", least=1)
    input_dim: int = knob(50, "input dimension d", least=1)
    noise: float | None = knob(
        None,
        "standard deviation of the targets' noise (default: the protocol's, 1 or 0.1)",
        least=0,
    )

    def task(self) -> str:
        return "simulated"

    def ntg_count(self, examples: int) -> int:
        """All examples under `authors`, as the published figure has them."""
        if self.ntg_examples is None and self.protocol == "authors":
            return examples
        return super().ntg_count(examples)

    def held_out(self, dataset) -> HeldOut:
        """Simulated data of another seed, which follow the same law."""
        seed = self.data_seed + 1
        other = dataclasses.replace(self, data_seed=seed, examples=FRESH_EXAMPLES).load()
        return HeldOut(other.x_test, other.y_test, None, f"{FRESH_EXAMPLES} draws of seed {seed}")

    def load(self):
        return ak.datasets.load_simulated(
            examples=self.examples,
            test_examples=self.examples,
            input_dim=self.input_dim,
            noise=NOISE[self.protocol] if self.noise is None else self.noise,
            seed=self.data_seed,
        )


def main(argv=None) -> list[dict]:
    """Runs the command line; returns the metrics of each run."""
    return run_main(Config, run_all, argv, module=MODULE, description=__doc__)


if __name__ == "__main__":
    main()
