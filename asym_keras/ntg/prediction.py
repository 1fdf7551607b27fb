"""What a linearised (lazy) network would predict: kernel regression with the NTG."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from asym_keras.backend import require_tensorflow
from asym_keras.graphs import output_structure
from asym_keras.inputs import as_inputs, call, example_count, take
from asym_keras.ntg.choice import choose
from asym_keras.ntg.empirical import empirical_ntg
from asym_keras.ntg.precision import at_precision

_BATCH = 1024


def ntg_predict(
    model: keras.Model,
    x_train: Any,
    y_train: Any,
    x_test: Any,
    t: npt.ArrayLike = np.inf,
    *,
    variables: Any = None,
    method: str = "auto",
    dtype: Any = "float64",
) -> np.ndarray:
    """Predictions at `x_test` of `model` linearised at its current weights, trained to time t.

    Gradient flow on the mean squared error over the n K entries of the targets, the loss of
    the trainers, moves the outputs of the linearised network to

        f(x, t) = f(x) + Theta(x, X) Theta^-1 (I - exp(-2 t Theta / (n K))) (y - f(X)),

    Theta being the NTG of all K outputs, (n K, n K). For gamma = 1 and growing width this is
    what training does (Jacot et al., "Neural Tangent Kernel", 2018); where it is not, training
    has left the lazy regime.

    Args:
        model: built Keras model with outputs (n, K) or (n,), not trained: at its initial weights.
        x_train, y_train: training examples (n, ...) and targets (n, K) or (n,).
        x_test: examples (n2, ...); those of the training set give the fit.
        t: time of the trainers (learning rate times steps), a number or an array (times,);
            infinity is the end of training. Directions in which Theta is zero to rounding are
            never learned.
        variables, method: of `empirical_ntg`.
        dtype: to compute the NTG in. Eigenvalues below n K times its rounding error, relative
            to the largest, are noise: they count as zero.

    Returns:
        Array (n2, K), or (times, n2, K); without the last axis if the model has none; float64.
        Needs the eigenvectors of Theta: memory (n K)^2, time (n K)^3.

    Raises:
        ValueError: Targets of another shape than the outputs, values that are not finite, a
            negative or unknown time, and what `empirical_ntg` refuses.
    """
    require_tensorflow("ntg_predict")
    times = _check_times(t)
    _require_one_output(model)
    start, start_test = _outputs(model, x_train, dtype), _outputs(model, x_test, dtype)
    targets = np.asarray(y_train, "float64")
    if targets.shape != start.shape or not np.isfinite(targets).all():
        raise ValueError(
            f"ntg_predict: expected y_train to be finite, with the shape of the outputs, "
            f"{start.shape}, received shape {targets.shape}."
        )
    options = {"output": "all", "variables": variables, "method": method, "dtype": dtype}
    size = start.size
    ntg = np.reshape(empirical_ntg(model, x_train, **options), (size, size)).astype("float64")
    cross = np.reshape(empirical_ntg(model, x_test, x_train, **options), (-1, size))
    if not (np.isfinite(ntg).all() and np.isfinite(cross).all()):
        raise ValueError(
            "ntg_predict: expected finite NTG matrices, received NaN or inf: look for them in "
            "x_train, x_test and the weights."
        )
    values, vectors = np.linalg.eigh(ntg)
    values[values < size * np.finfo(dtype).eps * values[-1]] = 0.0
    modes = vectors.T @ (targets - start).ravel()
    learned = _learned(values, 2.0 * times / size) * modes
    change = (learned @ vectors.T) @ cross.T.astype("float64")
    return start_test + change.reshape(*times.shape, *start_test.shape)


def _learned(values: np.ndarray, times: np.ndarray) -> np.ndarray:
    """`(1 - exp(-s v)) / v` for each time s and eigenvalue v, (times, values): s at v = 0.

    At infinity the pseudo-inverse: what is never learned counts as zero.
    """
    finite = np.where(np.isfinite(times), times, 0.0)[..., None]
    positive = np.where(values > 0.0, values, 1.0)
    decayed = np.where(values > 0.0, -np.expm1(-finite * positive) / positive, finite)
    inverse = np.where(values > 0.0, 1.0 / positive, 0.0)
    return np.where(np.isfinite(times)[..., None], decayed, inverse)


def _outputs(model, x, dtype) -> np.ndarray:
    """The model's outputs as float64, computed in `dtype`: Keras's `predict` casts to float32."""
    model = at_precision(model, dtype)
    x = as_inputs(model, x)
    choice = choose(model, x, "all")
    parts = [
        keras.tree.flatten(call(model, take(x, slice(i, i + _BATCH))))[choice.place]
        for i in range(0, example_count(x), _BATCH)
    ]
    return np.concatenate([np.asarray(part, "float64") for part in parts])


def _require_one_output(model) -> None:
    count = len(keras.tree.flatten(output_structure(model)))
    if count > 1:
        raise ValueError(
            f"ntg_predict: expected a model with one output, received {model.name!r} with {count}. "
            "Take the model of one of them: keras.Model(model.inputs, model.outputs[0])."
        )


def _check_times(t) -> np.ndarray:
    times = np.asarray(t, "float64")
    if times.ndim > 1 or np.isnan(times).any() or (times < 0).any():
        raise ValueError(
            f"ntg_predict: expected t to be a nonnegative number or an array (times,), "
            f"received {t!r}."
        )
    return times
