"""A nested network as one SavedModel: a signature for each width, and one that chooses a width.

The layers that all widths share are written once. The client chooses how long an answer takes by
`signature_name`.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from asym_keras.files import user_path
from asym_keras.nesting import find_readout
from asym_keras.nesting.sure import sureness
from asym_keras.staged import stages
from serving.card import check_card, package_versions, portable_command, write_card
from serving.exporting import warmup as warmup_requests
from serving.exporting.check import (
    Served,
    by_signature,
    check_examples,
    compare,
    compare_special,
    outputs_of,
    request_of,
    special_rows,
    wrong,
)
from serving.exporting.network import Network, check_size, stored_size
from serving.exporting.saved_model import (
    METHODS,
    answers_of,
    signature_of,
    signatures,
    with_classes,
)
from serving.exporting.saved_model import write_signatures as write
from serving.versions import new_version

# Largest difference from the Keras model, as a share of the largest output.
TOLERANCE = 1e-5
NEAR = 1e-4  # this near the threshold rounding may decide whether a width is sure


def width_signature(width: int) -> str:
    """Name of the signature of a width."""
    return f"width_{width}"


def export_nested(
    model: keras.Model,
    card: dict[str, Any],
    to: str | os.PathLike[str],
    *,
    version: int | None = None,
    warmup: bool = True,
    command: str | None = None,
) -> Path:
    """Writes a packaged nested model as a new version `to/<name>/<version>`, and checks it.

    `serving_default` and the other signatures of one network answer with all nodes, and `width_20`,
    ... with the first 20, ... nodes. `anytime`, of a classifier, answers each example with as many
    nodes as it needs: `scores`, `classes`, and `width`, int64 (n,). It computes a wider network
    only for the examples of which no narrower one is sure. No width is sure of a row with NaN, so
    the widest one answers it.

    Args:
        model: raw values float32 (n, d) -> (n, P, K).
        card: its card, with `widths`. The signature `anytime` is written if the card has `anytime`,
            which holds its `threshold`.
        to, version, warmup, command: as for `export_model`.

    Returns:
        Path of the version.

    Raises:
        ValueError: The card does not fit the model, or the SavedModel does not answer as the model
            does. `export_model` lists the other errors.
    """
    readout = find_readout(model)
    shape = tuple(model.output_shape) if readout is not None else ()
    if readout is None or len(shape) != 3 or list(readout.widths) != card.get("widths"):
        raise ValueError(
            f"expected a nested model with the widths of its card, {card.get('widths')}, received "
            f"{None if readout is None else list(readout.widths)}. Package it with serving.package."
        )
    card = check_card(card, dim=model.input_shape[-1], outputs=shape[-1])
    if warmup:
        warmup_requests.check_installed()
    found = nested_signatures(model, card)
    with new_version(user_path(to) / card["name"], version) as new:
        names = write(found, new.temporary)
        if warmup:
            warmup_requests.write_warmup(new.temporary, card, names)
        difference = check(new.temporary, model, card)
        commands = [*card["commands"], *([portable_command(command)] if command else [])]
        exported = {"half": False, "folded": False, "versions": package_versions()}
        exported["largest_difference"] = float(f"{difference:.2g}")
        write_card(new.temporary, {**card, "commands": commands, "export": exported})
    assert new.path is not None
    return new.path


def nested_signatures(model: keras.Model, card: dict[str, Any]) -> dict[str, Any]:
    """Signatures by name, each a `tf.function`; weights are constants.

    Args:
        model: as `export_nested` takes it.
        card: its card.

    Raises:
        ValueError: There are more weights than a SavedModel holds as constants.
    """
    trunk, heads = stages(model)
    parts = heads if trunk is None else [trunk, *heads]
    cure = "Train a narrower network, or fewer widths."
    check_size((stored_size(v) for part in parts for v in part.variables), cure)
    shared = (lambda x: x) if trunk is None else _frozen(trunk)
    frozen = [_frozen(head) for head in heads]

    def network(head: Callable) -> Network:
        return Network(lambda x: head(shared(x)), None, None)

    dim, answers = card["inputs"]["dim"], answers_of(card)
    found = signatures(network(frozen[-1]), card)
    for width, head in zip(card["widths"], frozen, strict=True):
        answer = functools.partial(answers, network(head))
        found[width_signature(width)] = signature_of(answer, dim, tf.float32)
    if card.get("anytime"):
        anytime = _first_sure(shared, frozen, card["widths"], card["anytime"]["threshold"])
        found["anytime"] = signature_of(anytime, dim, tf.float32)
    return found


def _frozen(model: keras.Model) -> Callable:
    """A function that calls the model with constants in place of its variables."""
    constants = [tf.constant(keras.ops.convert_to_numpy(v)) for v in model.variables]
    mapping = list(zip(model.variables, constants, strict=True))

    def call(x: Any) -> Any:
        with keras.StatelessScope(state_mapping=mapping):
            return model(x, training=False)

    return call


def _first_sure(shared: Callable, heads: list, widths: list[int], threshold: float) -> Callable:
    """Answers of the first width that is sure, computed only where they are needed."""

    def answer(x: Any) -> dict[str, Any]:
        features = shared(x)
        scores = heads[0](features)
        used = tf.fill([tf.shape(scores)[0]], tf.constant(widths[0], tf.int64))
        for width, head in zip(widths[1:], heads[1:], strict=True):
            # No width is sure of a row with NaN. `not (sure >= threshold)` would say so, but
            # TensorFlow's optimiser turns it into `sure < threshold`, which is False for NaN.
            sure = sureness(scores, True)
            unsure = tf.logical_or(sure < threshold, tf.math.is_nan(sure))
            both = functools.partial(_wider, head, width, features, scores, used, unsure)
            scores, used = tf.cond(tf.reduce_any(unsure), both, _same(scores, used))
        return {**with_classes(scores), "width": used}

    return answer


def _wider(
    head: Callable, width: int, features: Any, scores: Any, used: Any, unsure: Any
) -> tuple[Any, Any]:
    """The scores and widths, with those of a wider network in the `unsure` rows."""
    rows = tf.where(unsure)
    found = head(tf.gather(features, rows[:, 0]))
    widths = tf.fill([tf.shape(rows)[0]], tf.constant(width, tf.int64))
    return (
        tf.tensor_scatter_nd_update(scores, rows, found),
        tf.tensor_scatter_nd_update(used, rows, widths),
    )


def _same(*tensors: Any) -> Callable:
    return lambda: tensors


def check(folder: str | os.PathLike[str], model: keras.Model, card: dict[str, Any]) -> float:
    """Loads a SavedModel anew and compares each signature with the Keras model.

    Returns:
        The largest difference, as a share of the largest output.

    Raises:
        ValueError: A signature answers otherwise.
    """
    x = check_examples(Network(model, None, None), card)
    special = special_rows(x)
    wanted, wanted_special = outputs_of(model, x), outputs_of(model, special)
    largest = 0.0
    with Served(folder) as served:
        for name in served.signatures:
            got = served(name, request_of(name, x))
            used = got.pop("width", None)
            if used is not None:
                _check_choice(wanted, used, card)
            expected = _expected(name, wanted, used, card)
            scores = expected["scores" if card["task"] == "classification" else "outputs"]
            allowed = TOLERANCE * (float(np.abs(scores).max()) or 1.0)
            bounds = dict.fromkeys(expected, allowed)
            largest = max(largest, compare(name, got, expected, bounds, half=False))
            if name == "serving_uint8":  # uint8 has no NaN
                continue
            got = served(name, request_of(name, special))
            used = got.pop("width", None)
            compare_special(name, got, _expected(name, wanted_special, used, card))
            if used is not None and (used[got["classes"] < 0] != card["widths"][-1]).any():
                raise wrong("'anytime' to be sure of no row with NaN", "one of a narrow width")
    return largest


def _expected(name: str, outputs: np.ndarray, used: np.ndarray | None, card: dict) -> dict:
    """What a signature has to answer, taken from the model's outputs (n, P, K).

    `used` holds the width of each row's answer, for `anytime`.
    """
    widths = card["widths"]
    by_width = {width_signature(width): place for place, width in enumerate(widths)}
    place: Any = by_width.get(name, len(widths) - 1)
    if used is not None:
        place = np.searchsorted(widths, used)
    answers = by_signature(card, outputs[np.arange(len(outputs)), place])
    return answers[name if name in METHODS else "serving_default"]


def _check_choice(outputs: np.ndarray, used: np.ndarray, card: dict[str, Any]) -> None:
    """Raises if `used` does not hold the first width that is sure of each row, up to rounding."""
    sure = keras.ops.convert_to_numpy(sureness(outputs, True)) - card["anytime"]["threshold"]
    last, place = len(card["widths"]) - 1, np.searchsorted(card["widths"], used)
    narrower = np.arange(last + 1) < place[:, None]
    own = np.take_along_axis(sure, place[:, None], axis=1)[:, 0]
    if (sure >= NEAR)[narrower].any() or not ((own >= -NEAR) | (place == last)).all():
        raise wrong("'anytime' to stop at the first width that is sure", "others")
