"""Trains one network for several widths, beside Dense networks trained and tuned at each of them.

    python -m trainers.nested --task mnist
    python -m trainers.nested --task mnist --widths 20,50,2000 --seeds 3 --baselines
    python -m trainers.nested --task cifar10 --features features.npz --widths auto --width 500
    python -m trainers.nested --data my.csv --target y --epochs 50

For each width, the network is cut to its first nodes and has a readout of its own. The loss is the
mean of the losses of these networks; Adam minimises it, at a rate that falls to zero along a
cosine. The package holds 10,000 training and 10,000 test images of MNIST; --examples asks for more.
A run folder holds the configuration, the history, the model, `widths.csv` and a figure. Several
seeds have a folder each in --out-dir, beside the table and the figure of them all.
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
