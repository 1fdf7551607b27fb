"""Kinks of activations, such as ReLU's at 0, rounded for a solver; the model is left as it is.

The flow of a network with kinks has a right-hand side that jumps where an input of an activation
crosses one. Where both sides push towards it the flow stays on the kink (A. Filippov,
"Differential Equations with Discontinuous Righthand Sides", 1988). An explicit step crosses it
again and again, and its error estimate sees the jump, which bounds the step however smooth the
path is. A rounded kink is a ramp of the slope: the flow comes to rest somewhere on it. Values stay
those of the true activation, so that the risk that is followed is the true one.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from asym_keras.fingerprint import held, is_of_a_library, own_attributes
from asym_keras.graphs import is_elementwise, is_graph, layers_of, perform, replaced, steps_of

# Kinks are looked for from -REACH to REACH, on points GRID apart. None of these is a round number.
REACH, GRID = 32.0, 0.125


@dataclasses.dataclass(frozen=True, eq=False)
class Site:
    """A function in a model that is piecewise linear and has kinks."""

    owner: Any  # layer or operation
    attribute: str  # the name by which it holds the function
    function: Callable  # of a tensor, elementwise
    kinks: tuple[tuple[float, float], ...]  # place and change of slope of each


def find_sites(model: keras.Model) -> list[Site]:
    """The activations of `model` that have kinks and are linear between them.

    Activations of layers (what they hold under a name that ends in `activation`), `ReLU` and
    `LeakyReLU` layers, and operations of `keras.ops` in its graph (`relu`, `maximum(x, 0)`, `abs`).
    Layers with a `tf.function` of their own are left out: it would go on with the activation that
    it was traced with.
    """
    found: dict[tuple[int, str], tuple[Any, str, Callable]] = {}
    traced = {id(la) for layer in layers_of(model) if _traces(layer) for la in layers_of(layer)}
    for layer in (la for la in layers_of(model) if id(la) not in traced):
        for name, value in vars(layer).items():
            # An activation that is a layer is found by itself, among the model's layers.
            is_function = callable(value) and not isinstance(value, keras.layers.Layer)
            if is_function and name.endswith("activation"):
                found[id(layer), name] = layer, name, value
        if isinstance(layer, (keras.layers.ReLU, keras.layers.LeakyReLU)):
            found[id(layer), "call"] = layer, "call", layer.call
        for step in steps_of(layer) if is_graph(layer) else []:
            alone = len(step.inputs) == len(step.outputs) == 1 and not step.variables
            if alone and not isinstance(step.operation, keras.layers.Layer):
                function = functools.partial(lambda step, z: perform(step, [z])[0], step)
                found[id(step.operation), "call"] = step.operation, "call", function
    sites = [Site(*place, kinks_of(place[2])) for place in found.values()]
    return [site for site in sites if site.kinks]


def _traces(layer) -> bool:
    """Whether somebody's layer holds a `tf.function`, or uses one."""
    things: list = [value for _, value in own_attributes(layer)]
    things += [] if is_of_a_library(type(layer).__module__) else [type(layer)]
    return any(hasattr(part, "get_concrete_function") for thing in things for part in held(thing))


def kinks_of(function: Callable) -> tuple[tuple[float, float], ...]:
    """Place and change of slope of each kink of a piecewise linear function.

    There is none if the function is curved, jumps, or is not elementwise.
    """
    z = np.arange(-REACH + GRID / 2, REACH, GRID)
    try:
        if not is_elementwise(function, 8):
            return ()
        values = _values(function, z)
        if not np.isfinite(values).all():
            return ()
    except Exception:  # somebody's function may want other inputs
        return ()
    bends = np.flatnonzero(np.abs(np.diff(values, 2)) > 1e-3 * GRID) + 1
    groups = np.split(bends, np.flatnonzero(np.diff(bends) > 1) + 1) if bends.size else []
    if not groups or max(map(len, groups)) > 2:
        return ()
    # Ends of the straight pieces: each kink lies between two points, or on one.
    starts = np.array([0, *(group[-1] for group in groups)])
    ends = np.array([*(group[0] for group in groups), len(z) - 1])
    slopes = (values[ends] - values[starts]) / (z[ends] - z[starts])
    offsets = values[starts] - slopes * z[starts]
    changes = np.diff(slopes)
    if not changes.all():  # a jump
        return ()
    places = np.round(-np.diff(offsets) / changes, 5)
    # Between the points, too, the function has to be what these kinks make of it.
    between = np.random.default_rng(0).uniform(-REACH, REACH, 1000)
    expected = offsets[0] + slopes[0] * between
    expected += np.maximum(between[:, None] - places, 0) @ changes
    close = np.allclose(_values(function, between), expected, rtol=1e-4, atol=1e-4)
    return tuple(zip(places.tolist(), changes.tolist(), strict=True)) if close else ()


def _values(function: Callable, z: np.ndarray) -> np.ndarray:
    return np.asarray(function(tf.constant(z, tf.float32)), "float64")


class Kinks:
    """The kinks of a model, and how far each may be rounded.

    At a kink at p the slope changes by c along a ramp from p - r to p + r, as if
    `c max(r - |z - p|, 0)^2 / (4 r)` were added to sigma(z).

    Args:
        sites: `find_sites(model)`.
        moves: for each site, by how much its inputs move (root mean square) when each weight of
            the model moves by 1 at random.
    """

    def __init__(self, sites: list[Site], moves: list[float]):
        # Inputs that no trained weight moves rest on no kink.
        self._sites = [(s, move) for s, move in zip(sites, moves, strict=True) if move]

    def __bool__(self) -> bool:
        return bool(self._sites)

    @contextlib.contextmanager
    def rounded(self, rounding, shown=None) -> Iterator[None]:
        """While open, gradients see ramps, of half-width r = `rounding` (a tensor) times the move.

        Values get the share `shown`, a tensor, of what the ramps would add to them. None: nothing.
        """
        with contextlib.ExitStack() as stack:
            for site, move in self._sites:
                function = _rounded(site, move * rounding, shown)
                stack.enter_context(replaced(site.owner, **{site.attribute: function}))
            yield


def _rounded(site: Site, radius, shown) -> Callable:
    before = getattr(site.owner, site.attribute)

    def function(z, *args, **kwargs):
        values = before(z, *args, **kwargs)
        dtype = values.dtype if values.dtype in ("float32", "float64") else "float32"
        r, exact = tf.cast(radius, dtype), tf.cast(z, dtype)
        for place, change in site.kinks:
            # For a kink at 0 no copy of z is made.
            distance = exact - place if place else exact
            values += tf.cast(_ramp(distance, change, r, shown), values.dtype)
        return values

    return function


def _ramp(distance, change: float, r, shown):
    """What is added to values: of the ramp the share `shown` (None: nothing), and all its slope."""

    @tf.custom_gradient
    def added(d):
        def slope(upstream):
            return upstream * (-change / (2 * r) * tf.sign(d) * tf.nn.relu(r - tf.abs(d)))

        if shown is None:  # nothing is shown, so nothing is computed
            return tf.zeros_like(d), slope
        return tf.cast(shown, d.dtype) * change / (4 * r) * tf.nn.relu(r - tf.abs(d)) ** 2, slope

    return added(distance)


def moves_of(sites: list[Site], call: Callable, weights: list[tf.Tensor], step: float) -> list:
    """By how much the inputs of each site move, per unit, when `weights` move by `step`.

    Args:
        call: function of weights that calls the model eagerly.
        step: standard deviation of the move of each weight.
    """
    generator = np.random.default_rng(0)
    moved = [w + step * tf.constant(generator.standard_normal(w.shape), w.dtype) for w in weights]
    inputs = [_inputs_of(sites, call, w) for w in (weights, moved)]
    return [
        _spread([b - a for a, b in zip(*pair, strict=True)]) / step
        for pair in zip(*inputs, strict=True)
    ]


def _inputs_of(sites: list[Site], call: Callable, weights) -> list[list[np.ndarray]]:
    seen: list[list[np.ndarray]] = [[] for _ in sites]

    def watched(before, into, z, *args, **kwargs):
        into.append(np.asarray(z))
        return before(z, *args, **kwargs)

    with contextlib.ExitStack() as stack:
        for site, into in zip(sites, seen, strict=True):
            function = functools.partial(watched, getattr(site.owner, site.attribute), into)
            stack.enter_context(replaced(site.owner, **{site.attribute: function}))
        call(weights)
    return seen


def _spread(differences: list[np.ndarray]) -> float:
    squares = sum(float(np.square(d.astype("float64")).sum()) for d in differences)
    return float(np.sqrt(squares / max(1, sum(d.size for d in differences))))
