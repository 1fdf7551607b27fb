"""Targets and class labels, checked once: what they have to be for a model's outputs."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from asym_keras.arrays import as_array, fits, require_finite


def as_targets(y, outputs: tuple, *, model: str) -> tuple[np.ndarray | tf.Tensor, bool]:
    """Targets that fit predictions of shape `(n, *outputs)`, and whether they are class labels.

    Labels have the shape of the predictions without its last axis, or with a last axis of 1.

    Args:
        y: array-like (n, ...).
        outputs: shape of the prediction of one example; None for a size that varies.
        model: what to call the model in an error.

    Returns:
        `y` itself where nothing had to be changed; labels without a last axis of 1.

    Raises:
        ValueError: Another shape, text, values that are not finite, labels out of range.
    """
    array = as_array(y, "y")
    if array.dtype.kind not in "fiub" and array.dtype.name != "bfloat16":
        raise ValueError(
            f"Expected targets as numbers, received {array.dtype} {array.shape}. Give the labels "
            "as integers from 0, for example by np.unique(y, return_inverse=True)[1]."
        )
    if not array.size:
        raise ValueError(f"Expected targets of at least one example, received {array.shape}.")
    require_finite(array, f"y {array.shape}")
    if array.ndim == len(outputs) and outputs[-1:] == (1,):
        array = array[..., None]
    classes = outputs[-1] if outputs else 1
    if classes not in (1, None):
        one_each = (None, *outputs[:-1])
        labels = array[..., 0] if fits(array.shape, (*one_each, 1)) else array
        if fits(labels.shape, one_each) and _are_whole(labels):
            return _in_range(labels, classes, "labels"), True
    if not fits(array.shape, (None, *outputs)):
        expected = ", ".join("any" if size is None else str(size) for size in outputs)
        raise ValueError(
            f"Expected targets of shape (n, {expected}), the output of model {model!r}, or integer "
            f"labels (n,), received {array.shape} of {array.dtype}."
        )
    return (y if tf.is_tensor(y) and array.shape == y.shape else array), False


def as_labels(labels, y, classes: int, *, name: str = "labels") -> np.ndarray:
    """Class labels, one integer an example, from 0 to `classes - 1`; 0 or 1 for one output.

    Args:
        labels: array-like (n,) or (n, 1).
        y: the targets beside them, as `labels_in` takes them.

    Returns:
        int64 (n,).

    Raises:
        ValueError: Another shape, text, numbers that are no integers, or out of range; targets of
            one output that are not 0 or 1.
    """
    array, examples = as_array(labels, name), len(y)
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.dtype.kind not in "fiub" or array.shape != (examples,):
        raise ValueError(
            f"Expected {name} to be {examples} integers, one an example, from 0 to "
            f"{max(classes, 2) - 1}, received shape {np.shape(labels)} of {array.dtype}."
        )
    array = _in_range(array, max(classes, 2), name)
    if classes == 1 and labels_in(y, classes) is None:
        raise ValueError(
            f"Expected {name} of a model with one output beside targets that are 0 or 1, received "
            "other targets: which outputs mean which class is not known. Leave the labels out."
        )
    return array


def labels_in(y, classes: int) -> np.ndarray | None:
    """The labels int64 (n,) that targets (n,), (n, 1) or one-hot (n, K) stand for; None: none.

    With one output they are targets of which each is 0 or 1.
    """
    array = np.asarray(y)
    if classes > 1 and array.ndim == 1:
        return array.astype("int64")
    if array.ndim != 2 or array.shape[1] != classes or not np.isin(array, (0, 1)).all():
        return None
    if classes == 1:
        return array[:, 0].astype("int64")
    return array.argmax(1) if (array.sum(1) == 1).all() else None


def one_hot(labels: np.ndarray, classes: int) -> np.ndarray:
    """float64 (n, K); (n, 1) for one output."""
    if classes == 1:
        return labels.astype("float64")[:, None]
    return np.eye(classes)[labels]


def hits(predictions: np.ndarray, labels: np.ndarray, threshold: float = 0.5) -> np.ndarray:
    """Whether each example is in its class: the largest output, or one output and a threshold.

    Args:
        predictions: (..., n, K). labels: (n,).
        threshold: above which one output means class 1: 0.5, as Keras has it; 0 for logits.
    """
    if predictions.shape[-1] == 1:
        return (predictions[..., 0] > threshold) == (labels == 1)
    return np.argmax(predictions, axis=-1) == labels


def _are_whole(array: np.ndarray) -> bool:
    return bool((array == np.round(array)).all())


def _in_range(array: np.ndarray, classes: int, name: str) -> np.ndarray:
    if not _are_whole(array) or array.min() < 0 or array.max() >= classes:
        raise ValueError(
            f"Expected {name} to be integers from 0 to {classes - 1}, one for each class, received "
            f"values from {array.min()} to {array.max()}."
        )
    return array.astype("int64")
