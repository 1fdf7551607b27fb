"""Draws the picture of README.md: what is left of two networks when nodes are removed.

python -m trainers.mnist --pairs 1:0.4,0:0.4 --ntg-examples 0 --out-dir runs/why
python .ci/draw_why.py runs/why docs/figures/why.png
"""

from __future__ import annotations

import sys

import matplotlib.pyplot as plt

import asym_keras as ak
from asym_keras.runs import find_runs


def main(folder: str, picture: str) -> None:
    """Draws the pruning curves of the runs in a folder."""
    figure, axes = plt.subplots(figsize=(7, 3.2))
    words = {1: "equal nodes (gamma = 1)", 0: "unequal nodes (gamma = 0)"}
    for run in map(ak.load_run, find_runs(folder)):
        kept, accuracy = run.pruning.column("kept"), run.pruning.column("test_accuracy")
        axes.plot(kept, accuracy, ".-", label=words[run.config["gamma"]])
        for row in run.pruning:
            print(f"gamma {run.config['gamma']:g}: {row['kept']} {row['test_accuracy']:.4f}")
    axes.set(xlabel="nodes kept, of 2,000", ylabel="test accuracy on MNIST", ylim=(0, 1))
    axes.invert_xaxis()
    axes.grid(alpha=0.3)
    axes.legend(loc="lower left")
    figure.tight_layout()
    figure.savefig(picture, dpi=150)


if __name__ == "__main__":
    main(*sys.argv[1:])
