"""Writes a network as a SavedModel with the signatures that TensorFlow Serving's APIs need."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import tensorflow as tf

from serving.exporting.nan_guard import keep_not_a_number
from serving.exporting.network import Network

# The method names that the server's Classify and Regress demand of the signatures on the left.
METHODS = {
    "classify": tf.compat.v1.saved_model.signature_constants.CLASSIFY_METHOD_NAME,
    "regress": tf.compat.v1.saved_model.signature_constants.REGRESS_METHOD_NAME,
}


def class_names(card: dict[str, Any], count: int) -> list[str]:
    """Names of the classes, in the order of the scores; numbers where the card has none."""
    return list(card["outputs"]["classes"] or map(str, range(count)))


def signatures(network: Network, card: dict[str, Any]) -> dict[str, Any]:
    """The network's signatures, each a `tf.function` of `inputs` that checks their shape.

    - `serving_default`: float32 (n, d) -> `scores` float32 (n, K) and `classes` int64 (n,), which
      is -1 for a row with a score NaN; for a regression -> `outputs` float32 (n, 1);
    - `serving_uint8`, for images: the same for uint8;
    - `features`: float32 (n, d) -> `features` float32 (n, k);
    - `classify` or `regress`: serialized tf.Example with d floats `inputs`, (n,) -> what these APIs
      answer.

    Args:
        network: from `as_network`.
        card: its card.

    Returns:
        dict by signature name.
    """
    dim, answer = card["inputs"]["dim"], answers_of(card)
    found = {"serving_default": signature_of(lambda x: answer(network, x), dim, tf.float32)}
    if card["inputs"]["kind"] == "image":
        found["serving_uint8"] = signature_of(lambda x: answer(network, x), dim, tf.uint8)
    if network.features is not None:
        features = network.features
        found["features"] = signature_of(lambda x: {"features": features(x)}, dim, tf.float32)
    if card["task"] == "classification":
        found["classify"] = _example_function(lambda x: _labelled(network, card, x), dim)
    else:
        found["regress"] = _example_function(lambda x: _outputs(network, x), dim)
    return found


def write_saved_model(
    network: Network, card: dict[str, Any], folder: str | os.PathLike[str]
) -> list[str]:
    """Writes `network` to `folder` as a SavedModel.

    Args:
        network: from `as_network`.
        card: its card.
        folder: where to write. A SavedModel that is there is replaced.

    Returns:
        The names of the signatures.

    Raises:
        OSError: The folder can't be written.
    """
    return write_signatures(signatures(network, card), folder)


def write_signatures(found: dict[str, Any], folder: str | os.PathLike[str]) -> list[str]:
    """Writes functions, by their signatures' names; returns and raises as `write_saved_model`."""
    path = os.fspath(folder)
    finished(path, found, lambda: tf.saved_model.save(tf.Module(), path, signatures=found))
    return list(found)


def finished(folder: str | os.PathLike[str], names: Iterable[str], save: Callable) -> None:
    """Calls `save`, which writes signatures of these names to `folder`, and corrects the result.

    It sets the method names of Classify and Regress, and keeps NaN (`nan_guard`).

    Raises:
        OSError: The folder can't be written.
    """
    try:
        save()
        _set_methods(os.fspath(folder), names)
        keep_not_a_number(folder)
    except tf.errors.OpError as error:
        # A full disk raises an error of TensorFlow's own kind; its message names the file.
        code = getattr(error, "error_code", None)
        raise OSError(code, error.message, os.fspath(folder)) from error


def _set_methods(folder: str, found: Iterable[str]) -> None:
    """Sets the method names of Classify and Regress: TensorFlow 2 writes Predict's for all."""
    updater = tf.compat.v1.saved_model.signature_def_utils.MethodNameUpdater(folder)
    for name in METHODS.keys() & set(found):
        updater.replace_method_name(signature_key=name, method_name=METHODS[name])
    updater.save()
    # The fingerprint is that of the file before this change. Nothing needs it, since the card has a
    # SHA-256.
    tf.io.gfile.remove(os.path.join(folder, "fingerprint.pb"))


def answers_of(card: dict[str, Any]) -> Callable:
    """The function from a network and its inputs to the answers by name."""
    return _scores_and_classes if card["task"] == "classification" else _outputs


def signature_of(answer: Callable[[Any], dict[str, Any]], dim: int, dtype: Any) -> Any:
    """A signature of `inputs` (n, dim) that checks their shape."""

    @tf.function(input_signature=[tf.TensorSpec((None, dim), dtype, name="inputs")])
    def signature(inputs: Any) -> dict[str, Any]:
        # The server does not compare the shape of an input with the signature's.
        inputs = tf.ensure_shape(inputs, (None, dim))
        return answer(tf.cast(inputs, tf.float32))

    return signature


def _example_function(answer: Callable[[Any], dict[str, Any]], dim: int) -> Any:
    spec = {"inputs": tf.io.FixedLenFeature([dim], tf.float32)}

    @tf.function(input_signature=[tf.TensorSpec((None,), tf.string, name="inputs")])
    def signature(inputs: Any) -> dict[str, Any]:
        inputs = tf.ensure_shape(inputs, (None,))
        return answer(tf.io.parse_example(inputs, spec)["inputs"])

    return signature


def _outputs(network: Network, x: Any) -> dict[str, Any]:
    return {"outputs": network.outputs(x)}


def _scores_and_classes(network: Network, x: Any) -> dict[str, Any]:
    return with_classes(network.outputs(x))


def with_classes(scores: Any) -> dict[str, Any]:
    """`scores` (n, K), and `classes`, int64 (n,): -1 for a row with a score NaN."""
    # With NaN among the scores, argmax would give the first class, which looks like an answer.
    unknown = tf.reduce_any(tf.math.is_nan(scores), axis=-1)
    classes = tf.where(unknown, tf.constant(-1, tf.int64), tf.argmax(scores, axis=-1))
    return {"scores": scores, "classes": classes}


def _labelled(network: Network, card: dict[str, Any], x: Any) -> dict[str, Any]:
    """The scores and the names of all classes, since Classify demands both in the same shape."""
    scores = network.outputs(x)
    names = np.array([class_names(card, scores.shape[-1])], object)
    return {"scores": scores, "classes": tf.tile(names, [tf.shape(scores)[0], 1])}
