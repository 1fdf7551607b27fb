"""One run of a shallow network on a dataset: trains it, and fills its folder."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable
from typing import Any

import numpy as np

import asym_keras as ak
from asym_keras.runs.saving import describe
from trainers.common import curves, environment, memory
from trainers.common.folder import RunFolder
from trainers.common.lock import folder_lock
from trainers.common.network import options as network_options

logger = logging.getLogger("trainers")


def run(config, dataset, folder: RunFolder, facts: dict, workers=None) -> dict:
    """Trains, then prunes and transfers; with `--resume` it does what is not done yet.

    Args:
        config: a `TrainerConfig`.
        dataset: the `Dataset` that it names.
        folder: the run's folder.
        facts: `command` and `device`, for `config.json`.
        workers: the `Workers` that train together; None: this process alone.

    Returns:
        The content of `metrics.json`. Workers other than the first write nothing and return {}.

    Raises:
        FolderInUse: Another command works in the folder.
    """
    from asym_keras.training.workers import Workers

    workers = workers or Workers()
    if not workers.is_first:
        if not workers.agreed(False):
            _train_along(config, dataset, folder, workers)
        return {}
    trained = config.resume and folder.finished(config, dataset)
    if trained and not curves.missing_curves(config, folder):
        workers.agreed(True)
        logger.info("%s is finished", folder.path)
        return folder.read("metrics.json")
    with folder_lock(folder.path):
        if not workers.agreed(config.resume and folder.finished(config, dataset)):
            train(config, dataset, folder, facts, workers=workers)
        curves.write_curves(config, dataset, folder)
    return folder.read("metrics.json")


def train(config, dataset, folder: RunFolder, facts: dict, *, workers=None) -> None:
    """Trains once and fills the folder; `config.json` is there before training begins.

    `write_curves` draws the figures afterwards, when the curves are there as well.
    """
    from asym_keras.compilation import compiles_with_xla
    from asym_keras.training.workers import Workers

    began = time.monotonic()
    memory.require_memory(config, dataset)
    workers = workers or Workers()
    model = network(config, dataset)
    facts = {
        **facts,
        **environment.versions(),
        "jit_compile": compiles_with_xla(model, config.batch_size or len(dataset.x_train)),
        "replicas": workers.replicas,
        "dataset": describe(dataset),
    }
    folder.open(config, facts)
    folder.require_space(model, config.dtype)
    x, y = _tensors(config, dataset)
    with _summary_writer(config, folder) as writer:

        def observe(history):
            ordered(history).to_csv(folder.path / "history.csv")
            if writer is not None:
                _summarise(writer, history[-1])

        history = _train(
            config,
            model,
            x,
            y,
            workers,
            probes=_probes(config, dataset, x, y),
            checkpoint=folder.checkpoint,
            resume=config.resume,
            progress=not config.quiet,
            on_record=observe,
        )
    history.arrays_to_npz(folder.path / "nodes.npz")
    folder.save(model)
    metrics = {
        "gamma": config.gamma,
        "alpha": config.alpha,
        "seed": config.seed,
        **history[-1],
        "total_seconds": round(time.monotonic() - began, 1),
        "peak_memory_gb": environment.peak_memory(),
    }
    folder.write("metrics.json", metrics)


def _train_along(config, dataset, folder: RunFolder, workers) -> None:
    """Trains on a worker other than the first: it computes its part of each gradient, no more."""
    x, y = _tensors(config, dataset)
    options = {"checkpoint": folder.checkpoint, "resume": True} if config.resume else {}
    quiet = {"train_risk": False, "progress": False}
    _train(config, network(config, dataset), x, y, workers, probes={}, **quiet, **options)


def _tensors(config, dataset):
    """The training inputs and targets, as tensors that training and its probe share."""
    import tensorflow as tf

    x, y = (a.astype(config.dtype) for a in (dataset.x_train, dataset.y_train))
    return tf.convert_to_tensor(x), tf.convert_to_tensor(y)


def network(config, dataset):
    """The network that a run trains."""
    names = ("width", "gamma", "alpha", "protocol", "seed", "dtype")
    options: dict[str, Any] = {name: getattr(config, name) for name in names}
    options |= network_options(config)
    return ak.shallow_network(dataset.input_dim, dataset.outputs, **options)


def _train(config, model, x, y, workers, **options):
    end_time = config.end_step(len(x)) * config.learning_rate
    spacing = {"time_step": config.learning_rate, "spacing": config.record_spacing}
    return ak.training.train(
        model,
        x,
        y,
        method=_method(config),
        loss=config.loss(),
        end_time=end_time,
        times=ak.training.record_times(end_time, config.records, **spacing),
        target_risk=-np.inf if config.target_risk is None else config.target_risk,
        strategy=workers.strategy,
        **options,
    )


def _method(config):
    if config.solver == "flow":
        return ak.training.GradientFlow(config.rtol, config.atol, time_step=config.learning_rate)
    return ak.training.GradientDescent(
        config.learning_rate, batch_size=config.batch_size, seed=config.seed
    )


def _probes(config, dataset, x, y) -> dict:
    """The paper's probes, in the order of the history's columns."""
    test = (a.astype(config.dtype) for a in (dataset.x_test, dataset.y_test))
    probes: dict[str, Callable] = {
        part: ak.training.RiskProbe(
            part, *data, labels=getattr(dataset, f"labels_{part}"), loss=config.loss()
        )
        for part, data in (("train", (x, y)), ("test", test))
    }
    probes["weights"] = ak.training.WeightChange()
    count = config.ntg_count(len(dataset.x_train))
    if count:
        examples = dataset.x_train[:count].astype(config.dtype)
        probes["ntg"] = ak.ntg.NTGProbe(examples, method=config.ntg_method)
    return probes | config.further_probes(dataset)


_COLUMNS = (
    *("step", "time", "train_risk", "test_risk", "train_accuracy", "test_accuracy"),
    *("weight_change", "ntg_change", "ntg_min_eigenvalue", "gradients", "wall_seconds"),
)


def ordered(history):
    """The history with its columns in the order of the run folder; further ones follow."""
    names = sorted(
        history[0], key=lambda name: _COLUMNS.index(name) if name in _COLUMNS else len(_COLUMNS)
    )
    return type(history)([{name: row[name] for name in names} for row in history.rows])


def _summary_writer(config, folder: RunFolder):
    if not config.tensorboard:
        return contextlib.nullcontext()
    import tensorflow as tf

    return contextlib.closing(tf.summary.create_file_writer(str(folder.path / "tensorboard")))


def _summarise(writer, row: dict) -> None:
    """Adds a record to TensorBoard's files."""
    import tensorflow as tf

    with writer.as_default(step=int(row["step"])):
        for name, value in row.items():
            if name != "step":
                tf.summary.scalar(name, value)
