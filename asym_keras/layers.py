"""The Keras layer with asymmetrical node scaling, Eq. (2). Uses `keras.ops` only."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import numpy.typing as npt
from keras import ops

from asym_keras.checks import is_whole
from asym_keras.initializers import Normal, Rademacher, with_seed
from asym_keras.scaling import node_scalings

PARAMETRIZATIONS = ("ntk", "standard")


@keras.saving.register_keras_serializable(package="asym_keras")
class AsymScaledDense(keras.layers.Layer):
    """Dense hidden layer whose node j is scaled by a fixed `sqrt(lambda_j)`, Eq. (1)-(4).

    With `z_j = w_j . x / sqrt(d)`, the features are `sqrt(lambda_j) sigma(z_j)` and, if
    `outputs` is given, the outputs are `f_k = sum_j sqrt(lambda_j) a_jk sigma(z_j)` with
    signs `a_jk` drawn once and frozen. Only the kernel `W` and a bias, if any, are trained.
    A readout that is trained is `outputs=None` followed by `keras.layers.Dense`.

    This is the paper's parametrization, `"ntk"`, for gradient flow and plain descent: with Adam its
    kernel wants a rate of about 0.3 where a `Dense` readout wants 0.01: no one rate serves both.
    `"standard"` is the same family of functions for `compile("adam")`, at the rates of a `Dense`:
    `z_j = w_j . x + b_j`, the kernel drawn as that of a `Dense`, and scalings with
    `mean_j sqrt(lambda_j) = 1` in the place of `sum_j lambda_j = 1`, so that gamma = 1 is a `Dense`
    layer. A frozen readout is signs over the root of the sum of the scalings.

    Weights: `kernel` (d, units) and, with `use_bias`, `bias` (units,), trainable; `sqrt_scalings`
    (units,) and, if `outputs` is given, `readout` (units, outputs), frozen. The square root is
    taken in float64 before the cast, because `lambda_j` itself underflows in float32 at small
    `alpha`.

    Args:
        units: int, number of hidden nodes, m.
        outputs: int, number of outputs, K. None: the layer returns its scaled features.
        gamma: float in [0, 1], symmetric share of the scalings; 1 is the NTK scaling.
        alpha: float in (0, 1), tail of the Zipf law; smaller is more asymmetrical.
        scalings: array (units,), nonnegative, used as given (other laws: `asym_keras.scaling`).
            `gamma` and `alpha` then have no effect, but must be in range: a pruned layer keeps
            those of the law that its scalings come from.
        activation: any elementwise Keras activation, sigma.
        kernel_initializer: any Keras initialiser or function `(shape, dtype)`. None: standard
            normal, Eq. (8), or Glorot's uniform in the standard parametrization.
        seed: int; one seed for kernel and bias (unless their initialisers have one) and readout.
        fan_in: int, the d in `z_j`. None: the input dimension. A layer that has lost inputs to
            pruning keeps the number that it was trained with.
        parametrization: `"ntk"` or `"standard"`.
        use_bias: bool, whether nodes have a trained bias, `z_j + b_j`.
        bias_initializer, kernel_regularizer, bias_regularizer: as for `Dense`.
        kernel_constraint, activity_regularizer: as for `Dense`.
        **kwargs: of `keras.layers.Layer` (`name`, `dtype`, ...).

    Input shape: `(..., d)`, at least one batch axis.

    Output shape: `(..., outputs)`, or `(..., units)` if `outputs` is None.

    Raises:
        ValueError: `units` or `outputs` below 1, `gamma` or `alpha` out of range, or
            `scalings` of another shape, negative, not finite or all zero; a negative seed; an
            unknown parametrization.

    Example:
        >>> layer = asym_keras.AsymScaledDense(2000, 10, gamma=0.5, alpha=0.5, seed=0)
        >>> layer(np.ones((32, 784), "float32")).shape
        TensorShape([32, 10])
    """

    def __init__(
        self,
        units: int,
        outputs: int | None = None,
        *,
        gamma: float = 0.0,
        alpha: float = 0.4,
        scalings: npt.ArrayLike | None = None,
        activation: Any = "relu",
        kernel_initializer: Any = None,
        seed: int | None = None,
        fan_in: int | None = None,
        parametrization: str = "ntk",
        use_bias: bool = False,
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        bias_regularizer: Any = None,
        kernel_constraint: Any = None,
        activity_regularizer: Any = None,
        **kwargs: Any,
    ):
        super().__init__(activity_regularizer=activity_regularizer, **kwargs)
        self.units = _positive_int(units, "units")
        self.outputs = None if outputs is None else _positive_int(outputs, "outputs")
        self.parametrization = _check_parametrization(parametrization)
        law = node_scalings(self.units, gamma, alpha)  # checks both, wherever the scalings are from
        if not self._is_ntk:
            law = law / np.sqrt(law).mean() ** 2
        self._custom_scalings = scalings is not None
        self._scalings = _check_scalings(scalings, self.units) if self._custom_scalings else law
        self.gamma, self.alpha = float(gamma), float(alpha)
        self.activation = keras.activations.get(activation)
        if kernel_initializer is None:
            kernel_initializer = Normal() if self._is_ntk else "glorot_uniform"
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.use_bias = bool(use_bias)
        self.bias_initializer = keras.initializers.get(bias_initializer)
        self.kernel_regularizer = keras.regularizers.get(kernel_regularizer)
        self.bias_regularizer = keras.regularizers.get(bias_regularizer)
        self.kernel_constraint = keras.constraints.get(kernel_constraint)
        self.seed = _check_seed(seed)
        self._fan_in = None if fan_in is None else _positive_int(fan_in, "fan_in")
        self.supports_masking = True

    def build(self, input_shape: tuple) -> None:
        input_dim = input_shape[-1]
        if input_dim is None:
            raise ValueError(
                f"{self.name}: expected inputs with a known last axis, received shape "
                f"{tuple(input_shape)}. Give the input dimension, for example in keras.Input."
            )
        if isinstance(self.activation, keras.layers.Layer) and not self.activation.built:
            # Its weights belong to the model from now on, and not from the first call on.
            self.activation.build((*input_shape[:-1], self.units))
        kernel_initializer, signs = self.kernel_initializer, Rademacher()
        bias_initializer = self.bias_initializer
        if self.seed is not None:
            seeds = map(int, np.random.SeedSequence(self.seed).generate_state(3))
            kernel_initializer = with_seed(kernel_initializer, next(seeds))
            signs = Rademacher(seed=next(seeds))
            bias_initializer = with_seed(bias_initializer, next(seeds))
        self.kernel = self.add_weight(
            name="kernel",
            shape=(input_dim, self.units),
            initializer=kernel_initializer,
            regularizer=self.kernel_regularizer,
            constraint=self.kernel_constraint,
        )
        self.bias = None
        if self.use_bias:
            self.bias = self.add_weight(
                name="bias",
                shape=(self.units,),
                initializer=bias_initializer,
                regularizer=self.bias_regularizer,
            )
        self.sqrt_scalings = self.add_weight(
            name="sqrt_scalings",
            shape=(self.units,),
            initializer=lambda shape, dtype: ops.convert_to_tensor(np.sqrt(self._scalings), dtype),
            trainable=False,
        )
        if self.outputs is not None:
            self.readout = self.add_weight(
                name="readout",
                shape=(self.units, self.outputs),
                initializer=signs if self._is_ntk else self._normalised(signs),
                trainable=False,
            )
        self.input_spec = keras.layers.InputSpec(min_ndim=2, axes={-1: input_dim})

    @property
    def scalings(self) -> np.ndarray:
        """The node scalings lambda, float64 (units,): the squared weight `sqrt_scalings`.

        As exact as the weight's dtype (relative 1e-7 in float32). Before the layer is
        built: the exact law.
        """
        if not self.built:
            return self._scalings.copy()
        return ops.convert_to_numpy(self.sqrt_scalings).astype("float64") ** 2

    @property
    def fan_in(self) -> int:
        """The d in `z_j = w_j . x / sqrt(d)`; known once the layer is built."""
        return self._fan_in or self.kernel.shape[0]

    @property
    def input_divisor(self) -> float:
        """What inputs are divided by: `sqrt(d)`, or 1 in the standard parametrization."""
        return self.fan_in**0.5 if self._is_ntk else 1.0

    @property
    def _is_ntk(self) -> bool:
        return self.parametrization == "ntk"

    def _normalised(self, signs: Any) -> Any:
        """An initialiser of signs over the root of the sum of the scalings."""
        root = float(np.sqrt(self._scalings.sum()))
        return lambda shape, dtype: signs(shape, dtype) / root

    def preactivations(self, x: Any) -> Any:
        """`z_j = w_j . x / sqrt(d) + b_j`, shape `(..., units)`."""
        x = ops.convert_to_tensor(x, dtype=self.compute_dtype)
        if self._is_ntk:
            # Scaling x costs n d, scaling z would cost n m, and x is constant while training.
            x = x / self.input_divisor
        z = ops.matmul(x, ops.cast(self.kernel, self.compute_dtype))
        return z if self.bias is None else z + ops.cast(self.bias, self.compute_dtype)

    def features(self, x: Any) -> Any:
        """Scaled features `sqrt(lambda_j) sigma(z_j)`, shape `(..., units)`."""
        root = ops.cast(self.sqrt_scalings, self.compute_dtype)
        return self.activation(self.preactivations(x)) * root

    def call(self, inputs: Any) -> Any:
        if self.outputs is None:
            return self.features(inputs)
        # The scalings are folded into the small readout: one pass over (n, m) less.
        readout = ops.expand_dims(self.sqrt_scalings, -1) * self.readout
        hidden = self.activation(self.preactivations(inputs))
        return ops.matmul(hidden, ops.cast(readout, self.compute_dtype))

    def compute_output_shape(self, input_shape: tuple) -> tuple:
        return (*input_shape[:-1], self.units if self.outputs is None else self.outputs)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "units": self.units,
            "outputs": self.outputs,
            "gamma": self.gamma,
            "alpha": self.alpha,
            "scalings": self._scalings.tolist() if self._custom_scalings else None,
            "activation": keras.activations.serialize(self.activation),
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
            "seed": self.seed,
            "fan_in": self._fan_in,
            "parametrization": self.parametrization,
            "use_bias": self.use_bias,
            "bias_initializer": keras.initializers.serialize(self.bias_initializer),
            "kernel_regularizer": keras.regularizers.serialize(self.kernel_regularizer),
            "bias_regularizer": keras.regularizers.serialize(self.bias_regularizer),
            "kernel_constraint": keras.constraints.serialize(self.kernel_constraint),
            "activity_regularizer": keras.regularizers.serialize(self.activity_regularizer),
        }


def _check_parametrization(value: Any) -> str:
    if value not in PARAMETRIZATIONS:
        raise ValueError(
            f"AsymScaledDense: expected parametrization to be one of {PARAMETRIZATIONS}, received "
            f"{value!r}."
        )
    return str(value)


def _positive_int(value: Any, name: str) -> int:
    if not is_whole(value, 1):
        raise ValueError(
            f"AsymScaledDense: expected {name} to be an integer of at least 1, received {value!r}."
        )
    return int(value)


def _check_seed(seed: Any) -> int | None:
    if seed is None:
        return None
    if not is_whole(seed, 0):
        raise ValueError(
            "AsymScaledDense: expected seed to be a nonnegative integer or None, received "
            f"{seed!r}."
        )
    return int(seed)


def _check_scalings(scalings: Any, units: int) -> np.ndarray:
    values = np.asarray(scalings, dtype="float64")
    if values.shape != (units,):
        raise ValueError(
            f"AsymScaledDense: expected scalings of shape ({units},), one per node, "
            f"received shape {values.shape}."
        )
    if not np.isfinite(values).all() or (values < 0).any() or not values.any():
        raise ValueError(
            "AsymScaledDense: expected scalings that are finite, nonnegative and not all zero, "
            f"received values from {values.min()} to {values.max()}."
        )
    return values
