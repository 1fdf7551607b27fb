"""What each known layer's gradients are, given its inputs and the cotangents of its outputs.

A layer that is called several times, on shared weights, has as many sites; their positions are
put side by side, since the gradient is the sum over all of them.
"""

from __future__ import annotations

import keras
import tensorflow as tf

from asym_keras.graphs import does_as_its_class, is_plain
from asym_keras.layers import AsymScaledDense
from asym_keras.ntg.factors import Factor, Lookup, Outer, Vectors, compact


def layer_parameters(layer) -> dict:
    """Weights of `layer` that have a rule, by name; of these classes only, not of subclasses."""
    names = {
        AsymScaledDense: ("kernel", "bias"),
        keras.layers.Dense: ("kernel", "bias"),
        keras.layers.Conv2D: ("kernel", "bias"),
        keras.layers.BatchNormalization: ("gamma", "beta"),
        keras.layers.Embedding: ("embeddings",),
    }.get(type(layer), ())
    plain = is_plain(layer) and does_as_its_class(layer)
    if type(layer) is keras.layers.Conv2D:
        plain = plain and layer.groups == 1 and layer.data_format == "channels_last"
    if type(layer) is keras.layers.BatchNormalization:
        plain = plain and layer.axis in (-1, layer.input_spec.ndim - 1)
    weights = {name: getattr(layer, name, None) for name in names if plain}
    return {name: weight for name, weight in weights.items() if weight is not None}


def layer_factors(layer, sites, names: set[str]) -> list[Factor]:
    """Gradients by the weights `names` of `layer`.

    Args:
        sites: of each call of the layer, its inputs (n, ...), and the cotangents of what its
            weights compute (n, positions, K, b).
    """
    cotangents = tf.concat([c for _, c in sites], axis=1)
    factors: list[Factor] = []
    if "kernel" in names:
        inputs = tf.concat([_kernel_inputs(layer, x) for x, _ in sites], axis=1)
        factors.append(compact(Outer(inputs, cotangents)))
    if "embeddings" in names:
        indices = [tf.reshape(x, [tf.shape(x)[0], c.shape[1] or -1]) for x, c in sites]
        indices = tf.concat([tf.cast(i, "int32") for i in indices], axis=1)
        # Negative ones count from the end, as in Keras.
        indices = tf.where(indices < 0, indices + layer.input_dim, indices)
        factors.append(Lookup(indices, cotangents))
    if names & {"bias", "beta"}:
        factors.append(Vectors(tf.reduce_sum(cotangents, axis=1)))
    if "gamma" in names:
        normalised = tf.concat([_normalised(layer, x) for x, _ in sites], axis=1)
        factors.append(Vectors(tf.reduce_sum(cotangents * normalised[:, :, None], axis=1)))
    return factors


def _kernel_inputs(layer, x: tf.Tensor) -> tf.Tensor:
    """What multiplies the kernel, as (n, positions, rows of the kernel)."""
    if not x.dtype.is_floating:
        x = tf.cast(x, layer.compute_dtype)  # as the layer does with integers
    if isinstance(layer, keras.layers.Conv2D):
        x = _patches(layer, x)
    elif isinstance(layer, AsymScaledDense):
        x = x / layer.input_divisor
    return _positions(x)


def _patches(layer, x: tf.Tensor) -> tf.Tensor:
    """What each pixel of a convolution's output sees, (n, height, width, rows of the kernel).

    From one slice for each place in the kernel: half the time of `tf.image.extract_patches`.
    """
    padding, slices = [[0, 0]], []
    for size, kernel, stride, dilation in zip(
        x.shape[1:3], layer.kernel_size, layer.strides, layer.dilation_rate, strict=True
    ):
        reach = (kernel - 1) * dilation + 1
        same = layer.padding == "same"
        count = -(-size // stride) if same else (size - reach) // stride + 1
        missing = max(0, (count - 1) * stride + reach - size) if same else 0
        padding.append([missing // 2, missing - missing // 2])
        starts = range(0, reach, dilation)
        slices.append([slice(a, a + (count - 1) * stride + 1, stride) for a in starts])
    x = tf.pad(x, [*padding, [0, 0]])
    return tf.concat([x[:, rows, columns] for rows in slices[0] for columns in slices[1]], axis=-1)


def _normalised(layer, x: tf.Tensor) -> tf.Tensor:
    """Inputs of a batch normalisation in inference less their mean, over their deviation."""
    x = tf.cast(x, layer.gamma.dtype)
    shape = [1] * len(x.shape)
    shape[layer.axis] = x.shape[layer.axis]
    mean, variance = (
        tf.reshape(tf.cast(w.value, x.dtype), shape)
        for w in (layer.moving_mean, layer.moving_variance)
    )
    return _positions((x - mean) * tf.math.rsqrt(variance + layer.epsilon))


def _positions(x: tf.Tensor) -> tf.Tensor:
    """(n, ..., a) as (n, positions, a)."""
    positions = x.shape[1:-1].num_elements()
    return tf.reshape(x, [tf.shape(x)[0], -1 if positions is None else positions, x.shape[-1]])
