"""Trains the shallow network on simulated data, as in Section 6.1 and Figure 1 of the paper.

    python -m trainers.simulated --gamma 0
    python -m trainers.simulated --protocol authors --pairs all --seeds 5 --out-dir runs/simulated

100 inputs uniform on the unit sphere of 50 dimensions, targets 5/d sum_j sin(pi x_j) plus noise.
The run folder holds the configuration, the history, per-node weight changes, the model and
the figures.
"""

from __future__ import annotations

import dataclasses

from trainers import _cli
from trainers._cli import knob

MODULE = "trainers.simulated"

NOISE = {"paper": 1.0, "authors": 0.1}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(_cli.TrainerConfig):
    """Flags of this trainer: the shared ones, and what the data are drawn from."""

    steps: int = knob(50_000, "steps N; the time reached is t = learning rate x N, also by flow")
    data_seed: int = knob(0, "seed of the data, one draw for all runs")
    examples: int = knob(100, "training examples n, and as many test examples")
    input_dim: int = knob(50, "input dimension d")
    noise: float | None = knob(
        None, "standard deviation of the targets' noise (default: the protocol's, 1 or 0.1)"
    )

    def __post_init__(self):
        super().__post_init__()
        for name, least in (("data_seed", 0), ("examples", 1), ("input_dim", 1)):
            if getattr(self, name) < least:
                raise ValueError(
                    f"--{name.replace('_', '-')}: expected at least {least}, received "
                    f"{getattr(self, name)}."
                )
        if self.noise is not None and not 0 <= self.noise < float("inf"):
            raise ValueError(f"--noise: expected a number of at least 0, received {self.noise}.")

    def task(self) -> str:
        """Name of the task in folder names."""
        return "simulated"

    def ntg_count(self, examples: int) -> int:
        """All examples under `authors`, as the published figure has them."""
        if self.ntg_examples is None and self.protocol == "authors":
            return examples
        return super().ntg_count(examples)

    def load(self):
        """The dataset that the flags name."""
        from asym_keras import datasets

        return datasets.load_simulated(
            examples=self.examples,
            test_examples=self.examples,
            input_dim=self.input_dim,
            noise=NOISE[self.protocol] if self.noise is None else self.noise,
            seed=self.data_seed,
        )


def main(argv=None) -> list[dict]:
    """Runs the command line; returns the metrics of each run."""
    return _cli.train_main(Config, argv, module=MODULE, description=__doc__)


if __name__ == "__main__":
    main()
