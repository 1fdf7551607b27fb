"""Networks at many fresh initialisations: what the expectations at t = 0 are compared with."""

from __future__ import annotations

import dataclasses

import numpy as np

from asym_keras.bars import progress_bar
from trainers.theory.numbers import Float64Array, Theory


@dataclasses.dataclass(frozen=True)
class Draws:
    """Numbers of each draw, float64 (draws,).

    Attributes:
        deviations: squares of `||Theta_0 - Theta*||_F`.
        weight_velocities: `sum_j dw_j/dt` at t = 0 along the given direction.
        ntg_velocities: `dTheta/dt` at t = 0 along the given one; None without it.
    """

    deviations: Float64Array
    weight_velocities: Float64Array
    ntg_velocities: Float64Array | None


def draw_networks(
    x: Float64Array,
    y: Float64Array,
    theory: Theory,
    *,
    activation,
    count: int,
    seed: int,
    progress: bool = False,
) -> Draws:
    """Draws `count` networks of Eq. (2) from Eq. (3) and (8), and measures how the flow starts.

    With the residuals r, `z = X W / sqrt(d)` and our clock,
    `sum_j dw_j/dt = -2 / (n sqrt(d)) sum_i r_i x_i sum_j sqrt(lambda_j) a_j sigma'(z_ij)`, and
    `dTheta/dt` follows from `dz/dt` and Eq. (7) by the product rule, without differences.

    Args:
        x: inputs (n, d). y: targets (n,).
        theory: of the same network; gives the scalings, the mean NTG and the directions.
        activation: an `Activation`.
        count: number of draws. seed: int. progress: show a bar.
    """
    (n, d), scalings = x.shape, theory.scalings
    gram, root = x @ x.T / d, np.sqrt(scalings)
    along = x @ weight_direction(x, theory.weight_velocity)
    ntg_direction = None
    if theory.ntg_velocity is not None:
        ntg_direction = _unit(theory.ntg_velocity.velocity)
    generator = np.random.default_rng(np.random.SeedSequence(seed).spawn(1)[0])
    deviations, weights, ntgs = [], [], []
    for _ in progress_bar(range(count), desc="initialisations", disable=not progress):
        z = x @ generator.standard_normal((d, theory.width)) / d**0.5
        heads = root * generator.choice([-1.0, 1.0], theory.width)
        pull = -2.0 / n * (activation.function(z) @ heads - y)
        slopes = activation.slope(z)
        deviations.append(np.sum((gram * (slopes * scalings @ slopes.T) - theory.mean) ** 2))
        weights.append(along @ (pull * (slopes @ heads)) / d**0.5)
        if ntg_direction is not None:
            z_velocity = gram @ (pull[:, None] * slopes) * heads
            half = (activation.curvature(z) * z_velocity * scalings) @ slopes.T
            # The velocity is symmetric, half + half^T, and so is the direction.
            ntgs.append(2.0 * np.sum(gram * half * ntg_direction))
    return Draws(np.array(deviations), np.array(weights), np.array(ntgs) if ntgs else None)


def weight_direction(x: Float64Array, velocity: Float64Array | None) -> Float64Array:
    """Unit vector along `velocity` (d,); along the sum of the inputs x where that is zero.

    For an odd activation, such as tanh, the expected velocity is zero. The measured mean is then
    zero along any direction; this one is near the direction of other activations.
    """
    if velocity is not None and velocity.any():
        return _unit(velocity)
    return _unit(x.sum(axis=0))


def _unit(array: Float64Array) -> Float64Array:
    """`array` over its Euclidean norm; zeros stay zeros."""
    return array / (np.linalg.norm(array) or 1.0)
