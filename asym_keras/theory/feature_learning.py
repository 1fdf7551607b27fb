"""Expected first changes of weights and NTG under gradient flow: Theorems 5.1 and 5.2.

Expectations are over the initial weights, N(0, 1), and the signs of the readout; the targets
drop out. Velocities are per unit of our t. The theorems are on one output; in our clock the
number of outputs drops out too, since each adds its share to a mean over all.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from typing import Any

import numpy as np
import numpy.typing as npt

from asym_keras.checks import Float64Array, check_examples
from asym_keras.theory.checks import (
    FINE,
    check_scalings,
    normal_rule,
    paper_time,
    theorem_activation,
)

# Of the two rules in three dimensions; their difference bounds the error of the finer.
STEPS = (0.75, 0.5)
POINTS = 22_000  # of both together
# "auto" takes the quadrature up to this many points over all triples, about two seconds, and
# unless its error exceeds this share of the largest entry.
AFFORDABLE_POINTS, TOLERABLE_ERROR = 2e7, 1e-3
DIAGONALS = np.array([[1.0, 1.0, -2.0], [1.0, -1.0, 0.0], [1.0, 1.0, 1.0]])
DIAGONALS /= np.linalg.norm(DIAGONALS, axis=1, keepdims=True)
BATCHES = 50  # least number of batch means behind a standard error
BATCH_ENTRIES = 2**21  # 16 MB an array


@dataclasses.dataclass(frozen=True)
class NTGVelocity:
    """Expected velocity of the NTG at t = 0, and how exact it is.

    Attributes:
        velocity: float64 (p, p), symmetric, per unit of our t.
        standard_error: float64 (p, p), of the Monte Carlo estimate; for the quadrature the
            difference between two rules, far above the error of the finer.
        method: "quadrature" or "monte_carlo".
    """

    velocity: Float64Array
    standard_error: Float64Array
    method: str


def expected_weight_velocity(
    x: npt.ArrayLike, scalings: npt.ArrayLike, *, activation: Any = "relu"
) -> Float64Array:
    """Theorem 5.1: `E[dW/dt]` at t = 0 in our clock, for all weights.

    `E[dw_jk/dt] = -(2 / n) lambda_j / sqrt(d) sum_i x_ik g_1(x_i)`, where
    `g_1(x) = E[sigma(s z) sigma'(s z)]`, `s = ||x|| / sqrt(d)`; for ReLU
    `g_1 = ||x|| / sqrt(2 pi d)`, for others by quadrature. It is zero for an odd
    activation, as tanh, whatever the inputs.

    Args:
        x: training inputs (n, d), of any norm.
        scalings: (m,), with the sum 1.
        activation: name or function that keeps Assumption 2.2.

    Returns:
        float64 (d, m), the layout of the layer's kernel.

    Raises:
        ValueError: Bad shapes or numbers, or an activation that breaks Assumption 2.2.
    """
    x, scalings = check_examples(x), check_scalings(scalings)
    described = theorem_activation(activation)
    n, d = x.shape
    deviations = np.linalg.norm(x, axis=1) / math.sqrt(d)
    if described.assumption == "relu":
        pull = deviations / math.sqrt(2.0 * math.pi)
    else:
        (nodes,), weights = normal_rule(FINE)
        z = deviations[:, None] * nodes
        pull = np.asarray(described.function(z) * described.slope(z)) @ weights
    return -float(paper_time(1.0, n)) / math.sqrt(d) * np.outer(pull @ x, scalings)


def expected_ntg_velocity(
    x: npt.ArrayLike,
    scalings: npt.ArrayLike,
    *,
    activation: Any = "tanh",
    x_eval: npt.ArrayLike | None = None,
    method: str = "auto",
    samples: int = 100_000,
    seed: int = 0,
) -> NTGVelocity:
    """Theorem 5.2: `E[dTheta/dt]` at t = 0 in our clock, smooth activations.

    `-(2 / n) (x_k . x_l) / d**2 sum_j lambda_j**2 (H_kl + H_lk)`, where
    `H_kl = sum_i (x_k . x_i) g_2(x_k, x_l, x_i)` and
    `g_2 = E[sigma''(z_k) sigma'(z_l) sigma'(z_i) sigma(z_i)]`, `z = X w / sqrt(d)`.

    The paper prints `d**(3/2)` for `d**2`, in the statement and in Appendix H: of the three
    gradients that are multiplied there, two bring `d**(-1/2)` and the Hessian `d**(-1)`.

    Args:
        x: training inputs (n, d), of any norm.
        scalings: (m,), with the sum 1.
        activation: name or function that keeps Assumption 2.2(b).
        x_eval: inputs (p, d) of the NTG. None: `x`.
        method: "quadrature", a rule in three dimensions for each of the `n p**2` triples,
            good while the pre-activations deviate by less than about 1; "monte_carlo", draws of
            w, each worth `(n + p) d + n p + p**2` operations; "auto", the quadrature where it
            takes about two seconds at most and is right to 0.1 %.
        samples: least number of draws of the Monte Carlo. seed: int, of the same.

    Returns:
        `NTGVelocity`.

    Raises:
        ValueError: Bad shapes or numbers, an unknown method, fewer samples than batches, or an
            activation that breaks Assumption 2.2(b).
    """
    x, scalings = check_examples(x), check_scalings(scalings)
    ends = x if x_eval is None else check_examples(x_eval, "x_eval", x.shape[1])
    if samples < BATCHES:
        raise ValueError(
            f"samples: expected at least {BATCHES}, received {samples}; the standard error needs "
            "batch means"
        )
    described = theorem_activation(activation, smooth=True)
    n, d = x.shape
    if method not in ("auto", "quadrature", "monte_carlo"):
        raise ValueError(
            'method: expected "quadrature", "monte_carlo" or "auto", '
            f"received {method!r}; choose one of them"
        )
    scale = -float(paper_time(1.0, n)) / d**2 * np.sum(scalings**2) * (ends @ ends.T)
    affordable = n * len(ends) * (len(ends) + 1) / 2 * POINTS <= AFFORDABLE_POINTS
    if method == "quadrature" or (method == "auto" and affordable):
        coarse, fine = (scale * _quadrature(described, x, ends, step) for step in STEPS)
        error = np.abs(fine - coarse)
        if method == "quadrature" or error.max() <= TOLERABLE_ERROR * np.abs(fine).max():
            return NTGVelocity(fine, error, "quadrature")
    mean, error = _monte_carlo(described, x, ends, samples, seed)
    return NTGVelocity(scale * mean, np.abs(scale) * error, "monte_carlo")


def _monte_carlo(
    activation: Any, x: Any, ends: Any, samples: int, seed: int
) -> tuple[Float64Array, Float64Array]:
    """Mean and standard error of `H + H^T` from batch means.

    Within a draw the sum over i is a product of a vector with the Gram matrix, and the mean
    over draws a product of matrices: no array of `n**3` entries is needed.
    """
    n, d = x.shape
    batches = max(BATCHES, math.ceil(samples * max(n, d, len(ends)) / BATCH_ENTRIES))
    size = math.ceil(samples / batches)
    generator = np.random.default_rng(seed)
    gram = x @ ends.T
    total = squares = 0.0
    for _ in range(batches):
        w = generator.standard_normal((size, d)) / math.sqrt(d)
        z, z_ends = w @ x.T, w @ ends.T
        force = (activation.slope(z) * activation.function(z)) @ gram
        half = (activation.curvature(z_ends) * force).T @ activation.slope(z_ends) / size
        mean = half + half.T
        total, squares = total + mean, squares + mean**2
    mean = np.asarray(total) / batches
    variance = np.maximum(np.asarray(squares) / batches - mean**2, 0.0)
    return mean, np.sqrt(variance / (batches - 1))


def _quadrature(activation: Any, x: Any, ends: Any, step: float) -> Float64Array:
    """`H + H^T` by a rule in three dimensions for each triple (k, l, i)."""
    cube, weight = normal_rule(step, dims=3)
    gram = x @ ends.T
    both = np.zeros((len(ends), len(ends)))
    for a, b in itertools.combinations_with_replacement(range(len(ends)), 2):
        z = _triples(x, ends[a], ends[b]) @ cube  # (n, 3, points)
        slopes = activation.slope(z)
        bends = activation.curvature(z[:, :2])
        force = slopes[:, 2] * activation.function(z[:, 2])
        forward = (bends[:, 0] * slopes[:, 1] * force) @ weight
        backward = (bends[:, 1] * slopes[:, 0] * force) @ weight
        both[a, b] = both[b, a] = gram[:, a] @ forward + gram[:, b] @ backward
    return both


def _triples(x: Float64Array, x_a: Float64Array, x_b: Float64Array) -> Float64Array:
    """Factors `F F^T` of the covariances of `(z_a, z_b, z_i)`, one for each i, (n, 3, 3).

    By eigenvectors, because inputs that coincide make a covariance singular; turned so that
    the longest axis lies on the diagonal of the grid, where the rule is finest.
    """
    vectors = np.stack([np.stack([x_a, x_b, x_i]) for x_i in x]) / math.sqrt(x.shape[1])
    values, directions = np.linalg.eigh(vectors @ vectors.transpose(0, 2, 1))  # ascending
    return directions * np.sqrt(np.maximum(values, 0.0))[:, None, :] @ DIAGONALS
