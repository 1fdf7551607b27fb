"""The shallow network of Eq. (2) as a functional Keras model."""

from __future__ import annotations

import os
from typing import Any

import keras
import numpy.typing as npt

from asym_keras.initializers import Normal
from asym_keras.layers import AsymScaledDense

INITIAL_VARIANCE = {"paper": 1.0, "authors": 2.0}


def load_model(path: str | os.PathLike) -> keras.Model:
    """The model in a `.keras` file, once the layer and its initialisers are registered, as here."""
    return keras.models.load_model(path, compile=False)


def shallow_network(
    input_dim: int,
    outputs: int = 1,
    *,
    width: int = 2000,
    gamma: float = 0.0,
    alpha: float = 0.4,
    scalings: npt.ArrayLike | None = None,
    activation: Any = "relu",
    protocol: str = "paper",
    seed: int | None = None,
    dtype: Any = None,
    name: str = "shallow_network",
) -> keras.Model:
    """Shallow network `f_k(x) = sum_j sqrt(lambda_j) a_jk sigma(w_j . x / sqrt(d))`, Eq. (2).

    Args:
        input_dim: int, d.
        outputs: int, K.
        width: int, hidden nodes, m.
        gamma, alpha, scalings, activation: of `AsymScaledDense`.
        protocol: `"paper"`, weights from N(0, 1), Eq. (8), or `"authors"`, from N(0, 2), with
            which the published figures were drawn.
        seed: int, one seed for kernel and readout. None: drawn anew.
        dtype: dtype or dtype policy of the model, None: Keras's global policy.
        name: name of the model.

    Returns:
        Functional `keras.Model`, `(n, input_dim)` -> `(n, outputs)`. Its one layer with
        weights is `model.get_layer("asym_scaled_dense")`.

    Raises:
        ValueError: An unknown protocol, or an argument that `AsymScaledDense` refuses.

    Example:
        >>> model = asym_keras.shallow_network(784, 10, width=100, gamma=0.5, alpha=0.5, seed=0)
        >>> model(np.zeros((1, 784), "float32")).shape
        TensorShape([1, 10])
    """
    if protocol not in INITIAL_VARIANCE:
        raise ValueError(
            f"shallow_network: expected protocol to be one of {sorted(INITIAL_VARIANCE)}, "
            f"received {protocol!r}."
        )
    layer = AsymScaledDense(
        width,
        outputs,
        gamma=gamma,
        alpha=alpha,
        scalings=scalings,
        activation=activation,
        kernel_initializer=Normal(stddev=INITIAL_VARIANCE[protocol] ** 0.5),
        seed=seed,
        dtype=dtype,
        name="asym_scaled_dense",
    )
    inputs = keras.Input((input_dim,), dtype=layer.compute_dtype, name="inputs")
    return keras.Model(inputs, layer(inputs), name=name)
