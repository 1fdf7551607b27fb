"""Compiled building blocks of the gradient flow solver: one step, one power iteration.

Weights are lists of tensors. Errors are measured per node: a variable's last axis indexes
nodes (output units), the norm is the root mean square over the others, and the largest counts.
Where kinks are rounded, errors of an `AsymScaledDense` count by what they do to its outputs, at
most: err^2 = sum_j lambda_j err_j^2 / sum_j lambda_j.
"""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from asym_keras.graphs import layers_of
from asym_keras.layers import AsymScaledDense
from asym_keras.tracing import traced_once
from asym_keras.training.objective import Objective
from asym_keras.training.rkc import coefficients

MAX_STAGES = 1000
# Of a rounded kink's half-width, how far the difference quotient moves the input of a node.
RAMP_SHARE = 0.1
# Where errors of nodes are added up by their scalings, by how much each has to be smaller than
# where the largest counts, so that results are as exact at gamma = 0.
STRICTER = 2.0


class Stepper:
    """`dW/dt = -grad L(W)` on one objective; every method returns new tensors.

    Args:
        objective: the risk.
        rtol, atol: tolerance.
        rounded: whether every method takes, at last, a `rounding` of the objective's kinks.

    One traced function serves all stage numbers: the coefficients come as a tensor, the
    stages run in a `tf.while_loop`.
    """

    def __init__(self, objective: Objective, rtol: float, atol: float, *, rounded=False):
        self._objective = objective
        self._tolerances = rtol, atol
        self._shares = node_shares(objective) if rounded else [None] * len(objective.variables)
        jit = objective.jit_compile
        # Where matrix products are left to TensorFlow's kernels, XLA still fuses the
        # combinations of stages, which are bound by memory traffic.
        self._combine = _combine if jit else _fused(_combine)
        self._own_error = self._error_norm if jit else _fused(self._error_norm)
        self.evaluate = traced_once(self._slope, jit_compile=jit)
        self._rkc = traced_once(self._rkc_step, jit_compile=jit)
        self._pair = traced_once(self._bogacki_shampine_step, jit_compile=jit)
        self.power_iteration = traced_once(self._power_iteration, jit_compile=jit)

    def rkc(self, weights, slope, step: float, stages: int, *rounding):
        """RKC2 step: weights, slope and risk after it, and the error estimate (1 = tolerance)."""
        table = np.zeros((MAX_STAGES, 5))
        table[:stages] = coefficients(stages)
        dtype = weights[0].dtype
        coefficient_table = tf.constant(table, dtype), tf.constant(stages)
        return self._rkc(weights, slope, tf.constant(step, dtype), *coefficient_table, *rounding)

    def bogacki_shampine(self, weights, slope, step: float, *rounding):
        """Bogacki-Shampine step, three gradients; results as of `rkc`."""
        return self._pair(weights, slope, tf.constant(step, weights[0].dtype), *rounding)

    def _slope(self, weights, *rounding):
        risk, gradient, _ = self._objective.gradient(weights, [], None, *rounding)
        return [-g for g in gradient], risk

    def _rkc_step(self, start, slope, step, table, stages, *rounding):
        first = self._combine([start, slope], [1.0, table[0, 3] * step])

        def stage(j, last, before):
            f, _ = self._slope(last, *rounding)
            c = table[j]
            new = self._combine(
                [start, last, before, f, slope], [c[0], c[1], c[2], c[3] * step, c[4] * step]
            )
            return j + 1, new, last

        _, end, _ = tf.while_loop(
            lambda j, *_: j < stages,
            stage,
            (tf.constant(1), first, list(start)),
            parallel_iterations=1,
        )
        end_slope, risk = self._slope(end, *rounding)
        estimate = [[start, end, slope, end_slope], [0.8, -0.8, 0.4 * step, 0.4 * step]]
        return end, end_slope, risk, self._error(start, end, *estimate)

    def _bogacki_shampine_step(self, start, slope, step, *rounding):
        """Order three with an error estimate of order two (P. Bogacki, L. Shampine, 1989)."""
        k2, _ = self._slope(self._combine([start, slope], [1.0, step / 2]), *rounding)
        k3, _ = self._slope(self._combine([start, k2], [1.0, 0.75 * step]), *rounding)
        end = self._combine([start, slope, k2, k3], [1.0, 2 / 9 * step, step / 3, 4 / 9 * step])
        k4, risk = self._slope(end, *rounding)
        estimate = [[slope, k2, k3, k4], [-5 / 72 * step, step / 12, step / 9, -step / 8]]
        return end, k4, risk, self._error(start, end, *estimate)

    def _error(self, start, end, terms, factors):
        return self._objective.agree(self._own_error(start, end, terms, factors))

    def _error_norm(self, start, end, terms, factors):
        rtol, atol = self._tolerances
        estimate = _combine(terms, factors)
        nodes = []
        for a, b, e, shares in zip(start, end, estimate, self._shares, strict=True):
            scaled = e / (atol + rtol * tf.maximum(tf.abs(a), tf.abs(b)))
            axes = list(range(len(e.shape) - 1))
            squares = tf.reshape(tf.reduce_mean(scaled**2, axes), [-1])
            if shares is not None:
                shares = tf.constant(STRICTER**2 * shares, squares.dtype)
                squares = tf.reduce_sum(shares * squares, keepdims=True)
            nodes.append(squares)
        # A maximum may drop NaN, so whether all is finite is asked for apart.
        squares = tf.concat(nodes, 0)
        finite = tf.reduce_all(tf.math.is_finite(squares))
        return tf.where(finite, tf.sqrt(tf.reduce_max(squares)), np.inf)

    def _power_iteration(self, weights, slope, direction, *rounding):
        """Estimated spectral radius of the flow's Jacobian, and a direction nearer to its own.

        A difference quotient along `direction`, so one gradient a call. It is short enough for
        ramps of rounded kinks, along which the slope changes most, to count in full.
        """
        dtype = weights[0].dtype
        norm, tiny = tf.linalg.global_norm, np.finfo(dtype.as_numpy_dtype).tiny
        direction = [d / (norm(direction) + tiny) for d in direction]
        length = float(np.finfo(dtype.as_numpy_dtype).eps) ** 0.5 * (1.0 + norm(weights))
        if rounding:
            farthest = tf.sqrt(tf.reduce_max([tf.reduce_max(_node_squares(d)) for d in direction]))
            length = tf.minimum(length, RAMP_SHARE * rounding[0] / (farthest + tiny))
        moved, _ = self._slope(
            [w + length * d for w, d in zip(weights, direction, strict=True)], *rounding
        )
        image = [(a - b) / length for a, b in zip(moved, slope, strict=True)]
        radius = self._objective.agree(norm(image))
        return radius, [i / (radius + tiny) for i in image]


def node_shares(objective: Objective) -> list[np.ndarray | None]:
    """For each variable, the shares of its nodes in the scalings; None: it has no scalings."""
    layers = [la for la in layers_of(objective.model) if isinstance(la, AsymScaledDense)]
    scalings = {id(layer.kernel): layer.scalings for layer in layers}
    found = [scalings.get(id(variable)) for variable in objective.variables]
    return [None if values is None else values / values.sum() for values in found]


def _node_squares(tensor):
    """Sums of squares over all axes but the last, that of nodes."""
    return tf.reduce_sum(tensor**2, list(range(len(tensor.shape) - 1)))


def _combine(terms, factors):
    """`sum_i factors[i] * terms[i]` over lists of tensors."""
    return [
        # A Python float takes the dtype of t; tf.cast would round it to float32 first.
        tf.add_n([(tf.cast(c, t.dtype) if tf.is_tensor(c) else c) * t for c, t in pairs])
        for pairs in (zip(factors, tensors, strict=True) for tensors in zip(*terms, strict=True))
    ]


def _fused(function):
    """`function` compiled by XLA by itself, inside another that is not: once a place of a call."""

    def call(*arguments):
        tensors = tf.nest.map_structure(
            lambda a: a if tf.is_tensor(a) else tf.constant(a, tf.float64), arguments
        )
        return traced_once(function, jit_compile=True)(*tensors)

    return call


def hermite(theta: float, step: float, start, slope, end, end_slope):
    """Cubic Hermite interpolant at `start + theta * step`, theta in [0, 1]."""
    square, cube = theta**2, theta**3
    return _combine(
        [start, end, slope, end_slope],
        [
            1 - 3 * square + 2 * cube,
            3 * square - 2 * cube,
            step * (theta - 2 * square + cube),
            step * (cube - square),
        ],
    )
