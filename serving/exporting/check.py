"""Checks a SavedModel the way the model server uses it: by signature, in a Session."""

from __future__ import annotations

import os
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from asym_keras.copies import copy_model
from asym_keras.graphs import layers_of
from asym_keras.importance import find_layer
from asym_keras.importance.taps import received
from serving.exporting.network import Network
from serving.exporting.saved_model import METHODS, class_names
from serving.exporting.warmup import example
from serving.sessions import SavedModelSession

# Largest difference from the Keras model, as a share of the largest output. The model computes in
# float64, since its own rounding in float32 is as large as the export's (7e-7 on MNIST with 2000
# nodes). Where large terms cancel and the model's rounding is larger, twice that is allowed.
TOLERANCE = 1e-6
# The same for float16 weights, whose rounding is 2**-11 before large terms cancel. What float16
# costs in accuracy is measured apart; this limit only finds what is broken.
HALF_TOLERANCE = 2e-2
EXAMPLES = 64
_BORDER = {tf.float32, tf.int64, tf.string, tf.uint8}


class Served(SavedModelSession):
    """A SavedModel that is called by signature."""

    @property
    def signatures(self) -> dict[str, Any]:
        """`SignatureDef` messages by name, without the initialiser that every export lists."""
        found = dict(self.meta.signature_def)
        found.pop("__saved_model_init_op", None)
        return found

    def __call__(self, signature: str, inputs: np.ndarray) -> dict[str, np.ndarray]:
        """Outputs of `signature` by name, as arrays."""
        definition = self.signatures[signature]
        feed = {definition.inputs["inputs"].name: inputs}
        fetch = {name: tensor.name for name, tensor in definition.outputs.items()}
        return self.run(fetch, feed)


def check_saved_model(
    folder: str | os.PathLike[str],
    model: keras.Model,
    network: Network,
    card: dict[str, Any],
    *,
    tolerance: float = TOLERANCE,
) -> float:
    """Loads a SavedModel anew and compares each signature with the Keras model.

    Args:
        folder: a version.
        model: the packaged model.
        network: what was written; its scaling gives the range of raw values to try.
        card: its card.
        tolerance: largest difference, as a share of the largest output.

    Returns:
        The largest difference that was found, as such a share.

    Raises:
        ValueError: A signature answers otherwise, or the graph holds what a model server refuses.
    """
    x = check_examples(network, card)
    rounded = expected = _expected(model, network, card, x)
    # A layer that rounds to 16 bits may do so elsewhere in another optimised graph.
    if any(layer.compute_dtype in ("float16", "bfloat16") for layer in layers_of(model)):
        tolerance = max(tolerance, HALF_TOLERANCE)
    if network.chain is not None:
        expected = _expected(copy_model(model, dtype="float64"), network, card, x.astype("float64"))
    with Served(folder) as served:
        _check_graph(served)
        if served.signatures.keys() != expected.keys():
            raise _error(f"the signatures {sorted(expected)}", f"{sorted(served.signatures)}")
        return max(
            _compare(name, served(name, _inputs(name, x)), outputs, rounded[name], tolerance)
            for name, outputs in expected.items()
        )


def check_examples(network: Network, card: dict[str, Any]) -> np.ndarray:
    """Raw values (64, d), float32: pixels, or normal around the centre of the network's scaling."""
    rng, shape = np.random.default_rng(0), (EXAMPLES, card["inputs"]["dim"])
    if card["inputs"]["kind"] == "image":
        return rng.integers(card["inputs"]["low"], card["inputs"]["high"] + 1, shape).astype("f4")
    x = rng.normal(size=shape)
    if network.chain is not None:
        x = network.chain.centre + x / network.chain.scale
    return x.astype("float32")


def serialized_examples(x: np.ndarray) -> np.ndarray:
    """Rows of `x` as serialized tf.Example with the feature `inputs`, object (n,)."""
    return np.array([example(row).SerializeToString() for row in x], object)


def _inputs(signature: str, x: np.ndarray) -> np.ndarray:
    if signature == "serving_uint8":
        return x.astype("uint8")
    return serialized_examples(x) if signature in METHODS else x


def _expected(
    model: keras.Model, network: Network, card: dict[str, Any], x: np.ndarray
) -> dict[str, dict[str, np.ndarray]]:
    """What each signature should answer, computed by the Keras model."""
    outputs = keras.ops.convert_to_numpy(model(x, training=False))
    expected: dict[str, dict] = {}
    if card["task"] == "classification":
        expected["serving_default"] = {"scores": outputs, "classes": outputs.argmax(axis=1)}
        names = np.array([name.encode() for name in class_names(card, outputs.shape[1])], object)
        labels = np.broadcast_to(names, outputs.shape)
        expected["classify"] = {"scores": outputs, "classes": labels}
    else:
        expected["serving_default"] = expected["regress"] = {"outputs": outputs}
    if card["inputs"]["kind"] == "image":
        expected["serving_uint8"] = expected["serving_default"]
    if network.features is not None:
        layer = find_layer(model)
        [[inputs]] = received(model, [layer], x)
        expected["features"] = {"features": keras.ops.convert_to_numpy(layer.features(inputs))}
    return expected


def _compare(
    signature: str, answers: dict, expected: dict, rounded: dict, tolerance: float
) -> float:
    """The largest difference of the answers, as a share of the largest answer."""
    if answers.keys() != expected.keys():
        raise _error(f"{signature!r} to answer {sorted(expected)}", f"{sorted(answers)}")
    largest = 0.0
    for name, wanted in expected.items():
        got = answers[name]
        if got.shape != wanted.shape:
            raise _error(f"{signature!r} to answer {name} {wanted.shape}", f"{got.shape}")
        if name == "classes":
            if signature not in METHODS:
                # Near a tie, rounding may choose another class than the Keras model chose.
                wanted = answers["scores"].argmax(axis=1)
            if (got != wanted).any():
                raise _error(f"{signature!r} to answer the classes of the scores", "others")
            continue
        difference = _share(got, wanted)
        if not difference <= max(tolerance, 2.0 * _share(rounded[name], wanted)):
            cure = " Leave out --half." if tolerance > TOLERANCE else ""
            near = f"within {tolerance:g} of the Keras model's, as a share of the largest"
            got = f"a difference of {difference:.2g}"
            raise _error(f"{name} of {signature!r} {near}", got, cure)
        largest = max(largest, difference)
    return largest


def _share(got: np.ndarray, wanted: np.ndarray) -> float:
    """The largest difference as a share of the largest number wanted."""
    return float(np.abs(got.astype("float64") - wanted).max() / (np.abs(wanted).max() or 1.0))


def _check_graph(served: Served) -> None:
    """Raises if a model server would refuse the graph, or answers would change between calls."""
    functions = served.meta.graph_def.library.function
    nodes = [*served.meta.graph_def.node, *(node for f in functions for node in f.node_def)]
    random = sorted({node.op for node in nodes if "Random" in node.op})
    if random:
        raise _error("a graph without random operations", ", ".join(random))
    if any(f.attr["_XlaMustCompile"].b for f in functions if "_XlaMustCompile" in f.attr):
        raise _error("a graph without jit_compile functions", "one")
    for name, signature in served.signatures.items():
        for tensor in (*signature.inputs.values(), *signature.outputs.values()):
            kind = tf.dtypes.as_dtype(tensor.dtype)
            if kind not in _BORDER:
                raise _error(f"{name!r} of float32, integers and strings", kind.name)


def _error(expected: str, received: str, cure: str = "") -> ValueError:
    return ValueError(
        f"the SavedModel that was written is not what it should be: expected {expected}, "
        f"received {received}. No version was made.{cure}"
    )
