"""A run of the library, written as a run folder."""

from __future__ import annotations

import dataclasses
import hashlib
import importlib.metadata
import json
import os
import platform
import secrets
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from asym_keras.files import replace_folder, user_path
from asym_keras.run_settings import COMMAND, DATA, is_saved
from asym_keras.runs.reading import load_run
from asym_keras.runs.run import Run
from asym_keras.tables import History, Table

if TYPE_CHECKING:
    import keras

_COLUMNS = ("step", "time", "train_risk")
_PARTS = ("x_train", "y_train", "x_test", "y_test")


def save_run(
    folder: str | os.PathLike,
    model: keras.Model,
    history: History,
    *,
    data: Any,
    loss: Any = "mse",
    pruning: Sequence[Mapping] | None = None,
    transfer: Sequence[Mapping] | None = None,
    store_data: bool = True,
    overwrite: bool = False,
    **facts: Any,
) -> Run:
    """Writes a run of your own as a run folder, as the trainers write theirs.

    `load_run`, `load_runs`, figures, `trainers.compare` and `serving.export` take it. The folder
    appears whole or not at all.

    Args:
        folder: where; new or empty.
        model: the trained model.
        history: what `training.train` returned: columns `step`, `time`, `train_risk` and others.
        data: the `datasets.Dataset` that it was trained on. A tuple of arrays,
            `(x_train, y_train)` or `(x_train, y_train, x_test, y_test)`, is enough for a run that
            you will not export: the folder keeps only their fingerprint.
        loss: what was minimised, as `train` takes it.
        pruning, transfer: rows of `pruning.pruning_curve` and `transfer.transfer_curve`.
        store_data: keep the data of a `Dataset` in the folder; an export measures the model on it.
        overwrite: replace a run that was saved there before.
        **facts: settings of the run, values that JSON holds, or a method such as
            `GradientFlow()`: `method=...`, `seed=...`, `note=...`. Runs whose settings agree in all
            but `seed` count as one mean over seeds. Gamma, alpha, width, activation, seed and
            precision are read off the model's `AsymScaledDense`, if it has one. `protocol` is
            `"paper"` unless it is given, `task` the name of the data.

    Returns:
        The run, as `load_run` reads it.

    Raises:
        FileExistsError: Something is in the folder.
        ValueError: A history without the columns above or without records, a fact that contradicts
            the model, or one that JSON does not hold.

    Example:
        >>> model, x = asym_keras.shallow_network(3, width=8, seed=0), np.eye(3, dtype="float32")
        >>> options = {"method": asym_keras.training.GradientFlow(), "progress": False}
        >>> history = asym_keras.training.train(model, x, x[:, :1], end_time=10.0, **options)
        >>> run = asym_keras.save_run("runs/mine", model, history, data=(x, x[:, :1]), task="unit")
        >>> run.task, run.label, run.finished
        ('unit', 'gamma = 0, alpha = 0.4', True)
    """
    folder = user_path(folder)
    rows = _checked(history)
    task = facts.pop("task", None)
    label = facts.pop("label", None)
    config = _settings(model, facts, loss)
    content = {
        "config": config,
        "command": COMMAND,
        **({} if label is None else {"label": str(label)}),
        "versions": _versions(),
        "dataset": _described(data, task),
    }
    _require_free(folder, overwrite)
    folder.parent.mkdir(parents=True, exist_ok=True)
    made = folder.parent / f".{secrets.token_hex(8)}.tmp"
    made.mkdir()
    try:
        _write_json(made / "config.json", content)
        history.to_csv(made / "history.csv")
        if history.arrays:
            history.arrays_to_npz(made / "nodes.npz")
        for name, table in (("pruning", pruning), ("transfer", transfer)):
            if table is not None:
                Table([dict(row) for row in table]).to_csv(made / f"{name}.csv")
        model.save(made / "model.keras")
        if store_data and hasattr(data, "save"):
            data.save(made / DATA)
        told = {name: config[name] for name in ("gamma", "alpha", "seed") if name in config}
        last = {name: _plain(name, value) for name, value in rows[-1].items()}
        seconds = last.get("wall_seconds", float("nan"))
        _write_json(made / "metrics.json", {**told, **last, "total_seconds": seconds})
        load_run(made)  # what can't be read must not be left behind
        replace_folder(made, folder)
    finally:
        shutil.rmtree(made, ignore_errors=True)
    return load_run(folder)


def describe(dataset: Any) -> dict[str, Any]:
    """What `config.json` says of a `Dataset`."""
    record = dataset.preprocessing
    return {
        "name": dataset.name,
        "source": dataset.source,
        "examples": [len(dataset.x_train), len(dataset.x_test)],
        "input_dim": dataset.input_dim,
        "outputs": dataset.outputs,
        "fingerprint": dataset.fingerprint(),
        "preprocessing": None if record is None else record.to_dict(),
    }


def _checked(history: History) -> list[dict]:
    if not isinstance(history, History) or not len(history):
        received = "no record" if isinstance(history, History) else type(history).__name__
        raise ValueError(
            "save_run: expected the history that training.train returned, received "
            f"{received}. After another training, fill a training.History: "
            "history.append({'step': ..., 'time': ..., 'train_risk': ...}, {})."
        )
    missing = [name for name in _COLUMNS if name not in history[0]]
    if missing:
        raise ValueError(
            f"save_run: expected a history with {', '.join(_COLUMNS)}, received none named "
            f"{', '.join(missing)}. Let train record the risk (train_risk=True), or add a probe."
        )
    return history.rows


def _settings(model: keras.Model, facts: dict[str, Any], loss: Any) -> dict[str, Any]:
    """The `config` of a run: what the model tells, and the user's facts."""
    from asym_keras.importance import PROTOCOL_RULES

    told = _of_layer(model)
    for name, value in told.items():
        # A model's seed of None contradicts no seed, and a law may be given a name.
        if name in facts and facts[name] != value and name != "law" and value is not None:
            raise ValueError(
                f"save_run: expected {name} = {value!r}, that of the model, received "
                f"{facts[name]!r}. Leave it out."
            )
    settings = {"protocol": "paper", **told, **facts}
    if settings["protocol"] not in PROTOCOL_RULES:
        raise ValueError(
            f"save_run: expected protocol to be one of {', '.join(PROTOCOL_RULES)}, by which nodes "
            f"are ranked when the run is pruned, received {settings['protocol']!r}. Give your own "
            "word another name, such as variant=."
        )
    if loss != "mse":
        settings["loss"] = loss
    return {name: _plain(name, value) for name, value in settings.items()}


def _of_layer(model: keras.Model) -> dict[str, Any]:
    """What a model's only `AsymScaledDense` tells; without one, or with several, the precision."""
    import keras

    from asym_keras.importance import find_layer
    from asym_keras.scaling import node_scalings

    dtype = str(model.weights[0].dtype) if model.weights else "float32"
    try:
        layer = find_layer(model)
    except ValueError:  # none, or several
        return {"dtype": dtype}
    told: dict[str, Any] = {
        "gamma": layer.gamma,
        "alpha": layer.alpha,
        "width": layer.units,
        "seed": layer.seed,
    }
    activation = keras.activations.serialize(layer.activation)
    if activation != "relu":
        told["activation"] = activation
    given = layer.get_config()["scalings"]
    if given is not None and not np.allclose(
        given, node_scalings(layer.units, layer.gamma, layer.alpha), rtol=1e-6, atol=0.0
    ):
        told["law"] = f"scalings {_digest([np.asarray(given)])}"
    return {**told, "dtype": dtype}


def _plain(name: str, value: Any) -> Any:
    """A setting in types that JSON has."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {"name": type(value).__name__, **dataclasses.asdict(value)}
    if name == "loss" and not isinstance(value, str):
        import keras

        return keras.losses.serialize(value)
    value = value.item() if isinstance(value, np.generic) else value
    try:
        return json.loads(json.dumps(value))
    except TypeError as error:
        raise ValueError(
            f"save_run: expected {name} as JSON holds it (numbers, text, lists, dicts), received "
            f"{type(value).__name__}. Say it in words."
        ) from error


def _described(data: Any, task: str | None) -> dict[str, Any]:
    if hasattr(data, "fingerprint"):
        told = {**describe(data), "classification": data.is_classification}
        return told if task is None else {**told, "name": str(task)}
    if not isinstance(data, tuple) or len(data) not in (2, 4):
        raise ValueError(
            "save_run: expected data as a Dataset, or as a tuple (x_train, y_train) or (x_train, "
            f"y_train, x_test, y_test), received {type(data).__name__}. Of arrays in memory, "
            "datasets.from_arrays makes a Dataset."
        )
    arrays = [np.asarray(array) for array in data]
    return {
        "name": "data" if task is None else str(task),
        "source": f"arrays {', '.join(_PARTS[: len(data)])}",
        "examples": [len(arrays[0]), len(arrays[2]) if len(arrays) > 2 else 0],
        "fingerprint": _digest(arrays),
        "preprocessing": None,
    }


def _digest(arrays: Sequence[np.ndarray]) -> str:
    found = hashlib.sha256()
    for array in arrays:
        found.update(f"{array.dtype}{array.shape}".encode())
        found.update(np.ascontiguousarray(array).tobytes())
    return found.hexdigest()[:16]


def _versions() -> dict[str, str]:
    names = ("tensorflow", "keras", "numpy")
    return {
        "python": platform.python_version(),
        **{name: importlib.metadata.version(name) for name in names},
    }


def _require_free(folder: Path, overwrite: bool) -> None:
    there = folder.exists() and (not folder.is_dir() or any(folder.iterdir()))
    if not there:
        return
    saved = False
    try:
        saved = is_saved(load_run(folder))
    except (OSError, ValueError):
        pass
    if not (overwrite and saved):
        kind = "a run that was saved before" if saved else "something else"
        cure = "Replace it (overwrite=True), or choose" if saved else "Choose"
        raise FileExistsError(
            f"save_run: expected a new or empty folder, received {folder}, where {kind} is. "
            f"{cure} another folder."
        )


def _write_json(path: Path, content: dict) -> None:
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
