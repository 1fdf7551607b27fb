"""Trains one network for several widths, beside Dense networks trained and tuned at each of them.

    python -m trainers.nested --task mnist
    python -m trainers.nested --task mnist --widths 20,50,2000 --seeds 3 --baselines
    python -m trainers.nested --task cifar10 --features features.npz --widths auto --width 500
    python -m trainers.nested --data my.csv --target y --epochs 50

The loss is the mean over the widths of that of the network cut to its first nodes, with a readout
for each width; Adam, whose rate falls to zero along a cosine. MNIST has 10,000 images for training
and for tests in the package; --examples asks for more. A run folder holds the configuration, the
history, the model, `widths.csv` and a figure. Several seeds have a folder each in --out-dir, with
the table and the figure of them all beside them.
"""

from trainers.common.cli import run_main
from trainers.nested.config import MODULE
from trainers.nested.config import Config as Config


def main(argv=None) -> list[dict]:
    """Runs the command line; returns the rows of `widths.csv`."""

    def body(config: Config, command: str) -> list[dict]:
        from trainers.nested import run  # which loads NumPy

        return run.carry_out(config, command)

    return run_main(Config, body, argv, module=MODULE, description=__doc__)
