"""A loss as one number an example, in every form that `model.compile` takes, and its identity."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import itertools
import json
import logging
import types

import keras
import numpy as np
import tensorflow as tf

from asym_keras.arrays import bytes_of
from asym_keras.fingerprint import PLAIN, VARIABLES, held
from asym_keras.graphs import mask_of

logger = logging.getLogger(__name__)

# What Keras's cross-entropies take probabilities, or logits, to be of.
_LINKS = (
    (keras.losses.categorical_crossentropy, "softmax"),
    (keras.losses.categorical_focal_crossentropy, "softmax"),
    (keras.losses.sparse_categorical_crossentropy, "softmax"),
    (keras.losses.binary_crossentropy, "sigmoid"),
    (keras.losses.binary_focal_crossentropy, "sigmoid"),
)
_EXAMPLES = "Give one value an example: keras.ops.mean(..., axis=-1)"


class ExampleLoss:
    """Loss of each example; the mean of all values is the risk, whatever reduction a loss has.

    Names mean what they mean in `model.compile`: `"categorical_crossentropy"`, for one, takes
    probabilities, and `keras.losses.CategoricalCrossentropy(from_logits=True)` takes logits.
    Targets and predictions meet in the dtype of the risk, as Keras casts them under mixed
    precision.

    Args:
        loss: name, class name, `keras.losses.Loss`, function, `functools.partial` or other
            callable of `(y, predictions)`.
        dtype: of the risk, `"float32"` or `"float64"`.

    Raises:
        ValueError: No loss of that name.
    """

    def __init__(self, loss, dtype="float32"):
        self._given, self._dtype = loss, dtype
        by_shapes = isinstance(loss, str) and loss.lower() in ("crossentropy", "ce")
        found = _crossentropy if by_shapes else keras.losses.get(loss)
        if not callable(found):
            raise ValueError(f"Expected loss to be a name or a function, received {loss!r}.")
        self._found, keras_loss = found, keras.losses.Loss
        if isinstance(found, keras_loss) and type(found).__call__ is keras_loss.__call__:
            found = found.call  # the values before they are reduced
        self._values = found

    def __call__(self, y, predictions) -> tf.Tensor:
        """One value, or several whose mean counts, for each example."""
        return self._values(tf.cast(y, self._dtype), tf.cast(predictions, self._dtype))

    def check(self, y, shape: tuple, *, labels: bool) -> None:
        """Asks once whether the loss gives one value an example, whatever the others are.

        Args:
            y: some targets (rows, ...), as the loss will get them.
            shape: of the predictions of one example.
            labels: whether the targets are class labels, of fewer axes than the predictions.

        Raises:
            ValueError: It does not, or it takes no labels.
        """
        # Numbers of rows that no other axis has, so that nothing broadcasts by chance.
        sizes = {*shape, *y.shape[1:]}
        count = next(c for c in itertools.count(3) if not {c, c - 1} & sizes)
        y = tf.cast(tf.gather(y, np.resize(np.arange(len(y)), count)), self._dtype)
        generator = np.random.default_rng(0)
        tried = tf.cast(generator.uniform(0.1, 0.9, (count, *shape)), self._dtype)
        try:
            values = [self(y[:c], tried[:c]) for c in (count, count - 1)]
            more, few = map(tf.convert_to_tensor, values)
        except (ValueError, TypeError, tf.errors.InvalidArgumentError) as error:
            raise self._refusal(labels, tuple(y.shape[1:]), shape, str(error)) from error
        if mask_of(values[0]) is not None:
            raise ValueError(
                f"Expected a loss that counts all examples, received {self.name}, which leaves "
                "some out (ignore_class): the mean over the others is not one example by example. "
                "Drop these examples."
            )
        single = more.shape[:1] == [count] and few.shape[:1] == [count - 1]
        known = isinstance(self._given, (str, keras.losses.Loss))
        if labels and (more.shape.rank > len(y.shape) if single else known):
            raise self._refusal(labels, tuple(y.shape[1:]), shape, f"values of shape {more.shape}")
        if not single:
            raise ValueError(
                f"Expected a loss with one value per example, received {self.name} with values of "
                f"shape {more.shape} for {count} examples. "
                + (f"{_EXAMPLES}." if shape else "Let the model return (n, 1), not (n,).")
            )
        if not np.allclose(more[: count - 1], few, rtol=1e-3, atol=1e-5, equal_nan=True):
            raise ValueError(
                f"Expected a loss per example, received {self.name}, whose values depend on the "
                f"other examples of the batch: the risk would depend on its size. {_EXAMPLES}."
            )

    def _refusal(self, labels: bool, targets: tuple, shape: tuple, fault: str) -> ValueError:
        if labels:
            return ValueError(
                f"Expected one-hot targets of shape (n, {', '.join(map(str, shape))}) for the loss "
                f"{self.name}, which takes no integer labels, received labels of shape "
                f"{('n', *targets)}. Use keras.utils.to_categorical(y, {shape[-1]}), or "
                "loss='sparse_categorical_crossentropy'."
            )
        return ValueError(
            f"Expected a loss of targets {('n', *targets)} and predictions {('n', *shape)}, "
            f"received {self.name}, which fails on them: {' '.join(fault.split())[:200]}"
        )

    @property
    def name(self) -> str:
        """What to call it in a message."""
        if isinstance(self._given, str):
            return repr(self._given)
        return getattr(self._given, "__name__", type(self._given).__name__)

    @property
    def takes_logits(self) -> bool:
        """Whether it is a cross-entropy of logits, as far as Keras's classes tell."""
        return bool(_option(self._given, "from_logits"))

    @property
    def link(self) -> str | None:
        """`"softmax"` over the outputs, or `"sigmoid"` of each; None: no cross-entropy of Keras."""
        function = self._found
        while isinstance(function, functools.partial):
            function = function.func
        function = getattr(function, "fn", function)  # of a loss that is a class
        return next((link for known, link in _LINKS if function is known), None)

    @property
    def label_smoothing(self) -> float:
        """Share of each target that a cross-entropy of Keras gives to all classes alike."""
        return float(_option(self._given, "label_smoothing") or 0.0)

    @property
    def identity(self):
        """JSON values that are equal for equal losses, in this process and in the next one.

        A function is known by its code and by what it takes from outside, so that two lambdas of
        one module are two losses.
        """
        if isinstance(self._given, str):
            return self._given
        if _is_of_keras(self._given):
            return json.loads(json.dumps(_told(self._given)))
        return {"name": _qualified(self._given), "code": _digest(self._given)}


def _crossentropy(y, predictions):
    """The one that `compile` takes by this name, by the shapes."""
    if len(y.shape) < len(predictions.shape) or y.shape[-1] != predictions.shape[-1]:
        return keras.losses.sparse_categorical_crossentropy(y, predictions)
    if predictions.shape[-1] == 1:
        return keras.losses.binary_crossentropy(y, predictions)
    return keras.losses.categorical_crossentropy(y, predictions)


def _is_of_keras(thing) -> bool:
    return isinstance(thing, keras.losses.Loss) and type(thing).__module__.startswith("keras.")


def _told(loss: keras.losses.Loss) -> dict:
    """The configuration of one of Keras's losses, and arguments that it forgets: Huber's delta."""
    found = keras.saving.serialize_keras_object(loss)
    kept = [value for value in vars(loss).values() if isinstance(value, dict)]
    arguments = {k: v for value in kept for k, v in value.items() if k not in found["config"]}
    return found | ({"arguments": arguments} if arguments else {})


def _option(loss, name: str):
    """An argument that a loss was made with."""
    if isinstance(loss, functools.partial):
        return loss.keywords.get(name, _option(loss.func, name))
    if isinstance(loss, keras.losses.Loss):
        with contextlib.suppress(TypeError, ValueError, NotImplementedError, AttributeError):
            return loss.get_config().get(name)
    return None


def _qualified(thing) -> str:
    if isinstance(thing, functools.partial):
        return f"partial({_qualified(thing.func)})"
    if isinstance(thing, types.ModuleType):
        return thing.__name__
    named = thing if hasattr(thing, "__qualname__") else type(thing)
    return f"{named.__module__}.{named.__qualname__}"


def _digest(thing) -> str:
    digest = hashlib.sha256()
    if isinstance(thing, keras.losses.Loss):  # its name counts the losses of a process
        thing = [type(thing), {k: v for k, v in vars(thing).items() if k != "name"}]
    for part in held(thing):
        if isinstance(part, (*VARIABLES, tf.Tensor, np.ndarray, keras.layers.Layer)):
            for array in part.variables if isinstance(part, keras.layers.Layer) else [part]:
                digest.update(bytes_of(array))
        elif isinstance(part, types.CodeType):
            constants = [
                # The order in which a set is told changes from process to process.
                sorted(c, key=repr) if isinstance(c, frozenset) else c
                for c in part.co_consts
                if not isinstance(c, types.CodeType)
            ]
            digest.update(part.co_code + repr((part.co_names, constants)).encode())
        elif isinstance(part, PLAIN):
            digest.update(repr(part).encode())
        elif _is_of_keras(part):
            digest.update(repr(_told(part)).encode())
        else:  # a module, a class, an object of a library
            named = part if hasattr(part, "__name__") else type(part)
            digest.update(named.__name__.encode())
    return digest.hexdigest()[:16]
