"""Shallow networks at many initialisations at once, in NumPy and from the definitions."""

from __future__ import annotations

import numpy as np

SIGMA = {
    "relu": lambda z: np.maximum(z, 0.0),
    "tanh": np.tanh,
    "softplus": lambda z: np.log1p(np.exp(z)),
}
SLOPE = {
    "relu": lambda z: (z > 0.0).astype("float64"),
    "tanh": lambda z: 1.0 - np.tanh(z) ** 2,
    "softplus": lambda z: 1.0 / (1.0 + np.exp(-z)),
}


def initial_weights(draws, input_dim, width, outputs=1, seed=0):
    """Weights (draws, d, m) from N(0, 1) and readout signs (draws, m, K), Eq. (3) and (8)."""
    generator = np.random.default_rng(seed)
    signs = generator.choice([-1.0, 1.0], size=(draws, width, outputs))
    return generator.standard_normal((draws, input_dim, width)), signs


def weight_velocity(x, y, weights, signs, scalings, activation):
    """`dW/dt = -grad L` of the mean over all entries of `(f - y)**2`, shape (draws, d, m)."""
    root, scale = np.sqrt(scalings), np.sqrt(x.shape[1])
    z = x @ weights / scale  # (draws, n, m)
    residual = (SIGMA[activation](z) * root) @ signs - y  # (draws, n, K)
    by_node = (2.0 / y.size) * residual @ signs.transpose(0, 2, 1)
    return -x.T @ (by_node * SLOPE[activation](z) * root) / scale


def ntg(x, weights, scalings, activation):
    """Eq. (7) for each draw, shape (draws, n, n)."""
    slopes = SLOPE[activation](x @ weights / np.sqrt(x.shape[1]))
    return (x @ x.T / x.shape[1]) * ((slopes * scalings) @ slopes.transpose(0, 2, 1))


def ntg_velocity(x, y, weights, signs, scalings, activation, step=1e-4):
    """Central difference of the NTG along the flow's velocity, shape (draws, n, n)."""
    move = step * weight_velocity(x, y, weights, signs, scalings, activation)
    ahead = ntg(x, weights + move, scalings, activation)
    return (ahead - ntg(x, weights - move, scalings, activation)) / (2.0 * step)


def z_scores(samples, expected):
    """(mean over the first axis - expected) / standard error, entry by entry."""
    error = samples.std(axis=0, ddof=1) / np.sqrt(len(samples))
    return (samples.mean(axis=0) - expected) / error
