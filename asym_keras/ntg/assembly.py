"""The NTG matrix from gradients in factors, tile by tile, in bounded memory."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable

import numpy as np
import tensorflow as tf

from asym_keras.ntg.factors import Lookup, Vectors, gram

# The bytes that may be held beside the result: a third for factors that are kept (twice while
# their parts are joined), an eighth for computing more (which may take twice what is counted), and
# the rest for blocks of the result.
TILE_BYTES = 256 * 2**20
_ALIGNMENT = 64  # bytes, of TensorFlow's buffers
_CONSTANT = ("Const", "Placeholder", "ReadVariableOp")
_MOST_EXAMPLES = 2**16  # at once
# Blocks this wide keep matrix products at full speed, and leave out most of a symmetric half.
_BLOCK = 1024


class Compiled:
    """A function of examples that returns gradients in factors, and their inner products.

    Args:
        factors: function of examples (n, ...) that returns their list of factors.
        signature: `tf.TensorSpec` of the examples, or a structure of these, n being None.
        every: number of outputs K if all pairs of them are wanted, else None.
    """

    def __init__(self, factors: Callable, signature, every: int | None):
        self.factors = _concrete(factors, signature)
        shapes = tf.nest.map_structure(
            lambda t: tf.TensorSpec([None, *t.shape[1:]], t.dtype), self.factors.structured_outputs
        )

        # Layers may differ in precision.
        self.dtype = tf.as_dtype(np.result_type(*(f[-1].dtype.as_numpy_dtype for f in shapes)))

        def products(rows, columns):
            pairs = zip(rows, columns, strict=True)
            return tf.add_n([tf.cast(gram(f, g, every is not None), self.dtype) for f, g in pairs])

        def whole(x):
            rows = self.factors(x)
            return products(rows, rows)

        # Of some examples with others; and of so few examples that no tiles are needed.
        self.products = _when_called(products, shapes, shapes)
        self.whole = _when_called(whole, signature)
        self.every, self._outputs = every, shapes[0][-1].shape[-2]
        # By trial: what a Jacobian needs grows with the square of the examples.
        self.batch_size, peak = _MOST_EXAMPLES, _peak(self.factors)
        while self.batch_size > 1 and peak(self.batch_size) > TILE_BYTES // 8:
            self.batch_size = self.batch_size * 4 // 5
        one = sum(_bytes(t) for factor in shapes for t in factor)
        self.kept = max(1, TILE_BYTES // 6 // one)
        # Every factor's products are alive until they are added up.
        pair = (every or 1) ** 2 * sum(map(_pair_size, shapes))
        self.block = max(1, min(_BLOCK, int((TILE_BYTES / 4 / pair) ** 0.5)))

    def of_last_output(self, x) -> tf.Tensor:
        """Inner products (n, n) of the gradients of the last of the outputs, for few examples."""
        if self.every:
            return self.whole(x)[:, -1, :, -1]
        if self._outputs == 1:
            return self.whole(x)
        last = [_of_last_output(factor) for factor in self.factors(x)]
        return tf.add_n([tf.cast(gram(f, f, False), self.dtype) for f in last])


def _concrete(function: Callable, *signature):
    """`function` traced once, for this signature: any other is an error and no new trace."""
    compiled = tf.function(function, input_signature=signature, autograph=False)
    return compiled.get_concrete_function()


def _when_called(function: Callable, *signature) -> Callable:
    """The same, traced at the first call."""
    made = functools.cache(lambda: _concrete(function, *signature))
    return lambda *arguments: made()(*arguments)


def assemble(
    compiled: Compiled, x, x2, *, batch_size: int | None, columns: Compiled | None = None
) -> tf.Tensor:
    """The NTG matrix of examples `x` and `x2`.

    Args:
        x: tensor, or structure of tensors, (n, ...). x2: the same (n2, ...), or None: `x`, of
            whose symmetric matrix only one half is computed.
        batch_size: examples whose gradients are computed at once. None: by their size.
        columns: gradients of `x2`, if its examples are of other sizes. None: `compiled`.

    Returns:
        Tensor (n, n2), or (n, K, n2, K) if `compiled` is of every pair of outputs.
    """
    symmetric, batch_size = x2 is None, batch_size or compiled.batch_size
    x2, every = x if symmetric else x2, compiled.every
    n, n2 = _count(x), _count(x2)
    if symmetric and n <= min(batch_size, compiled.block):
        return compiled.whole(x)  # a small matrix costs little more than its calls
    kept = max(batch_size, compiled.kept)
    shape = [n, n2] if every is None else [n, every, n2, every]
    result = _aligned(shape, compiled.dtype.as_numpy_dtype)
    for i in range(0, n, kept):
        group = _take(x, i, kept)
        # Parts of one size: a short last one would cost as much as the others.
        part = -(-_count(group) // -(-_count(group) // batch_size))
        starts = range(0, _count(group), part)
        rows = _joined([compiled.factors(_take(group, k, part)) for k in starts])
        if symmetric:
            _fill(result, compiled, rows, rows, i, i, mirror=True)
        for k in range(i + kept if symmetric else 0, n2, batch_size):
            others = (columns or compiled).factors(_take(x2, k, batch_size))
            _fill(result, compiled, rows, others, i, k, mirror=symmetric)
    return tf.experimental.dlpack.from_dlpack(result.__dlpack__())


def _peak(function) -> Callable:
    """The bytes that a concrete function needs at once, as a function of the examples' number.

    Tensors live from the operation that makes them to the last one that takes them; what is
    returned, to the end, where TensorFlow copies it.
    """
    operations = function.graph.get_operations()
    last = {t.ref(): i for i, op in enumerate(operations) for t in op.inputs}
    making = [(i, op.outputs) for i, op in enumerate(operations) if op.type not in _CONSTANT]
    made = [(i, t) for i, outputs in making for t in outputs if _bytes(t)]
    powers = np.arange(1 + max((t.shape.rank for _, t in made), default=0))
    # Bytes for each power of the number of examples; first what an operation adds.
    live = np.zeros((len(operations) + 1, len(powers)))
    for i, t in made:
        power = list(t.shape).count(None)
        live[i, power] += _bytes(t)
        live[last.get(t.ref(), i) + 1, power] -= _bytes(t)
    live = live.cumsum(axis=0)
    # Inside the loop over several outputs, which is not seen, about as much is alive again.
    loops = any(op.type in ("While", "StatelessWhile") for op in operations)
    return lambda examples: (1 + loops) * (live @ float(examples) ** powers).max()


def _fill(result, compiled: Compiled, rows, columns, i: int, k: int, *, mirror: bool) -> None:
    """Writes the tile at (i, k), and its transpose if `mirror`, in blocks."""
    same, size = mirror and i == k, compiled.block
    for a in range(0, _count(rows), size):
        part = _slice(rows, a, size)
        for b in range(a if same else 0, _count(columns), size):
            other = part if same and a == b else _slice(columns, b, size)
            values = compiled.products(part, other)
            _assign(result, values, i + a, k + b)
            if mirror and i + a != k + b:
                turned = tf.transpose(values, [2, 3, 0, 1] if compiled.every else None)
                _assign(result, turned, k + b, i + a)


def _assign(result: np.ndarray, values: tf.Tensor, i: int, k: int) -> None:
    if result.ndim == 4:
        result[i : i + values.shape[0], :, k : k + values.shape[2]] = values.numpy()
    else:
        result[i : i + values.shape[0], k : k + values.shape[1]] = values.numpy()


def _aligned(shape, dtype) -> np.ndarray:
    """An empty array that TensorFlow can take over as it is.

    Tensors can't be filled piece by piece: joining pieces, or assigning to a slice of a variable,
    would hold the result twice.
    """
    size = math.prod(shape) * np.dtype(dtype).itemsize
    buffer = np.empty(size + _ALIGNMENT, "uint8")
    start = -buffer.ctypes.data % _ALIGNMENT
    return buffer[start : start + size].view(dtype).reshape(shape)


def _count(x) -> int:
    return len(tf.nest.flatten(x)[0])


def _take(x, start: int, count: int):
    return tf.nest.map_structure(lambda t: t[start : start + count], x)


def _joined(parts: list):
    """Factors of several tiles as those of one."""
    if len(parts) == 1:
        return parts[0]
    return tf.nest.map_structure(lambda *pieces: tf.concat(pieces, 0), *parts)


def _slice(factors, start: int, count: int):
    if start == 0 and count >= _count(factors):
        return factors
    return _take(factors, start, count)


def _bytes(t) -> int:
    """Of a tensor, for one example; unknown sizes are numbers of examples."""
    if t.shape.rank is None or not (t.dtype.is_floating or t.dtype.is_integer or t.dtype.is_bool):
        return 0
    return t.dtype.size * math.prod(size or 1 for size in t.shape)


def _of_last_output(factor):
    if isinstance(factor, Vectors):
        return Vectors(factor.gradients[:, -1:])
    return type(factor)(factor[0], factor.cotangents[:, :, -1:])


def _pair_size(factor) -> int:
    """Bytes of the products of one pair of examples, for one pair of outputs."""
    dtype = factor[-1].dtype
    positions = 1 if len(factor) == 1 else factor[-1].shape[1]
    return 3 * dtype.size * positions**2 * (2 if isinstance(factor, Lookup) else 1)
