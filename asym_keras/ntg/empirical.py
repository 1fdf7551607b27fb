"""The empirical neural tangent Gram (NTG) matrix of a Keras model."""

from __future__ import annotations

import logging
import weakref

import keras
import numpy as np
import tensorflow as tf

from asym_keras.ntg.shallow import find_shallow_layer, shallow_ntg

logger = logging.getLogger(__name__)

METHODS = ("auto", "jacobian", "closed_form")
# Bytes of Jacobian rows that two tiles may hold, unless batch_size says otherwise.
TILE_BYTES = 256 * 2**20

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
        x: examples (n, ...).
        x2: examples (n2, ...), for the cross matrix. None: `x`.
        output: int, which of the K outputs.
        variables: what to differentiate by. None: `model.trainable_variables`.
        method: `"jacobian"`, `tf.GradientTape.jacobian` in tiles of rows: always works;
            `"closed_form"`, Eq. (7), for `shallow_network`; `"auto"`: the fastest that applies.
        batch_size: Jacobian rows in a tile. Changes speed and memory (two tiles of
            `batch_size` x weights numbers are held), not the result. None: as many as
            fit 256 MiB.
        dtype: to compute in, for `"closed_form"`. None: that of the variables.

    Returns:
        Tensor (n, n2), dtype of the variables (or `dtype`). Read small eigenvalues in
        float64 only (`asym_keras.ntg.spectrum`).

    Raises:
        ValueError: An unknown method, no such output, a method that does not apply, a
            batch_size below 1, no variables.

    Example:
        >>> model = asym_keras.shallow_network(3, width=64, gamma=0.5, alpha=0.5, seed=0)
        >>> asym_keras.empirical_ntg(model, np.ones((5, 3), "float32")).shape
        TensorShape([5, 5])
    """
    if method not in METHODS:
        raise ValueError(f"empirical_ntg: expected method in {METHODS}, received {method!r}.")
    shape = _output_shape(model, x)
    if len(shape) > 2 or not 0 <= output < (1 if len(shape) == 1 else shape[-1]):
        raise ValueError(
            f"empirical_ntg: expected outputs of shape (n, K) or (n,) and output below K, "
            f"received shape {shape} and output={output}."
        )
    if batch_size is not None and batch_size < 1:
        raise ValueError(
            f"empirical_ntg: expected batch_size of at least 1, or None, received {batch_size}."
        )
    closed = method != "jacobian" and variables is None
    layer = find_shallow_layer(model) if closed else None
    if method == "closed_form" and layer is None:
        raise ValueError(
            "empirical_ntg: expected for method='closed_form' a model of one trainable "
            "AsymScaledDense with outputs, and nothing else, and variables=None, "
            f"received {model.name!r}. Use method='jacobian'."
        )
    if layer is not None:
        logger.debug("NTG of %s by closed form", model.name)
        return shallow_ntg(layer, x, x2, output=output, dtype=dtype)
    variables = list(model.trainable_variables if variables is None else variables)
    if not variables:
        raise ValueError("empirical_ntg: expected at least one variable, received none.")
    dtypes = sorted({str(v.dtype) for v in variables})
    if dtype is not None and dtypes != [tf.as_dtype(dtype).name]:
        raise ValueError(
            f"empirical_ntg: expected dtype to be that of the variables, {', '.join(dtypes)}, "
            f"for method='jacobian', received {dtype}."
        )
    logger.debug("NTG of %s by jacobian", model.name)
    return _jacobian_ntg(model, x, x2, output, variables, batch_size)


def _output_shape(model, x) -> tuple:
    """A subclassed model has no `output_shape`: one example tells."""
    known = getattr(model, "output_shape", None)
    return tuple(model(np.asarray(x)[:1], training=False).shape) if known is None else known


def _input_dtype(model) -> str:
    inputs = getattr(model, "inputs", None)
    return inputs[0].dtype if inputs else model.compute_dtype


def _jacobian_ntg(model, x, x2, output, variables, batch_size):
    x = tf.convert_to_tensor(np.asarray(x), _input_dtype(model))
    x2 = x if x2 is None else tf.convert_to_tensor(np.asarray(x2), x.dtype)
    if batch_size is None:
        row = sum(int(np.prod(v.shape)) * tf.as_dtype(v.dtype).size for v in variables)
        batch_size = max(1, TILE_BYTES // (2 * row))
    jacobian = _jacobian_function(model, output, variables)
    blocks: dict[tuple[int, int], tf.Tensor] = {}
    for i in range(0, len(x), batch_size):
        rows = jacobian(x[i : i + batch_size])
        # The symmetric half that is not computed is the transpose of the other.
        for k in range(i if x2 is x else 0, len(x2), batch_size):
            same = x2 is x and i == k
            block = _inner_products(rows, rows if same else jacobian(x2[k : k + batch_size]))
            blocks[i, k] = block
            if x2 is x:
                blocks[k, i] = tf.transpose(block)
    columns = range(0, len(x2), batch_size)
    return tf.concat(
        [tf.concat([blocks[i, k] for k in columns], 1) for i in range(0, len(x), batch_size)], 0
    )


def _jacobian_function(model: keras.Model, output: int, variables):
    """Rows of the Jacobian as a list of (rows, weights); compiled once per model and shape.

    An eager `tape.jacobian` would be traced anew at each call.
    """
    functions = _compiled.setdefault(model, {})
    key = (output, tuple(id(v) for v in variables))
    if key not in functions:
        # A strong reference would keep the model alive for as long as the cache.
        reference = weakref.ref(model)

        @tf.function(reduce_retracing=False)
        def jacobian(x):
            with tf.GradientTape(watch_accessed_variables=False) as tape:
                tape.watch([v.value for v in variables])
                model = reference()
                assert model is not None  # it is being called
                f = model(x, training=False)
                f = f if len(f.shape) == 1 else f[:, output]
            rows = tape.jacobian(
                f, [v.value for v in variables], unconnected_gradients=tf.UnconnectedGradients.ZERO
            )
            return [tf.reshape(r, [len(x), -1]) for r in rows]

        functions[key] = jacobian
    return functions[key]


def _inner_products(rows, rows2) -> tf.Tensor:
    return tf.add_n([tf.matmul(a, b, transpose_b=True) for a, b in zip(rows, rows2, strict=True)])
