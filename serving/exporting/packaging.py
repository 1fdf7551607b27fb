"""Packages a run: its pruned network, which takes raw values, and a card."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

from asym_keras.files import atomic_path, user_path
from asym_keras.run_settings import is_saved
from serving.card import portable_command
from serving.versions import check_name, make_folder
from trainers.common.reload import check_data, loss_of, reload_data

if TYPE_CHECKING:
    import keras

    from asym_keras.datasets import Dataset
    from asym_keras.datasets.preprocessing import Preprocessing
    from asym_keras.runs import Run


@dataclasses.dataclass(frozen=True, eq=False)
class Packaged:
    """A packaged network.

    Attributes:
        model: functional `keras.Model`. Its one input `inputs`, float32 (n, d), takes raw values.
            Its output, float32 (n, K), holds scores, or answers in the target's unit.
        card: what is known of it, in types that JSON has.
    """

    model: keras.Model
    card: dict[str, Any]

    def save(self, folder: str | os.PathLike[str], *, overwrite: bool = False) -> Path:
        """Writes `<name>.keras` and `<name>.json`, both or neither.

        Args:
            folder: where to write. It is made if it is not there.
            overwrite: whether to replace files of that name.

        Returns:
            The path of `<name>.keras`.

        Raises:
            FileExistsError: There is a file of that name, and `overwrite` is False.
            NotADirectoryError: `folder` is a file.
            OSError: The folder can't be written.
        """
        path = user_path(folder) / f"{self.card['name']}.keras"
        card = path.with_name(f"{self.card['name']}.json")
        there = [file for file in (path, card) if file.exists()]
        if there and not overwrite:
            cure = "Choose another name (--name), or replace it (--overwrite)."
            raise FileExistsError(f"expected no file {there[0]}, received one. {cure}")
        make_folder(path.parent, "--to")
        # Neither file gets its name before both are complete.
        with atomic_path(card) as card_file, atomic_path(path) as model_file:
            self.model.save(model_file)
            text = json.dumps(self.card, indent=2, ensure_ascii=False) + "\n"
            card_file.write_text(text, encoding="utf-8")
        return path


def package(
    run: Run | str | os.PathLike[str],
    *,
    keep: int,
    refit: bool = False,
    data: Dataset | None = None,
    name: str | None = None,
    measure: bool = True,
) -> Packaged:
    """Prunes a run's network, and adds layers so that raw values go in and answers come out.

    `f(raw) = target_scale g((raw - shift) / scale) + target_shift`, where g is the pruned network.
    The standardisation differs from the loader's only by the rounding of raw values to float32.

    Args:
        run: a run, or its folder.
        keep: nodes that stay, by the importance of the run's protocol.
        refit: whether to fit the readout anew, to the training rows (`asym_keras.prune`).
        data: the dataset that the run was trained on. None: loaded again by the run's flags, if it
            is needed.
        name: letters, digits, `_`, `-`, `.`. None: `<task>_gamma<gamma>_k<keep>`.
        measure: whether to measure risk and accuracy on the test rows, of the whole, the pruned
            and, with `refit`, the refitted network. False: the card has no metrics.

    Returns:
        Model and card.

    Raises:
        FileNotFoundError: The run has no model.
        ValueError: `keep` is out of range, the name is bad, or the data are not the run's or can't
            be loaded though they are needed.

    Example:
        >>> packaged = package("runs/mnist-paper-g0-a0.4-m2000-flow-s0", keep=100, refit=True)
        >>> packaged.model.predict(images.reshape(-1, 784)).argmax(axis=1)
    """
    import asym_keras as ak
    from asym_keras.importance import PROTOCOL_RULES
    from asym_keras.runs import Run
    from serving.exporting.wrapping import with_raw_values

    run = run if isinstance(run, Run) else ak.load_run(user_path(run))
    if "gamma" not in run.config:
        raise ValueError(
            f"expected a run of a network with one AsymScaledDense, received {run.path}. Give its "
            "model and a card to serving.export.export_model."
        )
    if name is None:
        task = re.sub(r"[^A-Za-z0-9_.-]+", "_", run.task)
        name = f"{task}_gamma{run.config['gamma']:g}_k{keep}"
    check_name(name)
    whole = run.load_model()
    rule: dict[str, Any] = {
        "importance": PROTOCOL_RULES[run.config["protocol"]],
        "seed": run.config["seed"] or 0,
    }
    pruned = ak.prune(whole, keep, **rule)
    recorded = run.facts["dataset"].get("preprocessing")
    if data is not None:
        check_data(run, data)
    elif measure or refit or recorded is None:
        data = _reload(run)
    record = _preprocessing(run, recorded, data)
    network, networks = pruned, {"full": whole, "pruned": pruned}
    if refit:
        assert data is not None
        examples = _arrays(run, data, "train")
        # Classifiers are refitted by cross-entropy even if the run's loss was squared, since that
        # tells classes apart better, and makes the answers logits.
        by: dict[str, Any] = {}
        if _classifies(run):
            by = {"regression": "cross_entropy", "penalty": "auto"}
        network = networks["refit"] = ak.prune(whole, keep, refit=examples, **by, **rule)
    metrics: dict[str, Any] = {}
    if measure:
        assert data is not None
        metrics = {
            kind: _measured(run, data, of, refitted=kind == "refit")
            for kind, of in networks.items()
        }
        metrics["units"] = _units(run, record, refit)
    model = with_raw_values(network, record, name=name)
    return Packaged(model, _card(run, record, model, keep, refit, metrics))


def _reload(run: Run) -> Dataset:
    try:
        return reload_data(run)
    except (ImportError, OSError, ValueError) as error:
        raise ValueError(
            f"expected the data of {run.path}, to refit and to measure, received none: {error} "
            "Or give the data (data=), or package without measuring (measure=False, --unmeasured)."
        ) from error


def _preprocessing(run: Run, recorded: dict | None, data: Dataset | None) -> Preprocessing:
    from asym_keras.datasets.preprocessing import Preprocessing

    if recorded is not None:
        return Preprocessing.from_dict(recorded)
    # An old run has no record of its preprocessing, but the loader of its data still has one.
    if data is None or data.preprocessing is None:
        expected = "data that say how they were made of raw values"
        cure = "Fill Dataset.preprocessing."
        raise ValueError(f"{run.path}: expected {expected}, received none. {cure}")
    return data.preprocessing


def _arrays(run: Run, data: Dataset, part: str) -> tuple:
    return tuple(getattr(data, f"{k}_{part}").astype(run.config["dtype"]) for k in "xy")


def loss_of_answers(run: Run, *, refitted: bool) -> Any:
    """The loss by which a run's network is measured.

    It is the run's own, but cross-entropy for a refitted classifier, whose outputs are logits.
    """
    import keras

    if refitted and _classifies(run):
        return keras.losses.CategoricalCrossentropy(from_logits=True)
    return loss_of(run)


def _measured(run: Run, data: Dataset, network: keras.Model, *, refitted: bool) -> dict[str, float]:
    """Test risk and, for a classifier, test accuracy."""
    from asym_keras.training import RiskProbe

    x, y = _arrays(run, data, "test")
    loss = loss_of_answers(run, refitted=refitted)
    return RiskProbe("test", x, y, labels=data.labels_test, loss=loss)(network)


def _units(run: Run, record: Preprocessing, refit: bool) -> str:
    """What the risks in the card are: the loss, and its unit."""
    if is_saved(run) and "loss" in run.config:
        return f"the run's loss, {run.config['loss']}"
    if loss_of(run) != "mse":
        return "cross-entropy of the outputs as logits"
    if _classifies(run):
        after = "; refitted: cross-entropy of the outputs as logits" if refit else ""
        return f"mean squared error, one-hot targets{after}"
    scaled = "targets" if record.target_scale == 1.0 else "standardised targets"
    return f"mean squared error, {scaled}"


def _classifies(run: Run) -> bool:
    return run.facts["dataset"].get("classification", "test_accuracy" in run.history[-1])


def _card(
    run: Run, record: Preprocessing, model: keras.Model, keep: int, refit: bool, metrics: dict
) -> dict[str, Any]:
    flags = ["--keep", str(keep), *["--refit"] * refit, "--name", model.name, "--to", "."]
    command = shlex.join(["python", "-m", "serving.package", str(run.path), *flags])
    return {
        "name": model.name,
        "task": "classification" if _classifies(run) else "regression",
        "title": _title(run, keep, refit, metrics),
        **input_facts(run, record, model.input_shape[-1]),
        **{key: run.config[key] for key in ("gamma", "alpha", "width", "protocol", "seed")},
        "kept": keep,
        "refit": refit,
        "regression": ("softmax" if _classifies(run) else "ridge") if refit else None,
        "metrics": metrics,
        "commands": [portable_command(text) for text in (run.facts["command"], command)],
        "versions": run.facts.get("versions", {}),
    }


def input_facts(run: Run, record: Preprocessing, dim: int) -> dict[str, Any]:
    """The parts of a card about inputs, outputs and data."""
    facts, recorded = run.facts["dataset"], record.to_dict()
    return {
        "inputs": {
            "kind": record.kind,
            "dim": dim,
            **{key: recorded[key] for key in ("shape", "names", "low", "high")},
        },
        "outputs": {"classes": recorded["classes"], "target": record.target},
        "data": {
            "name": facts["name"],
            "source": record.origin or facts["source"],
            "licence": record.licence,
            "fingerprint": facts["fingerprint"],
            "examples": facts["examples"],
        },
    }


def _title(run: Run, keep: int, refit: bool, metrics: dict[str, Any]) -> str:
    title = f"{run.task}: {keep} of {run.config['width']} nodes, {run.label}"
    title += ", readout refitted" if refit else ""
    if not metrics:
        return title
    key, word = ("test_accuracy", "accuracy") if _classifies(run) else ("test_risk", "risk")
    ours = metrics["refit" if refit else "pruned"][key]
    return f"{title}; test {word} {ours:.4g} (all nodes: {metrics['full'][key]:.4g})"
