"""A packaged Keras model as TensorFlow functions of plain constants, ready to be saved."""

from __future__ import annotations

import dataclasses
import logging
import math
from collections.abc import Callable, Iterable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from asym_keras.graphs import is_graph, steps_of
from asym_keras.importance import find_layer
from serving.exporting.folding import Chain, float64_of, fold

logger = logging.getLogger("serving.export")

MAX_BYTES = 2**31 - 2**24  # saved_model.pb is one protocol buffer, which holds at most 2 GiB


@dataclasses.dataclass(frozen=True, eq=False)
class Network:
    """A packaged network whose weights are constants.

    Attributes:
        outputs: function, raw values float32 (n, d) -> float32 (n, K).
        features: function, raw values float32 (n, d) -> `sqrt(lambda) sigma(z)`, float32 (n, k).
            None: the model does not itself call exactly one `AsymScaledDense` exactly once.
        chain: the `Chain` that it computes. None: it runs the model's own call.
    """

    outputs: Callable
    features: Callable | None
    chain: Chain | None


def as_network(model: keras.Model, *, half: bool = False) -> Network:
    """`model` as functions of constants. It is folded if its layers are a chain that `fold` knows.

    Args:
        model: packaged model, raw values (n, d) -> (n, K).
        half: whether matrices are float16, each column scaled by a number of its own. The functions
            convert them back before they compute.

    Raises:
        ValueError: Weights are not finite in float32, or there are more than a SavedModel holds as
            constants.
    """
    # Folding takes memory, so what can't fit in either form is refused before it.
    most = 2 if half else 4
    check_size(min(stored_size(v), most * math.prod(v.shape)) for v in model.weights)
    chain = fold(model)
    if chain is not None:
        return _folded(chain, half)
    chains = "no chain of scaling, AsymScaledDense, Dense and units; exported by its own call"
    logger.info("not folded: %s is %s", model.name, chains)
    return _as_it_is(model, half)


def check_size(sizes: Iterable[int], cure: str = "Keep fewer nodes (--keep).") -> None:
    """Raises a ValueError if constants of these sizes in bytes do not fit into a SavedModel."""
    size = sum(sizes)
    if size > MAX_BYTES:
        raise ValueError(
            f"expected weights of at most {MAX_BYTES / 1e9:.1f} GB, received {size / 1e9:.1f} GB: "
            f"more than a SavedModel holds as constants. {cure}"
        )


def stored_size(variable: Any) -> int:
    """Bytes of a variable that becomes a constant of its own dtype."""
    return tf.dtypes.as_dtype(variable.dtype).size * math.prod(variable.shape)


def _folded(chain: Chain, half: bool) -> Network:
    product = _scaled_product if half else _product
    centre, shift, bias = map(_summand, (-chain.centre, chain.shift, chain.bias))
    kernel, readout = product(chain.kernel), product(chain.readout)
    roots = _constant(chain.roots)

    def hidden(x: Any) -> Any:
        return chain.activation(shift(kernel(centre(x))))

    return Network(lambda x: bias(readout(hidden(x))), lambda x: hidden(x) * roots, chain)


def _as_it_is(model: keras.Model, half: bool) -> Network:
    """A network that runs the model's own call, with constants in place of its variables."""
    [inputs] = model.inputs
    model(np.zeros((1, inputs.shape[1]), inputs.dtype), training=False)
    # The call above builds layers within layers, such as an activation with weights, so that
    # `model.variables` is complete.
    halved = [half and _is_matrix(v) for v in model.variables]
    pairs = list(zip(model.variables, halved, strict=True))
    check_size(2 * math.prod(v.shape) if short else stored_size(v) for v, short in pairs)
    constants = [
        _halved(float64_of(v), v.dtype) if short else (_constant(v), None) for v, short in pairs
    ]

    def call(function: Callable, x: Any) -> Any:
        values = [v if s is None else tf.cast(v, s.dtype) * s for v, s in constants]
        mapping = list(zip(model.variables, values, strict=True))
        with keras.StatelessScope(state_mapping=mapping):
            answer = function(tf.cast(x, inputs.dtype))
        return tf.cast(answer, tf.float32)

    def outputs(x: Any) -> Any:
        return call(lambda x: model(x, training=False), x)

    tap = _tap(model)
    if tap is None:
        logger.info("no signature features: %s has no one AsymScaledDense to tap", model.name)
        return Network(outputs, None, None)
    layer, before = tap[0], keras.Model(model.inputs, tap[1])

    def features(x: Any) -> Any:
        return call(lambda x: layer.features(before(x, training=False)), x)

    return Network(outputs, features, None)


def _tap(model: keras.Model) -> tuple | None:
    """The one `AsymScaledDense` and its input, if `model` itself calls it, and calls it once."""
    try:
        layer = find_layer(model)
    except ValueError:
        return None
    steps = steps_of(model) if is_graph(model) else []
    calls = [step.inputs for step in steps if step.operation is layer]
    return (layer, calls[0][0]) if len(calls) == 1 else None


def _product(matrix: np.ndarray) -> Callable:
    constant = _constant(matrix)
    return lambda x: tf.matmul(x, constant)


def _scaled_product(matrix: np.ndarray) -> Callable:
    constant, scales = _halved(matrix)
    return lambda x: tf.matmul(x, tf.cast(constant, tf.float32)) * scales


def _summand(values: np.ndarray) -> Callable:
    """A function that adds `values`. If they are all zero, it adds nothing."""
    if not values.any():
        return lambda x: x
    constant = _constant(values)
    return lambda x: x + constant


def _constant(values: Any) -> Any:
    """A constant: an array becomes float32, and a variable keeps its dtype."""
    if isinstance(values, np.ndarray):
        with np.errstate(over="ignore"):
            values = values.astype("float32")
        if not np.isfinite(values).all():
            received = "others: the network is damaged, or its units are too large for float32."
            raise ValueError(f"expected weights that are finite in float32, received {received}")
        return tf.constant(values)
    return tf.constant(keras.ops.convert_to_numpy(values))


def _halved(matrix: np.ndarray, dtype: str = "float32") -> tuple[Any, Any]:
    """The matrix as a float16 constant, and a factor for each column: its largest entry.

    The columns are divided by their factors, so that small columns, too, keep all digits of
    float16.
    """
    largest = np.abs(matrix).max(axis=tuple(range(matrix.ndim - 1)))
    largest[largest == 0.0] = 1.0
    return tf.constant(matrix / largest, tf.float16), tf.constant(largest, dtype)


def _is_matrix(variable: Any) -> bool:
    return len(variable.shape) > 1 and variable.dtype in ("float32", "float64")
