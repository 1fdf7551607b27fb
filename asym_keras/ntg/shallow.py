"""Closed form of the neural tangent Gram matrix of the shallow network."""

from __future__ import annotations

import keras
import tensorflow as tf

from asym_keras.layers import AsymScaledDense


def find_shallow_layer(model: keras.Model) -> AsymScaledDense | None:
    """The trainable `AsymScaledDense` that `model` consists of, or None if there is more to it."""
    layers = [la for la in model.layers if not isinstance(la, keras.layers.InputLayer)]
    if len(layers) != 1 or not isinstance(layers[0], AsymScaledDense) or not layers[0].outputs:
        return None
    # `layers` shows neither bare operations (`2 * layer(x)`), nor a second use of the layer, nor
    # what a subclass does in `call`. A functional graph does: here, two nodes, input and layer.
    nothing_else = isinstance(model, keras.Sequential) or len(getattr(model, "_nodes", ())) == 2
    plain = nothing_else and layers[0].trainable_variables and _is_elementwise(layers[0].activation)
    return layers[0] if plain else None


def _is_elementwise(activation) -> bool:
    """Whether each output depends on its own input alone, unlike softmax's."""
    together = activation(tf.constant([[0.5, -0.25, 2.0]]))
    apart = [activation(tf.constant([[value]])) for value in (0.5, -0.25, 2.0)]
    return bool(tf.reduce_all(tf.abs(together - tf.concat(apart, 1)) < 1e-5))


def shallow_ntg(layer: AsymScaledDense, x, x2=None, *, output: int = 0, dtype=None) -> tf.Tensor:
    """NTG matrix of output k with respect to the kernel, Eq. (7).

    `Theta = (1/d) X X2^T * (S diag(lambda_j a_jk^2) S2^T)`, `*` elementwise and
    `S_ij = sigma'(z_j(x_i))`. All of the readout enters, so other readouts than signs work.

    Args:
        layer: built layer with outputs and an elementwise activation.
        x: inputs (n, d). x2: inputs (n2, d); None: `x`.
        output: k.
        dtype: to compute in; None: the dtype of the layer's variables. In float64 small
            eigenvalues can be trusted even for float32 weights.

    Returns:
        Tensor (n, n2).
    """
    dtype = tf.as_dtype(dtype or layer.variable_dtype)
    x = tf.cast(x, dtype)
    slopes = _slopes(layer, x, dtype)
    x2, slopes2 = (x, slopes) if x2 is None else (tf.cast(x2, dtype), None)
    slopes2 = _slopes(layer, x2, dtype) if slopes2 is None else slopes2
    root = tf.cast(layer.sqrt_scalings.value, dtype)
    factors = (root * tf.cast(layer.readout.value, dtype)[:, output]) ** 2
    inputs = tf.matmul(x, x2, transpose_b=True) / x.shape[1]
    return inputs * tf.matmul(slopes * factors, slopes2, transpose_b=True)


def _slopes(layer: AsymScaledDense, x: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
    """`sigma'(z_j(x_i))`, shape (n, m)."""
    z = tf.matmul(x, tf.cast(layer.kernel.value, dtype)) / x.shape[1] ** 0.5
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(z)
        activations = layer.activation(z)
    return tape.gradient(activations, z)
