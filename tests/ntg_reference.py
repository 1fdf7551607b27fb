"""The NTG of the shallow network in plain NumPy and float64, from whole gradients."""

from __future__ import annotations

import numpy as np

SLOPES = {
    "relu": lambda z: (z > 0.0).astype("float64"),
    "tanh": lambda z: 1.0 - np.tanh(z) ** 2,
    "softplus": lambda z: 1.0 / (1.0 + np.exp(-z)),
}
# Largest entry of the matrix times this: what an entry may be off, whatever its own size.
RELATIVE = {"float32": 1e-5, "float64": 1e-11}


def reference_ntg(layer, x, x2=None, *, output=0):
    """`G G2^T`, where row i of G is the gradient of `f(x_i)` by all d m kernel entries."""
    gradients = _gradients(layer, x, output)
    return gradients @ (gradients if x2 is None else _gradients(layer, x2, output)).T


def assert_ntg_equal(ntg, expected, dtype):
    """Equal to the relative tolerance of `dtype`, entry by entry, small entries included."""
    ntg, expected = np.asarray(ntg), np.asarray(expected)
    assert ntg.dtype == dtype
    assert ntg.shape == expected.shape
    rtol = RELATIVE[dtype]
    np.testing.assert_allclose(ntg, expected, rtol=rtol, atol=0.1 * rtol * np.abs(expected).max())


def _gradients(layer, x, output):
    """`df / dW_pj = sqrt(lambda_j) a_j sigma'(z_j) x_p / sqrt(d)`, shape (n, d m)."""
    x = np.asarray(x, "float64")
    z = x @ layer.kernel.numpy().astype("float64") / np.sqrt(x.shape[1])
    readout = layer.readout.numpy().astype("float64")[:, output]
    nodes = SLOPES[layer.activation.__name__](z) * np.sqrt(layer.scalings) * readout
    return np.einsum("np,nj->npj", x / np.sqrt(x.shape[1]), nodes).reshape(len(x), -1)
