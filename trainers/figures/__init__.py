"""Draws the figures of the paper, from runs that are there and those that it makes.

    python -m trainers.figures --figure 1
    python -m trainers.figures --figure all --protocol authors --dry-run
    python -m trainers.figures --figure 10 --protocol authors --reference published_curves.json
    python -m trainers.figures --figure 1 --seeds 2 --width 200 --steps 1000 --runs runs/quick

Lines are means over seeds, bands one standard deviation. Beside each figure_NN.png stands a
figure_NN.csv with the numbers drawn. Runs are kept in --runs, a folder for each task, and taken
from there the next time. A figure that can't be drawn is reported, and the others go on.
"""

from pathlib import Path

from trainers.common.cli import run_main
from trainers.figures.config import Config as Config
from trainers.figures.drawing import draw_all

MODULE = "trainers.figures"


def main(argv=None) -> list[Path]:
    """Runs the command line; returns the figures written."""
    return run_main(Config, draw_all, argv, module=MODULE, description=__doc__)
