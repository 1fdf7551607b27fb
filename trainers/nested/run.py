"""A command from its flags to its table and figure."""

from __future__ import annotations

import importlib.util
import itertools
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from asym_keras.extras import install_command
from asym_keras.tables import Table
from trainers.common import environment
from trainers.common.pictures import blank, save
from trainers.common.tables import markdown

if TYPE_CHECKING:
    from trainers.nested.config import Config

WORDS = {"nested": "nested, one training", "dense": "Dense, trained and tuned at each width"}
Rows = list[dict[str, Any]]


def carry_out(config: Config, command: str) -> Rows:
    """Trains what is missing, and writes `widths.csv` and the figure; returns the table's rows."""
    device = environment.prepare_device(config.device)  # first: it hides TensorFlow's notices
    import keras

    from trainers.nested import baselines, networks, training

    for one, path in config.runs():
        training.NestedFolder(path).check(one)
    if config.tensorboard and importlib.util.find_spec("tensorboard") is None:
        raise ModuleNotFoundError(
            "--tensorboard: expected the package tensorboard, received none. "
            f"Install it with: {install_command('tensorboard')}"
        )
    facts = {"command": command, "device": device}
    data = config.load()
    if config.network == "cnn":
        networks.image_shape(data)
    rows: Rows = []
    runs = []
    for one, path in config.runs():
        metrics = training.run(one, data, path, facts)
        keras.utils.clear_session()  # or compiled functions of all seeds stay in memory
        runs.append(metrics)
        for width, numbers in metrics["widths"].items():
            rows.append(
                {
                    **{"network": "nested", "width": int(width), "seed": one.seed},
                    "learning_rate": one.learning_rate,
                    **{f"test_{name}": value for name, value in numbers.items()},
                    "epoch_seconds": metrics["epoch_seconds"],
                }
            )
    if config.baselines:
        rows += baselines.rows(config, data, config.home() / "dense")
    Table(rows).to_csv(config.home() / "widths.csv")
    (config.home() / "figures").mkdir(exist_ok=True)
    draw(config.home() / "figures" / "widths.png", rows)
    print("\n".join(table(rows)))
    for metrics in runs:
        if "anytime" in metrics:
            found = metrics["anytime"]
            print(
                f"anytime, seed {metrics['seed']}: threshold {found['threshold']:.4g}, test "
                f"accuracy {found['test_accuracy']:.4f} with {found['mean_width']:.0f} nodes"
            )
    return rows


def measure_of(rows: Rows) -> str:
    """The column that networks are judged by."""
    return "test_accuracy" if "test_accuracy" in rows[0] else "test_risk"


def series(rows: Rows, network: str) -> dict[int, list[float]]:
    """The numbers of all seeds by width."""
    found: dict[int, list[float]] = {}
    for row in rows:
        if row["network"] == network:
            found.setdefault(row["width"], []).append(row[measure_of(rows)])
    return found


def costs(rows: Rows) -> dict[str, float]:
    """Processor time of an epoch, over that of the widest Dense network; empty without it."""
    seconds: dict[tuple, list[float]] = {}
    for row in rows:
        seconds.setdefault((row["network"], row["width"]), []).append(row["epoch_seconds"])
    mean = {key: float(np.mean(values)) for key, values in seconds.items()}
    widest = max(row["width"] for row in rows)
    if ("dense", widest) not in mean:
        return {}
    dense = sum(value for (network, _), value in mean.items() if network == "dense")
    alone = mean["dense", widest]
    return {"nested": mean["nested", widest] / alone, "dense": dense / alone}


def table(rows: Rows) -> list[str]:
    """Markdown: for each kind of network mean ± standard deviation over seeds, and the cost."""
    accuracy = measure_of(rows) == "test_accuracy"
    widths = sorted(series(rows, "nested"))
    head = "test accuracy, %" if accuracy else "test risk"
    lines = [[head, *map(str, widths), "cost"]]
    cost = costs(rows)
    for network, words in WORDS.items():
        found = series(rows, network)
        if not found:
            continue
        cells = [_cell(found[width], accuracy) for width in widths]
        lines.append([words, *cells, f"{cost[network]:.2f}" if cost else ""])
    rates = {row["width"]: row["learning_rate"] for row in rows if row["network"] == "dense"}
    if rates:
        lines.append(["rates of the Dense networks", *(f"{rates[w]:g}" for w in widths), ""])
    return markdown(lines)


def _cell(values: list[float], accuracy: bool) -> str:
    numbers = np.array(values) * (100 if accuracy else 1)
    text = f"{numbers.mean():.2f}" if accuracy else f"{numbers.mean():.4g}"
    if len(numbers) == 1:
        return text
    spread = numbers.std(ddof=1)
    return f"{text} ± {spread:.2f}" if accuracy else f"{text} ± {spread:.2g}"


def draw(path: Path, rows: Rows) -> None:
    """Draws accuracy or risk by nodes: a line for each kind of network, a mark for each seed."""
    figure = blank(5.2, 3.9)
    axis = figure.subplots()
    for colour, (network, words) in zip(itertools.count(), WORDS.items(), strict=False):
        found = series(rows, network)
        if not found:
            continue
        widths = sorted(found)
        axis.plot(
            widths, [np.mean(found[w]) for w in widths], f"C{colour}", marker=".", label=words
        )
        seeds = [(w, value) for w in widths for value in found[w]]
        if len(seeds) > len(widths):
            axis.plot(*zip(*seeds, strict=True), f"C{colour}_", markersize=6)
    axis.set(xscale="log", xlabel="hidden nodes", ylabel=measure_of(rows).replace("_", " "))
    axis.grid(alpha=0.3)
    axis.legend(fontsize=8)
    save(figure, path)
