"""Makes the zoo: the best pruned networks of each task, as presets and as SavedModels.

    python -m trainers.zoo
    python -m trainers.zoo --tasks simulated,concrete --dry-run
    python -m trainers.zoo --tasks cifar10 --features features.npz
    python -m trainers.zoo --tasks simulated --steps 200 --presets-dir quick --no-export

Each task is trained with the four (gamma, alpha) of the protocol `paper`, seed 0; runs that are in
--runs are taken from there. For each number of nodes, the program chooses the best pair, with the
readout refitted or not, by rows that are neither trained on nor tested on: the part for transfer;
for `simulated` fresh draws; for `cifar10` a tenth of the training rows, which its runs leave out.
Its preset replaces the one of that task and size. If a task fails, its error is printed, and the
others go on.
"""

from pathlib import Path

from trainers.common.cli import run_main
from trainers.zoo.config import Config as Config
from trainers.zoo.making import make

MODULE = "trainers.zoo"


def main(argv=None) -> list[Path]:
    """Runs the command line; returns the presets written."""
    return run_main(Config, make, argv, module=MODULE, description=__doc__)
