"""Compiled building blocks of the gradient flow solver: one step, one power iteration.

Weights are lists of tensors. Errors are measured per node: a variable's last axis indexes
nodes (output units), the norm is the root mean square over the others, and the largest counts.
"""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from asym_keras.tracing import traced_once
from asym_keras.training.objective import Objective
from asym_keras.training.rkc import RKC2, USUAL

MAX_STAGES = 1000


class Stepper:
    """`dW/dt = -grad L(W)` on one objective; every method returns new tensors.

    One traced function serves all stage numbers: the coefficients come as a tensor, the
    stages run in a `tf.while_loop`. What a subclass adds to the arguments comes last.
    """

    method: RKC2 = USUAL  # of the steps with stages

    def __init__(self, objective: Objective, rtol: float, atol: float):
        self._objective = objective
        self._tolerances = rtol, atol
        jit = objective.jit_compile
        # Where matrix products are left to TensorFlow's kernels, XLA still fuses the
        # combinations of stages, which are bound by memory traffic.
        self._combine = combine if jit else _fused(combine)
        self._own_error = self._error if jit else _fused(self._error)
        self.evaluate = traced_once(self._slope, jit_compile=jit)
        self._rkc = traced_once(self._rkc_step, jit_compile=jit)
        self._pair = traced_once(self._bogacki_shampine_step, jit_compile=jit)
        self.power_iteration = traced_once(self._power_iteration, jit_compile=jit)

    def rkc(self, weights, slope, step: float, stages: int, *rounding):
        """RKC2 step: weights, slope and risk after it, and the error estimate (1 = tolerance)."""
        table, dtype = self._table(stages), weights[0].dtype
        arguments = tf.constant(step, dtype), tf.constant(table, dtype), tf.constant(stages)
        return self._rkc(weights, slope, *arguments, *rounding)

    def bogacki_shampine(self, weights, slope, step: float, *rounding):
        """Bogacki-Shampine step, three gradients; results as of `rkc`."""
        return self._pair(weights, slope, tf.constant(step, weights[0].dtype), *rounding)

    def _table(self, stages: int) -> np.ndarray:
        """The coefficients that `_rkc_step` takes, in as many rows as there can be stages."""
        table = np.zeros((MAX_STAGES, 5))
        table[:stages] = self.method.coefficients(stages)
        return table

    def _slope(self, weights, *rounding):
        risk, gradient, _ = self._objective.gradient(weights, [], None, *rounding)
        return [-g for g in gradient], risk

    def _stages(self, start, slope, step, table, stages, rounding, columns=()):
        """The last stage, slope and risk there, and sums of all by those columns of the table."""
        first = self._combine([start, slope], [1.0, table[0, 3] * step])
        sums = [self._combine([start, first], [table[0, k], table[1, k]]) for k in columns]

        def stage(j, last, before, *sums):
            f, _ = self._slope(last, *rounding)
            c = table[j]
            factors = [c[0], c[1], c[2], c[3] * step, c[4] * step]
            new = self._combine([start, last, before, f, slope], factors)
            d = table[j + 1] if sums else ()
            pairs = zip(sums, columns, strict=True)
            return j + 1, new, last, *(self._combine([s, new], [1.0, d[k]]) for s, k in pairs)

        begin = (tf.constant(1), first, list(start), *sums)
        _, end, _, *sums = tf.while_loop(
            lambda j, *_: j < stages, stage, begin, parallel_iterations=1
        )
        return end, *self._slope(end, *rounding), sums

    def _rkc_step(self, start, slope, step, table, stages, *rounding):
        end, end_slope, risk, _ = self._stages(start, slope, step, table, stages, rounding)
        estimate = [[start, end, slope, end_slope], [0.8, -0.8, 0.4 * step, 0.4 * step]]
        return end, end_slope, risk, self._agreed_error(start, end, end_slope, *estimate)

    def _bogacki_shampine_step(self, start, slope, step, *rounding):
        """Order three with an error estimate of order two (P. Bogacki, L. Shampine, 1989)."""
        k2, _ = self._slope(self._combine([start, slope], [1.0, step / 2]), *rounding)
        k3, _ = self._slope(self._combine([start, k2], [1.0, 0.75 * step]), *rounding)
        end = self._combine([start, slope, k2, k3], [1.0, 2 / 9 * step, step / 3, 4 / 9 * step])
        k4, risk = self._slope(end, *rounding)
        estimate = [[slope, k2, k3, k4], [-5 / 72 * step, step / 12, step / 9, -step / 8]]
        return end, k4, risk, self._agreed_error(start, end, k4, *estimate)

    def _agreed_error(self, *arguments):
        return self._objective.agree(self._own_error(*arguments))

    def _error(self, start, end, end_slope, terms, factors):
        """The error of a step, of the estimate `sum_i factors[i] * terms[i]`."""
        return self._norm(start, end, combine(terms, factors))

    def _norm(self, start, end, estimate):
        rtol, atol = self._tolerances
        nodes = []
        for i, (a, b, e) in enumerate(zip(start, end, estimate, strict=True)):
            scaled = e / (atol + rtol * tf.maximum(tf.abs(a), tf.abs(b)))
            axes = list(range(len(e.shape) - 1))
            nodes.append(self._of_nodes(i, tf.reshape(tf.reduce_mean(scaled**2, axes), [-1])))
        # A maximum may drop NaN, so it is asked separately whether all numbers are finite.
        squares = tf.concat(nodes, 0)
        finite = tf.reduce_all(tf.math.is_finite(squares))
        return tf.where(finite, tf.sqrt(tf.reduce_max(squares)), np.inf)

    def _of_nodes(self, variable: int, squares):
        """The squared errors that count, one for each node of a variable."""
        return squares

    def _power_iteration(self, weights, slope, direction, *rounding):
        """Estimated spectral radius of the flow's Jacobian, and a direction nearer to its vector.

        It takes a difference quotient along `direction`: one gradient a call.
        """
        dtype = weights[0].dtype
        norm, tiny = tf.linalg.global_norm, np.finfo(dtype.as_numpy_dtype).tiny
        direction = [d / (norm(direction) + tiny) for d in direction]
        length = float(np.finfo(dtype.as_numpy_dtype).eps) ** 0.5 * (1.0 + norm(weights))
        length = self._quotient_length(length, direction, *rounding)
        moved = [w + length * d for w, d in zip(weights, direction, strict=True)]
        moved, _ = self._slope(moved, *rounding)
        image = [(a - b) / length for a, b in zip(moved, slope, strict=True)]
        radius = self._objective.agree(norm(image))
        return radius, [i / (radius + tiny) for i in image]

    def _quotient_length(self, length, direction, *rounding):
        """How far the difference quotient goes, where `length` is right for smooth functions."""
        return length


def combine(terms, factors):
    """`sum_i factors[i] * terms[i]` over lists of tensors."""
    return [
        # A Python float takes the dtype of t; tf.cast would round it to float32 first.
        tf.add_n([(tf.cast(c, t.dtype) if tf.is_tensor(c) else c) * t for c, t in pairs])
        for pairs in (zip(factors, tensors, strict=True) for tensors in zip(*terms, strict=True))
    ]


def _fused(function):
    """`function`, compiled by XLA inside one that is not; anew for each place that calls it."""

    def call(*arguments):
        tensors = tf.nest.map_structure(
            lambda a: a if tf.is_tensor(a) else tf.constant(a, tf.float64), arguments
        )
        return traced_once(function, jit_compile=True)(*tensors)

    return call


def hermite(theta: float, step: float, start, slope, end, end_slope):
    """Cubic Hermite interpolant at `start + theta * step`, theta in [0, 1]."""
    square, cube = theta**2, theta**3
    places = [1 - 3 * square + 2 * cube, 3 * square - 2 * cube]
    slopes = [step * (theta - 2 * square + cube), step * (cube - square)]
    return combine([start, end, slope, end_slope], places + slopes)


def parabola(theta: float, start, middle, end):
    """The quadratic interpolant through three equidistant points, theta in [0, 1]."""
    factors = [(1 - theta) * (1 - 2 * theta), 4 * theta * (1 - theta), theta * (2 * theta - 1)]
    return combine([start, middle, end], factors)
