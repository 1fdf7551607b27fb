"""What a layer inside a model receives, in tiles over the examples."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import ops

from asym_keras.graphs import output_shapes, replaced
from asym_keras.inputs import as_inputs, call, example_count
from asym_keras.pairs import examples_meet

# Numbers of the widest layer that a tile of examples may make: 16 MB in float32.
TILE_NUMBERS = 2**22


def tiles(model: keras.Model, x: Any, units: int, batch_size: int | None = None) -> list[slice]:
    """Slices over the examples of `x`, of `batch_size` or as memory allows; all if they meet.

    The caller will hold `units` numbers an example beside what the model's layers do.
    """
    if batch_size is not None and batch_size < 1:
        raise ValueError(f"Expected batch_size to be at least 1 or None, received {batch_size}.")
    shapes = output_shapes(model)
    widest = max(units, *(int(np.prod([size or 1 for size in shape])) for shape in shapes), 1)
    rows, count = batch_size or max(1, TILE_NUMBERS // widest), example_count(x)
    if rows < count and examples_meet(model, x):
        rows = count
    return [slice(first, first + rows) for first in range(0, count, rows)]


def received(model: keras.Model, layers: list, x: Any, *, skip: bool = False) -> list[list]:
    """Inputs of each of `layers` at each of its calls while `model` runs on `x`, in inference.

    With `skip` the layers return zeros instead of what they compute: for the last layer of a
    model, whose product nobody needs here.
    """
    notes: list[list] = [[] for _ in layers]
    with contextlib.ExitStack() as stack:
        for layer, noted in zip(layers, notes, strict=True):
            stack.enter_context(replaced(layer, call=_tapped(layer, noted, skip)))
        call(model, as_inputs(model, x))
    return notes


def _tapped(layer: Any, noted: list, skip: bool) -> Callable:
    """The call of `layer` that appends its inputs to `noted`."""
    call = layer.call

    def tapped(inputs: Any, *args: Any, **kwargs: Any) -> Any:
        noted.append(inputs)
        if skip:
            return ops.zeros(layer.compute_output_shape(inputs.shape), layer.compute_dtype)
        return call(inputs, *args, **kwargs)

    return tapped
