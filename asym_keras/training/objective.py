"""The empirical risk of a Keras model and its gradient, as a function of the weights."""

from __future__ import annotations

import contextlib
from typing import Any

import keras
import tensorflow as tf

from asym_keras.evaluator import Evaluator
from asym_keras.graphs import layers_of
from asym_keras.inputs import call, gather, stateless_call, take
from asym_keras.pairs import examples_meet
from asym_keras.training.kinks import Kinks, find_sites, moves_of

# So many examples tell how far a change of the weights moves the inputs of an activation.
KINK_EXAMPLES = 1000
# TensorFlow's operations that draw random numbers from a state of their own.
_DRAWS = {
    *("RandomUniform", "RandomUniformInt", "RandomStandardNormal", "TruncatedNormal"),
    *("RandomGamma", "RandomPoissonV2", "RandomShuffle", "Multinomial"),
}


class Objective(Evaluator):
    """Risk of `model` on `(x, y)`: the mean of `loss`, plus the model's own penalties.

    The model is used as a pure function of its trainable variables (GradientTape over a call in a
    `keras.StatelessScope`), so that a solver can evaluate it anywhere without touching the model.

    Args:
        model: built Keras model with at least one trainable variable, and one output.
        x, y, loss, batch_size, jit_compile: as of `Evaluator`.

    It has the attributes of `Evaluator`, too.

    Attributes:
        variables: the model's trainable variables, in whose order weights are listed.
        stateful_layers: names of layers, and of TensorFlow's operations, that draw numbers or
            update averages in training (dropout, batch normalisation).
        state_variables: what these layers change.
        indivisible: in words, why the risk of all examples is not the mean of the risks of parts of
            them; None if it is.
        constrained: names of weights with a constraint.
        kinks: those of the model that `gradient` can round; none until `find_kinks` is called.

    Raises:
        ValueError: Nothing to train, or what `Evaluator` refuses.
    """

    by_parts = False  # whether the risk is a mean over parts of the examples, few as they may be

    def __init__(
        self,
        model: keras.Model,
        x: Any,
        y: Any,
        *,
        loss: Any = "mse",
        batch_size: int | None = None,
        jit_compile: bool | str = "auto",
    ):
        super().__init__(model, x, y, loss=loss, batch_size=batch_size, jit_compile=jit_compile)
        if not model.trainable_variables:
            raise ValueError(
                f"Expected a built model with trainable variables, received {model.name!r} "
                "(built: True, trainable variables: 0)."
            )
        self.variables = list(model.trainable_variables)
        self.kinks = Kinks([], [])
        self.constrained = [v.path for v in self.variables if v.constraint is not None]
        self._state_index, operations, penalties = _in_training(model, self.x)
        self.state_variables = [model.non_trainable_variables[i] for i in self._state_index]
        self.stateful_layers = _owners(model, self.state_variables)
        self.stateful_layers += [f"the operation {name}" for name in operations]
        # Penalties of weights are the same in each part of the examples; others may sum over them.
        by_parts = self.by_parts or self.tile < self.examples
        regularised = sum(v.regularizer is not None for v in self.variables)
        self.indivisible = None
        if self.stateful_layers:
            self.indivisible = (
                f"{', '.join(self.stateful_layers)}, which draw numbers or update averages while "
                "training"
            )
        elif penalties > regularised:
            self.indivisible = "penalties of activations, or of add_loss in a layer"
        elif by_parts and examples_meet(model, self.x, training=True):
            self.indivisible = "layers in which the examples of a batch meet"
        if self.indivisible:
            self.tile = self.examples

    def weights(self) -> list[tf.Tensor]:
        """The model's trainable weights now."""
        return [tf.identity(v.value) for v in self.variables]

    def state(self) -> list[tf.Tensor]:
        """The model's changing state now (seeds, moving averages)."""
        return [tf.identity(v.value) for v in self.state_variables]

    def assign(self, weights: list, state: list) -> None:
        """Writes `weights` and `state` into the model."""
        for variable, value in zip(self.variables, weights, strict=True):
            variable.assign(value)
        for variable, value in zip(self.state_variables, state, strict=True):
            variable.assign(value)

    def find_kinks(self, step: float) -> None:
        """Finds `kinks`, and how far their inputs move when each weight moves by `step`."""
        sites = find_sites(self.model)
        if sites:
            x, others = take(self.x, slice(0, min(self.tile, KINK_EXAMPLES))), self._others()
            moves = moves_of(sites, lambda w: self._call(w, others, x), self.weights(), step)
            self.kinks = Kinks(sites, moves)

    def gradient(
        self, weights: list, state: list, rows: Any = None, rounding: Any = None, shown: Any = None
    ) -> tuple[tf.Tensor, list, list]:
        """Risk, its gradient and the new state, on the examples `rows` or, in tiles, on all.

        Traceable: call it inside a `tf.function`.

        Args:
            rounding: scalar tensor by which `kinks` are rounded for the gradient. None: they stay
                sharp.
            shown: scalar tensor; if it is 1, they are rounded for the risk, too.
        """
        sharp = contextlib.nullcontext()
        with sharp if rounding is None else self.kinks.rounded(rounding, shown):
            if rows is None and self.tile < self.examples:
                return self._tiled_gradient(weights, state)
            x, y = (self.x, self.y) if rows is None else gather((self.x, self.y), rows)
            return self._gradient(weights, state, x, y, 1.0)

    def constrain(self, weights: list) -> list[tf.Tensor]:
        """`weights` as the constraints of the variables make them, after a step."""
        return [
            w if v.constraint is None else tf.convert_to_tensor(v.constraint(w))
            for v, w in zip(self.variables, weights, strict=True)
        ]

    def agree(self, tensor: tf.Tensor) -> tf.Tensor:
        """Returns `tensor`, which decides how a solver goes on, as all workers must have it."""
        return tensor

    def agreed(self, number: int) -> int:
        """The same for a number outside a compiled function."""
        return number

    def _others(self) -> list:
        return [v.value for v in self.model.non_trainable_variables]

    def _call(self, weights, others, x):
        """Predictions and penalties in training, and the new values of `others`."""
        variables = [*self.variables, *self.model.non_trainable_variables]
        values = [*weights, *others]
        answer = stateless_call(self.model, variables, values, x, training=True)
        predictions, values, penalties = answer
        [predictions] = keras.tree.flatten(predictions)
        return predictions, values[len(weights) :], penalties

    def _gradient(self, weights, state, x, y, share):
        others = self._others()
        for i, value in zip(self._state_index, state, strict=True):
            others[i] = value
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(weights)
            predictions, others, penalties = self._call(weights, others, x)
            risk = tf.reduce_mean(tf.cast(self.loss(y, predictions), self.risk_dtype))
            risk += sum(tf.cast(penalty, self.risk_dtype) for penalty in penalties)
            risk *= share
        gradient = tape.gradient(risk, weights)
        if all(g is None for g in gradient):
            raise ValueError(
                f"Expected a risk that changes with the weights, received {self.model.name!r}, "
                f"whose outputs ({predictions.dtype.name}) have no gradient by any of them. Train "
                "the outputs before an argmax or a rounding."
            )
        # The gradient of an embedding comes as the rows that were looked up.
        gradient = [
            tf.zeros_like(w) if g is None else tf.convert_to_tensor(g)
            for g, w in zip(gradient, weights, strict=True)
        ]
        return risk, gradient, [others[i] for i in self._state_index]

    def _tiled_gradient(self, weights, state):
        full, rest = divmod(self.examples, self.tile)

        def add(risk, gradient, first, size):
            x, y = self._rows(first, size)
            part, parts, _ = self._gradient(weights, state, x, y, size / self.examples)
            return risk + part, [a + b for a, b in zip(gradient, parts, strict=True)]

        zero = tf.zeros([], self.risk_dtype), [tf.zeros_like(w) for w in weights]
        # One pass at a time: side by side they would need the memory that tiles are to save.
        _, risk, gradient = tf.while_loop(
            lambda i, *_: i < full,
            lambda i, risk, gradient: (i + 1, *add(risk, gradient, i * self.tile, self.tile)),
            (tf.constant(0), *zero),
            parallel_iterations=1,
        )
        if rest:
            risk, gradient = add(risk, gradient, full * self.tile, rest)
        return risk, gradient, list(state)


def _in_training(model, x) -> tuple[list[int], list[str], int]:
    """Traces a call of `model` in training, and refuses one whose effects a step would lose.

    Returns:
        Indices of the non-trainable variables that it writes; TensorFlow's operations in it that
        draw numbers or write; the number of its penalties.
    """
    trained, others = model.trainable_variables, model.non_trainable_variables
    written, penalties = set[int](), 0

    def trace(x):
        nonlocal penalties
        before = [(v, tf.convert_to_tensor(v.value)) for v in (*trained, *others)]
        with keras.StatelessScope(state_mapping=before, collect_losses=True) as scope:
            call(model, x, training=True)
            penalties = len(model.losses)
        unchanged = {id(v) for v, value in before if scope.get_current_value(v) is value}
        written.update({id(v) for v, _ in before}.union(scope.state_mapping) - unchanged)
        return tf.constant(0)

    signature = keras.tree.map_structure(tf.type_spec_from_value, x)
    traced = tf.function(trace, autograph=False).get_concrete_function(signature)
    weights = [v.path for v in trained if id(v) in written]
    if weights:
        raise ValueError(
            f"Expected trained weights that only steps change, received {model.name!r}, which "
            f"writes {', '.join(weights)} while it is called, as SpectralNormalization does. "
            "Freeze them, or take that layer out."
        )
    if not written <= set(map(id, others)):
        raise ValueError(
            f"Expected variables that model.variables lists, received {model.name!r}, which "
            "writes others while training: random numbers without a seed generator of the layer's "
            "own, or a variable from outside. Make them attributes of a layer "
            "(self.seed = keras.random.SeedGenerator(), self.add_weight)."
        )
    kinds = {operation.type for operation in traced.graph.get_operations()}
    operations = sorted(k for k in kinds if k in _DRAWS or k.startswith("Assign"))
    return [i for i, v in enumerate(others) if id(v) in written], operations, penalties


def _owners(model, variables) -> list[str]:
    """The layers that hold `variables`, as a user knows them: a recurrent layer, not its cell."""
    names, inside = [], set[int]()
    for layer in layers_of(model):
        own = {id(v) for v in layer.non_trainable_variables}
        if isinstance(layer, keras.Model):  # it is named only for what none of its layers holds
            own -= {id(v) for la in layers_of(layer)[1:] for v in la.non_trainable_variables}
        if id(layer) not in inside and any(id(v) in own for v in variables):
            names.append(f"{layer.name} ({type(layer).__name__})")
            if not isinstance(layer, keras.Model):
                inside |= set(map(id, layers_of(layer)))
    return names
