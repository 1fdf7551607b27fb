"""Packages a nested run: one model of all its widths that takes raw values, and its card."""

from __future__ import annotations

import shlex
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from asym_keras.files import atomic_path
from serving.card import portable_command
from serving.exporting.packaging import Packaged, input_facts
from serving.versions import check_name
from trainers.common.reload import check_data, reload_data

if TYPE_CHECKING:
    import os

    import keras

    from asym_keras.datasets import Dataset
    from asym_keras.runs import Run


def is_nested(run: Run) -> bool:
    """Whether a run is of `trainers.nested`."""
    return "widths" in run.metrics


class PackedNested(Packaged):
    """A packaged nested network. Its file is compressed: that pays, since weights are rounded."""

    def save(self, folder: str | os.PathLike[str], *, overwrite: bool = False) -> Path:
        path = super().save(folder, overwrite=overwrite)
        with atomic_path(path) as temporary, zipfile.ZipFile(path) as old:
            new = zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED, compresslevel=9)
            with new:
                for name in old.namelist():
                    new.writestr(name, old.read(name))
        return path


def package_nested(
    run: Run, *, data: Dataset | None = None, name: str | None = None
) -> PackedNested:
    """Wraps a nested run's network, so that raw values go in, and measures each width.

    Each float32 weight becomes the nearest number that float16 holds, and changes by at most one
    part in 2048, or by 3e-8 if it is below 6e-5. An array with a weight that is too large for
    float16 stays as it is. The compressed file is smaller; all metrics are of the rounded network.

    Args:
        run: a finished run of `trainers.nested`.
        data: what it was trained on. None: loaded again by the run's flags.
        name: of the model. None: `<task>_nested`.

    Raises:
        ValueError: The name is bad, or the data are not the run's or can't be loaded.
    """
    import asym_keras.nesting
    from serving.exporting.wrapping import chain_of_raw_values

    name = check_name(name or f"{run.task}_nested")
    if data is None:
        data = reload_data(run)
    check_data(run, data)
    record = data.preprocessing
    if record is None:
        raise ValueError(
            f"{run.path}: expected data that say how they were made of raw values, received none. "
            "Fill Dataset.preprocessing."
        )
    network: Any = run.load_model()
    readout = asym_keras.nesting.find_readout(network)
    assert readout is not None
    _round(network)
    model = chain_of_raw_values(network, record, name=name)
    classes = data.is_classification
    widths = list(readout.widths)
    numbers = _measured(network, data, widths)
    command = ["python", "-m", "serving.package", str(run.path), "--name", name, "--to", "."]
    measure, words = ("test_accuracy", "accuracy") if classes else ("test_risk", "risk")
    told = ", ".join(f"{width}: {numbers[width][measure]:.4g}" for width in widths)
    units = "cross-entropy of the outputs as logits"
    if not classes:
        units = "mean squared error, " + (
            "targets" if record.target_scale == 1.0 else "standardised targets"
        )
    card = {
        "name": name,
        "task": "classification" if classes else "regression",
        "title": f"{run.task}: one network of {widths[-1]} nodes for every width; test {words} "
        f"by nodes: {told}",
        **input_facts(run, record, model.input_shape[-1]),
        **{key: run.config[key] for key in ("gamma", "alpha", "width", "seed")},
        "protocol": "nested",
        "kept": widths[-1],
        "refit": False,
        "widths": widths,
        "anytime": _sure(run.metrics.get("anytime"), network, data),
        "metrics": {
            "full": numbers[widths[-1]],
            "widths": {str(width): found for width, found in numbers.items()},
            "units": units,
        },
        "commands": [portable_command(t) for t in (run.facts["command"], shlex.join(command))],
        "versions": run.facts.get("versions", {}),
    }
    return PackedNested(model, card)


def _round(model: keras.Model) -> None:
    """Rounds float32 weights to what float16 holds. Skips weights that are too large for it."""
    for variable in model.weights:
        values = np.asarray(variable)
        with np.errstate(over="ignore"):
            rounded = values.astype("float16").astype(values.dtype)
        if values.dtype == np.float32 and np.isfinite(rounded).all():
            variable.assign(rounded)


def _sure(chosen: dict[str, float] | None, network: Any, data: Dataset) -> dict | None:
    """What the run's threshold does to the test rows, by the rounded network."""
    from asym_keras.staged import anytime

    if chosen is None:
        return None
    quick = anytime(network, chosen["threshold"], from_logits=True)
    found = quick.evaluate(data.x_test, data.labels_test)
    return {
        "threshold": chosen["threshold"],
        "test_accuracy": found["accuracy"],
        "mean_width": found["mean_width"],
    }


def _measured(model: Any, data: Dataset, widths: list[int]) -> dict[int, dict[str, float]]:
    """Test risk and accuracy of the network cut to each width."""
    import keras

    from asym_keras.pruning import prune
    from asym_keras.training import RiskProbe

    classes = data.is_classification
    loss = keras.losses.CategoricalCrossentropy(from_logits=True) if classes else "mse"
    probe = RiskProbe("test", data.x_test, data.y_test, labels=data.labels_test, loss=loss)
    return {width: probe(prune(model, keep=width)) for width in widths}
