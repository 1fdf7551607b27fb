"""New metrics and optimizers of the same settings, for a copy of the model that has them."""

from __future__ import annotations

import inspect
import itertools
import logging
import re
from collections.abc import Iterable
from types import FunctionType
from typing import Any

import keras

from asym_keras.fingerprint import reaches_variables

logger = logging.getLogger(__name__)
Schedule = keras.optimizers.schedules.LearningRateSchedule
COPIED = (keras.metrics.Metric, keras.optimizers.Optimizer)


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
