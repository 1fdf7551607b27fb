"""Checks a SavedModel as the model server uses it: by signature, in a Session."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from asym_keras.copies import copy_model
from asym_keras.graphs import layers_of
from asym_keras.importance import find_layer
from asym_keras.importance.taps import received
from serving.exporting.network import Network
from serving.exporting.rounding import chain_errors, model_errors
from serving.exporting.saved_model import METHODS, class_names
from serving.exporting.warmup import example
from serving.sessions import SavedModelSession
from serving.texts import array_of

# A network that is no chain may always differ this much from the Keras model, as a share of the
# largest output, even if rounding explains less. A chain has its own error bound (`rounding`).
TOLERANCE = 1e-6
# The same if weights or computation have 16 bits. This limit only finds what is broken: `half`
# measures what float16 costs in accuracy.
HALF_TOLERANCE = 2e-2
EXAMPLES = 64
_BORDER = {tf.float32, tf.int64, tf.string, tf.uint8}


class Served(SavedModelSession):
    """A SavedModel that is called by signature."""

    @property
    def signatures(self) -> dict[str, Any]:
        """`SignatureDef` messages by name, without the initialiser that each SavedModel lists."""
        found = dict(self.meta.signature_def)
        found.pop("__saved_model_init_op", None)
        return found

    def __call__(
        self, signature: str, inputs: np.ndarray | Mapping[str, np.ndarray]
    ) -> dict[str, np.ndarray]:
        """Outputs of `signature` by name, as arrays. A single array is taken for input `inputs`."""
        definition = self.signatures[signature]
        named = inputs if isinstance(inputs, Mapping) else {"inputs": inputs}
        feed = {definition.inputs[name].name: array for name, array in named.items()}
        fetch = {name: tensor.name for name, tensor in definition.outputs.items()}
        return {name: array_of(value) for name, value in self.run(fetch, feed).items()}


def check_saved_model(
    folder: str | os.PathLike[str],
    model: keras.Model,
    network: Network,
    card: dict[str, Any],
    *,
    half: bool = False,
) -> float:
    """Loads a SavedModel anew and compares each signature with the Keras model.

    Answers may differ as far as rounding explains it. A folded network is compared with the Keras
    model in float64, and each number may differ by the error bound of its own sums in float32. For
    a row with NaN or infinities a signature may answer a number only where the Keras model does.

    Args:
        folder: a version.
        model: the packaged model.
        network: what was written. Its scaling gives the range of raw values to try.
        card: of the model.
        half: whether weights are float16.

    Returns:
        The largest difference that was found, as a share of the largest output.

    Raises:
        ValueError: A signature answers otherwise, or the graph holds what a model server refuses.
    """
    x = check_examples(network, card)
    wide = copy_model(model, dtype="float64") if network.chain is not None else model
    answers = _answers(wide, network, x)
    expected = by_signature(card, *answers)
    allowed = _allowed(model, network, x, half, answers)
    with Served(folder) as served:
        check_graph(served)
        for name, signature in served.signatures.items():
            for tensor in (*signature.inputs.values(), *signature.outputs.values()):
                kind = tf.dtypes.as_dtype(tensor.dtype)
                if kind not in _BORDER:
                    raise wrong(f"{name!r} of float32, integers and strings", kind.name)
        if served.signatures.keys() != expected.keys():
            raise wrong(f"the signatures {sorted(expected)}", f"{sorted(served.signatures)}")
        special = special_rows(x)
        for name, wanted in by_signature(card, outputs_of(model, special)).items():
            if name != "serving_uint8":
                compare_special(name, served(name, request_of(name, special)), wanted)
        return max(
            compare(name, served(name, request_of(name, x)), outputs, allowed, half)
            for name, outputs in expected.items()
        )


def check_examples(network: Network, card: dict[str, Any]) -> np.ndarray:
    """Raw values (64, d), float32: random pixels, or normal around the centre of the scaling."""
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


def request_of(signature: str, x: np.ndarray) -> np.ndarray:
    """The raw values `x` in the form that a signature takes."""
    if signature == "serving_uint8":
        return x.astype("uint8")
    return serialized_examples(x) if signature in METHODS else x


def special_rows(x: np.ndarray) -> np.ndarray:
    """Six rows: for NaN and each infinity, one row with it in one place and one full of it."""
    rows = np.repeat(x[:1], 6, axis=0)
    for place, value in enumerate((np.nan, np.inf, -np.inf)):
        rows[2 * place, 0] = rows[2 * place + 1] = value
    return rows


def _answers(model: keras.Model, network: Network, x: np.ndarray) -> list[np.ndarray]:
    """Outputs of the Keras model, and its features, if a signature gives them."""
    return [outputs_of(model, x), *([] if network.features is None else [_features(model, x)])]


def outputs_of(model: keras.Model, x: np.ndarray) -> np.ndarray:
    """What the Keras model answers to raw values."""
    inputs = x.astype(model.inputs[0].dtype)
    return keras.ops.convert_to_numpy(model(inputs, training=False))


def _features(model: keras.Model, x: np.ndarray) -> np.ndarray:
    layer = find_layer(model)
    [[inputs]] = received(model, [layer], x.astype(model.inputs[0].dtype))
    return keras.ops.convert_to_numpy(layer.features(inputs))


def by_signature(
    card: dict[str, Any], outputs: np.ndarray, features: np.ndarray | None = None
) -> dict[str, dict[str, np.ndarray]]:
    """What each signature should answer."""
    expected: dict[str, dict] = {}
    if card["task"] == "classification":
        expected["serving_default"] = {"scores": outputs, "classes": classes_of(outputs)}
        names = np.array([name.encode() for name in class_names(card, outputs.shape[1])], object)
        labels = np.broadcast_to(names, outputs.shape)
        expected["classify"] = {"scores": outputs, "classes": labels}
    else:
        expected["serving_default"] = expected["regress"] = {"outputs": outputs}
    if card["inputs"]["kind"] == "image":
        expected["serving_uint8"] = expected["serving_default"]
    if features is not None:
        expected["features"] = {"features": features}
    return expected


def classes_of(scores: np.ndarray) -> np.ndarray:
    """The class of each row, and -1 where a score is not a number, int64."""
    return np.where(np.isnan(scores).any(axis=1), -1, scores.argmax(axis=1))


def _allowed(
    model: keras.Model, network: Network, x: np.ndarray, half: bool, expected: Sequence[np.ndarray]
) -> dict[str, Any]:
    """How far outputs and features may be from those of the Keras model, by name."""
    if network.chain is not None:
        bounds: Sequence[Any] = chain_errors(network.chain, x, half=half)
    else:
        rounded = model_errors(lambda: _answers(model, network, x), model.variables)
        # A layer in 16 bits may round at other places once TensorFlow has optimised the graph.
        few = half or any(la.compute_dtype in ("float16", "bfloat16") for la in layers_of(model))
        share = HALF_TOLERANCE if few else TOLERANCE
        largest = [np.abs(a).max() for a in expected]
        bounds = [max(share * a, 4.0 * r) for a, r in zip(largest, rounded, strict=True)]
    of_outputs, *of_features = bounds
    errors = {"scores": of_outputs, "outputs": of_outputs}
    return errors | ({"features": of_features[0]} if of_features else {})


def compare_special(signature: str, answers: dict, expected: dict) -> None:
    """Raises if a row with NaN or infinity gets a number or a class where none is expected."""
    for name, wanted in expected.items():
        if wanted.dtype.kind == "f" and np.isfinite(answers[name][~np.isfinite(wanted)]).any():
            rows = f"{name} of {signature!r} that are no numbers where the Keras model has none"
            raise wrong(f"{rows}, for inputs with NaN or infinity", "numbers")
    _compare_classes(signature, answers, expected)


def _compare_classes(signature: str, answers: dict, expected: dict) -> None:
    """Raises if the answers hold classes that do not fit their scores."""
    if "classes" in expected:
        # Near a tie rounding may lead to another class than the Keras model's. So the classes are
        # compared with the scores beside them, not with the model's classes.
        of_scores = signature not in METHODS
        wanted = classes_of(answers["scores"]) if of_scores else expected["classes"]
        if (answers["classes"] != wanted).any():
            raise wrong(f"{signature!r} to answer the classes of the scores", "others")


def compare(signature: str, answers: dict, expected: dict, allowed: dict, half: bool) -> float:
    """The largest difference of the answers, as a share of the largest answer.

    Raises a ValueError if a difference is larger than `allowed`.
    """
    if answers.keys() != expected.keys():
        raise wrong(f"{signature!r} to answer {sorted(expected)}", f"{sorted(answers)}")
    share = 0.0
    for name, wanted in expected.items():
        got = answers[name]
        if got.shape != wanted.shape:
            raise wrong(f"{signature!r} to answer {name} {wanted.shape}", f"{got.shape}")
        if name == "classes":
            continue
        difference = np.abs(got.astype("float64") - wanted)
        largest, bounds = np.abs(wanted).max() or 1.0, np.broadcast_to(allowed[name], wanted.shape)
        if not (difference <= bounds).all():
            worst = np.unravel_index(np.argmax(difference / bounds), wanted.shape)
            near = f"within {bounds[worst] / largest:.1g} of the Keras model's, which rounding"
            near += " explains, as a share of the largest"
            got = f"a difference of {difference[worst] / largest:.2g}"
            raise wrong(f"{name} of {signature!r} {near}", got, " Leave out --half." * half)
        share = max(share, float(difference.max() / largest))
    _compare_classes(signature, answers, expected)
    return share


def check_graph(served: Served) -> None:
    """Raises if a model server would refuse the graph, or answers would change between calls."""
    functions = served.meta.graph_def.library.function
    nodes = [*served.meta.graph_def.node, *(node for f in functions for node in f.node_def)]
    random = sorted({node.op for node in nodes if "Random" in node.op})
    if random:
        raise wrong("a graph without random operations", ", ".join(random))
    python = sorted({node.op for node in nodes if "PyFunc" in node.op})
    if python:  # the code exists only in this process
        raise wrong("a graph without Python code, as of tf.py_function", ", ".join(python))
    if any(f.attr["_XlaMustCompile"].b for f in functions if "_XlaMustCompile" in f.attr):
        raise wrong("a graph without jit_compile functions", "one")


def wrong(expected: str, received: str, cure: str = "") -> ValueError:
    """The error about a SavedModel that does not become a version."""
    return ValueError(
        f"the SavedModel that was written is not what it should be: expected {expected}, "
        f"received {received}. No version was made.{cure}"
    )
