"""What is right, by the plainest means: eager calls, one backward pass a number, NumPy, SciPy."""

from __future__ import annotations

import functools
import inspect
from typing import Any

import keras
import numpy as np
import scipy.linalg
import tensorflow as tf

from asym_keras.graphs import layers_of
from asym_keras.layers import AsymScaledDense
from benchmarks.wild.entry import TABLE, Case


def _own_loss(y, predictions):
    return keras.ops.mean((predictions - y) ** 2 + 0.1 * predictions**4, axis=-1)


def _picked(y, probabilities):
    rows = tf.stack([tf.range(len(y)), tf.cast(y, tf.int32)], axis=1)
    return -tf.reduce_mean(tf.math.log(tf.gather_nd(probabilities, rows)))


# Name -> what the library gets, and the risk written out.
LOSSES = {
    "mse": ("mse", lambda y, f: tf.reduce_mean((f - y) ** 2)),
    "labels": ("sparse_categorical_crossentropy", _picked),
    "logits": (
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        lambda y, f: _picked(y, tf.nn.softmax(f)),
    ),
    "one_hot": (
        "categorical_crossentropy",
        lambda y, f: -tf.reduce_mean(tf.reduce_sum(y * tf.math.log(f), axis=-1)),
    ),
    "binary": (
        keras.losses.BinaryCrossentropy(),
        lambda y, f: -tf.reduce_mean(y * tf.math.log(f) + (1 - y) * tf.math.log(1 - f)),
    ),
    "own": (_own_loss, lambda y, f: tf.reduce_mean((f - y) ** 2 + 0.1 * f**4)),
}


def call(model, x, training: bool = False) -> list:
    """The outputs of an eager call, in a flat list."""
    takes = "training" in inspect.signature(model.call).parameters
    x = tf.nest.map_structure(tf.convert_to_tensor, x)
    outputs = model(x, training=training) if takes else model(x)
    return tf.nest.flatten(outputs)


def outputs(model, x) -> list[np.ndarray]:
    """The same in inference, float64."""
    return [np.asarray(keras.ops.convert_to_numpy(f)).astype("float64") for f in call(model, x)]


def precision(case: Case) -> str:
    """The coarsest dtype that the model has or computes in."""
    dtypes = {la.compute_dtype for la in layers_of(case.model) if la.weights}
    dtypes |= {v.dtype for v in case.model.weights}
    order = ("bfloat16", "float16", "float32", "float64")
    return next((d for d in order if d in dtypes), "float32")


def _risk(case: Case, f):
    """The mean loss in float32, or float64 where the outputs are so."""
    dtype = "float64" if f.dtype == "float64" else "float32"
    y = tf.convert_to_tensor(case.y)
    return LOSSES[case.loss][1](tf.cast(y, dtype), tf.cast(f, dtype))


def _values(model) -> list:
    """What TensorFlow knows the trainable variables as."""
    return [v.value for v in model.trainable_variables]


def gradient(case: Case) -> list[np.ndarray]:
    """Of the risk and the model's own penalties, in training; state changes as in `fit`."""
    model = case.model
    with tf.GradientTape() as tape:
        [f] = call(model, case.x, training=True)
        risk = _risk(case, f)
        risk += sum(tf.cast(penalty, risk.dtype) for penalty in model.losses)
    parts = tape.gradient(risk, _values(model), unconnected_gradients="zero")
    return [tf.convert_to_tensor(g) for g in parts]


def descend(case: Case, rate: float, steps: int) -> None:
    """Gradient descent in place, as a first lesson writes it."""
    for _ in range(steps):
        parts = gradient(case)
        for variable, part in zip(case.model.trainable_variables, parts, strict=True):
            value = variable.value - rate * part
            if variable.constraint is not None:
                value = variable.constraint(value)
            variable.assign(value)


def flow(case: Case, end: float, steps: int) -> None:
    """Gradient flow in place, by the classical Runge-Kutta method of order four."""
    call(case.model, case.x)  # some layers make weights only then
    variables, step = case.model.trainable_variables, end / steps

    def slope(values):
        for variable, value in zip(variables, values, strict=True):
            variable.assign(value)
        return [-np.asarray(g).astype("float64") for g in gradient(case)]

    def ahead(values, by, slopes):
        return [v + by * s for v, s in zip(values, slopes, strict=True)]

    now = [np.asarray(v.value).astype("float64") for v in variables]
    for _ in range(steps):
        k1 = slope(now)
        k2 = slope(ahead(now, step / 2, k1))
        k3 = slope(ahead(now, step / 2, k2))
        k4 = slope(ahead(now, step, k3))
        sums = [a + 2 * b + 2 * c + d for a, b, c, d in zip(k1, k2, k3, k4, strict=True)]
        now = ahead(now, step / 6, sums)
    for variable, value in zip(variables, now, strict=True):
        variable.assign(value)


def _for_predict(array):
    """Text as a tensor: `predict` takes no arrays of it."""
    return tf.constant(array) if array.dtype.kind == "U" else array


def risk_and_accuracy(case: Case) -> tuple[float, float | None]:
    """Of what `model.predict` returns, in NumPy."""
    x = tf.nest.map_structure(_for_predict, case.x)
    f = np.asarray(case.model.predict(x, verbose=0)).astype("float64")
    risk = float(_risk(case, tf.constant(f)))
    if case.loss == "binary":
        return risk, float(np.mean((f[:, 0] > 0.5) == (case.y[:, 0] == 1)))
    if case.loss in ("labels", "logits", "one_hot"):
        labels = case.y if case.y.ndim == 1 else np.argmax(case.y, axis=1)
        return risk, float(np.mean(np.argmax(f, axis=1) == labels))
    return risk, None


def jacobian(case: Case, place: int, columns=None) -> np.ndarray:
    """Gradients float64 (n, K, weights) of output `place`: one backward pass a number."""
    model, rows = case.model, []
    for i in range(len(tf.nest.flatten(case.x)[0])):
        one = tf.nest.map_structure(lambda a, i=i: tf.convert_to_tensor(a[i : i + 1]), case.x)
        with tf.GradientTape(persistent=True) as tape:
            f = call(model, one)[place]
            f = tf.reshape(f, [-1])
            parts = [f[k] for k in (range(f.shape[0]) if columns is None else columns)]
        found = []
        for part in parts:
            g = tape.gradient(part, _values(model), unconnected_gradients="zero")
            flat = [np.reshape(tf.convert_to_tensor(v), -1).astype("float64") for v in g]
            found.append(np.concatenate(flat))
        rows.append(np.stack(found))
    return np.stack(rows)


@functools.cache
def known(name: str) -> dict[str, Any]:
    """Jacobian and outputs of an entry, in float64 wherever its builder lets the default decide.

    Returns:
        `jacobian` (n, K, weights) and `outputs` (n, K) of the output that an NTG is of, and
        `exact`, whether they are float64's.
    """
    entry = TABLE[name]
    found = entry.fresh()
    exact = entry.fresh("float64")
    wide = all(v.dtype in ("float64", "int64", "int32", "uint32") for v in exact.model.weights)
    computes = {la.compute_dtype for la in layers_of(exact.model)} <= {"float64", "int64"}
    same = [v.shape for v in exact.model.weights] == [v.shape for v in found.model.weights]
    if wide and computes and same:
        for variable, original in zip(exact.model.weights, found.model.weights, strict=True):
            variable.assign(tf.cast(original.value, variable.dtype))
        for layer in layers_of(exact.model):
            if hasattr(layer, "finalize_state"):
                layer.finalize_state()
        found = exact
    place = found.output[0]
    return {
        "jacobian": jacobian(found, place),
        "outputs": outputs(found.model, found.x)[place],
        "exact": found is exact,
    }


def ntg(name: str) -> np.ndarray:
    """The NTG of the entry's output."""
    rows = known(name)["jacobian"][:, TABLE[name].fresh().output[1]]
    return rows @ rows.T


def predicted(name: str, y: np.ndarray, train: int, time: float) -> np.ndarray:
    """The linearised model, trained on the first examples to `time`, at all of them.

    The flow of the residuals is solved by a matrix exponential, without eigenvectors:
    exp [[-A, r], [0, 0]] has the integral of exp(-A s) r over s from 0 to 1 in its last column.
    """
    found = known(name)
    count, columns, _ = found["jacobian"].shape
    flat = found["jacobian"].reshape(count * columns, -1)
    size = train * columns
    start = found["outputs"].reshape(count, columns)
    residual = (y - start[:train]).ravel()
    system = np.zeros((size + 1, size + 1))
    system[:size, :size] = -2 * time / size * flat[:size] @ flat[:size].T
    system[:size, size] = residual
    integral = scipy.linalg.expm(system)[:size, size]
    change = flat @ flat[:size].T @ (2 * time / size * integral)
    return start + change.reshape(count, columns)


def node_layers(model) -> list[AsymScaledDense]:
    """Every `AsymScaledDense` in the model, in the order of its layers."""
    return [la for la in layers_of(model) if isinstance(la, AsymScaledDense)]


def masked(case: Case, place: int, kept) -> list[np.ndarray]:
    """Outputs with all but the `kept` nodes of one layer set to zero; spoils the case."""
    layer = node_layers(case.model)[place]
    root = np.asarray(keras.ops.convert_to_numpy(layer.sqrt_scalings)).copy()
    root[np.setdiff1d(np.arange(layer.units), kept)] = 0.0
    layer.sqrt_scalings.assign(root)
    return outputs(case.model, case.x)
