"""Gradients of the outputs, kept in factors, and their inner products: blocks of the NTG.

With outputs k and positions p (pixels, tokens; one for a dense layer on vectors), a layer that
multiplies by a kernel has the gradient `sum_p inputs_ip (x) cotangents_ipk`. The inner product
of two such gradients needs only the Gram matrices of the factors, and never their product.
"""

from __future__ import annotations

from typing import NamedTuple

import tensorflow as tf

# Elementwise products and sums are bound by memory: what a multiply-add of them costs in
# multiply-adds of a matrix product, roughly.
_ELEMENTWISE = 30


class Vectors(NamedTuple):
    """Gradients themselves."""

    gradients: tf.Tensor  # (n, K, weights)


class Outer(NamedTuple):
    """Sums over positions of outer products."""

    inputs: tf.Tensor  # (n, positions, a)
    cotangents: tf.Tensor  # (n, positions, K, b)


class Lookup(NamedTuple):
    """As `Outer`, the inputs being one-hot vectors given by their index."""

    indices: tf.Tensor  # (n, positions)
    cotangents: tf.Tensor  # (n, positions, K, b)


Factor = Vectors | Outer | Lookup


def compact(factor: Outer) -> Outer | Vectors:
    """The gradients instead of their factors, if inner products are cheaper so."""
    positions, width = factor.inputs.shape[1:]
    outputs, units = factor.cotangents.shape[2:]
    pairs = None if positions is None else positions**2 * (width + units * outputs + _ELEMENTWISE)
    if positions == 1 or pairs is None or pairs <= width * units * outputs:
        return factor
    # (n, a, positions) x (n, positions, K b), and K before a.
    flat = tf.reshape(factor.cotangents, [-1, positions, outputs * units])
    gradients = tf.matmul(factor.inputs, flat, transpose_a=True)
    gradients = tf.reshape(gradients, [-1, width, outputs, units])
    gradients = tf.transpose(gradients, [0, 2, 1, 3])
    return Vectors(tf.reshape(gradients, [-1, outputs, width * units]))


def gram(factor: Factor, factor2: Factor, every: bool) -> tf.Tensor:
    """Inner products of gradients of n with those of n2 examples.

    Args:
        every: for all pairs of outputs, (n, K, n2, K); else summed over outputs, (n, n2).
    """
    if isinstance(factor, Vectors) and isinstance(factor2, Vectors):
        return _inner(factor.gradients, factor2.gradients, every)
    if isinstance(factor, Lookup) and isinstance(factor2, Lookup):
        same = factor.indices[:, :, None, None] == factor2.indices[None, None]
        return _paired(same, factor, factor2, every)
    if isinstance(factor, Outer) and isinstance(factor2, Outer):
        return _paired(_products(factor.inputs, factor2.inputs), factor, factor2, every)
    raise TypeError(f"Expected two factors of one kind, received {factor} and {factor2}.")


def _inner(u: tf.Tensor, v: tf.Tensor, every: bool) -> tf.Tensor:
    """Over the last axis of (n, K, w); over the last two unless `every`."""
    outputs, width = u.shape[1:]
    if not every:
        u, v = tf.reshape(u, [-1, outputs * width]), tf.reshape(v, [-1, outputs * width])
        return tf.matmul(u, v, transpose_b=True)
    products = tf.matmul(tf.reshape(u, [-1, width]), tf.reshape(v, [-1, width]), transpose_b=True)
    return tf.reshape(products, [-1, outputs, tf.shape(v)[0], outputs])


def _products(h: tf.Tensor, h2: tf.Tensor) -> tf.Tensor:
    """(n, positions, n2, positions2)."""
    flat, flat2 = tf.reshape(h, [-1, h.shape[2]]), tf.reshape(h2, [-1, h2.shape[2]])
    products = tf.matmul(flat, flat2, transpose_b=True)
    return tf.reshape(products, tf.concat([tf.shape(h)[:2], tf.shape(h2)[:2]], 0))


def _paired(inputs: tf.Tensor, factor, factor2, every: bool) -> tf.Tensor:
    """Products of the two Gram matrices, summed over the positions of either example."""
    d, d2 = factor.cotangents, factor2.cotangents
    outputs, units = d.shape[2:]
    products = _inner(
        tf.reshape(d, [-1, outputs, units]), tf.reshape(d2, [-1, outputs, units]), every
    )
    n, positions, n2, positions2 = tf.unstack(tf.shape(inputs))
    inputs = tf.cast(inputs, products.dtype)
    single = d.shape[1] == d2.shape[1] == 1
    if every:
        if single:
            return products * tf.reshape(inputs, [n, 1, n2, 1])
        products = tf.reshape(products, [n, positions, outputs, n2, positions2, outputs])
        inputs = tf.reshape(inputs, [n, positions, 1, n2, positions2, 1])
        return tf.reduce_sum(products * inputs, axis=[1, 4])
    if single:
        return products * tf.reshape(inputs, [n, n2])
    products = tf.reshape(products, [n, positions, n2, positions2])
    return tf.reduce_sum(products * inputs, axis=[1, 3])
