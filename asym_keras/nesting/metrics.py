"""Metrics of each prefix, such as `accuracy_50`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import keras

from asym_keras.nesting.loss import kind_of, outputs_of_prefix
from asym_keras.nesting.readout import check_widths
from asym_keras.remade import one_like


@keras.saving.register_keras_serializable(package="asym_keras")
class PrefixMetric(keras.metrics.Metric):
    """A metric of one prefix's outputs, of predictions (..., P, K).

    Args:
        metric: as `model.compile` takes it for one output: a name, function `(y_true, y_pred)`,
            `keras.losses.Loss` or `keras.metrics.Metric`.
        index: int, the place of the prefix.
        name: name in the log. None: that of `metric`.
    """

    def __init__(self, metric: Any, index: int, name: str | None = None, dtype: Any = None) -> None:
        if isinstance(metric, dict):
            metric = keras.saving.deserialize_keras_object(metric)
        metric = metric() if isinstance(metric, type) else metric
        made = _as_compiled(metric)
        super().__init__(name=name or made.name, dtype=dtype)
        self.given, self.metric, self.index = metric, made, int(index)

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        part = outputs_of_prefix(y_pred, self.index)
        return self.metric.update_state(y_true, part, sample_weight)

    def result(self) -> Any:
        return self.metric.result()

    def reset_state(self) -> None:
        self.metric.reset_state()

    def get_config(self) -> dict[str, Any]:
        serialized = keras.saving.serialize_keras_object(self.given)
        return {**super().get_config(), "metric": serialized, "index": self.index}


def prefix_metrics(metrics: Any, widths: Sequence[int]) -> list[PrefixMetric]:
    """Each of `metrics` for each prefix, by its name in Keras and the width: `accuracy_20`, ...

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
    for metric in several:
        for index, width in enumerate(widths):
            found.append(PrefixMetric(one_like(metric), index))
            found[-1].name += f"_{width}"
    return found


@keras.saving.register_keras_serializable(package="asym_keras")
def accuracy(y_true: Any, y_pred: Any) -> Any:
    """Whether each prediction is right, for one score, for labels or for one-hot targets."""
    return getattr(keras.metrics, f"{kind_of(y_true, y_pred)}_accuracy")(y_true, y_pred)


def _as_compiled(given: Any) -> Any:
    """The metric that `compile` makes of what it is given, by the name that it has in the log."""
    if isinstance(given, str) and given.lower() in ("accuracy", "acc"):
        return keras.metrics.MeanMetricWrapper(accuracy, name=given)
    found = keras.metrics.get(given)
    if found is None:
        raise ValueError(f"prefix_metrics: expected a metric, received {given!r}.")
    if not isinstance(found, keras.metrics.Metric):
        told = _snake_case(getattr(found, "__name__", type(found).__name__))
        found = keras.metrics.MeanMetricWrapper(found, name=getattr(found, "name", told))
    if isinstance(given, str):
        found.name = given
    return found


def _snake_case(name: str) -> str:
    name = re.sub(r"(.)([A-Z][a-z]+)", r"\1_\2", re.sub(r"\W+", "", name))
    return re.sub(r"([a-z])([A-Z])", r"\1_\2", name).lower()
