"""Cutting nodes out of a model: a smaller model of the same kind, with the same outputs."""

from __future__ import annotations

import keras
import numpy as np
from keras import ops

from asym_keras.importance.graph import NodePaths, find_layer, is_elementwise, is_graph, node_paths
from asym_keras.importance.rules import order_nodes
from asym_keras.layers import AsymScaledDense
from asym_keras.pruning.ending import find_ending
from asym_keras.pruning.refit import refit_readouts
from asym_keras.pruning.refit_memory import require_refit


def prune(
    model: keras.Model,
    keep: int,
    *,
    importance="paper",
    layer: str | None = None,
    refit: tuple | None = None,
    x=None,
    seed: int = 0,
) -> keras.Model:
    """A smaller model with the `keep` most important nodes, scaled as they were.

    It computes what `model` does with the other nodes masked,
    `f_k(x) = sum over the kept j of sqrt(lambda_j) a_jk sigma(z_j)`; the scalings are not
    renormalised. Everything else in the model stays, wherever in it the layer is. `Dense`
    layers that take its features (outputs=None) lose the other nodes' rows; a model that
    returns the features returns the kept ones. Nodes keep their order.

    With `refit` the readout is fitted anew: the layer gets outputs=None, and the model ends in a
    `Dense` whose kernel and bias are the ridge regression of y on the kept features, the penalty
    chosen by leave-one-out (`refit_readouts`).

    Args:
        model: built functional or Sequential model; it is not changed.
        keep: int, 1 to m.
        importance: one of `asym_keras.importance.RULES`, or an array (m,).
        layer: name of the `AsymScaledDense`; None: it is the only one.
        refit: `(x, y)`, examples (n, ...) and targets (n, K), one-hot for classes. The model has
            to end in the layer, or in a `Dense` after it.
        x: examples for the rule `"output"`. None: those of `refit`.
        seed: int, breaks ties in the importance.

    Returns:
        `keras.Model` of the same kind, layer names and dtype policies, compiled if `model` is.

    Raises:
        ValueError: `keep` out of range; no such layer; an activation that is not elementwise;
            features that go to what can't be cut; a model that is not functional or
            Sequential; or targets that do not fit.

    Example:
        >>> model = asym_keras.shallow_network(3, width=64, gamma=0.5, alpha=0.5, seed=0)
        >>> asym_keras.prune(model, keep=8).count_params()
        40
    """
    target = find_layer(model, layer)
    paths = _check(model, target, keep)
    if refit is not None:
        examples, targets = refit
        ending = find_ending(model, target.name, readout=False)
        targets = ending.targets(examples, targets)
        x = examples if x is None else x
        require_refit(len(targets), widest=keep, dtype=target.compute_dtype)
    kept = np.sort(order_nodes(model, target, importance, x=x, seed=seed)[:keep])
    if not target.scalings[kept].any():
        raise ValueError(
            f"prune: expected kept nodes with scalings that are not all zero, received {keep} nodes"
            " whose scalings are zero in the dtype of the weights. Keep others."
        )
    if refit is None:
        return _cut(model, target, kept, paths)
    small = _cut(model, target, kept, paths, {"use_bias": True}, {"outputs": None})
    if not paths.readouts:
        small = _with_readout(small, target, targets.shape[1])
    return _refitted(small, target.name, examples, targets)


def _check(model, target: AsymScaledDense, keep) -> NodePaths:
    """Where the nodes lead, if they can be cut."""
    whole = isinstance(keep, (int, np.integer)) and not isinstance(keep, bool)
    if not whole or not 1 <= keep <= target.units:
        raise ValueError(
            f"prune: expected keep to be a number of nodes from 1 to {target.units}, received "
            f"{keep!r}."
        )
    paths = node_paths(model, target)
    if paths.obstacle:
        raise ValueError(
            f"prune: expected the nodes of {target.name!r} to go to Dense layers, directly or "
            "through elementwise layers without weights that leave zero zero, in a functional or "
            f"Sequential model. Received {paths.obstacle}. Rebuild the model without it."
        )
    if not is_elementwise(target.activation, target.units):
        raise ValueError(
            f"prune: expected an elementwise activation in {target.name!r}, received "
            f"{target.activation!r}, in which nodes depend on each other."
        )
    return paths


def _cut(model, target: AsymScaledDense, kept, paths: NodePaths, readout_config=None, config=None):
    """Clone of `model` with the `kept` nodes, and with other entries in the configs of layers."""
    kept_scalings = {"units": len(kept), "scalings": target.scalings[kept].tolist()}
    changes = {id(target): kept_scalings | (config or {})}
    changes |= {id(dense): readout_config or {} for dense in paths.readouts}
    copies: dict[int, tuple] = {}

    def clone(layer):
        if id(layer) not in copies:
            if is_graph(layer):
                copy = clone_graph(layer)
            else:
                copy = type(layer).from_config(layer.get_config() | changes.get(id(layer), {}))
            copies[id(layer)] = layer, copy
        return copies[id(layer)][1]

    def narrowed(tensor):
        shape = tensor.shape
        if any(tensor is entry for entry in paths.entries):
            shape = (*shape[:-1], len(kept))
        return keras.Input(batch_shape=shape, dtype=tensor.dtype, name=tensor.name)

    def clone_graph(graph):
        inputs = None  # as they are
        if any(t is entry for t in graph.inputs for entry in paths.entries):
            inputs = keras.tree.map_structure(narrowed, graph.input)
        return keras.models.clone_model(graph, clone_function=clone, input_tensors=inputs)

    small = clone_graph(model)
    for layer, copy in copies.values():
        if is_graph(layer):
            continue
        if layer is target:
            _assign(copy.kernel, _numpy(ops.take(layer.kernel, kept, axis=1)))
            _assign(copy.sqrt_scalings, _numpy(layer.sqrt_scalings)[kept])
            if copy.outputs is not None:
                _assign(copy.readout, _numpy(layer.readout)[kept])
        elif any(layer is dense for dense in paths.readouts):
            _assign(copy.kernel, _numpy(layer.kernel)[kept])
            if layer.use_bias:
                _assign(copy.bias, _numpy(layer.bias))
        else:  # operations such as `2 * x` have no weights
            for old, new in zip(
                getattr(layer, "weights", ()), getattr(copy, "weights", ()), strict=True
            ):
                _assign(new, _numpy(old))
    return small


def _with_readout(small, target: AsymScaledDense, outputs: int):
    """`small`, which ends in the features, with a `Dense` after them."""
    dense = keras.layers.Dense(outputs, dtype=target.dtype_policy, name=f"{target.name}_readout")
    if isinstance(small, keras.Sequential):
        whole = keras.Sequential([*small._layers, dense], name=small.name)
    else:
        whole = keras.Model(small.input, dense(small.output), name=small.name)
    if small.compiled:
        whole.compile_from_config(small.get_compile_config())
    return whole


def _refitted(small, layer: str, x, y: np.ndarray):
    """`small` with the ridge regression of y in its last layer."""
    ending = find_ending(small, layer)
    features = np.concatenate([_numpy(part) for _, part in ending.features(x)])
    [fit] = refit_readouts(features, y)
    dense = ending.dense
    assert dense is not None
    _assign(dense.kernel, fit.kernel)
    _assign(dense.bias, fit.bias)
    return small


def _numpy(weight) -> np.ndarray:
    return ops.convert_to_numpy(weight)


def _assign(weight, value: np.ndarray) -> None:
    weight.assign(value.astype(weight.dtype))
