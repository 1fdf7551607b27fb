"""Lays the paper's theory beside a training run: each bound and expectation, and what is measured.

    python -m trainers.theory --dataset simulated --gamma 0.5
    python -m trainers.theory --dataset orthogonal --activation tanh --gamma 1 --width 3400
    python -m trainers.theory --dataset mnist --gamma 0 --activation tanh
    python -m trainers.theory --dataset concrete --gamma 1
    python -m trainers.theory --data my.npz --examples 50
    python -m trainers.theory --data my.csv --target column

Trains by gradient flow from N(0, 1) weights, draws further initialisations, and prints a table.
The theorems are about networks with one output, so one column of the targets is taken.
"""

from trainers.common.cli import run_main
from trainers.theory.config import Config as Config

MODULE = "trainers.theory"


def main(argv=None) -> dict:
    """Runs the command line; returns the content of `theory.json`."""

    def body(config: Config, command: str) -> dict:
        from trainers.theory.run import run  # loads NumPy

        return run(config, command)

    return run_main(Config, body, argv, module=MODULE, description=__doc__)
