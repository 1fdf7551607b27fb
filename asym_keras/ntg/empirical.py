"""The empirical neural tangent Gram (NTG) matrix of a Keras model."""

from __future__ import annotations

import logging
import weakref

import numpy as np
import tensorflow as tf

from asym_keras.ntg.assembly import Compiled, assemble
from asym_keras.ntg.inputs import as_arrays, as_tensors
from asym_keras.ntg.jacobian import jacobian_factors
from asym_keras.ntg.precision import at_precision, computes_in_less
from asym_keras.ntg.shallow import find_shallow_layer, shallow_ntg
from asym_keras.ntg.structured import known_variables, structured_factors

logger = logging.getLogger(__name__)

METHODS = ("auto", "jacobian", "structured", "closed_form")

_compiled: weakref.WeakKeyDictionary = weakref.WeakKeyDictionary()


def empirical_ntg(
    model, x, x2=None, *, output=0, variables=None, method="auto", batch_size=None, dtype=None
):
    """Neural tangent Gram (NTG) matrix of `model` at its current weights, Eq. (6)-(7).

    Entry `(i, k)` is the inner product of the gradients of `f(x_i)` and `f(x2_k)` with
    respect to `variables`, the model being in inference. With `x2=None` the matrix is
    symmetric and positive semi-definite. Frozen weights do not count.

    Args:
        model: built Keras model, `(n, ...)` -> `(n, K)` or `(n,)`.
        x: examples (n, ...); of a model with several inputs, a structure of such arrays.
        x2: examples (n2, ...), for the cross matrix. None: `x`.
        output: int, which of the K outputs; `"trace"`, the mean of their K matrices; or
            `"all"`, inner products for every pair of outputs.
        variables: what to differentiate by. None: `model.trainable_variables`.
        method: `"jacobian"`, rows of the Jacobian by `tf.GradientTape`: any model;
            `"structured"`, layer by layer without the Jacobian: functional and Sequential
            models. Weights of Dense, AsymScaledDense, Conv2D, BatchNormalization and
            Embedding layers; the Jacobian for other weights, if there are any;
            `"closed_form"`, Eq. (7), for `shallow_network`;
            `"auto"`: the last of these that applies.
        batch_size: examples that go through the model at once. Changes speed and memory,
            not the result. None: by size; what is held beside the result is about 256 MiB.
        dtype: to compute in, model and all. None: that of the variables, also under mixed
            precision. Small eigenvalues can be trusted in float64 only.

    Returns:
        Tensor (n, n2), or (n, K, n2, K) for `output="all"`, of `dtype`.

    Raises:
        ValueError: An unknown method, no such output, a method or dtype that does not
            apply, a batch_size below 1, no variables, or others than the model's; no examples.

    Example:
        >>> model = asym_keras.shallow_network(3, width=64, gamma=0.5, alpha=0.5, seed=0)
        >>> asym_keras.empirical_ntg(model, np.ones((5, 3), "float32")).shape
        TensorShape([5, 5])
    """
    x, x2 = as_arrays(model, x), None if x2 is None else as_arrays(model, x2)
    outputs = _check(model, x, output, method, batch_size)
    closed = method in ("auto", "closed_form") and variables is None
    layer = find_shallow_layer(model) if closed else None
    if method == "closed_form" and layer is None:
        raise ValueError(
            "empirical_ntg: expected for method='closed_form' a model of one trainable "
            "AsymScaledDense with outputs, and nothing else, and variables=None, "
            f"received {model.name!r}. Use method='auto'."
        )
    if layer is not None:
        return shallow_ntg(layer, x, x2, output=output, dtype=dtype, batch_size=batch_size)
    variables = list(model.trainable_variables if variables is None else variables)
    model, variables = _at_dtype(model, variables, dtype)
    known = [] if method == "jacobian" else known_variables(model, variables)
    if method == "structured" and not known:
        raise ValueError(
            "empirical_ntg: expected for method='structured' a functional or Sequential model "
            "with weights in layers of known classes, received none of these in "
            f"{model.name!r}. Use method='jacobian'."
        )
    x, x2 = as_tensors(model, x), None if x2 is None else as_tensors(model, x2)
    compiled = _compile(model, x, output, outputs, variables, known)
    matrix = assemble(compiled, x, x2, batch_size=batch_size)
    return matrix / outputs if output == "trace" and outputs > 1 else matrix


def _check(model, x, output, method: str, batch_size: int | None) -> int:
    """The number of outputs K, all arguments being right."""
    if method not in METHODS:
        raise ValueError(f"empirical_ntg: expected method in {METHODS}, received {method!r}.")
    # A subclassed model has no `output_shape`: one example tells.
    shape = getattr(model, "output_shape", None)
    if shape is None:
        one = tf.nest.map_structure(lambda a: a[:1], x)
        shape = tuple(model(as_tensors(model, one), training=False).shape)
    count = 1 if len(shape) == 1 else shape[-1]
    index = isinstance(output, (int, np.integer)) and not isinstance(output, bool)
    named = 0 <= output < count if index else isinstance(output, str) and output in ("trace", "all")
    if len(shape) > 2 or not named:
        raise ValueError(
            f"empirical_ntg: expected outputs of shape (n, K) or (n,), and output below K, "
            f"'trace' or 'all', received shape {shape} and output={output!r}."
        )
    if batch_size is not None and batch_size < 1:
        raise ValueError(
            f"empirical_ntg: expected batch_size of at least 1, or None, received {batch_size}."
        )
    return count


def _at_dtype(model, variables: list, dtype):
    """The model in `dtype`, and in it the counterparts of `variables`."""
    if not variables:
        raise ValueError("empirical_ntg: expected at least one variable, received none.")
    places = {id(w): place for place, w in enumerate(model.weights)}
    strangers = [v.path for v in variables if id(v) not in places]
    if strangers:
        raise ValueError(
            f"empirical_ntg: expected variables of {model.name!r}, received "
            f"{', '.join(strangers)}, which its outputs don't depend on."
        )
    if dtype is None and not computes_in_less(model):
        return model, variables
    dtype = dtype or np.result_type(*(tf.as_dtype(v.dtype).as_numpy_dtype for v in variables))
    copy = at_precision(model, dtype)
    return copy, [copy.weights[places[id(v)]] for v in variables]


def _compile(model, x, output, outputs: int, variables, known) -> Compiled:
    """Gradients of any number of examples like `x`; compiled once per model and shape.

    An eager `tape.jacobian` would be traced at each call.
    """
    signature = tf.nest.map_structure(lambda t: tf.TensorSpec([None, *t.shape[1:]], t.dtype), x)
    specs = tuple((s.shape, s.dtype) for s in tf.nest.flatten(signature))
    key = (output, *specs, tuple(map(id, variables)), tuple(map(id, known)))
    functions = _compiled.setdefault(model, {})
    if key not in functions:
        known_ids = {id(v) for v in known}
        others = [v for v in variables if id(v) not in known_ids]
        named = f" ({', '.join(v.path for v in others)})" if known and others else ""
        message = "NTG of %s: structured for %d weights, jacobian for %d%s"
        logger.info(message, model.name, len(known), len(others), named)
        # A strong reference would keep the model alive for as long as the cache.
        reference = weakref.ref(model)

        def differentiated(f):
            f = f[:, None] if len(f.shape) == 1 else f
            return f if isinstance(output, str) else f[:, output : output + 1]

        def factors(x):
            model = reference()
            found = structured_factors(model, x, known, differentiated) if known else []
            return found + (jacobian_factors(model, x, others, differentiated) if others else [])

        functions[key] = Compiled(factors, signature, outputs if output == "all" else None)
    return functions[key]
