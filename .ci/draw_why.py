"""Draws the picture of README.md: what is left of three networks when nodes are removed.

python -m trainers.beyond --study one-training --epochs 8    # writes the numbers
python .ci/draw_why.py docs/results/beyond/one-training.csv docs/figures/why.png
"""

from __future__ import annotations

import csv
import sys
from pathlib import Path

import matplotlib.pyplot as plt

from asym_keras.plotting import style_of_pair

LABELS = {  # hidden layer, gamma, alpha -> words
    ("asymmetrical", "0.0", "0.4"): "unequal nodes: AsymScaledDense, gamma = 0",
    ("asymmetrical", "1.0", "0.4"): "equal nodes: AsymScaledDense, gamma = 1",
    ("dense", "", ""): "Dense",
}


def main(numbers: str, picture: str) -> None:
    """Draws accuracy by nodes kept, networks as trained."""
    with Path(numbers).open(encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["body"] == "mlp"]
    figure, axes = plt.subplots(figsize=(7, 3.2))
    for key, label in LABELS.items():
        chosen = [
            row
            for row in rows
            if (row["hidden"], row["gamma"], row["alpha"]) == key
            if row["readout"] in ("trained", "") and row["width"] == "2000"
        ]
        kept = [int(row["kept"]) for row in chosen]
        if len(set(kept)) != len(kept) or 2000 not in kept:
            sys.exit(f"{numbers}: expected one network for {label!r}, received {chosen}")
        style = style_of_pair(*(float(number) if number else None for number in key[1:]))
        accuracy = [float(row["test_accuracy"]) for row in chosen]
        look = {"marker": "o", "color": style.colour, "linestyle": style.dashes}
        axes.semilogx(kept, accuracy, label=label, **look)
    axes.set(xlabel="nodes kept, of 2,000", ylabel="test accuracy, MNIST", ylim=(0, 1))
    axes.set_xticks([20, 50, 100, 200, 2000], ["20", "50", "100", "200", "2,000"])
    axes.minorticks_off()
    axes.grid(alpha=0.3)
    axes.legend(loc="lower right")
    figure.tight_layout()
    figure.savefig(picture, dpi=150)


if __name__ == "__main__":
    main(*sys.argv[1:])
