"""The card and the README of any Keras model, which comes without a run."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np

from asym_keras.graphs import layers_of
from serving.card import package_versions, portable_command
from serving.exporting.heads import Head
from serving.exporting.interface import Interface
from serving.exporting.rows import middle_rows
from serving.readme import LONG_INPUT, table
from serving.versions import WARMUP_FILE

logger = logging.getLogger("serving.export")

KIND = "keras"
_KEYS = (
    *("commands", "example", "export", "files", "inputs", "kept", "kind", "labels", "model"),
    *("name", "outputs", "signatures", "sizes", "task"),
)


def check_facts(facts: Mapping[str, Any]) -> None:
    """Raises a ValueError if `facts` has a key that the export itself fills in."""
    taken = sorted(facts.keys() & set(_KEYS))
    if taken:
        received = f"received {', '.join(taken)}, which the export fills in"
        raise ValueError(f"--card: expected other keys than {', '.join(_KEYS)}, {received}.")


def card_of(
    model: keras.Model,
    name: str,
    interface: Interface,
    outputs: Mapping[str, Any],
    head: Head | None,
    *,
    keep: int | None,
    example: Mapping[str, np.ndarray] | None,
    facts: Mapping[str, Any],
    command: str | None,
    folder: Path,
) -> dict[str, Any]:
    """The card of a version, in types that JSON has.

    Args:
        model: as it is served.
        name: of the model on the server.
        interface: its inputs.
        outputs: its outputs, tensors or their specs by name.
        head: of its signature for Classify or Regress. None: it has no such signature.
        keep: number of nodes that it was pruned to. None: it was not pruned.
        example: rows by input name. The first one becomes the example of a request. None: the
            example is made of zeros and words.
        facts: what the user adds, such as the licence of the data.
        command: the command line that made the version.
        folder: of the version. All files but card and README are there.
    """
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    trained = sum(int(np.prod(v.shape)) for v in model.trainable_variables)
    return {
        "name": name,
        "kind": KIND,
        "task": "raw" if head is None else head.task,
        "title": facts.get(
            "title", f"{model.name}, a Keras model of {model.count_params():,} numbers"
        ),
        "model": {
            "class": type(model).__name__,
            "name": model.name,
            "layers": len(layers_of(model)) - 1,
            "parameters": int(model.count_params()),
            "trainable": trained,
        },
        "inputs": {n: _plain(s) for n, s in interface.inputs.items()},
        "outputs": {n: _plain(s) for n, s in outputs.items()},
        "signatures": ["serving_default", *([] if head is None else [head.task])],
        "labels": list(head.labels) if head else [],
        "kept": keep,
        "example": _example(interface, example),
        "commands": [portable_command(command)] if command else [],
        "sizes": {f.relative_to(folder).as_posix(): f.stat().st_size for f in files},
        "export": {"versions": package_versions()},
        **{key: value for key, value in facts.items() if key != "title"},
    }


def _plain(spec: Any) -> dict[str, Any]:
    return {"dtype": spec.dtype.name, "shape": list(spec.shape)}


def _example(interface: Interface, rows: Mapping[str, np.ndarray] | None) -> Any:
    """A row in JSON for the REST API. None: it is too long to be read, or JSON can't hold it."""
    rows = middle_rows(interface.inputs, 1) if rows is None else rows
    first = {name: array[0] for name, array in rows.items()}
    if sum(np.size(value) for value in first.values()) > LONG_INPUT or interface.rows:
        return None
    try:
        plain = {name: _as_json(value) for name, value in first.items()}
        json.dumps(plain, allow_nan=False)
    except ValueError:  # NaN, or bytes that are no text
        return None
    return plain if len(plain) > 1 else next(iter(plain.values()))


def _as_json(value: Any) -> Any:
    value = value.tolist() if isinstance(value, (np.ndarray, np.generic)) else value
    if isinstance(value, list):
        return [_as_json(part) for part in value]
    if isinstance(value, bytes):
        return value.decode()
    return float(f"{value:.7g}") if isinstance(value, float) else value


def curl(card: dict[str, Any], server: str = "http://localhost:8501") -> str:
    """One line for the shell that asks a model server for a prediction."""
    url = f"{server}/v1/models/{card['name']}:predict"
    if card["example"] is None:
        arrays = ", ".join(card["inputs"])
        return (
            f"python -m serving.client predict --model {card['name']} --input rows.npz"
            f"  # arrays: {arrays}"
        )
    body = json.dumps({"instances": [card["example"]]}).replace("'", "\\u0027")
    return f"curl -d '{body}' {url}"


def render(card: dict[str, Any]) -> str:
    """The text of `README.md`, Markdown."""
    name = card["name"]
    volume = f'"$PWD/saved_models/{name}:/models/{name}"'
    server = f"docker run --rm -p 8501:8501 -v {volume} -e MODEL_NAME={name} tensorflow/serving"
    tensors = [["", "name", "dtype", "shape"], ["---"] * 4]
    for kind in ("inputs", "outputs"):
        for key, spec in card[kind].items():
            shape = ", ".join("n" if n is None else str(n) for n in spec["shape"])
            tensors.append([kind[:-1], f"`{key}`", spec["dtype"], f"({shape})"])
    known = [key for key in card if key not in (*_KEYS, "title")]
    model = card["model"]
    facts = [
        ["model", f"{model['class']} `{model['name']}`, {model['layers']} layers"],
        ["parameters", f"{model['parameters']:,}, {model['trainable']:,} of them trainable"],
        ["graph and weights", f"{_bytes(card) / 1e6:.3g} MB"],
        *([["nodes kept", card["kept"]]] if card["kept"] else []),
        *([key, card[key]] for key in known),
        ["versions", ", ".join(" ".join(pair) for pair in card["export"]["versions"].items())],
    ]
    parts = [
        f"# {name}\n\n{card['title']}",
        f"## Ask it\n\n```sh\n{server}\n{curl(card)}\n```",
        f"## Signatures\n\n`serving_default`:\n\n{table(tensors)}",
        _head(card),
        f"## What is known\n\n{table([['', ''], ['---', '---'], *facts])}",
        "```sh\n" + "\n".join(card["commands"]) + "\n```" if card["commands"] else "",
        "`card.json` holds all of this for programs, and the SHA-256 of every file here; "
        "`serving.card.verify` compares them.",
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _head(card: dict[str, Any]) -> str:
    if card["task"] == "raw":
        return ""
    names = ", ".join(f"`{name}`" for name in card["inputs"])
    answer = "each label and its score" if card["task"] == "classify" else "one number"
    text = f"`{card['task']}`: tf.Example with the features {names} -> {answer}."
    labels = ", ".join(card["labels"])
    return text + (f"\n\nLabels, in the order of the scores: {labels}." if labels else "")


def report(path: Path, card: dict[str, Any]) -> None:
    """Logs what was written, and how to ask it."""
    size = _bytes(card) / 1e6
    names = ", ".join(card["signatures"])
    logger.info(
        "%s: %.3g MB, %s parameters; signatures: %s", path, size, card["model"]["parameters"], names
    )
    checked = "checked: largest difference from the Keras model %.1g of its largest output"
    logger.info(checked, card["export"]["largest_difference"])
    logger.info("%s", curl(card))


def _bytes(card: dict[str, Any]) -> int:
    """Bytes of graph and weights: of all files in `sizes` but the warm-up requests."""
    return sum(size for name, size in card["sizes"].items() if Path(name) != WARMUP_FILE)
