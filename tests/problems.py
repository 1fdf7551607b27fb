"""Small training problems that several tests share."""

from __future__ import annotations

import numpy as np

import asym_keras as ak


def tanh_problem(dtype="float64", *, width=12, gamma=0.5, examples=15, outputs=2, seed=0):
    """A model with a smooth activation, and data for it."""
    generator = np.random.default_rng(seed)
    x = generator.normal(size=(examples, 4)).astype(dtype)
    y = np.stack([np.sin(x.sum(1)), np.cos(x[:, 0])][:outputs], axis=1).astype(dtype)
    model = ak.shallow_network(
        4, outputs, width=width, gamma=gamma, alpha=0.5, activation="tanh", seed=seed, dtype=dtype
    )
    return model, x, y


def relu_problem(
    dtype="float64", *, gamma=0.0, width=40, examples=30, scale=1.0, activation="relu"
):
    """Noisy targets, so that many examples come to rest on kinks."""
    generator = np.random.default_rng(0)
    x = scale * generator.normal(size=(examples, 5)).astype(dtype)
    y = np.sin(2 * x.sum(1, keepdims=True)) + generator.normal(size=(examples, 1)).astype(dtype)
    model = ak.shallow_network(
        5, 1, width=width, gamma=gamma, alpha=0.5, activation=activation, seed=3, dtype=dtype
    )
    return model, x, y.astype(dtype)


def negative_gradient(model, x, y):
    """`-grad L` of the mean squared error by NumPy, as a function of the flat kernel."""
    layer = model.get_layer("asym_scaled_dense")
    readout = np.sqrt(layer.scalings)[:, None] * np.asarray(layer.readout)
    d, m = layer.kernel.shape

    def slope(_, flat):
        hidden = np.tanh(x @ flat.reshape(d, m) / np.sqrt(d))
        residual = 2 * (hidden @ readout - y) / y.size
        return -(x.T @ ((residual @ readout.T) * (1 - hidden**2)) / np.sqrt(d)).ravel()

    return slope


def kernel(model) -> np.ndarray:
    """The trained weights, flat."""
    return np.asarray(model.get_layer("asym_scaled_dense").kernel).ravel()
