"""The `Activation` that a name or a function stands for: by formulas, or by TensorFlow."""

from __future__ import annotations

from typing import Any

import keras

from asym_keras.ntg.activation import KNOWN, Activation
from asym_keras.ntg.numeric_activation import differentiate, same_values


def describe_activation(activation: Any) -> Activation:
    """The `Activation` that a Keras name or callable stands for.

    ReLU, leaky ReLU (slope 0.2, Keras's default), linear, tanh, softplus, sigmoid, erf, exact
    GELU and SiLU have explicit formulas, with exact bounds. Every other elementwise activation
    is differentiated by TensorFlow in float64; its bounds are those seen on a refined grid over
    [-50, 50], and analyticity stays open.

    Args:
        activation: a name (of Keras, or `"erf"`), an elementwise callable, or an `Activation`,
            which is returned as it is.

    Raises:
        ValueError: Keras does not know the name, or the callable is not elementwise (softmax).
    """
    if isinstance(activation, Activation):
        return activation
    if isinstance(activation, str) and activation in KNOWN:
        return KNOWN[activation]
    function = keras.activations.get(activation)
    name = getattr(function, "__name__", None) or type(function).__name__
    # A name is not enough: `keras.ops.gelu` is an approximation of GELU unless told otherwise.
    if name in KNOWN and same_values(function, KNOWN[name].function):
        return KNOWN[name]
    return differentiate(function, name)
