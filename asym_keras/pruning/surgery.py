"""Cutting nodes out of a model: a smaller model of the same kind, with the same outputs."""

from __future__ import annotations

import inspect
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
from keras import ops

from asym_keras.arrays import materialised
from asym_keras.checks import is_whole
from asym_keras.copies import compile_as, copy_model
from asym_keras.graphs import compile_arguments, input_structure, is_elementwise, layers_of
from asym_keras.importance.graph import NodePaths, find_layer, node_paths
from asym_keras.importance.nodes import Nodes
from asym_keras.importance.rules import order_nodes
from asym_keras.inputs import as_inputs, stateless_call
from asym_keras.layers import AsymScaledDense
from asym_keras.nesting.model import find_readout
from asym_keras.pruning.cutting import changes_for, shapes_for
from asym_keras.pruning.ending import Ending, check_regression, find_ending, fit_readouts, smoothed
from asym_keras.pruning.logistic import PENALTY
from asym_keras.pruning.prefixes import prune_prefix
from asym_keras.pruning.refit_memory import require_refit
from asym_keras.same_outputs import probe_inputs, require_same_outputs


def prune(
    model: keras.Model,
    keep: int,
    *,
    importance: str | npt.ArrayLike = "paper",
    layer: str | None = None,
    refit: Any = None,
    regression: str = "auto",
    penalty: float | str = PENALTY,
    x: Any = None,
    seed: int = 0,
) -> keras.Model:
    """A smaller model with the `keep` most important nodes, scaled as they were.

    It computes what `model` does with the other nodes masked,
    `f_k(x) = sum over the kept j of sqrt(lambda_j) a_jk sigma(z_j)`; the scalings are not
    renormalised. Everything else in the model stays, wherever in it the layer is. `Dense`,
    `AsymScaledDense` and convolutions that take its features (outputs=None) lose the other nodes'
    rows, and what masked nodes leave after an activation or a normalisation goes into their
    biases. Layers without weights may be between that keep nodes apart: poolings, Flatten,
    Concatenate, operations of `keras.ops`. A model that returns the features returns the kept
    ones. Nodes keep their order. On made-up inputs the outputs are compared with the model's.

    With `refit` the readout is fitted anew: the layer gets outputs=None, and the model ends in a
    `Dense` whose kernel and bias are fitted on the kept features: by ridge regression, the penalty
    chosen by leave-one-out (`refit_readouts`), or, where softmax or sigmoid follow, by their
    cross-entropy (`refit_logits`).

    A model with a `NestedReadout` (`asym_keras.nested`) is cut to its first nodes, with the readout
    of the largest width that is at most `keep`: an ordinary model, without data and without a
    ranking. Where the layer before can't lose nodes, only the readout is cut, and the log says why.

    Args:
        model: built functional or Sequential model; it is not changed.
        keep: int, 1 to m.
        importance: one of `asym_keras.importance.RULES`, or an array (m,).
        layer: name of the `AsymScaledDense`; None: it is the only one.
        refit: `(x, y)`, examples (n, ...) and targets (n, K) or labels, int (n,); or a
            `tf.data.Dataset` of batches of them. The model has to end in the layer, or in a
            `Dense` after it, and layers without weights.
        regression: `"ridge"`, `"cross_entropy"` (also of a `Dense` whose outputs are logits),
            or `"auto"`: by what follows the sums, and where nothing does by the loss that the model
            is compiled with, if that is a cross-entropy of logits, of each by itself where it is a
            binary one; ridge otherwise. Its label smoothing is that of the refit.
        penalty: of a refit by cross-entropy, as `refit_logits` takes it; `"auto"` chooses it.
        x: examples for the rule `"output"`. None: those of `refit`.
        seed: int, breaks ties in the importance.

    Returns:
        `keras.Model` of the same kind, layer names and dtype policies; compiled if `model` is,
        with a new optimizer.

    Raises:
        ValueError: `keep` out of range; no such layer; an activation that is not elementwise;
            features that go to what can't be cut; a model that is not functional or
            Sequential; or targets that do not fit.

    Example:
        >>> model = asym_keras.shallow_network(3, width=64, gamma=0.5, alpha=0.5, seed=0)
        >>> asym_keras.prune(model, keep=8).count_params()
        40
    """
    check_regression(regression)
    nested = find_readout(model) if isinstance(model, keras.Model) else None
    if nested is not None:
        asked = {"importance": importance, "layer": layer, "refit": refit, "x": x, "seed": seed}
        _require_plain(asked | {"regression": regression, "penalty": penalty})
        return prune_prefix(model, nested, keep)
    target = find_layer(model, layer)
    paths = _check(model, target, keep)
    fit = None if refit is None else _Fit(model, target, refit, regression, keep, penalty)
    x = fit.x if fit and x is None else x
    kept = np.sort(order_nodes(model, target, importance, x=x, seed=seed)[:keep])
    if not target.scalings[kept].any():
        raise ValueError(
            f"prune: expected kept nodes with scalings that are not all zero, received {keep} nodes"
            " whose scalings are zero in the dtype of the weights. Keep others."
        )
    dense = fit.new_readout() if fit else None
    then = None if dense is None or target.outputs is None else dense
    changes = changes_for(target, paths, kept, readout=then, biased=fit is not None)
    small = copy_model(model, changes=changes, shapes=shapes_for(paths, kept))
    if then is not None:
        then.kernel.assign(np.asarray(target.readout)[kept].astype(then.dtype))
    _require_masking(model, target, paths, kept, small)
    if fit is None:
        return small
    if dense is not None and then is None:
        small = _with_readout(model, small, dense)
    return fit.into(small)


def _require_plain(asked: dict[str, Any]) -> None:
    """A nested model has an order of nodes and their readouts: nothing else can be asked for."""
    default = {name: of.default for name, of in inspect.signature(prune).parameters.items()}
    given = [
        name
        for name, value in asked.items()
        if not isinstance(value, type(default[name])) or value != default[name]
    ]
    if given:
        raise ValueError(
            f"prune: expected of a nested model no argument but keep, received {', '.join(given)}: "
            "its nodes are in their order, and each width has its own readout. Leave it out."
        )


def _check(model: keras.Model, target: AsymScaledDense, keep: Any) -> NodePaths:
    """Where the nodes lead, if they can be cut."""
    if not is_whole(keep, 1, target.units):
        raise ValueError(
            f"prune: expected keep to be a number of nodes from 1 to {target.units}, received "
            f"{keep!r}."
        )
    if not is_elementwise(target.activation, target.units):
        raise ValueError(
            f"prune: expected an elementwise activation without weights in {target.name!r}, "
            f"received {target.activation!r}, in which nodes depend on each other or have weights "
            "of their own. Use another activation, such as LeakyReLU."
        )
    paths = node_paths(model, target)
    if paths.obstacle:
        raise ValueError(
            f"prune: expected the nodes of {target.name!r} to stay apart until layers read them "
            "that can lose nodes (Dense, AsymScaledDense, Conv), in a functional or Sequential "
            f"model. Received {paths.obstacle}."
        )
    return paths


def _require_masking(
    model: keras.Model,
    target: AsymScaledDense,
    paths: NodePaths,
    kept: np.ndarray,
    small: keras.Model,
) -> None:
    """Refuses a cut that is not what masking the other nodes gives, on made-up inputs."""
    fixed = keras.tree.flatten(input_structure(model))[0].shape[0]
    x, root = probe_inputs(model, fixed or 4), target.sqrt_scalings
    mask = np.zeros(target.units)
    mask[kept] = 1.0
    masked = root.value * ops.cast(mask, root.dtype)
    try:
        expected, again = (
            _numbers(stateless_call(model, [root], [masked], x, training=False)) for _ in range(2)
        )
    except Exception:  # the model does not take made-up inputs: a category it does not know, say
        return
    if not all(np.array_equal(a, b) for a, b in zip(expected, again, strict=True)):
        return  # random also in inference, or not a number for made-up inputs
    received = _numbers(stateless_call(small, [], [], x, training=False))
    for i, held in enumerate(paths.outputs):
        if isinstance(held, Nodes):
            expected[i] = np.take(expected[i], held.entries(kept), axis=held.axis)
    dtypes = {la.compute_dtype for la in layers_of(model)} | {root.dtype}
    require_same_outputs(expected, received, dtypes, f"the model without nodes of {target.name!r}")


def _numbers(answer: tuple) -> list[np.ndarray]:
    """The outputs of a stateless call, float64."""
    return [ops.convert_to_numpy(t).astype("float64") for t in keras.tree.flatten(answer[0])]


class _Fit:
    """A refit: the examples, and what is fitted to them, checked before any work."""

    def __init__(
        self,
        model: keras.Model,
        target: AsymScaledDense,
        refit: Any,
        regression: str,
        keep: int,
        penalty: float | str,
    ):
        self._penalty = penalty
        self.x, y = materialised(*(refit if isinstance(refit, (tuple, list)) else (refit, None)))
        self.x = as_inputs(model, self.x)
        self._ending: Ending = find_ending(model, target.name, readout=False)
        self._targets = self._ending.targets(self.x, y)
        self._layer = target
        [loss, *more] = keras.tree.flatten(compile_arguments(model).get("loss")) or [None]
        loss = None if more else loss
        self._by = self._ending.regression(regression, self._targets.shape[1], loss)
        require_refit(self._ending, self._targets, keep, self._by)
        self._targets = smoothed(self._targets, self._by, loss)

    def new_readout(self) -> keras.layers.Dense | None:
        """A `Dense` for the features, where the model has none after them."""
        target = self._layer
        if self._ending.reader not in (None, target):
            return None
        return keras.layers.Dense(
            self._targets.shape[1],
            # The kernel is fitted. Other initialisers have other arguments from version to version
            # of Keras, and a saved model would be unknown to an older one.
            kernel_initializer="zeros",
            dtype=target.dtype_policy,
            name=f"{target.name}_readout",
        )

    def into(self, small: keras.Model) -> keras.Model:
        """`small` with the fitted readout."""
        ending = find_ending(small, self._layer.name)
        features = np.concatenate([part for _, part in ending.features(self.x)])
        [fit] = fit_readouts(features, self._targets, None, self._by, self._penalty)
        dense = ending.dense
        assert dense is not None
        dense.kernel.assign(fit.kernel.astype(dense.kernel.dtype))
        dense.bias.assign(fit.bias.astype(dense.bias.dtype))
        return small


def _with_readout(model: keras.Model, small: keras.Model, dense: keras.layers.Dense) -> keras.Model:
    """`small`, which returns the features, with a `Dense` after them."""
    if isinstance(small, keras.Sequential):
        small.add(dense)
    else:
        outputs = keras.tree.map_structure(dense, small.output)
        small = keras.Model(small.input, outputs, name=small.name)
    compile_as(model, small)
    return small
