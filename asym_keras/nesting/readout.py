"""A linear readout of several prefixes of its features at once. Uses `keras.ops` only."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

SMALLEST = 16  # the first of the widths that "auto" chooses


@keras.saving.register_keras_serializable(package="asym_keras")
class NestedReadout(keras.layers.Layer):
    """Readouts of the first `w_1`, the first `w_2`, ... features, `w_p` in `widths`.

    `f_pk(x) = sigma(sum over j <= w_p of x_j v_jpk + b_pk)`: each prefix has a readout of its own.
    With `shared=True` all have the same one, `v_jk` and `b_k`. Use it for so many outputs (a
    thousand classes) that one readout per width is too large.

    The readouts are one kernel whose entries beyond a prefix are masked, so that all outputs are
    one matrix product. The readout of each prefix is drawn as a `Dense` of its width is. The shared
    readout is applied block by block, from one width to the next, and the blocks are summed up.
    So features have to be finite: one that is not makes NaN of all prefixes of its example, also
    of those that end before it. With `shared=True` these are as they should be.

    Weights: `kernel` (d, P, outputs), or (d, outputs) if shared; `bias` (P, outputs), or
    (outputs,).

    Args:
        outputs: int, number of outputs, K.
        widths: ints, increasing, the last at most the number of features, d. Features beyond it
            are not read.
        shared: bool, whether the prefixes share one readout.
        activation: any Keras activation, of each prefix's outputs.
        use_bias: bool.
        kernel_initializer, bias_initializer, kernel_regularizer, bias_regularizer: as for `Dense`.
            An initialiser gets the shape of one prefix, (w_p, outputs).
        **kwargs: of `keras.layers.Layer` (`name`, `dtype`, `activity_regularizer`, ...).

    Input shape: `(..., d)`, at least one batch axis.

    Output shape: `(..., P, outputs)`, the prefixes in the order of `widths`.

    Raises:
        ValueError: `outputs` or a width below 1, widths that do not increase, none at all, or one
            above the number of features.

    Example:
        >>> readout = asym_keras.NestedReadout(10, widths=(20, 50, 2000))
        >>> readout(np.ones((32, 2000), "float32")).shape
        TensorShape([32, 3, 10])
    """

    def __init__(
        self,
        outputs: int,
        widths: Sequence[int],
        *,
        shared: bool = False,
        activation: Any = None,
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        bias_regularizer: Any = None,
        activity_regularizer: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(activity_regularizer=activity_regularizer, **kwargs)
        if not _is_count(outputs):
            raise ValueError(
                "NestedReadout: expected outputs to be an integer of at least 1, received "
                f"{outputs!r}."
            )
        self.outputs = int(outputs)
        self.widths = check_widths(widths, "NestedReadout")
        self.shared = bool(shared)
        self.activation = keras.activations.get(activation)
        self.use_bias = bool(use_bias)
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.bias_initializer = keras.initializers.get(bias_initializer)
        self.kernel_regularizer = keras.regularizers.get(kernel_regularizer)
        self.bias_regularizer = keras.regularizers.get(bias_regularizer)
        self.supports_masking = True

    def build(self, input_shape: Any) -> None:
        features, prefixes = input_shape[-1], len(self.widths)
        if features is None or features < self.widths[-1]:
            raise ValueError(
                f"{self.name}: expected at least {self.widths[-1]} features, the largest of the "
                f"widths, received inputs of shape {tuple(input_shape)}. Leave larger widths out, "
                "or give it more features."
            )
        own = (features, self.outputs)
        self.kernel = self.add_weight(
            name="kernel",
            shape=own if self.shared else (features, prefixes, self.outputs),
            initializer=self.kernel_initializer if self.shared else self._drawn,
            regularizer=self.kernel_regularizer,
        )
        self.bias = None
        if self.use_bias:
            self.bias = self.add_weight(
                name="bias",
                shape=(self.outputs,) if self.shared else (prefixes, self.outputs),
                initializer=self.bias_initializer,
                regularizer=self.bias_regularizer,
            )
        self.input_spec = keras.layers.InputSpec(min_ndim=2, axes={-1: features})

    def call(self, inputs: Any) -> Any:
        x = ops.convert_to_tensor(inputs, dtype=self.compute_dtype)
        kernel = ops.cast(self.kernel, self.compute_dtype)
        f = self._shared_sums(x, kernel) if self.shared else self._own_sums(x, kernel)
        if self.bias is not None:
            f = f + ops.cast(self.bias, self.compute_dtype)
        return self.activation(f)

    def compute_output_shape(self, input_shape: Any) -> tuple:
        return (*input_shape[:-1], len(self.widths), self.outputs)

    def prefix(self, index: int) -> tuple[np.ndarray, np.ndarray | None]:
        """Kernel (d, outputs), zero beyond the prefix, and bias (outputs,) of one prefix."""
        kernel = np.array(ops.convert_to_numpy(self.kernel))
        bias = None if self.bias is None else ops.convert_to_numpy(self.bias)
        if not self.shared:
            kernel, bias = kernel[:, index], None if bias is None else bias[index]
        kernel[self.widths[index] :] = 0
        return kernel, bias

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "outputs": self.outputs,
            "widths": list(self.widths),
            "shared": self.shared,
            "activation": keras.activations.serialize(self.activation),
            "use_bias": self.use_bias,
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
            "bias_initializer": keras.initializers.serialize(self.bias_initializer),
            "kernel_regularizer": keras.regularizers.serialize(self.kernel_regularizer),
            "bias_regularizer": keras.regularizers.serialize(self.bias_regularizer),
            "activity_regularizer": keras.regularizers.serialize(self.activity_regularizer),
        }

    def _own_sums(self, x: Any, kernel: Any) -> Any:
        features, prefixes, outputs = self.kernel.shape
        inside = np.arange(features)[:, None, None] < np.array(self.widths)[:, None]
        kernel = kernel * ops.convert_to_tensor(inside, self.compute_dtype)
        f = ops.matmul(x, ops.reshape(kernel, (features, prefixes * outputs)))
        return ops.reshape(f, (*ops.shape(x)[:-1], prefixes, outputs))

    def _shared_sums(self, x: Any, kernel: Any) -> Any:
        # Split at once: the gradients of slices would each be as large as x.
        ends = self.widths[:-1] if self.widths[-1] == self.kernel.shape[0] else self.widths
        if ends:
            x, kernel = ops.split(x, ends, axis=-1), ops.split(kernel, ends, axis=0)
        blocks = zip(x, kernel, strict=True) if ends else [(x, kernel)]
        sums = [ops.matmul(*block) for block in itertools.islice(blocks, len(self.widths))]
        return ops.stack(list(itertools.accumulate(sums, ops.add)), axis=-2)

    def _drawn(self, shape: Any, dtype: Any) -> Any:
        """The kernels of all prefixes, each drawn for its own shape."""
        draws = [
            ops.pad(
                _initializer_of(self.kernel_initializer, index)((width, self.outputs), dtype),
                ((0, shape[0] - width), (0, 0)),
            )
            for index, width in enumerate(self.widths)
        ]
        return ops.stack(draws, axis=1)


def check_widths(widths: Any, who: str) -> tuple[int, ...]:
    """`widths` as a tuple of ints that increase.

    Raises:
        ValueError: There are none, or they are not integers of at least 1 that increase.
    """
    several = isinstance(widths, (Sequence, np.ndarray)) and not isinstance(widths, str)
    values = list(widths) if several else []
    if not values or not all(map(_is_count, values)):
        raise ValueError(
            f"{who}: expected widths to be integers of at least 1, at least one of them, received "
            f"{widths!r}."
        )
    if any(a >= b for a, b in itertools.pairwise(values)):
        raise ValueError(
            f"{who}: expected widths that increase, received {values}. Sort them, each once."
        )
    return tuple(map(int, values))


def auto_widths(features: int) -> tuple[int, ...]:
    """Widths of which none is more than twice the one before it: m, its half, and so on to 16.

    Args:
        features: int, m, above 16.

    Returns:
        ints, increasing, from 16 to m.

    Raises:
        ValueError: Not more than 16 features.

    Example:
        >>> asym_keras.nesting.auto_widths(500)
        (16, 32, 63, 125, 250, 500)
    """
    if features <= SMALLEST:
        raise ValueError(
            f"nested: expected more than {SMALLEST} features for widths='auto', received "
            f"{features}. Name the widths."
        )
    widths = [features]
    while widths[0] > 2 * SMALLEST:
        widths.insert(0, -(-widths[0] // 2))
    return (SMALLEST, *widths)


def _is_count(value: Any) -> bool:
    whole = isinstance(value, (int, np.integer)) and not isinstance(value, bool)
    return whole and value >= 1


def _initializer_of(initializer: Any, index: int) -> Any:
    """An initialiser of the same law for one prefix, with draws of its own."""
    if not hasattr(initializer, "get_config"):  # a function of (shape, dtype)
        return initializer
    config = initializer.get_config()
    if config.get("seed") is not None and index:
        if not isinstance(config["seed"], int):
            return initializer  # a generator, which draws anew at each call
        seeds = np.random.SeedSequence([config["seed"], index])
        config = {**config, "seed": int(seeds.generate_state(1)[0])}
    return initializer.__class__.from_config(config)
