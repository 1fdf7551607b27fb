"""Risks of external networks on the most important features, by the number of features."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
from keras import ops

from asym_keras.arrays import materialised
from asym_keras.backend import require_tensorflow
from asym_keras.checks import is_whole
from asym_keras.graphs import is_graph
from asym_keras.importance.graph import find_layer, node_paths, require_features
from asym_keras.importance.nodes import Nodes
from asym_keras.importance.rules import order_nodes
from asym_keras.importance.taps import received, tiles
from asym_keras.inputs import as_inputs, example_count, outputs_like, take
from asym_keras.layers import AsymScaledDense
from asym_keras.targets import as_labels, as_targets, hits, labels_in, one_hot
from asym_keras.transfer.networks import TransferNetworks, squared_errors
from asym_keras.transfer.solvers import METHODS, train_networks

PROTOCOLS = ("paper", "authors")


def transfer_settings(protocol: str, *, classification: bool) -> dict:
    """The external network of a protocol, as keyword arguments of `transfer_curve`.

    `"paper"`: one hidden layer of 64 nodes (classification: 128), to time t = 5,000: 5,000 steps
    at rate 1.0, but for regression 50,000 at 0.1, since there the text's rate is unstable.
    `"authors"`: two hidden layers of that size, 5,000 steps at rate 0.1 (classification:
    10,000 at 1.0).

    Args:
        protocol: `"paper"` or `"authors"`.
        classification: bool, whether the targets are one-hot labels.

    Returns:
        dict with `hidden` (tuple of int), `steps` (int), `learning_rate` (float).

    Raises:
        ValueError: Another protocol.

    Example:
        >>> asym_keras.transfer.transfer_settings("authors", classification=False)
        {'hidden': (64, 64), 'steps': 5000, 'learning_rate': 0.1}
    """
    if protocol not in PROTOCOLS:
        raise ValueError(
            f"transfer_settings: expected protocol to be one of {PROTOCOLS}, received {protocol!r}."
        )
    nodes, learning_rate = (128, 1.0) if classification else (64, 0.1)
    layers, steps = 2, 10_000 if classification else 5_000
    if protocol == "paper":
        layers, steps = 1, 5_000 if classification else 50_000
    return {"hidden": (nodes,) * layers, "steps": steps, "learning_rate": learning_rate}


def transfer_curve(
    model: keras.Model,
    x_train: Any,
    y_train: Any,
    x_test: Any,
    y_test: Any,
    *,
    labels_train: Any = None,
    labels_test: Any = None,
    features: Sequence[int] = tuple(range(10, 101, 10)),
    importance: str | npt.ArrayLike = "paper",
    hidden: Sequence[int] = (64,),
    steps: int = 5000,
    learning_rate: float = 1.0,
    method: str = "auto",
    seed: int = 0,
    layer: str | None = None,
    progress: bool = True,
) -> list[dict]:
    """Trains a ReLU network on the k most important features of `model`, for each k, Section 6.

    The features are `sqrt(lambda_j) sigma(z_j)`, as they are. The networks start from
    U(+-1/sqrt(fan_in)), kernels and biases, and descend on the mean squared error over all
    examples (full batch), all k together in one compiled computation.

    `method="descent"` takes the steps; `"flow"` integrates the gradient flow that they follow to
    t = steps x learning_rate, to a tolerance of 1e-2. `"auto"` is the descent: at the protocols'
    rates the two are not equal for every model, though the flow can be faster. Measured on two
    shared cores, final training risks:

    - MNIST, `paper` (n = 5,000, 128 nodes, ten networks): descent 62 to 162 s; flow 29 s for a
      model of gamma 1, where its risks are up to 3.4 % below the descent's (and change by 0.03 %
      with ten times smaller `atol`), 72 s for gamma 0, alpha 0.4, within 0.4 %.
    - energy (n = 153, 64 nodes): descent 5 s for ten networks, most of it compilation; flow
      45 s for three. At the text's rate of 1.0 the descent is unstable: risks of 2 to 120 at
      the end, targets of variance 1.

    Descent that ends with a training risk above the one it began with is unstable without
    overflow; that is logged as a warning.

    Args:
        model: trained Keras model with an `AsymScaledDense`; it is not changed.
        x_train, y_train: further examples (n, ...) and targets (n, K) or (n,); integers (n,) are
            class labels if `model` has several outputs. Or a `tf.data.Dataset` of batches (x, y)
            and None.
        x_test, y_test: the same to test on.
        labels_train, labels_test: classes, int (n,), for accuracies; both or neither. None:
            those of labels or one-hot targets.
        features: numbers of features, k.
        importance: rule, one of `asym_keras.importance.RULES`, or numbers (m,).
        hidden: nodes of each hidden layer of a network.
        steps, learning_rate: of the descent.
        method: `"auto"`, `"descent"` or `"flow"`, see above.
        seed: int, for the networks (with k alone: other k change nothing) and for ties.
        layer: name of the layer. None: it is the only one.
        progress: show a progress bar.

    Returns:
        One dict for each k: `features`, `train_risk`, `test_risk` and, with labels,
        `train_accuracy`, `test_accuracy`; plain numbers.

    Raises:
        ValueError: A k below 1 or above the number of nodes, or another bad argument.
        TrainingError: The descent diverged; names the k.

    Example:
        >>> model, x = asym_keras.shallow_network(3, width=8, seed=0), np.eye(3, dtype="float32")
        >>> network = {"hidden": (4,), "steps": 10, "learning_rate": 0.1}
        >>> parts = x, x[:, :1], x, x[:, :1]
        >>> rows = asym_keras.transfer.transfer_curve(model, *parts, features=[2, 4], **network)
        >>> [row["features"] for row in rows]
        [2, 4]
    """
    require_tensorflow("transfer_curve")
    target = find_layer(model, layer)
    features = _check_features(features, target)
    _check_choices(hidden, steps, learning_rate, method, seed)
    train = _Part(model, target, "train", x_train, y_train, labels_train)
    test = _Part(model, target, "test", x_test, y_test, labels_test)
    _check_parts(train, test, labels_train, labels_test)
    order = order_nodes(model, target, importance, x=train.x, seed=seed)[: max(features)]
    phi, phi_test = (_features(model, target, part.x, order) for part in (train, test))
    dtype = str(phi.dtype)
    networks = TransferNetworks(features, hidden, train.y.shape[1], seed=seed, dtype=dtype)
    train_networks(networks, phi, train.y, method, steps, learning_rate, progress)
    columns: dict[str, Sequence] = {"features": features}
    scores = train.scores(networks.predict(phi)), test.scores(networks.predict(phi_test))
    for quantity in scores[0]:
        for name, score in zip(("train", "test"), scores, strict=True):
            columns[f"{name}_{quantity}"] = score[quantity].tolist()
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


class _Part:
    """Examples, targets and labels of one part, checked."""

    def __init__(
        self, model: keras.Model, target: AsymScaledDense, name: str, x: Any, y: Any, labels: Any
    ):
        x, y = materialised(x, y)
        self.x = as_inputs(model, x)
        examples, y = example_count(self.x), np.asarray(y)
        if len(y) != examples or y.ndim not in (1, 2):
            raise ValueError(
                f"transfer_curve: expected y_{name} of shape (n, K) or (n,), one row for each of "
                f"the {examples} examples of x_{name}, received shape {y.shape}."
            )
        # Integers for a model of several outputs are classes, as everywhere; else they are numbers.
        outputs = _outputs_of(model, target, self.x)
        integers = y.dtype.kind in "iu" and y.size == examples and outputs > 1
        columns = outputs if integers else y.shape[1] if y.ndim == 2 else 1
        targets, are_labels = as_targets(y, (columns,), model=model.name)
        self.y = one_hot(targets, columns) if are_labels else np.asarray(targets)
        self.labels = labels_in(self.y, columns) if columns > 1 else None
        if labels is not None:
            self.labels = as_labels(labels, self.y, columns, name=f"labels_{name}")

    def scores(self, predictions: np.ndarray) -> dict[str, np.ndarray]:
        """Risk and, with labels, accuracy of each network on this part."""
        scores = {"risk": squared_errors(predictions, self.y)}
        if self.labels is not None:
            scores["accuracy"] = np.mean(hits(predictions, self.labels[:, None]), axis=0)
        return scores


def _outputs_of(model: keras.Model, target: AsymScaledDense, x: Any) -> int:
    """K of a model (n, ...) -> (n, K); 1: another, or one that returns features of `target`."""
    if is_graph(model) and any(isinstance(h, Nodes) for h in node_paths(model, target).outputs):
        return 1
    shapes = [tuple(t.shape) for t in keras.tree.flatten(outputs_like(model, x))]
    return shapes[0][-1] or 1 if len(shapes) == 1 and len(shapes[0]) == 2 else 1


def _features(model: keras.Model, target: AsymScaledDense, x: Any, order: np.ndarray) -> np.ndarray:
    """The features `order` of what the layer receives while `model` runs on `x`, (n, k)."""
    require_features(target)
    parts = []
    for rows in tiles(model, x, target.units):
        (calls,) = received(model, [target], take(x, rows))
        if len(calls) != 1:
            raise ValueError(
                f"transfer_curve: expected model {model.name!r} to call {target.name!r} once, "
                f"received {len(calls)} calls. Pass a model that ends there."
            )
        features = ops.convert_to_numpy(target.features(calls[0]))
        if features.ndim != 2:
            raise ValueError(
                f"transfer_curve: expected features of shape (n, {target.units}), received "
                f"{features.shape}: {target.name!r} works on further axes. Flatten before it."
            )
        parts.append(features[:, order])
    return np.concatenate(parts)


def _check_features(features: Any, target: AsymScaledDense) -> list[int]:
    counts = np.asarray(features)
    valid = counts.ndim == 1 and counts.size > 0 and counts.dtype.kind in "iu"
    if not valid or counts.min() < 1 or len(np.unique(counts)) < len(counts):
        raise ValueError(
            "transfer_curve: expected features to be distinct integers of at least 1, received "
            f"{features!r}."
        )
    if counts.max() > target.units:
        raise ValueError(
            f"transfer_curve: expected features of at most {target.units}, the nodes of "
            f"{target.name!r}, received {counts[counts > target.units].tolist()}. Leave those out "
            "(features=...), or use a wider model."
        )
    return counts.tolist()


def _check_choices(hidden: Any, steps: Any, learning_rate: Any, method: Any, seed: Any) -> None:
    faults = {
        "hidden to be integers of at least 1, at least one": (
            hidden,
            np.ndim(hidden) == 1 and len(hidden) > 0 and all(is_whole(h, 1) for h in hidden),
        ),
        "steps to be an integer of at least 1": (steps, is_whole(steps, 1)),
        "a positive learning_rate": (learning_rate, 0 < learning_rate < np.inf),
        f"method to be one of {METHODS}": (method, method in METHODS),
        "seed to be a nonnegative integer": (seed, is_whole(seed, 0)),
    }
    for expected, (value, holds) in faults.items():
        if not holds:
            raise ValueError(f"transfer_curve: expected {expected}, received {value!r}.")


def _check_parts(train: _Part, test: _Part, labels_train: Any, labels_test: Any) -> None:
    if train.y.shape[1] != test.y.shape[1]:
        raise ValueError(
            "transfer_curve: expected y_train and y_test with the same number of outputs, received "
            f"{train.y.shape[1]} and {test.y.shape[1]}."
        )
    if (labels_train is None) != (labels_test is None):
        raise ValueError(
            "transfer_curve: expected labels_train and labels_test, or neither, received one. "
            "Pass both for accuracies."
        )
    if train.labels is None or test.labels is None:  # one of them is no classification
        train.labels = test.labels = None
