"""NTG gradients layer by layer: inputs and output cotangents instead of the Jacobian.

One forward pass, and one backward pass for each output, give the inputs of every layer and the
derivatives of the outputs with respect to what the layer computes before its activation. Their
products are the gradients, which stay in factors (`factors.py`).
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

import keras
import tensorflow as tf

from asym_keras.fingerprint import reaches_variables
from asym_keras.graphs import does_as_its_class, is_graph, replaced, steps_of
from asym_keras.inputs import call
from asym_keras.ntg.factors import Factor
from asym_keras.ntg.layer_rules import layer_factors, layer_parameters


def known_variables(model: keras.Model, variables) -> list:
    """Those of `variables` whose gradients `structured_factors` can tell.

    Such a weight belongs to a single layer, of a class that has a rule, in a functional or
    Sequential model whose graph shows all that happens: no layer or function in it may reach
    weights of others behind the graph's back, and in a subclass nobody knows where else a weight
    enters.
    """
    leaves = _leaves(model)
    if not all(does_as_its_class(layer) and not reaches_variables(layer) for layer in leaves):
        return []
    owners: dict[int, list] = {}
    for layer in leaves:
        for variable in layer.variables:
            owners.setdefault(id(variable), []).append(layer)
    elsewhere = _used_by_operations(model)
    return [
        variable
        for variable in variables
        if id(variable) not in elsewhere
        and len(owners.get(id(variable), ())) == 1
        and id(variable) in map(id, layer_parameters(owners[id(variable)][0]).values())
    ]


def _used_by_operations(model) -> set[int]:
    """Ids of variables that enter the graph as arguments, as in `ops.matmul(h, layer.kernel)`."""
    if not is_graph(model):
        return set()
    steps = steps_of(model)
    found = {id(variable) for step in steps for variable in step.variables}
    return found.union(*(_used_by_operations(step.operation) for step in steps))


def structured_factors(model: keras.Model, x, variables, outputs: Callable) -> list[Factor]:
    """Gradients of `outputs(model(x))` by `variables`, known ones, in factors.

    Args:
        outputs: function of the model's outputs that returns those to differentiate, (n, K).
    """
    wanted = {id(v) for v in variables}
    layers = [la for la in _leaves(model) if any(id(v) in wanted for v in la.variables)]
    with tf.GradientTape(persistent=True, watch_accessed_variables=False) as tape:
        with _taps(layers, tape) as calls:
            f = outputs(call(model, x))
    taps = [tap for layer in layers for _, tap in calls[id(layer)]]
    cotangents = iter(_cotangents(tape, f, taps))
    factors: list[Factor] = []
    for layer in layers:
        names = {name for name, v in layer_parameters(layer).items() if id(v) in wanted}
        sites = [(inputs, next(cotangents)) for inputs, _ in calls[id(layer)]]
        if sites:  # a layer that the outputs do not need is never called
            factors += layer_factors(layer, sites, names)
    return factors


def _leaves(model) -> list:
    """Layers of a functional or Sequential model, nested models opened; each once."""
    if not is_graph(model):
        return []
    found: dict[int, keras.layers.Layer] = {}
    for layer in model.layers:
        found.update({id(la): la for la in (_leaves(layer) if is_graph(layer) else [layer])})
    return list(found.values())


def _cotangents(tape, f: tf.Tensor, taps: list[tf.Tensor]) -> list[tf.Tensor]:
    """Derivatives of f (n, K) by each tap (n, ..., b), shape (n, positions, K, b)."""
    zero = tf.UnconnectedGradients.ZERO
    outputs = f.shape[1]
    if outputs == 1:
        # Examples do not meet in inference: the derivatives of the sum over them are those of each.
        rows = [g[None] for g in tape.gradient(f, taps, unconnected_gradients=zero)]
    else:

        def backward(k):
            seeds = tf.one_hot(tf.fill([tf.shape(f)[0]], k), outputs, dtype=f.dtype)
            return tape.gradient(f, taps, output_gradients=seeds, unconnected_gradients=zero)

        rows = tf.map_fn(backward, tf.range(outputs), fn_output_signature=[t.dtype for t in taps])
    found = []
    for row, tap in zip(rows, taps, strict=True):
        row = tf.reshape(row, [outputs, tf.shape(tap)[0], -1, tap.shape[-1]])
        row.set_shape([outputs, None, tap.shape[1:-1].num_elements(), tap.shape[-1]])
        found.append(tf.transpose(row, [1, 2, 0, 3]))
    return found


@contextlib.contextmanager
def _taps(layers, tape) -> Iterator[dict[int, list]]:
    """While open, calls of `layers` note their inputs and watch what their weights compute.

    That is tapped before the activation, where there is one. Keras itself runs the model, with
    its masks, casts and nested models; afterwards the layers are as they were.
    """
    calls: dict[int, list] = {id(layer): [] for layer in layers}

    def tapped(layer) -> dict:
        call, activation, noted = layer.call, getattr(layer, "activation", None), calls[id(layer)]

        def watch(z):
            tape.watch(z)
            noted[-1] += (z,)
            return z

        def tapped_call(inputs, *args, **kwargs):
            noted.append((inputs,))
            y = call(inputs, *args, **kwargs)
            return watch(y) if activation is None else y

        if activation is None:
            return {"call": tapped_call}
        return {"call": tapped_call, "activation": lambda z: activation(watch(z))}

    with contextlib.ExitStack() as stack:
        for layer in layers:
            stack.enter_context(replaced(layer, **tapped(layer)))
        yield calls
