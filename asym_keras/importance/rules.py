"""Rules that give each hidden node a number, and the order of the nodes by it."""

from __future__ import annotations

import itertools
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
from keras import ops

from asym_keras.importance.graph import find_layer, node_paths, require_features
from asym_keras.importance.nodes import Nodes, all_nodes
from asym_keras.importance.taps import TILE_NUMBERS, received, tiles
from asym_keras.inputs import as_inputs, example_count, take
from asym_keras.layers import AsymScaledDense

RULES = ("paper", "scalings", "magnitude", "output")
# The published figures order nodes by lambda alone.
PROTOCOL_RULES = {"paper": "paper", "authors": "scalings"}


def node_importance(
    model: keras.Model, rule: str = "paper", *, x: Any = None, layer: str | None = None
) -> np.ndarray:
    """Importance of each hidden node, by one of `RULES`.

    - `"paper"`: `lambda_j ||w_j||^2`, Section 6.
    - `"scalings"`: `lambda_j`, as in the published figures.
    - `"magnitude"`: `||w_j||`, what is common without scalings.
    - `"output"`: how much the readout changes, squared and averaged over the examples `x`, when
      node j goes. A layer with `outputs` is its own readout:
      `lambda_j mean_i sigma(z_ij)^2 sum_k a_jk^2`. If only `Dense` layers read the features, their
      kernels take the place of `a`; layers that keep nodes apart may be between. Otherwise the
      change of the features themselves is measured.

    Args:
        model: built Keras model with an `AsymScaledDense`.
        rule: one of `RULES`.
        x: examples (n, ...) for `"output"`, as the model takes them: an array, a list of
            arrays, or a dict by the names of the inputs.
        layer: name of the layer; None: it is the only one.

    Returns:
        float64 (m,), nonnegative.

    Raises:
        ValueError: An unknown rule, `"output"` without examples, or no such layer.

    Example:
        >>> model = asym_keras.shallow_network(3, width=64, gamma=0.5, alpha=0.5, seed=0)
        >>> asym_keras.importance.node_importance(model).shape
        (64,)
    """
    if rule not in RULES:
        raise ValueError(f"node_importance: expected rule to be one of {RULES}, received {rule!r}.")
    target = find_layer(model, layer)
    if rule == "scalings":
        return target.scalings
    if rule == "output":
        if x is None:
            raise ValueError(
                "node_importance: expected examples x for the rule 'output', received none. "
                "Pass x, for example the training inputs."
            )
        return _output_change(model, target, x)
    squares = _column_squares(target.kernel)
    return np.sqrt(squares) if rule == "magnitude" else target.scalings * squares


def importance_order(importance: npt.ArrayLike, seed: int = 0) -> np.ndarray:
    """Nodes from the most to the least important; ties are broken by a seeded shuffle.

    At `gamma=1` the rule `"scalings"` ties all nodes: the order is then the shuffle's, and the
    seed has to be recorded with it.

    Args:
        importance: array (m,), not NaN.
        seed: int, nonnegative.

    Returns:
        int64 (m,), a permutation of 0 to m - 1.

    Raises:
        ValueError: Another shape, no node, or NaN.

    Example:
        >>> asym_keras.importance.importance_order([0.1, 0.7, 0.2])
        array([1, 2, 0])
    """
    values = np.asarray(importance, dtype="float64")
    if values.ndim != 1 or not values.size or np.isnan(values).any():
        raise ValueError(
            "importance_order: expected one number a node, shape (m,), none of them NaN, received "
            f"shape {values.shape} with {int(np.isnan(values).sum())} NaN."
        )
    shuffled = np.random.default_rng(seed).permutation(len(values))
    return shuffled[np.argsort(-values[shuffled], kind="stable")]


def order_nodes(
    model: keras.Model, target: AsymScaledDense, importance: Any, *, x: Any = None, seed: int = 0
) -> np.ndarray:
    """`importance_order` of the nodes of `target` by a rule's name or by numbers (m,)."""
    if isinstance(importance, str):
        importance = node_importance(model, importance, x=x, layer=target.name)
    if np.shape(importance) != (target.units,):
        raise ValueError(
            f"Expected importance to be one of {RULES} or an array of shape ({target.units},), one "
            f"number a node of {target.name!r}, received shape {np.shape(importance)}."
        )
    return importance_order(importance, seed)


def _output_change(model: keras.Model, target: AsymScaledDense, x: Any) -> np.ndarray:
    readers = _readers(model, target)
    layers = [layer for layer, _, _ in readers]
    x, total = as_inputs(model, x), np.zeros(target.units)
    for rows in tiles(model, x, target.units):
        for reader, calls in zip(readers, received(model, layers, take(x, rows)), strict=True):
            for inputs in calls:
                total += _squared_change(inputs, *reader, target)
    return total / example_count(x)


def _squared_change(
    inputs: Any, layer: Any, kernel: np.ndarray, nodes: Nodes, target: AsymScaledDense
) -> np.ndarray:
    """Sum over examples and outputs of the squares by which a product changes without each node."""
    features = _float64(target.features(inputs) if layer is target else inputs)
    left = features.reshape(-1, len(nodes.labels)) - nodes.constants
    if np.array_equal(nodes.labels, np.arange(target.units)):  # an entry a node
        return np.sum(kernel**2, axis=1) * np.sum(left**2, axis=0)
    places = np.argsort(nodes.labels, kind="stable")
    changes = np.zeros(target.units)
    ends = np.searchsorted(nodes.labels[places], np.arange(target.units + 1))
    for j, (first, last) in enumerate(itertools.pairwise(ends)):
        entries = places[first:last]
        changes[j] = np.sum((left[:, entries] @ kernel[entries]) ** 2)
    return changes


def _readers(model: keras.Model, target: AsymScaledDense) -> list[tuple[Any, np.ndarray, Nodes]]:
    """Layers that multiply the features by a kernel, that kernel, and what they take of nodes.

    The layer itself with its readout, or with ones if it is not known what becomes of its features.
    """
    nodes = all_nodes(target.units, 1)
    if target.outputs is None:
        paths = node_paths(model, target)
        ends = any(isinstance(output, Nodes) for output in paths.outputs)
        dense = all(type(cut.layer) is keras.layers.Dense for cut in paths.readers)
        if not paths.obstacle and not ends and dense:
            return [(c.layer, _float64(c.layer.kernel), c.received) for c in paths.readers]
    require_features(target)
    kernel = np.ones((target.units, 1)) if target.outputs is None else _float64(target.readout)
    return [(target, kernel, nodes)]


def _column_squares(kernel: Any) -> np.ndarray:
    """`||w_j||^2` in float64, a tile of nodes at a time."""
    rows, units = kernel.shape
    squares, width = np.empty(units), max(1, TILE_NUMBERS // rows)
    for first in range(0, units, width):
        nodes = slice(first, first + width)
        squares[nodes] = np.sum(_float64(kernel[:, nodes]) ** 2, axis=0)
    return squares


def _float64(tensor: Any) -> np.ndarray:
    return ops.convert_to_numpy(tensor).astype("float64")
