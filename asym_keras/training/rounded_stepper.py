"""Steps of the flow of a network whose kinks are rounded.

Rounded kinks are steep: what moves along them is stiff, and what comes to one or leaves it makes
the slope jump. So steps are taken by a strongly damped method, its error estimate leaves out what
is stiff, and the spectral radius that both need is estimated along the ramps.
"""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from asym_keras.graphs import layers_of
from asym_keras.layers import AsymScaledDense
from asym_keras.tracing import traced_once
from asym_keras.training.objective import Objective
from asym_keras.training.rkc import DAMPED
from asym_keras.training.rkc_weights import error_weights, middle_weights
from asym_keras.training.stepper import MAX_STAGES, Stepper, combine, hermite

# The difference quotient moves a node's input by this share of a rounded kink's half-width.
RAMP_SHARE = 0.1
# Errors of nodes that are added up by their scalings have to be smaller by this factor than where
# the largest one counts. With half of it, the last bits of the initial weights sent one run in
# seven of energy at gamma = 0 to another branch; with this factor, none of seven.
STRICTER = 4.0


class RoundedStepper(Stepper):
    """A `Stepper` whose methods take one argument more, the last: by how much kinks are rounded.

    Errors of an `AsymScaledDense` count by their share in its outputs:
    `err^2 = sum_j lambda_j err_j^2 / sum_j lambda_j`. A step's error is two numbers: that of its
    nodes (1 = tolerance), and what the estimate changes the risk by. Steps return one result
    more, the last: the weights in the middle of the step.
    """

    method = DAMPED

    def __init__(self, objective: Objective, rtol: float, atol: float):
        self._shares = _node_shares(objective)
        super().__init__(objective, rtol, atol)
        self.rounded_risk = traced_once(self._rounded_risk, jit_compile=objective.jit_compile)

    def _rounded_risk(self, weights, rounding):
        """The risk if values, too, were rounded."""
        return self._objective.gradient(weights, [], None, rounding, tf.ones_like(rounding))[0]

    def _table(self, stages: int) -> np.ndarray:
        """The coefficients, and in the last columns the weights of what is made of all stages."""
        table = np.zeros((MAX_STAGES + 3, 7))
        table[:MAX_STAGES, :5] = super()._table(stages)
        for column, weights in ((5, error_weights), (6, middle_weights)):
            found = weights(self.method, stages)
            table[: stages + 1, column], table[-2:, column] = found[:-2], found[-2:]
        return table

    def _rkc_step(self, start, slope, step, table, stages, *rounding):
        arguments = start, slope, step, table, stages, rounding
        end, end_slope, risk, sums = self._stages(*arguments, columns=(5, 6))
        estimate, middle = (
            ([total, slope, end_slope], [1.0, table[-2, k] * step, table[-1, k] * step])
            for k, total in zip((5, 6), sums, strict=True)
        )
        error = self._agreed_error(start, end, end_slope, *estimate)
        return end, end_slope, risk, error, self._combine(*middle)

    def _bogacki_shampine_step(self, start, slope, step, *rounding):
        end, end_slope, *others = super()._bogacki_shampine_step(start, slope, step, *rounding)
        return end, end_slope, *others, hermite(0.5, step, start, slope, end, end_slope)

    def _error(self, start, end, end_slope, terms, factors):
        estimate = combine(terms, factors)
        pairs = zip(estimate, end_slope, strict=True)
        change = tf.add_n([tf.reduce_sum(e * f) for e, f in pairs])
        return tf.stack([self._norm(start, end, estimate), change])

    def _of_nodes(self, variable: int, squares):
        shares = self._shares[variable]
        if shares is None:
            return squares
        shares = tf.constant(STRICTER**2 * shares, squares.dtype)
        return tf.reduce_sum(shares * squares, keepdims=True)

    def _quotient_length(self, length, direction, *rounding):
        """So short that ramps, along which the slope changes most, count in full."""
        squares = [tf.reduce_sum(d**2, list(range(len(d.shape) - 1))) for d in direction]
        farthest = tf.sqrt(tf.reduce_max([tf.reduce_max(s) for s in squares]))
        tiny = np.finfo(length.dtype.as_numpy_dtype).tiny
        return tf.minimum(length, RAMP_SHARE * rounding[0] / (farthest + tiny))


def _node_shares(objective: Objective) -> list[np.ndarray | None]:
    """For each variable, the shares of its nodes in the scalings; None: it has no scalings."""
    layers = [la for la in layers_of(objective.model) if isinstance(la, AsymScaledDense)]
    scalings = {id(w): la.scalings for la in layers for w in (la.kernel, la.bias)}
    found = [scalings.get(id(variable)) for variable in objective.variables]
    return [None if s is None else s / s.sum() for s in found]
