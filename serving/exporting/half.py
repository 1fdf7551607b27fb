"""What float16 weights cost: risk and accuracy of the exported network on the run's test rows."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from serving.exporting.packaging import loss_of_answers
from trainers.common.reload import reload_data

if TYPE_CHECKING:
    from asym_keras.runs import Run

_ROWS = 1000  # rows that go through the network at once


def measure_of(run: Run, *, refitted: bool) -> Callable[[Callable], dict[str, float]]:
    """A function that measures a network of raw values by the run's test rows and loss.

    Args:
        run: gives the test rows, the loss and the units.
        refitted: whether the network's readout was fitted anew.

    Returns:
        A function. It takes a network, which is a function of raw values float32 (n, d) -> float32
        (n, K), and returns its `test_risk` and, for a classifier, its `test_accuracy`.

    Raises:
        ValueError: The data are not the run's, can't be loaded, or do not say how they were made
            from raw values.
    """
    data = reload_data(run)
    record = data.preprocessing
    if record is None:
        expected = f"data of {run.path} that say how they were made of raw values"
        raise ValueError(f"--half: expected {expected}, received none. Export without --half.")
    raw = (data.x_test * np.asarray(record.scale) + np.asarray(record.shift)).astype("float32")

    def measure(outputs: Callable[[np.ndarray], Any]) -> dict[str, float]:
        import keras

        loss = keras.losses.get(loss_of_answers(run, refitted=refitted))
        per_example = loss.call if isinstance(loss, keras.losses.Loss) else loss
        parts = [outputs(raw[first : first + _ROWS]) for first in range(0, len(raw), _ROWS)]
        answers = np.concatenate([keras.ops.convert_to_numpy(part) for part in parts])
        answers = (answers - record.target_shift) / record.target_scale
        losses = keras.ops.convert_to_numpy(per_example(data.y_test, answers.astype("float32")))
        row = {"test_risk": float(np.mean(losses, dtype="float64"))}
        if data.labels_test is not None:
            row["test_accuracy"] = float(np.mean(answers.argmax(axis=1) == data.labels_test))
        return row

    return measure
