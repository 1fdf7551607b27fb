"""What an operation without weights makes of nodes, tried out on made-up numbers.

No list of classes says which layers keep nodes apart: poolings, reshapes, concatenations,
operations of `keras.ops` and somebody's own layers are all asked the same questions. Which node
does each entry of the result depend on? What is left of a masked node? And is the result for fewer
nodes the same with fewer entries?
"""

from __future__ import annotations

import dataclasses
import itertools
from typing import Any

import keras
import ml_dtypes
import numpy as np
import tensorflow as tf
from keras import ops

from asym_keras.graphs import Step, perform
from asym_keras.importance.nodes import Nodes, Obstacle, describe

# Examples by sign and size, so that activations that are dead or saturated for some show others.
_SIZES = np.array([0.01, 1.0, 1.0, 1.0, 0.1, 10.0, 100.0, 1000.0])
_SIGNS = (0, 1, -1, 0, 0, 0, 0, 0)
# For axes of any size: results have to agree for both numbers of a pair. Larger ones are for
# poolings and croppings that smaller ones do not fill.
_LENGTHS = ((4, 7), (24, 31), (96, 129))
_NUMBERS = 2**21  # that a tensor of a trial may hold
_INSTEAD = "Let a Dense layer read the nodes first, or leave it out"


def carried(step: Step, received: list[Nodes | None]) -> list[Nodes | None]:
    """What the outputs of a step without weights hold of the nodes that its inputs hold.

    Raises:
        Obstacle: It mixes nodes, leaves of a masked one what is no constant, or does another
            thing to fewer nodes.
    """
    if all(None not in tensor.shape[1:] for tensor in step.inputs):
        return _Trial(step, received, 0).outcome()
    for lengths in _LENGTHS:
        try:
            one, other = (_Trial(step, received, length).outcome() for length in lengths)
        except _FailedError as error:
            failure = error
            continue
        for a, b in zip(one, other, strict=True):
            if (a is None) != (b is None) or (a and b and not a.same_as(b)):
                raise Obstacle(
                    f"{describe(step.operation)}, whose results depend on a size that varies. "
                    f"Give its inputs a fixed size, or pool first"
                )
        return one
    raise failure


class _FailedError(Obstacle):
    """The operation takes no such numbers."""


class _Trial:
    """One operation on made-up numbers of one size."""

    def __init__(self, step: Step, received: list[Nodes | None], length: int):
        self._step, self._name = step, describe(step.operation)
        self._tensors = {id(t): t for t in step.inputs}
        held = zip(step.inputs, received, strict=True)
        self._nodes = {id(t): nodes for t, nodes in held if nodes is not None}
        self._shapes = {
            key: tuple(size or length for size in t.shape[1:]) for key, t in self._tensors.items()
        }
        fixed = {t.shape[0] for t in step.inputs if t.shape and t.shape[0]}
        largest = max(int(np.prod(shape)) for shape in self._shapes.values())
        most = int(np.clip(_NUMBERS // max(largest, 1), 2, len(_SIZES)))
        # As many as no axis has: what joins examples must not pass for what joins nodes.
        sizes = {size for shape in self._shapes.values() for size in shape}
        most = next((count for count in range(most, 1, -1) if count not in sizes), most)
        self._examples = fixed.pop() if fixed else most
        self._rounds = -(-len(_SIZES) // self._examples)  # until each size has been drawn
        self._eps = max(_precision(t.dtype) for t in (*step.inputs, *step.outputs))

    def outcome(self) -> list[Nodes | None]:
        found = zip(*map(self._touched, range(self._rounds)), strict=True)
        results = self._constants([self._labels(np.any(changed, axis=0)) for changed in found])
        self._check_cut(results)
        return results

    def _touched(self, seed: int) -> list[np.ndarray]:
        """For each output bool (bits, 2, ...): does it change with the nodes that have that bit?"""
        base, fresh = self._draw(2 * seed), self._draw(2 * seed + 1)
        before = self._run(base)
        if any(_differ(a, b).any() for a, b in zip(before, self._run(base), strict=True)):
            raise Obstacle(f"{self._name}, whose results are random also in inference. {_INSTEAD}")
        units = 1 + max(int(nodes.labels.max()) for nodes in self._nodes.values())
        bits = max(1, (units - 1).bit_length())
        touched: list[list] = [[] for _ in before]
        for bit, side in itertools.product(range(bits), (0, 1)):
            after = self._run(self._with(base, fresh, bit, side))
            for changes, a, b in zip(touched, after, before, strict=True):
                changes.append(_differ(a, b))
        stacked = map(np.stack, touched)
        return [self._over_examples(c.reshape(bits, 2, *c.shape[1:])) for c in stacked]

    def _over_examples(self, found: np.ndarray) -> np.ndarray:
        """Whether it changed for any example; an output that joins examples must not change."""
        if found.ndim > 2 and found.shape[2] == self._examples:
            return np.any(found, axis=2)
        if found.any():
            raise Obstacle(f"{self._name}, which joins examples. {_INSTEAD}")
        return found

    def _labels(self, changed: np.ndarray) -> tuple[int, np.ndarray] | None:
        """The axis of an output that tells nodes apart, and the node of each entry of it."""
        any_side: np.ndarray = np.any(changed, axis=1)
        if not any_side.any():
            return None
        # Of one node: at each bit one side changes it, and none of the others does.
        if changed.all(axis=1).any() or (any_side != any_side[0]).any():
            raise Obstacle(f"{self._name}, which mixes nodes. {_INSTEAD}")
        weights = (1 << np.arange(len(changed))).reshape(-1, *[1] * (any_side.ndim - 1))
        labels = np.where(any_side[0], (changed[:, 1] * weights).sum(axis=0), -1)
        for axis in reversed(range(labels.ndim)):
            rows = np.moveaxis(labels, axis, 0).reshape(labels.shape[axis], -1)
            along = rows.max(axis=1)
            if ((rows == along[:, None]) | (rows < 0)).all():
                return axis + 1, along
        raise Obstacle(f"{self._name}, after which no one axis tells the nodes apart. {_INSTEAD}")

    def _constants(self, found: list) -> list[Nodes | None]:
        """Adds to axes and labels what is left where nodes are masked."""
        arrays = [self._draw(2 * seed) for seed in range(self._rounds)]
        for key, nodes in self._nodes.items():
            places = np.flatnonzero(nodes.labels >= 0)
            for drawn in arrays:
                whole = np.moveaxis(drawn[key], nodes.axis, -1)
                whole[..., places] = nodes.constants[places]
        results: list[Nodes | None] = [None] * len(found)
        runs = list(map(self._run, arrays))
        for place, pair in enumerate(found):
            if pair is None:
                continue
            axis, labels = pair
            output = np.concatenate([outputs[place] for outputs in runs])
            rows = np.moveaxis(output, axis, 0).reshape(len(labels), -1)
            constants = np.where(labels >= 0, rows[:, 0], 0.0)
            with np.errstate(invalid="ignore"):  # of infinities, which are refused below
                away = np.abs(rows - rows[:, :1]).max(axis=1)
            allowed = 64 * self._eps * np.maximum(1.0, np.abs(constants))
            if not (np.isfinite(constants).all() and (away <= allowed)[labels >= 0].all()):
                raise Obstacle(
                    f"{self._name}, after which a masked node is no constant: it adds other "
                    "things, or differs by position. Concatenate the branches, or add what Dense "
                    "layers make of them"
                )
            results[place] = Nodes(axis, labels, constants)
        return results

    def _check_cut(self, results: list[Nodes | None]) -> None:
        """The same operation on fewer nodes has to give the same with fewer entries."""
        nodes = np.unique(np.concatenate([n.labels for n in self._nodes.values()]))
        nodes = nodes[nodes >= 0]
        # Neither the first nor the last, which a slice would give by chance.
        kept = nodes[1:-1][np.arange(max(len(nodes) - 2, 0)) % 3 != 1]
        kept = kept if len(kept) else nodes[-1:]
        if len(kept) == len(nodes):
            return
        whole = self._draw(0)
        cut = {k: _taken(array, self._nodes.get(k), kept) for k, array in whole.items()}
        operation = self._step.operation
        change = reshaped(operation, results[0], kept)
        if change is not None:
            operation = keras.layers.Reshape(change, dtype=operation.dtype_policy)
        hint = "Use a layer that takes any number of them, such as Flatten or Reshape"
        hint = hint if len(self._tensors) == 1 else _INSTEAD
        tied = f"{self._name}, which is tied to the number or the places of nodes. {hint}"
        try:
            received = self._run(cut, dataclasses.replace(self._step, operation=operation))
        except _FailedError as error:
            raise Obstacle(tied) from error
        expected = [_taken(a, n, kept) for a, n in zip(self._run(whole), results, strict=True)]
        for a, b in zip(expected, received, strict=True):
            if a.shape != b.shape or not self._close(a, b):
                raise Obstacle(tied)

    def _close(self, a: np.ndarray, b: np.ndarray) -> bool:
        """Whether outputs agree to rounding, beside the largest of each example."""
        finite = np.abs(np.nan_to_num(a, nan=0.0, posinf=0.0, neginf=0.0))
        scale = finite.max(axis=tuple(range(1, a.ndim)), keepdims=True, initial=1e-6)
        with np.errstate(invalid="ignore"):  # of equal infinities
            return bool((~_differ(a, b) | (np.abs(a - b) <= 64 * self._eps * scale)).all())

    def _with(self, base: dict, fresh: dict, bit: int, side: int) -> dict:
        """`base` with other numbers in the entries of nodes that have this bit."""
        arrays = dict(base)
        for key, nodes in self._nodes.items():
            chosen = (nodes.labels >= 0) & ((nodes.labels >> bit) & 1 == side)
            shape = [1] * base[key].ndim
            shape[nodes.axis] = -1
            arrays[key] = np.where(chosen.reshape(shape), fresh[key], base[key])
        return arrays

    def _draw(self, seed: int) -> dict[int, np.ndarray]:
        """Made-up numbers for each input, float64."""
        generator = np.random.default_rng(seed)
        which = (np.arange(self._examples) + seed // 2 * self._examples) % len(_SIZES)
        arrays = {}
        for key, tensor in self._tensors.items():
            shape = (self._examples, *self._shapes[key])
            if tensor.dtype == "bool":  # a mask: the first is no padding
                values = (generator.random(shape) < 0.7).astype("float64")
                if len(shape) > 1:
                    values[:, 0] = 1.0
            elif "int" in tensor.dtype:
                values = generator.integers(0, 5, shape).astype("float64")
            else:
                values = generator.normal(size=shape)
                for example, regime in enumerate(which):
                    if _SIGNS[regime]:
                        values[example] = _SIGNS[regime] * np.abs(values[example])
                    values[example] *= _SIZES[regime]
            arrays[key] = values
        return arrays

    def _run(self, arrays: dict, step: Step | None = None) -> list[np.ndarray]:
        step = step or self._step
        try:
            values = [ops.cast(arrays[id(t)], t.dtype) for t in step.inputs]
            outputs = [ops.convert_to_numpy(o) for o in perform(step, values)]
            return [np.asarray(o).astype("float64") for o in outputs]
        except Exception as error:  # of somebody's own layer, so of any class
            fault = " ".join(str(error).split())[:160]
            raise _FailedError(
                f"{self._name}, which could not be tried on numbers ({fault}). {_INSTEAD}"
            ) from error


def reshaped(operation: Any, returned: Nodes | None, kept: np.ndarray) -> tuple | None:
    """The target shape of a Reshape for the `kept` nodes; None: nothing has to change."""
    if type(operation) is not keras.layers.Reshape or returned is None:
        return None
    target = list(operation.target_shape)
    if target[returned.axis - 1] != -1:
        target[returned.axis - 1] = len(returned.entries(kept))
    return tuple(target)


def _taken(array: np.ndarray, nodes: Nodes | None, kept: np.ndarray) -> np.ndarray:
    return array if nodes is None else np.take(array, nodes.entries(kept), axis=nodes.axis)


def _differ(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return (a != b) & ~(np.isnan(a) & np.isnan(b))


def _precision(dtype: str) -> float:
    """Of a floating-point dtype; others are exact."""
    kind = tf.as_dtype(dtype)
    return float(ml_dtypes.finfo(kind.as_numpy_dtype).eps) if kind.is_floating else 0.0
