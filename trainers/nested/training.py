"""One nested run: trained in its folder, measured at every width."""

from __future__ import annotations

import logging
import shutil
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import keras
import numpy as np

import asym_keras as ak
from asym_keras.bars import fit_verbosity
from asym_keras.datasets import Dataset
from asym_keras.nesting import nested
from asym_keras.run_settings import OPERATIONAL
from asym_keras.runs.saving import describe
from asym_keras.tables import Table
from asym_keras.training.checkpoint import Checkpoint
from trainers.common import environment
from trainers.common.folder import RunFolder
from trainers.common.lock import folder_lock
from trainers.nested import networks
from trainers.nested.data import Rows, split, test_rows

if TYPE_CHECKING:
    from trainers.nested.config import Config

logger = logging.getLogger("trainers")


class NestedFolder(RunFolder):
    """A run folder; on `--resume`, the baselines that it is compared with may change."""

    operational: ClassVar[tuple[str, ...]] = (*OPERATIONAL, "baselines", "rates")

    def start_anew_unless(self, config: Config) -> None:
        """Removes a run of other settings, which a killed process left."""
        try:
            self.check(config)
        except (FileExistsError, ValueError):
            shutil.rmtree(self.path)


def load(path: Path) -> Any:
    """The trained network of a run folder."""
    return ak.load_run(path).load_model()


class Records(keras.callbacks.Callback):
    """Writes `history.csv` after each epoch: the columns of other runs, and those of each width."""

    def __init__(self, path: Path, config: Config, steps: int):
        super().__init__()
        self._path, self._config, self._steps = path, config, steps

    def on_epoch_end(self, epoch, logs=None):
        step = (epoch + 1) * self._steps // self._config.epochs
        rates = 0.5 * (1.0 + np.cos(np.pi * np.arange(step) / self._steps))
        row = {"step": step, "time": float(self._config.learning_rate * rates.sum())}
        numbers = {name: float(value) for name, value in (logs or {}).items()}
        row |= {"train_risk": numbers.pop("loss"), **numbers}
        # A killed process may have recorded an epoch that it repeats.
        there = Table.from_csv(self._path).rows if self._path.is_file() else []
        Table([*(r for r in there if r["step"] < step), row]).to_csv(self._path)


class Backup(keras.callbacks.Callback):
    """Saves after each epoch what training needs to go on, in one file, whole or not at all.

    Keras's own BackupAndRestore writes in place: a process that is killed meanwhile leaves a file
    that can't be read, or weights of one epoch beside the number of another.
    """

    def __init__(self, folder: Path, model: keras.Model, costs: networks.Costs):
        super().__init__()
        self._costs = costs
        model.optimizer.build(model.trainable_variables)
        self._variables = [*model.variables, *model.optimizer.variables]
        self._file = Checkpoint(folder, {"shapes": [[*v.shape] for v in self._variables]})

    def restore(self) -> int:
        """Restores the last whole epoch; returns how many epochs are over, 0 if none is kept.

        Raises:
            CheckpointError: The file is damaged, or of another network.
        """
        if not self._file.exists():
            return 0
        arrays, values = self._file.load()
        for place, variable in enumerate(self._variables):
            variable.assign(arrays[str(place)])
        self._costs.seconds = values["seconds"]
        return values["epochs"]

    def on_epoch_end(self, epoch, logs=None):
        arrays = {str(i): v.numpy() for i, v in enumerate(self._variables)}
        self._file.save(arrays, {"epochs": epoch + 1, "seconds": self._costs.seconds})


def run(
    config: Config, data: Dataset, path: Path, facts: dict, *, judged: str = "test"
) -> dict[str, Any]:
    """Trains one seed in its folder, or goes on; returns `metrics.json`.

    Args:
        config: the flags.
        data: the `Dataset` that they name.
        path: the folder.
        facts: `command` and `device`, for `config.json`.
        judged: the rows that the widths are measured on: `"test"`, or `"val"`, those held out.
    """
    folder = NestedFolder(path)
    if config.resume and folder.finished(config, data):
        return folder.read("metrics.json")
    with folder_lock(folder.path):
        return _train(config, data, folder, facts, judged)


def _train(
    config: Config, data: Dataset, folder: NestedFolder, facts: dict, judged: str
) -> dict[str, Any]:
    began = time.monotonic()
    keras.utils.set_random_seed(config.seed)
    rows, held_out = split(data, config.held_out)
    steps = networks.steps_of(config, rows)
    model = many(config, data, steps)
    facts = {**facts, **environment.versions(), "dataset": describe(data)}
    folder.open(config, facts)
    folder.require_space(model, "float32")
    records = Records(folder.path / "history.csv", config, steps)
    callbacks: list[keras.callbacks.Callback] = [records]
    if config.tensorboard:
        log_dir = str(folder.path / "tensorboard")
        callbacks.append(keras.callbacks.TensorBoard(log_dir))
    costs = networks.Costs()
    backup = Backup(folder.checkpoint, model, costs)
    backup.restore()
    seconds = networks.fit(
        config,
        model,
        rows,
        held_out=held_out,
        costs=costs,
        callbacks=[*callbacks, backup],
        verbose=fit_verbosity(config.quiet),
    )
    folder.save(model)
    asked = test_rows(data) if judged == "test" else held_out
    if asked is None:
        raise ValueError("expected rows held out to judge by, received none: raise --held-out.")
    widths = measured(config, model, asked)
    metrics: dict[str, Any] = {
        **{name: getattr(config, name) for name in ("gamma", "alpha", "seed", "learning_rate")},
        "train_risk": Table.from_csv(folder.path / "history.csv")[-1]["train_risk"],
        **{f"{judged}_{name}": value for name, value in widths[config.all_widths()[-1]].items()},
        "widths": {str(width): numbers for width, numbers in widths.items()},
    }
    chosen = data.is_classification and judged == "test" and len(widths) > 1
    if held_out is not None and chosen:
        metrics["anytime"] = anytime(model, held_out, test_rows(data))
    metrics |= {
        "epoch_seconds": round(seconds, 4),
        "total_seconds": round(time.monotonic() - began, 1),
        "peak_memory_gb": environment.peak_memory(),
    }
    folder.write("metrics.json", metrics)
    shutil.rmtree(folder.checkpoint, ignore_errors=True)
    return metrics


def many(config: Config, data: Dataset, steps: int) -> keras.Model:
    """The nested network, compiled."""
    width = config.all_widths()[-1]
    # Readouts of classes begin at zero. Drawn ones are larger the fewer nodes they read, so those
    # of small widths would outweigh the others at first. Regressions end lower from drawn ones
    # (plant: by 3 % at 20 and 50 nodes, over three seeds).
    readout = {"readout": "zeros"} if data.is_classification else {}
    one = networks.build(config, data, width, steps=steps, rate=config.learning_rate, **readout)
    return nested(one, config.all_widths(), shared=config.one_readout, weights=config.law())


def measured(config: Config, model: Any, rows: Rows) -> dict[int, dict[str, float]]:
    """Risk and accuracy of each width."""
    outputs = networks.answers(model, rows.x)
    return {
        width: networks.measures(outputs[:, place], rows.y)
        for place, width in enumerate(config.all_widths())
    }


def anytime(model: Any, held_out: Rows, test: Rows) -> dict[str, float]:
    """The threshold with which held-out rows lose no accuracy, and what it does to test rows."""
    # `ak.anytime` chooses the threshold by outputs of `predict`, and so do we: those of `model(x)`
    # may differ in a near-tie.
    whole = model.predict(held_out.x, verbose=0)[:, -1].argmax(axis=1) == held_out.y
    rows, logits = (held_out.x, held_out.y), {"from_logits": True}
    try:
        quick = ak.anytime(model, held_out=rows, accuracy=whole.mean(), **logits)
    except ValueError as error:  # a narrower network is wrong with a probability that rounds to 1
        logger.warning("%s The threshold is 1, which loses the least.", error)
        quick = ak.anytime(model, 1.0, **logits)
    found = quick.evaluate(test.x, test.y)
    return {
        "threshold": quick.threshold,
        "test_accuracy": found["accuracy"],
        "mean_width": found["mean_width"],
    }
