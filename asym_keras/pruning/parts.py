"""Examples that a pruning curve is measured on, and its risks and accuracies on them."""

from __future__ import annotations

from typing import Any

import numpy as np
from keras import ops

from asym_keras.arrays import materialised
from asym_keras.inputs import as_inputs
from asym_keras.losses import ExampleLoss
from asym_keras.pruning.ending import Ending
from asym_keras.targets import as_labels, hits, labels_in, one_hot


class Part:
    """Examples of the training or test part, checked."""

    def __init__(self, ending: Ending, name: str, x: Any, y: Any, labels: Any, loss: Any):
        x, y = materialised(x, y)
        self.x = as_inputs(ending.model, x)
        self.y, are_labels = ending.targets_or_labels(self.x, y)
        classes = ending.outputs
        self.loss = ExampleLoss(loss, "float64")
        if are_labels:
            try:
                self.loss.check(self.y[:64], (classes,), labels=True)
            except ValueError:
                self.y = one_hot(self.y, classes)
        self.loss.check(self.y[:64], (classes,), labels=self.y.ndim == 1)
        # Zeros and ones of one output are classes only where it is a probability or a logit.
        classifies = classes > 1 or ending.link == "sigmoid" or self.loss.takes_logits
        self.labels = labels_in(self.y, classes) if classifies else None
        if labels is not None:
            self.labels = as_labels(labels, self.y, classes, name=f"labels_{name}")


class Scores:
    """Risks and accuracies of each width, added up tile by tile."""

    def __init__(self, part: Part, widths: int):
        self._part = part
        self._threshold = 0.0 if part.loss.takes_logits else 0.5
        self._losses, self._values, self._hits = np.zeros((3, widths))

    def add(self, width: int, rows: slice, outputs: Any) -> None:
        """Counts the outputs (rows, K) of the examples `rows` at the width with this index."""
        outputs = ops.convert_to_tensor(outputs)
        targets = ops.convert_to_tensor(self._part.y[rows])
        values = ops.convert_to_numpy(self._part.loss(targets, outputs))
        self._losses[width] += values.sum()
        self._values[width] += values.size
        if self._part.labels is not None:
            found = ops.convert_to_numpy(outputs)
            self._hits[width] += hits(found, self._part.labels[rows], self._threshold).sum()

    @property
    def risk(self) -> np.ndarray:
        """Mean loss at each width; NaN where no outputs came."""
        return self._losses / np.where(self._values, self._values, np.nan)

    @property
    def accuracy(self) -> np.ndarray | None:
        """Share of examples in their class; NaN where no outputs came, None without labels."""
        if self._part.labels is None:
            return None
        return np.where(self._values, self._hits, np.nan) / len(self._part.labels)
