"""The first width that is sure enough of an example, and how sure it can be asked to be."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from asym_keras.nesting.readout import check_widths


@keras.saving.register_keras_serializable(package="asym_keras")
class FirstSure(keras.layers.Layer):
    """Takes the outputs (..., P, K) of all widths; gives those of the first that is sure enough.

    A width is sure if its largest probability is at least `threshold`. The last width always is.

    Args:
        widths: ints, increasing: those of the `NestedReadout`.
        threshold: float.
        from_logits: bool, whether the outputs are logits and no probabilities.
        **kwargs: of `keras.layers.Layer`.

    Returns:
        dict: `outputs` (..., K), and `width` (...), int32, that of the network they come from.
    """

    def __init__(
        self, widths: Sequence[int], threshold: float, *, from_logits: bool = True, **kwargs: Any
    ) -> None:
        super().__init__(autocast=False, **kwargs)  # the outputs that it chooses are the model's
        self.widths = check_widths(widths, "FirstSure")
        self.threshold, self.from_logits = float(threshold), bool(from_logits)

    def call(self, inputs: Any) -> Any:
        sure = sureness(inputs, self.from_logits) >= self.threshold
        last = np.arange(len(self.widths)) == len(self.widths) - 1
        index = ops.argmax(ops.cast(ops.logical_or(sure, last), "int32"), axis=-1)
        chosen = ops.take_along_axis(inputs, index[..., None, None], axis=-2)
        widths = ops.take(ops.convert_to_tensor(self.widths, "int32"), index, axis=0)
        return {"outputs": ops.squeeze(chosen, -2), "width": widths}

    def compute_output_spec(self, inputs: Any) -> Any:
        shape = inputs.shape
        return {
            "outputs": keras.KerasTensor((*shape[:-2], shape[-1]), dtype=inputs.dtype),
            "width": keras.KerasTensor(shape[:-2], dtype="int32"),
        }

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "widths": list(self.widths),
            "threshold": self.threshold,
            "from_logits": self.from_logits,
        }


def sureness(outputs: Any, from_logits: bool) -> Any:
    """The largest probability of outputs (..., K): (...). For a single output, p or 1 - p.

    In float32 at least: all from .9998 on would be 1 in float16, all from .998 on in bfloat16.
    """
    outputs = ops.cast(outputs, keras.backend.result_type(outputs.dtype, "float32"))
    if outputs.shape[-1] == 1:
        p = ops.sigmoid(outputs) if from_logits else outputs
        return ops.squeeze(ops.maximum(p, 1.0 - p), -1)
    return ops.max(ops.softmax(outputs) if from_logits else outputs, axis=-1)


def thresholds(right: np.ndarray, sure: np.ndarray, widths: np.ndarray) -> tuple:
    """Thresholds, increasing, one for each choice of widths that there is for the examples.

    As a threshold rises past what an example has reached at one width, the next one answers it.
    Between two such steps all thresholds do the same. Of them the middle one is taken, in the dtype
    of `sure`, in which it will be compared, so that no rounding makes another choice.

    Args:
        right: (n, P), whether the answer of each of `widths`, (P,), is right.
        sure: (n, P), its probability.

    Returns:
        Thresholds, their accuracies and their mean widths, (T,) each.
    """
    sure = np.clip(np.nan_to_num(sure, nan=0.0), 0.0, 1.0)  # no width is sure of NaN
    values, places = np.unique(np.maximum.accumulate(sure[:, :-1], axis=1), return_inverse=True)

    def mean(of: np.ndarray) -> np.ndarray:
        steps = np.bincount(places.reshape(-1), np.diff(of).reshape(-1), len(values))
        return np.cumsum([of[:, 0].sum(), *steps]) / len(of)

    edges = np.concatenate([[0], values, [1]], dtype=sure.dtype)
    below, above = edges[:-1], edges[1:]  # a threshold is above the one, at most the other
    middle = np.maximum(below / 2 + above / 2, np.nextafter(below, above))
    middle[-1], middle[0] = 1.0, 0.0
    table = middle, mean(right.astype(int)), mean(np.broadcast_to(widths, right.shape))
    return tuple(column[below < above] for column in table)
