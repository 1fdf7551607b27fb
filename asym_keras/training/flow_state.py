"""The state of a gradient flow in progress: one record."""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar

import tensorflow as tf

from asym_keras.training.control import Control


@dataclasses.dataclass(frozen=True)
class FlowState:
    """All that a flow needs to go on. Each step makes a new one, which replaces the old one."""

    time: float
    weights: list[tf.Tensor]
    slope: list[tf.Tensor]  # -grad L
    last_time: float  # this and the next two: before the last step
    last_weights: list[tf.Tensor]
    last_slope: list[tf.Tensor]
    middle: list[tf.Tensor]  # weights in the middle of the last step if kinks are rounded
    direction: list[tf.Tensor]  # along which the spectral radius was estimated last
    control: Control
    risk: float  # infinite before the first step
    first_risk: float
    rounding: float  # of kinks, in units of the weights; 0: they are sharp
    gradients: int  # computed so far, power iterations included
    steps: int  # accepted so far

    state: ClassVar[tuple] = ()  # of the model: one that changes has no flow

    def snapshot(self) -> tuple[dict[str, tf.Tensor], dict]:
        """Tensors and JSON values, of which `restored` makes the state again."""
        parts = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        lists = {name: value for name, value in parts.items() if isinstance(value, list)}
        arrays = {f"{name}{i}": t for name, tensors in lists.items() for i, t in enumerate(tensors)}
        values = {name: value for name, value in parts.items() if name not in lists}
        return arrays, values | {"control": dataclasses.asdict(self.control)}

    @classmethod
    def restored(cls, arrays: dict, values: dict) -> FlowState:
        """The state of a snapshot; takes its arrays out of `arrays`."""
        names = [f.name for f in dataclasses.fields(cls) if f.name not in values]
        count = sum(name.startswith("direction") for name in arrays)
        parts: dict[str, Any] = {**values, "control": Control(**values["control"])}
        for name in names:
            # Each array leaves the dict as it becomes a tensor: only one exists twice at a time.
            keys = [key for i in range(count) if (key := f"{name}{i}") in arrays]
            parts[name] = [tf.constant(arrays.pop(key)) for key in keys]
        return cls(**parts)
