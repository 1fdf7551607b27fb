"""One training that serves every width: the layer in ordinary Keras models, beside plain ones."""

from __future__ import annotations

import dataclasses
import json
import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

import asym_keras as ak
from asym_keras.bars import fit_verbosity
from asym_keras.datasets import Dataset
from asym_keras.files import write_text
from asym_keras.plotting.styles import style_of_pair
from asym_keras.tables import Table
from trainers.common import environment
from trainers.common.curves import pruned_on
from trainers.common.pictures import blank, save
from trainers.mnist import load_images
from trainers.nested.data import Rows, split
from trainers.nested.networks import answers

logger = logging.getLogger("trainers")

KEPT = (20, 50, 100, 200)
PAIRS = ((1.0, 0.4), (0.2, 0.5), (0.0, 0.4), (0.0, 0.6))
# Adam's first rates that are tried for each network. The layer divides by sqrt(d), so its weights
# are larger and move farther.
RATES = {"asymmetrical": (0.03, 0.1, 0.3, 1.0, 3.0), "dense": (0.001, 0.003, 0.01, 0.03)}
TUNED_ON = 0.1  # share of the training images on which a rate is judged
BATCH = 128


def run(config, command: str) -> list[dict]:
    """Trains every network, prunes and refits, writes table and figure; returns the rows.

    A network whose rows are in the folder `one-training-cells/` is not trained again.
    """
    environment.prepare_device(config.device)
    images = load_images(config.examples)
    folder = Path(config.out_dir) / f"{config.study}-cells"
    folder.mkdir(parents=True, exist_ok=True)
    kept = [*(k for k in KEPT if k < config.width), config.width]
    rows: list[dict] = []
    cells = [*networks(config, kept)]
    for place, cell in enumerate(cells, start=1):
        settings = f"n{config.examples}-m{config.width}-e{config.epochs}"
        # Earlier versions refitted by ridge regression, or gave all networks the same rate. Their
        # files lack the last words.
        path = folder / f"{cell.name}-{settings}-logits-tuned.json"
        if not path.is_file():
            logger.info("network %d of %d: %s", place, len(cells), cell.name)
            write_text(path, json.dumps(cell.rows(config, images, kept)) + "\n")
        rows += json.loads(path.read_text(encoding="utf-8"))
    Table(rows).to_csv(config.path(".csv"))
    _draw(config.path(".png"), rows)
    _print(rows, kept)
    return rows


def networks(config, kept: Sequence[int]) -> Iterator[_Cell]:
    """The networks of the study, in the order of its rows."""
    for seed in range(config.seeds):
        for gamma, alpha in PAIRS:
            for readout in ("frozen", "trained"):
                yield _Cell("mlp", config.width, seed, gamma, alpha, readout)
        yield from (_Cell("mlp", width, seed) for width in kept)
        yield _Cell("cnn", config.width, seed, 0.0, 0.6)
        yield from (_Cell("cnn", width, seed) for width in kept)


@dataclasses.dataclass(frozen=True)
class _Cell:
    """One network of the study: its body, the width of its hidden layer, and its scalings."""

    body: str
    width: int
    seed: int
    gamma: float | None = None
    alpha: float | None = None
    readout: str = "trained"

    @property
    def hidden(self) -> str:
        """The kind of its hidden layer."""
        return "dense" if self.gamma is None else "asymmetrical"

    @property
    def name(self) -> str:
        """The beginning of its file's name."""
        if self.gamma is None:
            return f"{self.body}-dense{self.width}-s{self.seed}"
        return f"{self.body}-g{self.gamma:g}-a{self.alpha:g}-{self.readout}-s{self.seed}"

    def rows(self, config, images: Dataset, kept: Sequence[int]) -> list[dict]:
        """Trains it at the rate that is best unpruned; returns a row for each number of nodes."""
        train, judges = split(images, TUNED_ON)
        assert judges is not None  # of 100 images or more
        accuracies = {}
        for rate in RATES[self.hidden]:
            model = self._trained(config, train, rate)
            accuracies[rate] = _accuracy(answers(model, judges.x), judges.y)
        best = max(accuracies, key=accuracies.__getitem__)
        model = self._trained(config, split(images, 0)[0], best)
        if self.hidden == "dense":
            rows = self._dense(images, model, kept if self.width == config.width else [self.width])
        else:
            rows = self._asymmetrical(images, model, kept)
        return [self._row(best, *row) for row in rows]

    def _asymmetrical(self, images: Dataset, model, kept) -> list[tuple[int, float, float]]:
        """Nodes and accuracies, as trained and refitted, pruned by `prune`'s rules."""
        loss = keras.losses.CategoricalCrossentropy(from_logits=True)
        pruned = [self.width - k for k in reversed(kept)]
        rows = pruned_on(images, model, loss=loss, pruned=pruned, refit=True)
        return [(r["kept"], r["test_accuracy"], r["test_accuracy_refit"]) for r in rows]

    def _dense(self, images: Dataset, model, kept) -> list[tuple[int, float, float]]:
        """The same for a plain network, pruned by magnitude to widths below its own."""
        hidden, last = model.layers[-2:]
        features = keras.Model(model.inputs[0], hidden.output)
        train, test = (answers(features, x) for x in (images.x_train, images.x_test))
        incoming = np.sum(hidden.kernel.numpy() ** 2, axis=0) + hidden.bias.numpy() ** 2
        outgoing = last.kernel.numpy()
        order = np.argsort(-incoming * np.sum(outgoing**2, axis=1), kind="stable")
        train, test, outgoing = train[:, order], test[:, order], outgoing[order]
        refits = ak.pruning.refit_logits(train, images.y_train, kept, penalty="auto")
        return [
            (
                k,
                _accuracy(test[:, :k] @ outgoing[:k] + last.bias.numpy(), images.labels_test),
                _accuracy(test[:, :k] @ fit.kernel + fit.bias, images.labels_test),
            )
            for k, fit in zip(kept, refits, strict=True)
        ]

    def _trained(self, config, rows: Rows, rate: float) -> keras.Model:
        """The network after training on `rows`; the rate falls to zero."""
        keras.utils.clear_session()  # or compiled functions of all networks stay in memory
        keras.utils.set_random_seed(self.seed)
        layers = keras.layers
        body: list[keras.layers.Layer] = []
        if self.body == "cnn":
            body.append(layers.Reshape((28, 28, 1)))
            for filters in (16, 32):
                body.append(layers.Conv2D(filters, 3, padding="same", activation="relu"))
                body.append(layers.MaxPooling2D())
            body.append(layers.Flatten())
        model = keras.Sequential([keras.Input(rows.x.shape[1:]), *body, *self._head()])
        steps = config.epochs * -(-len(rows) // BATCH)
        model.compile(
            keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(rate, steps)),
            keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            jit_compile=False,
        )
        options = {"epochs": config.epochs, "verbose": fit_verbosity(config.quiet)}
        model.fit(rows.x, rows.y, batch_size=BATCH, **options)
        return model

    def _head(self) -> list[keras.layers.Layer]:
        if self.gamma is None:
            return [keras.layers.Dense(self.width, activation="relu"), keras.layers.Dense(10)]
        options: dict = {"gamma": self.gamma, "alpha": self.alpha, "seed": self.seed}
        if self.readout == "frozen":
            return [ak.AsymScaledDense(self.width, 10, **options)]
        return [ak.AsymScaledDense(self.width, **options), keras.layers.Dense(10)]

    def _row(self, rate: float, kept: int, accuracy: float, refitted: float) -> dict:
        plain = self.gamma is None
        return {
            "body": self.body,
            "hidden": self.hidden,
            "gamma": "" if plain else self.gamma,
            "alpha": "" if plain else self.alpha,
            **{name: getattr(self, name) for name in ("readout", "seed", "width")},
            "learning_rate": rate,
            "kept": int(kept),
            "test_accuracy": accuracy,
            "test_accuracy_refit": refitted,
        }


def _accuracy(scores, labels) -> float:
    return float(np.mean(np.argmax(scores, axis=1) == labels))


def _label(row: dict) -> str:
    if row["hidden"] == "dense":
        return "Dense, one width for all"
    return f"gamma = {row['gamma']:g}, alpha = {row['alpha']:g}, {row['readout']} readout"


def _series(rows: list[dict], column: str) -> dict[str, dict[int, float]]:
    """Mean over seeds of `column` by number of nodes kept, for each kind of network."""
    found: dict[str, dict[int, list[float]]] = {}
    widest = max(row["width"] for row in rows)
    for row in rows:
        direct = row["hidden"] == "dense" and row["width"] < widest
        label = "Dense, trained at each width" if direct else _label(row)
        found.setdefault(label, {}).setdefault(row["kept"], []).append(row[column])
    return {name: {k: float(np.mean(v)) for k, v in of.items()} for name, of in found.items()}


def _print(rows: list[dict], kept) -> None:
    for body in ("mlp", "cnn"):
        for column in ("test_accuracy", "test_accuracy_refit"):
            print(f"\n{body}, {column}, nodes kept: {' '.join(f'{k:>6}' for k in kept)}")
            of_body = [row for row in rows if row["body"] == body]
            for name, values in _series(of_body, column).items():
                cells = " ".join(f"{values[k]:6.4f}" if k in values else "     -" for k in kept)
                print(f"  {name:<44} {cells}")


def _draw(path: Path, rows: list[dict]) -> None:
    figure = blank(11, 7)
    axes = figure.subplots(2, 2, sharey="row", sharex=True)
    for line, body in zip(axes, ("mlp", "cnn"), strict=True):
        of_body = [row for row in rows if row["body"] == body]
        columns = ("test_accuracy", "test_accuracy_refit")
        for axis, column in zip(line, columns, strict=True):
            pairs = {_label(row): (row["gamma"], row["alpha"]) for row in of_body}
            for name, values in _series(of_body, column).items():
                look: dict[str, Any] = {"color": "k", "linestyle": ":"}
                if name.startswith("Dense, one"):
                    look["linestyle"] = "--"
                elif not name.startswith("Dense"):
                    style = style_of_pair(*pairs[name])
                    mark = "." if name.endswith("frozen readout") else "s"
                    look = {"color": style.colour, "linestyle": style.dashes, "marker": mark}
                axis.plot(list(values), list(values.values()), label=name, **look)
            axis.set(xscale="log", xlabel="hidden nodes kept")
            axis.set_title(f"{body}, {'readout refitted' if 'refit' in column else 'as trained'}")
            axis.grid(alpha=0.3)
        line[0].set_ylabel("test accuracy")
        line[1].legend(fontsize=7)
    save(figure, path, dpi=110)
