"""Metrics of each prefix, such as `accuracy_50`; and copies of metrics and optimizers."""

from __future__ import annotations

import inspect
import itertools
import logging
import re
from collections.abc import Iterable, Sequence
from types import FunctionType
from typing import Any

import keras

from asym_keras.fingerprint import reaches_variables
from asym_keras.nesting.loss import kind_of, outputs_of_prefix
from asym_keras.nesting.readout import check_widths

logger = logging.getLogger(__name__)
Schedule = keras.optimizers.schedules.LearningRateSchedule
COPIED = (keras.metrics.Metric, keras.optimizers.Optimizer)


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


def one_like(given: Any) -> Any:
    """What `compile` takes in the place of `given`: of a metric or an optimizer, a new one.

    Arguments that its configuration does not tell are carried over, if it holds them.

    Raises:
        ValueError: It does not, or it can't be made again.
    """
    base = next((kind for kind in COPIED if isinstance(given, kind)), None)
    if base is None:
        return given
    own = vars(given)
    known: dict[str, Any] = {f.__name__: f for f in own.values() if isinstance(f, FunctionType)}
    known |= {type(s).__name__: type(s) for s in own.values() if isinstance(s, Schedule)}
    try:
        config = given.get_config()
        with keras.saving.custom_object_scope(known):
            new = type(given).from_config(dict(config))  # which may take it apart
    except Exception as error:  # of somebody else's get_config or __init__, so of any class
        raise _not_told(given, str(error)) from error
    for argument in _arguments(type(given), base) - set(config):
        holders = [
            name
            for name, value in own.items()
            if name.strip("_") == argument or (isinstance(value, dict) and argument in value)
        ]
        if not holders or any(reaches_variables(own[name]) for name in holders):
            raise _not_told(given, f"it does not tell {argument!r}.")
        for name in holders:
            setattr(new, name, own[name])
    if base is keras.optimizers.Optimizer:
        _exclude_as(own.values(), new)
    return new


def _exclude_as(settings: Iterable[Any], optimizer: Any) -> None:
    """Excludes from weight decay what another optimizer of those attributes excludes."""
    names = [value.pattern for value in settings if isinstance(value, re.Pattern)]
    if names:
        optimizer.exclude_from_weight_decay(var_names=names)
    if any(isinstance(value, set) and value for value in settings):
        logger.warning(
            "The copy of the optimizer %s decays variables that it excludes by var_list=, since "
            "those of the copied model are others. Exclude them by var_names=.",
            optimizer.name,
        )


def _arguments(kind: type, base: type) -> set[str]:
    """The names of what `kind` may be made with, those for classes up to `base` included."""
    names: set[str] = set()
    for one in itertools.takewhile(lambda one: one is not base, kind.__mro__):
        if "__init__" in vars(one):
            _, *told = inspect.signature(vars(one)["__init__"]).parameters.values()
            names |= {p.name for p in told if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)}
            if not any(p.kind is p.VAR_KEYWORD for p in told):
                break
    return names


def _not_told(given: Any, fault: str) -> ValueError:
    return ValueError(
        f"Expected metrics and an optimizer that can be made again, received {given.name!r} "
        f"({type(given).__name__}), whose configuration does not make it: {fault} Define "
        "get_config for it; instead of a lambda, give a named function."
    )


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
