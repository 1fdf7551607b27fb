"""Examples that a pruning curve is measured on, and its risks and accuracies on them."""

from __future__ import annotations

import numpy as np
from keras import ops

from asym_keras.arrays import materialised
from asym_keras.inputs import as_inputs
from asym_keras.losses import ExampleLoss
from asym_keras.pruning.ending import Ending
from asym_keras.targets import as_labels, hits, labels_in, one_hot


class Part:
    """Examples of the training or test part, checked."""

    def __init__(self, ending: Ending, name: str, x, y, labels, loss):
        x, y = materialised(x, y)
        self.x = as_inputs(ending.model, x)
        self.y, are_labels = ending.targets_or_labels(self.x, y)
        self._classes = classes = ending.outputs
        self.loss = ExampleLoss(loss, "float64")
        if are_labels and not self._takes_labels():
            self.y, are_labels = one_hot(self.y, classes), False
        self.loss.check(self.y[:64], (classes,), labels=are_labels)
        # Zeros and ones of one output are classes only where it is a probability or a logit.
        classifies = classes > 1 or ending.link == "sigmoid" or self.loss.takes_logits
        self.labels = labels_in(self.y, classes) if classifies else None
        if labels is not None:
            self.labels = as_labels(labels, self.y, classes, name=f"labels_{name}")

    def _takes_labels(self) -> bool:
        try:
            self.loss.check(self.y[:64], (self._classes,), labels=True)
        except ValueError:
            return False
        return True

    def one_hot(self) -> np.ndarray:
        """Targets, float64 (n, K)."""
        return self.y if self.y.ndim == 2 else one_hot(self.y, self._classes)


class Scores:
    """Risks and accuracies of each width, added up tile by tile."""

    def __init__(self, part: Part, widths: int, *, logits: bool = False):
        self._part = part
        self._threshold = 0.0 if logits or part.loss.takes_logits else 0.5
        self._losses, self._values, self._hits = np.zeros((3, widths))

    def add(self, width: int, rows: slice, outputs: np.ndarray) -> None:
        """Counts the outputs (rows, K) of the examples `rows` at the width with this index."""
        targets = ops.convert_to_tensor(self._part.y[rows])
        values = ops.convert_to_numpy(self._part.loss(targets, ops.convert_to_tensor(outputs)))
        self._losses[width] += values.sum()
        self._values[width] += values.size
        if self._part.labels is not None:
            self._hits[width] += hits(outputs, self._part.labels[rows], self._threshold).sum()

    def risk(self, width: int) -> float:
        """Mean loss; NaN if no outputs came."""
        if not self._values[width]:
            return float("nan")
        return float(self._losses[width] / self._values[width])

    def accuracy(self, width: int) -> float | None:
        """Share of examples in their class; None without labels, NaN if no outputs came."""
        if self._part.labels is None:
            return None
        if not self._values[width]:
            return float("nan")
        return float(self._hits[width] / len(self._part.labels))
