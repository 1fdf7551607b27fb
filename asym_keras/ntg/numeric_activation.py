"""Any elementwise Keras activation as an `Activation`, by TensorFlow derivatives in float64."""

from __future__ import annotations

import math

import numpy as np
import tensorflow as tf

from asym_keras.checks import Float64Array
from asym_keras.ntg.activation import Activation, Elementwise, excess, piecewise_linear

REACH = 50.0  # bounds are looked for in [-REACH, REACH]
GRID = 20_000  # even: 0, where derivatives of sums of kinks go astray, is no point of it
# Slopes that differ by more than KINK over a distance of STEP are those of a kink.
KINK, STEP = 1e-5, 1e-8


def differentiate(function, name: str) -> Activation:
    """`function` with derivatives by `tf.GradientTape` and bounds found on a grid.

    Args:
        function: elementwise callable on tensors.
        name: of the activation, for messages.

    Returns:
        `Activation` that satisfies no case of Assumption 2.2: analyticity cannot be checked
        numerically. A function that is linear on either side of 0 is recognised.

    Raises:
        ValueError: The function is not elementwise.
    """
    _check_elementwise(function, name)
    value, slope, curvature = (_derivative(function, order) for order in range(3))
    sides = _side_slopes(slope)
    if sides is not None and abs(value(np.zeros(1))[0]) < 1e-12:
        return piecewise_linear(name, *sides)
    slope_bound = _supremum(slope)
    kink = _kink(slope)
    if kink is None:
        reason = f"whether {name} is analytic can't be checked numerically (Assumption 2.2(b))"
    else:
        reason = f"{name} has a kink near {kink:.4g}: it is neither ReLU nor analytic"
    curvature_bound = _supremum(curvature) if kink is None else math.inf
    standing = None, reason + excess(slope_bound) + "."
    return Activation(name, value, slope, curvature, *standing, slope_bound, curvature_bound)


def same_values(function, reference: Elementwise) -> bool:
    """Whether `function` of a tensor is `reference`, to float32 accuracy of its constants."""
    z = np.linspace(-8.0, 8.0, 401)
    try:
        values = np.asarray(function(tf.constant(z)), np.float64)
    except (ValueError, TypeError):  # not elementwise, for one: `differentiate` says so
        return False
    return values.shape == z.shape and bool(np.allclose(values, reference(z), rtol=0, atol=1e-6))


def _check_elementwise(function, name: str) -> None:
    z = np.array([[0.5, -0.25, 2.0, -3.0], [1.5, 0.75, -1.0, 0.25]])
    try:
        together = np.asarray(function(tf.constant(z)))
        apart = np.array([[np.asarray(function(tf.constant([[v]])))[0, 0] for v in r] for r in z])
        elementwise = together.shape == z.shape and bool(np.all(abs(together - apart) < 1e-5))
    except (ValueError, TypeError, IndexError, tf.errors.InvalidArgumentError):
        elementwise = False
    if not elementwise:
        raise ValueError(
            f"activation: expected an elementwise function of a float64 tensor, received {name!r}, "
            "whose values depend on their neighbours, or that can't be evaluated; "
            "use an elementwise activation such as 'relu' or 'tanh'"
        )


def _derivative(function, order: int) -> Elementwise:
    """The derivative of `function` of that order, as a function of arrays of any shape."""

    def evaluate(z: tf.Tensor, order: int) -> tf.Tensor:
        if order == 0:
            return tf.cast(function(z), "float64")
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(z)
            lower = evaluate(z, order - 1)
        # A piecewise constant slope is not connected to z at all.
        return tape.gradient(lower, z, unconnected_gradients=tf.UnconnectedGradients.ZERO)

    def derivative(z: Float64Array) -> Float64Array:
        flat = tf.constant(np.ravel(np.asarray(z, np.float64)))
        try:
            values = evaluate(flat, order)
        except LookupError:  # TensorFlow has no second derivative of softsign, for one
            above, below = (evaluate(flat + step, order - 1) for step in (1e-5, -1e-5))
            values = (above - below) / 2e-5
        return values.numpy().reshape(np.shape(z))

    return derivative


def _side_slopes(slope: Elementwise) -> tuple[float, float] | None:
    distance = np.concatenate([np.geomspace(1e-6, 1e6, 500), np.linspace(0.0, REACH, GRID)[1:]])
    below, above = slope(-distance), slope(distance)
    if np.ptp(below) == 0.0 and np.ptp(above) == 0.0:
        return float(below[0]), float(above[0])
    return None


def _supremum(function: Elementwise) -> float:
    """Largest |function| on the grid, refined around where it lies; inf where it grows on."""
    far = np.geomspace(REACH, 200.0 * REACH, 50)
    z = np.concatenate([-far[::-1], np.linspace(-REACH, REACH, GRID)[1:-1], far])
    values = np.nan_to_num(np.abs(function(z)), nan=0.0, posinf=np.inf)
    k = int(np.argmax(values))
    if k in (0, z.size - 1):
        edge = np.abs(function(np.array([-REACH, REACH]))).max()
        return math.inf if values[k] > 1.01 * edge else float(values[k])
    best, low, high = values[k], z[k - 1], z[k + 1]
    for _ in range(12):
        points = np.linspace(low, high, 40)
        values = np.nan_to_num(np.abs(function(points)), nan=0.0)
        k = int(np.argmax(values))
        best = max(best, values[k])
        low, high = points[max(k - 1, 0)], points[min(k + 1, 39)]
    return float(best)


def _kink(slope: Elementwise) -> float | None:
    """Where the slope jumps: the largest difference between neighbours, bisected."""
    z = np.linspace(-REACH, REACH, GRID)
    k = int(np.argmax(np.abs(np.diff(slope(z)))))
    low, high = z[k], z[k + 1]
    for _ in range(40):
        points = np.array([low, (low + high) / 2, high])
        first, second = np.abs(np.diff(slope(points)))
        low, high = (points[0], points[1]) if first >= second else (points[1], points[2])
    middle = round(float((low + high) / 2), 9)
    left, right = slope(middle + STEP * max(1.0, abs(middle)) * np.array([-1.0, 1.0]))
    # Relative where slopes are steep: there, rounding of z alone moves them.
    return middle if abs(right - left) > KINK * max(1.0, abs(left), abs(right)) else None
