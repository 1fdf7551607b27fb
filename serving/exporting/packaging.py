"""Packages a run: a pruned network that takes raw values and gives answers, and its card.

    python -m serving.package runs/mnist-paper-g0-a0.4-m2000-flow-s0 --keep 100 --refit --to models

NAME.keras is an ordinary Keras model: pixels 0 to 255 or columns in their own units go in, scores
or answers in the target's unit come out. NAME.json is its card: data, licence, how it was trained,
and its test metrics beside those of the whole network.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import re
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from asym_keras.files import user_path
from serving.versions import check_name

if TYPE_CHECKING:
    import keras

    from asym_keras.datasets import Dataset
    from asym_keras.datasets.preprocessing import Preprocessing
    from asym_keras.runs import Run

MODULE = "serving.package"


@dataclasses.dataclass(frozen=True, eq=False)
class Packaged:
    """A packaged network.

    Attributes:
        model: functional `keras.Model`, its one input named `inputs`, float32 (n, d), raw values;
            float32 (n, K): scores, or answers in the target's unit.
        card: what is known of it, as JSON has it.
    """

    model: keras.Model
    card: dict[str, Any]

    def save(self, folder: str | os.PathLike[str], *, overwrite: bool = False) -> Path:
        """Writes `<name>.keras` and `<name>.json`, both or neither.

        Args:
            folder: is made if it is not there.
            overwrite: whether to replace files of that name.

        Returns:
            The path of `<name>.keras`.

        Raises:
            FileExistsError: There is one of that name, and `overwrite` is False.
            OSError: The folder can't be written.
        """
        from asym_keras.files import atomic_path

        path = user_path(folder) / f"{self.card['name']}.keras"
        card = path.with_name(f"{self.card['name']}.json")
        there = [file for file in (path, card) if file.exists()]
        if there and not overwrite:
            raise FileExistsError(
                f"expected no file {there[0]}, received one. Choose another name (--name), or "
                "replace it (--overwrite)."
            )
        path.parent.mkdir(parents=True, exist_ok=True)
        # Both are complete before either gets its name.
        with atomic_path(card) as card_file, atomic_path(path) as model_file:
            self.model.save(model_file)
            card_file.write_text(
                json.dumps(self.card, indent=2, ensure_ascii=False) + "\n", encoding="utf-8"
            )
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
    """Prunes a run's network and wraps it, so that raw values go in and answers come out.

    `f(raw) = target_scale g((raw - shift) / scale) + target_shift`, g the pruned network.
    Standardisation agrees with the loader's to the rounding of raw values to float32.

    Args:
        run: a run, or its folder.
        keep: nodes that stay, by the importance of the run's protocol.
        refit: whether to fit the readout anew, to the training rows (`asym_keras.prune`).
        data: the dataset that the run was trained on. None: loaded again by its flags, if needed.
        name: letters, digits, `_`, `-`, `.`. None: `<task>_gamma<gamma>_k<keep>`.
        measure: whether to measure risk and accuracy on the test rows, of the whole, the pruned
            and, with `refit`, the refitted network. False: the card has no metrics.

    Returns:
        Model and card.

    Raises:
        FileNotFoundError: The run has no model.
        ValueError: `keep` out of range, a bad name, data that are not the run's or can't be
            loaded though they are needed.

    Example:
        >>> packaged = package("runs/mnist-paper-g0-a0.4-m2000-flow-s0", keep=100, refit=True)
        >>> packaged.model.predict(images.reshape(-1, 784)).argmax(axis=1)
    """
    import asym_keras as ak
    from asym_keras.importance import PROTOCOL_RULES
    from asym_keras.runs import Run
    from serving.wrapping import with_raw_values
    from trainers._reload import check_data

    run = run if isinstance(run, Run) else ak.load_run(user_path(run))
    name = _checked_name(name, run, keep)
    whole = run.load_model()
    rule = {"importance": PROTOCOL_RULES[run.config["protocol"]], "seed": run.config["seed"]}
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
        network = networks["refit"] = ak.prune(whole, keep, refit=examples, **rule)
    metrics: dict[str, Any] = {}
    if measure:
        assert data is not None
        metrics = {kind: _measured(run, data, of) for kind, of in networks.items()}
        metrics["units"] = _units(run, record)
    model = with_raw_values(network, record, name=name)
    return Packaged(model, _card(run, record, model, name, keep, refit, metrics))


def _checked_name(name: str | None, run: Run, keep: int) -> str:
    if name is None:
        task = re.sub(r"[^A-Za-z0-9_.-]+", "_", run.task)
        name = f"{task}_gamma{run.config['gamma']:g}_k{keep}"
    return check_name(name)


def _reload(run: Run) -> Dataset:
    from trainers._reload import reload_data

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
    # A run of before this was recorded: the same loader still knows.
    if data is None or data.preprocessing is None:
        raise ValueError(
            f"{run.path}: expected data that tell how they were made of raw values, received none. "
            "Fill Dataset.preprocessing."
        )
    return data.preprocessing


def _arrays(run: Run, data: Dataset, part: str) -> tuple:
    return tuple(getattr(data, f"{k}_{part}").astype(run.config["dtype"]) for k in "xy")


def _measured(run: Run, data: Dataset, network) -> dict[str, float]:
    """Test risk and, of a classifier, test accuracy."""
    from asym_keras.training import RiskProbe
    from trainers._reload import loss_of

    x, y = _arrays(run, data, "test")
    return RiskProbe("test", x, y, labels=data.labels_test, loss=loss_of(run))(network)


def _units(run: Run, record: Preprocessing) -> str:
    """What the risks are measured in."""
    from trainers._reload import loss_of

    if loss_of(run) != "mse":
        return "cross-entropy of the outputs as logits"
    if _classifies(run):
        return "mean squared error, one-hot targets"
    scaled = "targets" if record.target_scale == 1.0 else "standardised targets"
    return f"mean squared error, {scaled}"


def _classifies(run: Run) -> bool:
    return "test_accuracy" in run.history[-1]


def _card(
    run: Run, record: Preprocessing, model, name: str, keep: int, refit: bool, metrics: dict
) -> dict[str, Any]:
    from serving.card import portable_command

    facts, flags = run.facts["dataset"], ["--keep", str(keep), *["--refit"] * refit]
    command = ["python", "-m", MODULE, str(run.path), *flags, "--name", name, "--to", "."]
    settings = {key: run.config[key] for key in ("gamma", "alpha", "width")}
    return {
        "name": name,
        "task": "classification" if _classifies(run) else "regression",
        "title": _title(run, keep, refit, metrics),
        "inputs": {
            "kind": record.kind,
            "dim": model.input_shape[-1],
            **{key: record.to_dict()[key] for key in ("shape", "names", "low", "high")},
        },
        "outputs": {"classes": record.to_dict()["classes"], "target": record.target},
        **settings,
        "kept": keep,
        "refit": refit,
        "protocol": run.config["protocol"],
        "seed": run.config["seed"],
        "data": {
            "name": facts["name"],
            "source": record.origin or facts["source"],
            "licence": record.licence,
            "fingerprint": facts["fingerprint"],
            "examples": facts["examples"],
        },
        "metrics": metrics,
        "commands": [*map(portable_command, (run.facts["command"], shlex.join(command)))],
        "versions": run.facts.get("versions", {}),
    }


def _title(run: Run, keep: int, refit: bool, metrics: dict) -> str:
    title = f"{run.task}: {keep} of {run.config['width']} nodes, {run.label}"
    title += ", readout refitted" if refit else ""
    if not metrics:
        return title
    key, word = ("test_accuracy", "accuracy") if _classifies(run) else ("test_risk", "risk")
    ours = metrics["refit" if refit else "pruned"][key]
    return f"{title}; test {word} {ours:.4g} (all nodes: {metrics['full'][key]:.4g})"


def main(argv=None) -> Path:
    """Runs the command line; returns the path of the model."""
    parser = argparse.ArgumentParser(
        prog=f"python -m {MODULE}",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("run", help="run folder")
    parser.add_argument("--keep", type=int, required=True, help="nodes that stay")
    parser.add_argument("--refit", action="store_true", help="fit the readout anew")
    parser.add_argument("--name", help="default: TASK_gammaGAMMA_kKEEP")
    parser.add_argument("--to", required=True, metavar="DIR", help="where the two files go")
    parser.add_argument("--overwrite", action="store_true", help="replace files of that name")
    parser.add_argument("--unmeasured", action="store_true", help="a card without metrics")
    flags = parser.parse_args(argv)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    try:
        packaged = package(
            flags.run,
            keep=flags.keep,
            refit=flags.refit,
            name=flags.name,
            measure=not flags.unmeasured,
        )
        path = packaged.save(flags.to, overwrite=flags.overwrite)
    except (ImportError, OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)
    print(path)
    return path


if __name__ == "__main__":
    main()
