"""NTG gradients in full: rows of the Jacobian. Slow, large, and right for any model."""

from __future__ import annotations

from collections.abc import Callable

import keras
import tensorflow as tf

from asym_keras.graphs import layers_of
from asym_keras.inputs import call
from asym_keras.ntg.factors import Vectors


def jacobian_factors(
    model: keras.Model, x, variables, outputs: Callable, *, vectorised: bool = True
) -> list[Vectors]:
    """Gradients of `outputs(model(x))`, (n, K), by each of `variables`: (n, K, weights).

    Args:
        vectorised: whether rows of the Jacobian are computed side by side.
    """
    values = [v.value for v in variables]
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(values)
        f = outputs(call(model, x))
    rows = tape.jacobian(
        f,
        values,
        unconnected_gradients=tf.UnconnectedGradients.ZERO,
        # TensorFlow vectorises the gradient of a convolution in groups wrongly, or fails.
        experimental_use_pfor=vectorised and not any(map(_in_groups, layers_of(model))),
    )
    # Of the zeros of an unconnected variable TensorFlow forgets the shape.
    sizes = [v.shape.num_elements() for v in values]
    return [
        Vectors(tf.reshape(r, [-1, f.shape[1], size])) for r, size in zip(rows, sizes, strict=True)
    ]


def _in_groups(layer) -> bool:
    return hasattr(layer, "kernel_size") and getattr(layer, "groups", 1) > 1
