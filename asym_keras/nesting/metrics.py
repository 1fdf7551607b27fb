"""Metrics of each prefix, such as `accuracy_50`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras

from asym_keras.nesting.loss import kind_of, outputs_of_prefix
from asym_keras.nesting.readout import check_widths


@keras.saving.register_keras_serializable(package="asym_keras")
class PrefixMetric(keras.metrics.Metric):
    """A metric of one prefix's outputs, of predictions (..., P, K).

    Args:
        metric: `keras.metrics.Metric`.
        index: int, the place of the prefix.
        name: name in the log. None: that of `metric`.
    """

    def __init__(self, metric: Any, index: int, name: str | None = None, dtype: Any = None) -> None:
        if isinstance(metric, dict):
            metric = keras.saving.deserialize_keras_object(metric)
        super().__init__(name=name or metric.name, dtype=dtype)
        self.metric, self.index = metric, int(index)

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        part = outputs_of_prefix(y_pred, self.index)
        return self.metric.update_state(y_true, part, sample_weight)

    def result(self) -> Any:
        return self.metric.result()

    def reset_state(self) -> None:
        self.metric.reset_state()

    def get_config(self) -> dict[str, Any]:
        serialized = keras.saving.serialize_keras_object(self.metric)
        return {**super().get_config(), "metric": serialized, "index": self.index}


def prefix_metrics(metrics: Any, widths: Sequence[int]) -> list[PrefixMetric]:
    """Each of `metrics` for each prefix, by the names `accuracy_20`, `accuracy_50`, ...

    Args:
        metrics: as `model.compile` takes them for one output: one or several names, functions
            `(y_true, y_pred)` or `keras.metrics.Metric`s. As in Keras, the shapes of targets and
            outputs decide which accuracy `"accuracy"` is.
        widths: of the `NestedReadout`.

    Returns:
        A list, by metric and width.

    Raises:
        ValueError: One of `metrics` is no metric.
    """
    several = list(metrics) if isinstance(metrics, (list, tuple)) else [metrics]
    widths = check_widths(widths, "prefix_metrics")
    found = []
    for given in several:
        for index, width in enumerate(widths):
            metric = _new(given)
            found.append(PrefixMetric(metric, index, name=f"{metric.name}_{width}"))
    return found


@keras.saving.register_keras_serializable(package="asym_keras")
def accuracy(y_true: Any, y_pred: Any) -> Any:
    """Whether each prediction is right, for one score, for labels or for one-hot targets."""
    return getattr(keras.metrics, f"{kind_of(y_true, y_pred)}_accuracy")(y_true, y_pred)


def _new(given: Any) -> Any:
    """A new metric that computes what `given` stands for."""
    if given in ("accuracy", "acc"):
        return keras.metrics.MeanMetricWrapper(accuracy, name="accuracy")
    if isinstance(given, keras.metrics.Metric):
        return type(given).from_config(given.get_config())
    found = keras.metrics.get(given)
    if isinstance(found, keras.metrics.Metric):
        return found
    if not callable(found):
        raise ValueError(f"prefix_metrics: expected a metric, received {given!r}.")
    name = given if isinstance(given, str) else getattr(found, "__name__", "metric")
    return keras.metrics.MeanMetricWrapper(found, name=name)
