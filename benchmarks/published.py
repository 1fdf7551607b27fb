"""Final numbers of runs under `--protocol authors` beside the published curves.

    python -m trainers.mnist --protocol authors --pairs all --out-dir runs/authors
    python -m benchmarks.published runs/authors/* --reference published_curves.json \
        --figure docs/mnist_published.png

A quantity agrees if it is within three published standard deviations plus 1 % of the mean.
What was published as NTG change is the square root of the spectral norm in `history.csv`.
"""

from __future__ import annotations

import argparse
import csv
import json
import math
from pathlib import Path

import numpy as np

# Published figure -> column of the history.
QUANTITIES = {
    "trainrisk": "train_risk",
    "testrisk": "test_risk",
    "testacc": "test_accuracy",
    "wdiff": "weight_change",
    "ntkdiff": "ntg_change",
}


def curve(reference: dict, task: str, quantity: str, gamma: float, alpha: float) -> dict:
    """A published curve: steps, mean and standard deviation of five runs."""
    label = "gamma=1.0" if gamma == 1 else f"alpha={alpha}, gamma={gamma}"
    return reference[task][quantity]["series"][label]


def published(reference: dict, task: str, quantity: str, gamma: float, alpha: float):
    """Final mean and standard deviation of a published curve, and its last step."""
    series = curve(reference, task, quantity, gamma, alpha)
    return series["y"][-1], series["std"][-1], series["x"][-1]


def draw(path: Path, folders: list[Path], reference: dict) -> None:
    """Draws the runs' curves over the published ones, dashed with a band of one deviation."""
    from matplotlib.figure import Figure

    from asym_keras.training.history import History

    figure = Figure(figsize=(13, 3.2), layout="constrained")
    axes = figure.subplots(1, 4)
    panels = ("trainrisk", "testacc", "wdiff", "ntkdiff")
    labels = ("training risk", "test accuracy", "largest weight change", "sqrt of NTG change")
    for axis, quantity, label in zip(axes, panels, labels, strict=True):
        for i, folder in enumerate(folders):
            config = json.loads((folder / "config.json").read_text(encoding="utf-8"))["config"]
            series = curve(reference, "mnist", quantity, config["gamma"], config["alpha"])
            x, y, std = (np.array(series[name]) for name in ("x", "y", "std"))
            axis.fill_between(x, y - std, y + std, color=f"C{i}", alpha=0.15, linewidth=0)
            axis.plot(x, y, "--", color=f"C{i}", linewidth=1)
            history = History.from_csv(folder / "history.csv")
            values = history.column(QUANTITIES[quantity])
            values = np.sqrt(values) if quantity == "ntkdiff" else values
            name = rf"$\gamma$ = {config['gamma']:g}, $\alpha$ = {config['alpha']:g}"
            axis.plot(history.column("step"), values, color=f"C{i}", label=name)
        axis.set_xlabel("step")
        axis.set_title(label)
        axis.ticklabel_format(axis="x", style="sci", scilimits=(0, 4))
    axes[0].legend(fontsize=8)
    figure.savefig(path, dpi=110)


def measured(folder: Path, column: str) -> tuple[float, float]:
    """Final value of `column` in a run folder, and its step."""
    with open(folder / "history.csv", newline="", encoding="utf-8") as file:
        last = list(csv.DictReader(file))[-1]
    value = float(last[column])
    return (math.sqrt(value) if column == "ntg_change" else value), float(last["step"])


def main(argv=None) -> int:
    """Prints the table (Markdown) and returns how many quantities disagree."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("runs", type=Path, nargs="+", help="run folders")
    parser.add_argument("--reference", type=Path, required=True, help="published_curves.json")
    parser.add_argument("--figure", type=Path, help="PNG file to draw the curves to")
    arguments = parser.parse_args(argv)
    reference = json.loads(arguments.reference.read_text(encoding="utf-8"))
    print("| gamma | alpha | seed | quantity | measured | published | deviations | agrees |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    agreeing = total = 0
    for folder in arguments.runs:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))["config"]
        gamma, alpha = config["gamma"], config["alpha"]
        if config["protocol"] != "authors":
            parser.error(f"{folder}: expected a run under --protocol authors, received another.")
        for quantity, column in QUANTITIES.items():
            mean, std, end = published(reference, "mnist", quantity, gamma, alpha)
            value, step = measured(folder, column)
            if step != end:
                parser.error(f"{folder}: expected a run to step {end:g}, received {step:g}.")
            agrees = abs(value - mean) <= 3 * std + 0.01 * mean
            agreeing, total = agreeing + agrees, total + 1
            name = "sqrt(ntg_change)" if column == "ntg_change" else column
            row = (f"{gamma:g}", f"{alpha:g}", config["seed"], name, f"{value:.5f}")
            row += (f"{mean:.5f} ± {std:.5f}", f"{(value - mean) / std:+.1f}")
            print(" | ".join(["", *map(str, row), "yes" if agrees else "no", ""]).strip())
    if arguments.figure:
        draw(arguments.figure, arguments.runs, reference)
    print(f"\n{agreeing} of {total} agree.")
    return total - agreeing


if __name__ == "__main__":
    main()
