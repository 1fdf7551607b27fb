"""Ours, in a process of its own: `empirical_ntg`, and the Jacobian as a user would write it."""

from __future__ import annotations

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # before TensorFlow is imported

import keras
import numpy as np
import tensorflow as tf

import asym_keras as ak
from benchmarks.ntg.cases import network
from benchmarks.peers import _ntg

OUTPUT = 0


def tape_ntg(model: keras.Model, x: np.ndarray) -> tf.Tensor:
    """The whole Jacobian, eagerly, and then its product with itself."""
    with tf.GradientTape() as tape:
        f = model(x, training=False)[:, OUTPUT]
    rows = tape.jacobian(f, [v.value for v in model.trainable_variables])
    rows = [tf.reshape(r, [len(x), -1]) for r in rows]
    return tf.add_n([tf.matmul(r, r, transpose_b=True) for r in rows])


def bare_products(model: keras.Model, x: np.ndarray):
    """Computes `X X^T` and `S S^T`, S the slopes: what the closed form cannot do without."""
    inputs = tf.constant(x)
    slopes = tf.cast(model.layers[-1].preactivations(inputs) > 0, "float32")
    return lambda: [tf.matmul(a, a, transpose_b=True).numpy() for a in (inputs, slopes)]


def main() -> None:
    arguments = _ntg.parse(__doc__)
    x, weights = _ntg.load(arguments.input)
    width = next(iter(weights.values())).shape[-1]
    model = network(arguments.network, x.shape[1:], width)
    method = arguments.method

    def ntg(x: np.ndarray) -> np.ndarray:
        if method == "tape.jacobian":
            return tape_ntg(model, x).numpy()
        return ak.empirical_ntg(model, x, output=OUTPUT, method=method).numpy()

    _ntg.measure(
        arguments,
        ntg,
        x,
        version=tf.__version__,
        device="gpu" if tf.config.list_physical_devices("GPU") else "cpu",
        compiled=method in ("jacobian", "structured"),
        prepare_products=(lambda: bare_products(model, x)) if method == "closed_form" else None,
    )


if __name__ == "__main__":
    main()
