"""Adds preprocessing to a network: it takes raw values, and answers in the target's unit."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from asym_keras.copies import copy_model
from asym_keras.datasets.preprocessing import Preprocessing
from asym_keras.layers import AsymScaledDense


def with_raw_values(network: keras.Model, record: Preprocessing, *, name: str) -> keras.Model:
    """A flat model that scales raw values, runs `network` in float32, and restores the units.

    `f(raw) = target_scale g((raw - shift) / scale) + target_shift`.

    Args:
        network: a trainer's `keras.Model`, pruned or not: one `AsymScaledDense`, at most one
            `Dense`. It is not changed.
        record: how raw values become its inputs.
        name: name of the new model.

    Returns:
        Functional `keras.Model` with one input `inputs`, float32 (n, d) -> (n, K).

    Raises:
        ValueError: The network has other layers than a trainer's or takes another number of inputs,
            or float32 can't hold raw values of this size.
    """
    hidden, *readout = network.layers[1:]
    if not isinstance(hidden, AsymScaledDense) or len(readout) > 1:
        expected = "a network of a trainer, one AsymScaledDense and at most one Dense"
        kinds = [type(layer).__name__ for layer in network.layers]
        raise ValueError(f"expected {expected}, received {kinds}.")
    return chain_of_raw_values(network, record, name=name)


def chain_of_raw_values(network: keras.Model, record: Preprocessing, *, name: str) -> keras.Model:
    """As `with_raw_values`, for a network that is any chain of layers."""
    dim = network.input_shape[-1]
    if record.dim not in (None, dim):
        received = f"received {record.dim}. Take that of the run's data."
        raise ValueError(f"expected preprocessing of the network's {dim} inputs, {received}")
    _check_range(record)
    copies = copy_model(network, dtype="float32", compiled=False).layers
    copies = [layer for layer in copies if not isinstance(layer, keras.layers.InputLayer)]
    inputs = keras.Input((dim,), dtype="float32", name="inputs")
    outputs = inputs
    for layer in (*_to_inputs(record), *copies, *_to_answers(record)):
        outputs = layer(outputs)
    return keras.Model(inputs, outputs, name=name)


def _check_range(record: Preprocessing) -> None:
    with np.errstate(over="ignore", under="ignore", divide="ignore"):
        for name in ("scale", "shift", "target_scale", "target_shift"):
            numbers = np.atleast_1d(getattr(record, name)).astype("float32")
            if name.endswith("scale"):  # the network divides by it, too
                numbers = np.concatenate([numbers, 1.0 / numbers, 1.0 / (1.0 / numbers)])
            if not np.isfinite(numbers).all():
                received = f"{name} = {getattr(record, name)}. Express the column in another unit."
                raise ValueError(f"expected raw values that float32 holds, received {received}")


def _to_inputs(record: Preprocessing) -> list:
    """Layers that compute `(raw - shift) / scale`."""
    if not record.rescales:
        return []
    scale, shift = np.asarray(record.scale), np.asarray(record.shift)
    if not shift.any():
        return [_rescaling("scale_inputs", (1.0 / scale).tolist())]
    # If the mean is much larger than the deviation, rounding it to float32 would change the inputs
    # visibly. So the first layer subtracts the mean as float32 holds it, which is exact for values
    # near the mean, and the second layer subtracts the rest.
    most = shift.astype("float32").astype("float64")
    rest = ((most - shift) / scale).tolist()
    return [
        _rescaling("centre_inputs", 1.0, (-most).tolist()),
        _rescaling("scale_inputs", (1.0 / scale).tolist(), rest),
    ]


def _to_answers(record: Preprocessing) -> list:
    """Layers that compute `target_scale g + target_shift`."""
    if (record.target_scale, record.target_shift) == (1.0, 0.0):
        return []
    return [_rescaling("target_units", record.target_scale, record.target_shift)]


def _rescaling(name: str, scale: Any, offset: Any = 0.0) -> keras.Layer:
    return keras.layers.Rescaling(scale, offset, dtype="float32", name=name)
