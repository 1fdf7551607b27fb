"""The empirical risk of a Keras model and its gradient, as a function of the weights."""

from __future__ import annotations

from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf

from asym_keras.training.tracing import traced_once

# Below this many examples x weights a step is bound by memory traffic and dispatch, which XLA's
# fusion removes; above it by matrix products, which TensorFlow's own kernels (oneDNN) do faster.
# Steps with and without XLA, two shared cores: 0.3 and 0.7 ms at 7e6, 2.5 and 2.3 ms at 7e7, 7.9
# and 6.3 ms at 2e8.
JIT_LIMIT = 5e7
# Activations of all layers that one pass over examples may hold.
TILE_BYTES = 512 * 2**20


def compiles_with_xla(model: keras.Model, examples: int) -> bool:
    """Whether `jit_compile="auto"` compiles training on so many examples with XLA."""
    weights = sum(int(np.prod(v.shape)) for v in model.trainable_variables)
    gpu = bool(tf.config.list_logical_devices("GPU"))
    return gpu or examples * weights < JIT_LIMIT


class Objective:
    """Risk of `model` on `(x, y)`: the mean of `loss`, plus the model's own penalties.

    The model is used as a pure function of its trainable variables (GradientTape over
    `stateless_call`), so that a solver can evaluate it anywhere without touching the model.

    Args:
        model: built Keras model with at least one trainable variable.
        x: inputs, array (n, ...) or a structure of arrays.
        y: targets, array (n, ...).
        loss: name, `keras.losses.Loss` or function `(y, predictions) -> per-example values`.
        batch_size: examples that a gradient will be taken on. None: all.
        jit_compile: True, False or "auto" (`compiles_with_xla`).

    Attributes:
        examples: int, n.
        variables: the model's trainable variables, in whose order weights are listed.
        risk_dtype: dtype of the risk, float64 for float64 weights, else float32.
        jit_compile: bool, whether solvers should compile with XLA here.
        stateful_layers: names of layers whose state changes in training (dropout, batch
            normalisation); their variables are `state_variables`.

    Raises:
        ValueError: Model not built or nothing to train, no examples, lengths that differ,
            or predictions of another shape than the targets.
    """

    def __init__(
        self, model: keras.Model, x, y, *, loss="mse", batch_size=None, jit_compile="auto"
    ):
        if isinstance(x, tf.data.Dataset):
            raise ValueError(
                "Expected x and y as arrays, received a tf.data.Dataset. Give the arrays; "
                "GradientDescent(batch_size=...) draws mini-batches from them."
            )
        if not model.built or not model.trainable_variables:
            raise ValueError(
                f"Expected a built model with trainable variables, received {model.name!r} "
                f"(built: {model.built}, trainable variables: {len(model.trainable_variables)})."
            )
        self.model = model
        self.variables = model.trainable_variables
        # Of the weights, not of the model: a model's own dtype policy may be another.
        self.risk_dtype = "float64" if self.variables[0].dtype == "float64" else "float32"
        self.x, self.y = _tensors(model, x, y, self.risk_dtype)
        self.examples = int(self.y.shape[0])
        self._loss = _per_example(loss)
        changed = _changed_state(model, self.x)
        self.state_variables = [
            v for v, c in zip(model.non_trainable_variables, changed, strict=True) if c
        ]
        self._state_index = [i for i, c in enumerate(changed) if c]
        self.stateful_layers = _owners(model, self.state_variables)
        self.jit_compile = (
            compiles_with_xla(model, batch_size or self.examples)
            if jit_compile == "auto"
            else jit_compile
        )
        self.tile = self.examples if self.stateful_layers else _tile(model, self.examples)
        self._infer: dict[int, Callable] = {}

    def weights(self) -> list[tf.Tensor]:
        """The model's trainable weights now."""
        return [tf.identity(v.value) for v in self.variables]

    def state(self) -> list[tf.Tensor]:
        """The model's changing state now (seeds, moving averages)."""
        return [tf.identity(v.value) for v in self.state_variables]

    def assign(self, weights, state) -> None:
        """Writes `weights` and `state` into the model."""
        for variable, value in zip(self.variables, weights, strict=True):
            variable.assign(value)
        for variable, value in zip(self.state_variables, state, strict=True):
            variable.assign(value)

    def gradient(self, weights, state, rows=None):
        """Risk, its gradient and the new state, on the examples `rows` or, in tiles, on all.

        Traceable: call it inside a `tf.function`.
        """
        if rows is not None:
            x, y = tf.nest.map_structure(lambda a: tf.gather(a, rows), (self.x, self.y))
            return self._gradient(weights, state, x, y, 1.0)
        if self.tile >= self.examples:
            return self._gradient(weights, state, self.x, self.y, 1.0)
        return self._tiled_gradient(weights, state)

    def agree(self, tensor):
        """`tensor`, which decides how a solver goes on, as all who train along have it."""
        return tensor

    def agreed(self, number: int) -> int:
        """The same for a number outside a compiled function."""
        return number

    def evaluate(self) -> tuple[float, np.ndarray]:
        """Mean loss (no penalties) and predictions (n, ...) of the model now, in inference."""
        losses, predictions = [], []
        for first in range(0, self.examples, self.tile):
            count = min(self.tile, self.examples - first)
            if count not in self._infer:  # all tiles have one size, but the last
                self._infer[count] = traced_once(self._inference, jit_compile=self.jit_compile)
            loss, prediction = self._infer[count](*self._rows(first, count))
            losses.append(loss)
            predictions.append(prediction)
        risk = tf.reduce_mean(tf.cast(tf.concat(losses, 0), tf.float64))
        return float(risk), tf.concat(predictions, 0).numpy()

    def _rows(self, first, count: int):
        """Examples from `first` on, with static shapes, as XLA needs them inside a loop."""
        return tf.nest.map_structure(
            lambda a: tf.slice(a, [first] + [0] * (len(a.shape) - 1), [count, *a.shape[1:]]),
            (self.x, self.y),
        )

    def _inference(self, x, y):
        predictions = self.model(x, training=False)
        return self._loss(y, predictions), predictions

    def _others(self) -> list:
        """Values of the variables that are not trained."""
        return [v.value for v in self.model.non_trainable_variables]

    def _gradient(self, weights, state, x, y, share):
        model = self.model
        others = self._others()
        for i, value in zip(self._state_index, state, strict=True):
            others[i] = value
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(weights)
            predictions, others, penalties = model.stateless_call(
                weights, others, x, training=True, return_losses=True
            )
            risk = tf.reduce_mean(tf.cast(self._loss(y, predictions), self.risk_dtype))
            risk += sum(tf.cast(penalty, self.risk_dtype) for penalty in penalties)
            risk *= share
        gradient = tape.gradient(risk, weights, unconnected_gradients="zero")
        return risk, gradient, [others[i] for i in self._state_index]

    def _tiled_gradient(self, weights, state):
        full, rest = divmod(self.examples, self.tile)

        def add(risk, gradient, first, size):
            x, y = self._rows(first, size)
            part, parts, _ = self._gradient(weights, state, x, y, size / self.examples)
            return risk + part, [a + b for a, b in zip(gradient, parts, strict=True)]

        zero = tf.zeros([], self.risk_dtype), [tf.zeros_like(w) for w in weights]
        # One pass at a time, or the passes would hold what the tiles are to save.
        _, risk, gradient = tf.while_loop(
            lambda i, *_: i < full,
            lambda i, risk, gradient: (i + 1, *add(risk, gradient, i * self.tile, self.tile)),
            (tf.constant(0), *zero),
            parallel_iterations=1,
        )
        if rest:
            risk, gradient = add(risk, gradient, full * self.tile, rest)
        return risk, gradient, list(state)


def _tensors(model, x, y, dtype) -> tuple:
    """`x` and `y` as tensors of the model's types, checked against its shapes."""
    given, targets = tf.nest.flatten(x), y
    arrays = [np.asarray(a) for a in given]
    y = np.asarray(y)
    labels = y.ndim == 1 and y.dtype.kind in "iu"
    lengths = {len(array) if array.ndim else 0 for array in [*arrays, y]}
    if len(lengths) != 1 or 0 in lengths:
        raise ValueError(
            f"Expected x and y with the same number of examples, at least one, received {lengths}."
        )
    for name, array in [*((f"x ({a.shape})", a) for a in arrays), (f"y ({y.shape})", y)]:
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            rows = np.argwhere(~np.isfinite(array))[:, 0]
            raise ValueError(
                f"Expected finite numbers, received {name} with NaN or infinity in "
                f"{len(np.unique(rows))} rows, the first being {rows[0]}. Repair or drop them."
            )
    specs = getattr(model, "inputs", None) or [None] * len(arrays)
    if len(specs) != len(arrays):
        raise ValueError(f"Expected {len(specs)} inputs, received {len(arrays)}.")
    tensors = []
    for source, array, spec in zip(given, arrays, specs, strict=True):
        tensors.append(_tensor(source, array, spec.dtype if spec is not None else None))
        if spec is not None and not tf.TensorShape(spec.shape).is_compatible_with(array.shape):
            raise ValueError(
                f"Expected inputs of shape {tuple(spec.shape)} for model {model.name!r}, received "
                f"{array.shape}."
            )
    x = tf.nest.pack_sequence_as(x, tensors)
    output = getattr(model, "output_shape", None)
    if isinstance(output, tuple) and y.ndim == 1 and output[1:] == (1,):
        y = y[:, None]
    if isinstance(output, tuple) and output[1:] != y.shape[1:] and not labels:
        raise ValueError(
            f"Expected targets of shape (n, {', '.join(map(str, output[1:]))}), the output of "
            f"model {model.name!r}, or integer labels (n,), received {y.shape} of {y.dtype}."
        )
    return x, _tensor(targets, y, dtype)


def _tensor(source, array: np.ndarray, dtype) -> tf.Tensor:
    """`array`, made from `source`, as a tensor: `source` itself, not a copy, if it is that."""
    same = tf.is_tensor(source) and source.dtype == (dtype or source.dtype)
    own = source if same and source.shape == array.shape else array
    return tf.convert_to_tensor(own, dtype)


def _per_example(loss):
    """Loss as a function whose mean is the risk, whatever reduction the loss object has."""
    loss = keras.losses.get(loss)
    return loss.call if isinstance(loss, keras.losses.Loss) else loss


def _changed_state(model, x) -> list[bool]:
    """For each non-trainable variable, whether a training step writes it.

    Read off the graph: `stateless_call` hands untouched state back as the same tensor.
    """
    changed: list[bool] = []

    def call(x):
        weights = [tf.convert_to_tensor(v.value) for v in model.trainable_variables]
        state = [tf.convert_to_tensor(v.value) for v in model.non_trainable_variables]
        _, new = model.stateless_call(weights, state, x, training=True)
        changed.extend(a is not b for a, b in zip(state, new, strict=True))
        return tf.constant(0)

    tf.function(call).get_concrete_function(
        tf.nest.map_structure(lambda a: tf.TensorSpec(a.shape, a.dtype), x)
    )
    return changed


def _owners(model, variables) -> list[str]:
    names = []
    for layer in model._flatten_layers(include_self=False, recursive=True):
        own = {id(v) for v in layer.non_trainable_variables}
        if any(id(v) in own for v in variables) and not list(layer._flatten_layers(False, False)):
            names.append(f"{layer.name} ({type(layer).__name__})")
    return names


def _tile(model, examples: int) -> int:
    """Examples per pass so that all layers' outputs, forward and backward, fit TILE_BYTES."""
    numbers = sum(
        int(np.prod([s or 1 for s in tensor.shape[1:]]))
        for operation in getattr(model, "operations", [])
        for tensor in tf.nest.flatten(operation.output)
    )
    numbers += max((int(v.shape[-1]) for v in model.trainable_variables), default=0)
    per_example = 4 * numbers * tf.as_dtype(model.trainable_variables[0].dtype).size
    return int(min(examples, max(1, TILE_BYTES // max(per_example, 1))))
