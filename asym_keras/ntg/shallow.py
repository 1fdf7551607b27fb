"""Closed form of the neural tangent Gram matrix of the shallow network."""

from __future__ import annotations

import logging
import types
import weakref
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from asym_keras.backend import require_tensorflow
from asym_keras.checks import is_whole
from asym_keras.fingerprint import Fingerprint, PerModel, is_of_a_library, reaches_variables
from asym_keras.graphs import does_as_its_class, graph_of, is_elementwise, is_graph, only_operation
from asym_keras.layers import AsymScaledDense
from asym_keras.ntg.assembly import Compiled, assemble
from asym_keras.ntg.factors import Outer

logger = logging.getLogger(__name__)

_kept = PerModel()
_of_libraries: weakref.WeakKeyDictionary = weakref.WeakKeyDictionary()  # these never change


def find_shallow_layer(model: keras.Model) -> AsymScaledDense | None:
    """The trainable `AsymScaledDense` that `model` consists of, or None if there is more to it.

    More are: other operations (`2 * layer(x)`), a second use of the layer, a `call` of one's own in
    a subclass, an activation with weights or one that reaches those of others.
    """
    layer = only_operation(model) if is_graph(model) else None
    if type(layer) is not AsymScaledDense or not layer.outputs or not does_as_its_class(layer):
        return None
    weights = [layer.kernel] if layer.bias is None else [layer.kernel, layer.bias]
    alone = list(map(id, layer.trainable_variables)) == list(map(id, weights))
    once = len(graph_of(model).outputs) == 1
    return layer if alone and once and _is_simple(layer) else None


def kept_for(layer: AsymScaledDense) -> dict:
    """What was found out about `layer` with its activation as it is; its variables stay."""
    activation = layer.activation
    if isinstance(activation, types.FunctionType) and is_of_a_library(activation.__module__):
        return _of_libraries.setdefault(layer, {}).setdefault(activation, {})
    return _kept(layer, Fingerprint((), (activation,)))


def _is_simple(layer: AsymScaledDense) -> bool:
    """Whether each output depends on its own input alone, and on no weights."""
    kept, activation = kept_for(layer), layer.activation
    if "simple" not in kept:
        weights = isinstance(activation, keras.layers.Layer) and bool(activation.weights)
        simple = not weights and not reaches_variables(activation)
        kept["simple"] = simple and is_elementwise(activation, max(layer.units, 4))
    return kept["simple"]


def shallow_ntg(
    layer: AsymScaledDense,
    x: Any,
    x2: Any = None,
    *,
    output: int | str | tuple = 0,
    dtype: Any = None,
    batch_size: int | None = None,
) -> tf.Tensor:
    """NTG matrix of output k with respect to the kernel, Eq. (7), and the bias, if there is one.

    `Theta = (1/d) X X2^T * (S diag(lambda_j a_jk^2) S2^T)`, `*` elementwise and
    `S_ij = sigma'(z_j(x_i))`. A bias adds 1 to the first factor; in the standard parametrization
    d is 1. All of the readout enters, so other readouts than signs work.

    Args:
        layer: built layer with outputs and an elementwise activation.
        x: inputs (n, d). x2: inputs (n2, d); None: `x`.
        output: k; `"trace"` for the mean over outputs, with the mean of `a_jk^2`; `"all"` for
            all pairs, with `a_jk a_jk'`.
        dtype: to compute in; None: the dtype of the layer's variables. In float64 small
            eigenvalues can be trusted even for float32 weights.
        batch_size: inputs whose slopes are computed at once; None: by their size.

    Returns:
        Tensor (n, n2), or (n, K, n2, K) for `output="all"`.

    Raises:
        ValueError: A layer without outputs, or no such output.
    """
    require_tensorflow("shallow_ntg")
    if output not in ("trace", "all"):
        _require_output(layer, output)
    dtype = tf.as_dtype(dtype or layer.variable_dtype)
    x, x2 = tf.cast(x, dtype), None if x2 is None else tf.cast(x2, dtype)
    return assemble(_compile(layer, output, dtype), x, x2, batch_size=batch_size)


def _compile(layer: AsymScaledDense, output, dtype: tf.DType) -> Compiled:
    """Gradients of any number of inputs, compiled once."""
    functions, key = kept_for(layer), (output, dtype)
    if key not in functions:
        logger.info("NTG of %s: closed form in %s", layer.name, dtype.name)
        signature = tf.TensorSpec([None, layer.kernel.shape[0]], dtype)
        every = layer.outputs if output == "all" else None
        functions[key] = Compiled(shallow_gradients(layer, output, dtype), signature, every)
    return functions[key]


def shallow_gradients(layer: AsymScaledDense, output, dtype: tf.DType) -> Callable:
    """Function of inputs (n, d): what multiplies weights, and slopes times the way to outputs."""
    roots, readout, slopes_of = layer.sqrt_scalings.value, layer.readout.value, _slopes_of(layer)

    def factors(x) -> list[Outer]:
        heads = tf.cast(readout, dtype)
        if output == "trace":
            heads = tf.sqrt(tf.reduce_mean(heads**2, axis=1, keepdims=True))
        elif output != "all":
            heads = heads[:, output : output + 1]
        heads = tf.transpose(tf.cast(roots, dtype)[:, None] * heads)
        inputs, slopes = slopes_of(x, dtype)
        return [Outer(inputs[:, None], (slopes[:, None] * heads)[:, None])]

    return factors


def _slopes_of(layer: AsymScaledDense) -> Callable:
    """Function of inputs (n, d): them over sqrt(d), with a one for a bias, and `sigma'(z_j)`."""
    kernel, bias = layer.kernel.value, None if layer.bias is None else layer.bias.value
    activation, divisor = layer.activation, layer.input_divisor

    def slopes_of(x, dtype) -> tuple[tf.Tensor, tf.Tensor]:
        inputs = tf.cast(x, dtype) / divisor
        z = tf.matmul(inputs, tf.cast(kernel, dtype))
        if bias is not None:
            z += tf.cast(bias, dtype)
            inputs = tf.pad(inputs, [[0, 0], [0, 1]], constant_values=1)
        return inputs, _slopes(activation, z)

    return slopes_of


def _slopes(activation, z: tf.Tensor) -> tf.Tensor:
    """`sigma'(z)`, elementwise."""
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(z)
        activations = activation(z)
    # A step function has none, which TensorFlow tells by None.
    return tape.gradient(activations, z, unconnected_gradients="zero")


def split_ntg(
    layer: AsymScaledDense, x: Any, x2: Any = None, *, output: int = 0, dtype: Any = None
) -> tuple[tf.Tensor, tf.Tensor]:
    """The symmetric and the asymmetrical part of the NTG matrix, Eq. (14).

    Eq. (7) with `lambda_j` replaced by `gamma / m`, and by the rest,
    `(1 - gamma) w_j / sum_k w_k`. They sum to `shallow_ntg` up to rounding. For wide networks
    the first hardly changes in training, the second does.

    Args:
        layer: built layer with outputs, an elementwise activation, and scalings from gamma.
        x: inputs (n, d). x2: inputs (n2, d); None: `x`.
        output: k.
        dtype: as for `shallow_ntg`.

    Returns:
        Two tensors (n, n2).

    Raises:
        ValueError: Custom scalings, for which gamma means nothing; scalings other than
            the layer's gamma and alpha give; no such output.
    """
    require_tensorflow("split_ntg")
    scalings, custom = layer._scalings, layer._custom_scalings
    # 2 %: more than rounding to any dtype; another gamma or alpha differs by more.
    if custom or not np.allclose(layer.scalings, scalings, rtol=0.02, atol=1e-7):
        raise ValueError(
            f"split_ntg: expected scalings from gamma and alpha, received in {layer.name!r} "
            f"{'custom ones' if custom else 'weights that are not of its gamma and alpha'}. "
            "Build the layer with the gamma and alpha of its weights."
        )
    # As shares of the layer's own, rounded scalings: the parts sum to its NTG.
    share, none = layer.gamma * scalings.mean(), np.zeros(layer.units)
    symmetric = np.divide(share, scalings, out=none, where=scalings > 0.0)
    factors = _node_factors(layer, output)
    dtype = tf.as_dtype(dtype or layer.variable_dtype)
    x, slopes = _inputs_and_slopes(layer, x, dtype)
    x2, slopes2 = (x, slopes) if x2 is None else _inputs_and_slopes(layer, x2, dtype)
    inputs = tf.matmul(x, x2, transpose_b=True)
    first, second = (
        inputs * tf.matmul(slopes * tf.cast(factors * share, dtype), slopes2, transpose_b=True)
        for share in (symmetric, 1.0 - symmetric)
    )
    return first, second


def node_contributions(layer: AsymScaledDense, x: Any, *, output: int = 0) -> np.ndarray:
    """What each node adds to the trace of the NTG matrix, Eq. (7).

    The matrix is a sum over nodes of `(lambda_j a_jk^2 / d) diag(s_j) X X^T diag(s_j)`,
    positive semi-definite, `s_ij = sigma'(z_j(x_i))`; the trace of one is
    `(lambda_j a_jk^2 / d) sum_i s_ij^2 ||x_i||^2`; bias and parametrization as in `shallow_ntg`.

    Args:
        layer: built layer with outputs and an elementwise activation.
        x: inputs (n, d).
        output: k.

    Returns:
        float64 (m,), nonnegative; sums to the trace. Computed in float64.

    Raises:
        ValueError: No such output.
    """
    require_tensorflow("node_contributions")
    factors = _node_factors(layer, output)
    inputs, slopes = _inputs_and_slopes(layer, x, tf.float64)
    return factors * (tf.reduce_sum(inputs**2, axis=1).numpy() @ (slopes**2).numpy())


def leading_share(
    layer: AsymScaledDense,
    x: Any,
    k: npt.ArrayLike,
    *,
    output: int = 0,
    order: npt.ArrayLike | None = None,
) -> float | np.ndarray:
    """Share of the NTG matrix that the k first nodes carry, in [0, 1].

    The ratio of traces: of the NTG restricted to those nodes, to the whole. Traces add up over
    nodes, so that the share grows with k, to 1, and one node's part means the same in any
    company; spectral norms do neither.

    Args:
        layer, x, output: as for `node_contributions`.
        k: int from 0 to m, or array of them.
        order: node indices, the most important first, at least as many as the largest k: for
            example `np.argsort(-importance)`. None: by contribution, so that no other k
            nodes carry more.

    Returns:
        float, or a float64 array of the shape of k.

    Raises:
        ValueError: A k out of range, an order that is too short or no distinct indices, no
            such output, or an NTG that is zero.
    """
    traces = node_contributions(layer, x, output=output)
    order = np.argsort(-traces, kind="stable") if order is None else np.asarray(order)
    valid = order.ndim == 1 and order.dtype.kind in "iu" and np.isin(order, range(layer.units))
    if not np.all(valid) or len(np.unique(order)) < len(order):
        raise ValueError(
            f"leading_share: expected order to hold distinct node indices from 0 to "
            f"{layer.units - 1}, received {order!r}."
        )
    counts = np.asarray(k)
    if counts.dtype.kind not in "iu" or np.any((counts < 0) | (counts > len(order))):
        raise ValueError(
            f"leading_share: expected k to be integers from 0 to the {len(order)} nodes in order, "
            f"received {k!r}."
        )
    if not traces.any():
        raise ValueError(
            "leading_share: expected an NTG that is not zero, received one where no node is "
            "active on any of the inputs. Use other inputs."
        )
    shares = np.concatenate([[0.0], np.cumsum(traces[order])]) / traces.sum()
    return shares[counts] if counts.ndim else float(shares[counts])


def _node_factors(layer: AsymScaledDense, output: int) -> np.ndarray:
    """`lambda_j a_jk^2`, float64 (m,)."""
    _require_output(layer, output)
    return layer.scalings * layer.readout.numpy().astype("float64")[:, output] ** 2


def _require_output(layer: AsymScaledDense, output) -> None:
    if not layer.outputs or not is_whole(output, 0, layer.outputs - 1):
        raise ValueError(
            f"Expected a layer with outputs, and output to be one of them, received outputs="
            f"{layer.outputs} in {layer.name!r} and output={output}."
        )


def _inputs_and_slopes(layer: AsymScaledDense, x, dtype) -> tuple[tf.Tensor, tf.Tensor]:
    """What `_slopes_of` returns, of inputs whose shape is asked for."""
    if np.ndim(x) != 2 or np.shape(x)[1] != layer.kernel.shape[0]:
        raise ValueError(
            f"Expected inputs of shape (n, {layer.kernel.shape[0]}) for {layer.name!r}, received "
            f"shape {np.shape(x)}."
        )
    return _slopes_of(layer)(x, dtype)
