"""Recognises the chain of layers of a packaged network, and folds it into the fewest constants.

`f(x) = sigma((x - centre) kernel + shift) readout + bias`: the input scaling and `1 / sqrt(d)` (of
the paper's parametrization) become part of the kernel, `sqrt(lambda)` and the target's units part
of the readout, all in float64.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from asym_keras.graphs import is_graph, is_plain, steps_of
from asym_keras.layers import AsymScaledDense


@dataclasses.dataclass(frozen=True, eq=False)
class Chain:
    """A network in its fewest constants, float64.

    Attributes:
        scale: factor of the inputs in `scale (x - centre)`, (d,); the kernel contains it.
        centre: what is subtracted from raw values, (d,). float32 holds it exactly, so that the
            difference to raw values near it is exact, too.
        kernel: (d, k).
        shift: the layer's bias, plus a correction for the part of the true centre that float32
            can't hold, (k,).
        activation: sigma.
        roots: `sqrt(lambda_j)`, (k,), of the features `sqrt(lambda_j) sigma(z_j)`.
        readout: (k, K); it contains `roots`.
        bias: (K,).
    """

    scale: np.ndarray
    centre: np.ndarray
    kernel: np.ndarray
    shift: np.ndarray
    activation: Callable
    roots: np.ndarray
    readout: np.ndarray
    bias: np.ndarray


def fold(model: keras.Model) -> Chain | None:
    """The `Chain` that computes what `model` does; None if the model is no such chain.

    A chain consists of any number of `Rescaling` and `Normalization` layers, one
    `AsymScaledDense`, a linear `Dense`, which may be missing if the `AsymScaledDense` has outputs
    of its own, and again any number of `Rescaling` and `Normalization` layers. All compute in
    float32 or float64, and the model calls each once.
    """
    layers = _layers(model)
    if layers is None or not all(_is_exact(layer) for layer in layers):
        return None
    kinds = [type(layer) for layer in layers]
    if kinds.count(AsymScaledDense) != 1:
        return None
    place = kinds.index(AsymScaledDense)
    before, hidden, after = layers[:place], layers[place], layers[place + 1 :]
    dense = after.pop(0) if after and type(after[0]) is keras.layers.Dense else None
    d, outputs = hidden.kernel.shape[0], dense.units if dense else hidden.outputs
    if outputs is None or isinstance(hidden.activation, keras.layers.Layer):
        return None
    if dense and not (dense.activation is keras.activations.linear and is_plain(dense)):
        return None
    scaling, units = _affine(before, d), _affine(after, outputs)
    if scaling is None or units is None:
        return None
    scale, whole_centre = scaling
    kernel = scale[:, None] * float64_of(hidden.kernel) / hidden.input_divisor
    centre = whole_centre.astype("float32").astype("float64")
    roots, bias = float64_of(hidden.sqrt_scalings), np.zeros(outputs)
    weights = [] if hidden.outputs is None else [hidden.readout]
    weights += [] if dense is None else [dense.kernel]
    readout = roots[:, None] * functools.reduce(np.matmul, map(float64_of, weights))
    if dense is not None and dense.use_bias:
        bias = float64_of(dense.bias)
    gain, origin = units
    with np.errstate(invalid="ignore"):  # `as_network` refuses weights that are not finite
        shift = (centre - whole_centre) @ kernel
        if hidden.bias is not None:
            shift = shift + float64_of(hidden.bias)
    return Chain(
        scale=scale,
        centre=centre,
        kernel=kernel,
        shift=shift,
        activation=hidden.activation,
        roots=roots,
        readout=readout * gain,
        bias=(bias - origin) * gain,
    )


def _layers(model: keras.Model) -> list | None:
    """The layers from input to output, if each takes only the output of the one before it."""
    if not is_graph(model) or len(model.outputs) != 1 or len(model.inputs) != 1:
        return None
    layers: list = []
    [tensor] = model.inputs
    for step in steps_of(model):
        chained = len(step.inputs) == len(step.outputs) == 1 and step.inputs[0] is tensor
        if not chained or step.operation in layers:
            return None
        layers.append(step.operation)
        [tensor] = step.outputs
    return layers if tensor is model.outputs[0] else None


def _is_exact(layer: Any) -> bool:
    policy = getattr(layer, "dtype_policy", None)
    return policy is not None and policy.name in ("float32", "float64")


def _affine(layers: Sequence[Any], size: int) -> tuple[np.ndarray, np.ndarray] | None:
    """`scale` and `centre`, each (size,), of `scale (x - centre)`; None for other layers."""
    scale, centre = np.ones(size), np.zeros(size)
    for layer in layers:
        if type(layer) is keras.layers.Rescaling:
            factor, offset = (np.asarray(v, "float64") for v in (layer.scale, layer.offset))
            if not factor.all():
                return None
            middle = -offset / factor
        elif type(layer) is keras.layers.Normalization and not layer.invert:
            deviation = np.sqrt(float64_of(layer.variance))
            factor = 1.0 / np.maximum(deviation, keras.config.epsilon())
            middle = float64_of(layer.mean)
        else:
            return None
        if any(a.size not in (1, size) for a in (factor, middle)):
            return None
        factor, middle = (np.broadcast_to(a.reshape(-1), size) for a in (factor, middle))
        centre = centre + middle / scale
        scale = scale * factor
    return scale, centre


def float64_of(weight: Any) -> np.ndarray:
    """A variable's values, float64."""
    return ops.convert_to_numpy(weight).astype("float64")
