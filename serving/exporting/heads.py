"""Which outputs of a model answer TensorFlow Serving's Classify and Regress."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from serving.texts import array_of

TASKS = ("classify", "regress", "raw")
_FEATURES = {"float32": tf.float32, "float64": tf.float32, "string": tf.string}


@dataclasses.dataclass(frozen=True)
class Head:
    """The output of a model that Classify or Regress answers with.

    Attributes:
        task: `"classify"` or `"regress"`.
        output: name of the output: scores (n, K), or numbers (n,) or (n, 1).
        labels: names of the K classes.
    """

    task: str
    output: str
    labels: tuple[str, ...] = ()

    def answer(self, outputs: Mapping[str, Any]) -> dict[str, Any]:
        """The answer of Classify or Regress, made from the model's outputs by name."""
        values = tf.cast(outputs[self.output], tf.float32)
        if self.task == "regress":
            return {"outputs": values}
        names = np.array([self.labels], object)
        return {"scores": values, "classes": tf.tile(names, [tf.shape(values)[0], 1])}


def head_of(
    inputs: Mapping[str, tf.TensorSpec],
    outputs: Mapping[str, tf.TensorSpec],
    *,
    task: str | None = None,
    labels: Sequence[str] | None = None,
) -> Head | None:
    """The head of a model; None if it gets no signature for Classify or Regress.

    Args:
        inputs, outputs: of the model.
        task: one of `TASKS`. None: `"classify"` if there are labels, or the only output is a row of
            several scores; `"regress"` if it is one number; else `"raw"`.
        labels: names of the classes, in the order of the scores. None: their numbers.

    Raises:
        ValueError: The outputs or inputs do not allow the task, or there are more or fewer labels
            than scores.
    """
    if task is not None and task not in TASKS:
        raise ValueError(f"--task: expected {', '.join(TASKS)}, received {task!r}.")
    if labels is not None and task in ("regress", "raw"):
        raise ValueError(f"--labels: expected --task classify, received {task}. Leave one out.")
    if labels is not None and not all(isinstance(label, str) for label in labels):
        raise ValueError(f"--labels: expected texts, received {list(labels)!r}.")
    asked = "classify" if labels is not None else task
    if asked == "raw":
        return None
    obstacle = next((n for n, s in inputs.items() if None in s.shape[1:]), None)
    if obstacle:  # an example has a fixed number of features
        if asked is None:
            return None
        raise ValueError(
            f"--task {asked}: expected inputs of fixed sizes, since tf.Example has them, received "
            f"{obstacle} of shape {inputs[obstacle].shape}. Use --task raw."
        )
    if asked is None:
        if len(outputs) != 1:
            return None
        asked = next((k for k in ("regress", "classify") if _candidates(outputs, k)), None)
        if asked is None:
            return None
    found = _candidates(outputs, asked)
    usual = "scores" if asked == "classify" else "outputs"
    chosen = usual if usual in found else found[0] if len(found) == 1 else None
    if chosen is None:
        shape = "(n, K)" if asked == "classify" else "(n,) or (n, 1)"
        raise ValueError(
            f"--task {asked}: expected one output of floats {shape}, or one of them named "
            f"{usual!r}, received {_listed(outputs)}. Use --task raw."
        )
    if asked == "regress":
        return Head(asked, chosen)
    count = int(outputs[chosen].shape[1])
    if labels is not None and len(labels) != count:
        raise ValueError(
            f"--labels: expected {count} labels, one for each score of {chosen!r}, received "
            f"{len(labels)}. Put one a line, in the order of the scores."
        )
    return Head(asked, chosen, tuple(labels or map(str, range(count))))


def parse_examples(specs: Mapping[str, tf.TensorSpec], serialized: Any) -> dict[str, Any]:
    """Inputs by name from serialized `tf.Example`s, (n,). The features have the inputs' names."""
    kinds = {name: _FEATURES.get(spec.dtype.name, tf.int64) for name, spec in specs.items()}
    features = {n: tf.io.FixedLenFeature(s.shape[1:], kinds[n]) for n, s in specs.items()}
    parsed = tf.io.parse_example(serialized, features)
    return {n: tf.cast(v, specs[n].dtype) if v.dtype != specs[n].dtype else v
            for n, v in parsed.items()}  # fmt: skip


def example_of(row: Mapping[str, Any]) -> Any:
    """The `tf.Example` that holds one row of each input."""
    feature = {}
    for name, value in row.items():
        flat = np.ravel(array_of(value))
        if flat.dtype.kind == "f":
            feature[name] = tf.train.Feature(float_list={"value": flat})
        elif flat.dtype.kind == "O":
            feature[name] = tf.train.Feature(bytes_list={"value": list(flat)})
        else:
            feature[name] = tf.train.Feature(int64_list={"value": flat.astype("int64")})
    return tf.train.Example(features={"feature": feature})


def _candidates(outputs: Mapping[str, tf.TensorSpec], task: str) -> list[str]:
    def fits(spec: tf.TensorSpec) -> bool:
        if not spec.dtype.is_floating or spec.shape.rank not in (1, 2):
            return False
        width = 1 if spec.shape.rank == 1 else spec.shape[1]
        return width == 1 if task == "regress" else spec.shape.rank == 2 and width is not None

    return [name for name, spec in outputs.items() if fits(spec)]


def _listed(outputs: Mapping[str, tf.TensorSpec]) -> str:
    return ", ".join(f"{n} {s.dtype.name} {s.shape}" for n, s in outputs.items())
