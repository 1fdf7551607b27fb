"""The risk of a Keras model on examples, and its predictions, in tiles of bounded memory."""

from __future__ import annotations

from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf

from asym_keras.arrays import as_tensor
from asym_keras.backend import require_tensorflow
from asym_keras.compilation import compiles_with_xla
from asym_keras.fingerprint import PerModel
from asym_keras.graphs import graph_of, input_structure, layers_of, mask_of
from asym_keras.inputs import as_inputs, call, example_count, outputs_like, take
from asym_keras.losses import ExampleLoss
from asym_keras.pairs import examples_meet
from asym_keras.targets import as_labels, as_targets, hits, labels_in
from asym_keras.tracing import traced_once

# Activations of all layers that one pass over examples may hold.
TILE_BYTES = 512 * 2**20


class Evaluator:
    """Mean loss of `model` on `(x, y)` in inference, without the model's own penalties.

    Args:
        model: built Keras model with one output, (n, ...) -> (n, ...).
        x: inputs, array (n, ...) or a structure of arrays, by order or by name.
        y: targets, array (n, ...), or class labels where the loss takes them.
        loss: in any form that `model.compile` takes, one value per example; see `ExampleLoss`.
        batch_size: examples that a step will be taken on. None: all.
        jit_compile: True, False or "auto" (`compiles_with_xla`).

    Attributes:
        x, y: as tensors: x as the model takes it, y in the dtype of the risk.
        examples: int, n.
        outputs: shape of the prediction of one example.
        risk_dtype: float64 for float64 weights, else float32.
        jit_compile: bool, whether solvers should compile with XLA here.
        tile: examples that go through the model at once: all, if they meet in it.

    Raises:
        ValueError: Model not built, more outputs than one, no examples, lengths that differ,
            inputs or targets that do not fit the model, or a loss that does not fit them.
    """

    def __init__(
        self, model: keras.Model, x, y, *, loss="mse", batch_size=None, jit_compile="auto"
    ):
        require_tensorflow("training and risks")
        if jit_compile not in ("auto", True, False):
            raise ValueError(
                f"Expected jit_compile to be True, False or 'auto', received {jit_compile!r}."
            )
        if not model.built:
            raise ValueError(
                f"Expected a built model, received {model.name!r}, which has no weights yet. Call "
                "it on an example first."
            )
        self.model = model
        self.x = as_inputs(model, x)
        complete(model, self.x)
        self.outputs = _one_output(model, self.x)
        self.risk_dtype = _risk_dtype(model)
        y, labels = as_targets(y, self.outputs, model=model.name)
        self.examples = example_count(self.x, y)
        self.y = as_tensor(y, self.risk_dtype, f"y {tuple(y.shape)}")
        self.loss = ExampleLoss(loss, self.risk_dtype)
        sizes = [*self.y.shape[1:], *[4] * len(self.outputs)]  # for those that vary
        shape = tuple(s or size for s, size in zip(self.outputs, sizes, strict=False))
        self.loss.check(self.y[:64], shape, labels=labels)
        if jit_compile == "auto":
            jit_compile = compiles_with_xla(model, batch_size or self.examples, self.x)
        self.jit_compile = jit_compile
        self.tile = _tile(model, self.examples)
        if self.tile < self.examples and examples_meet(model, self.x):
            self.tile = self.examples
        self._infer = PerModel()

    def evaluate(self) -> tuple[float, np.ndarray]:
        """Mean loss (no penalties) and predictions (n, ...) of the model now, in inference."""
        losses, predictions = [], []
        # Compiled functions are dropped when more of the model than its weights has changed.
        compiled: dict[int, Callable] = self._infer(self.model)
        for first in range(0, self.examples, self.tile):
            count = min(self.tile, self.examples - first)
            if count not in compiled:  # all tiles have one size, but the last
                compiled[count] = traced_once(self._inference, jit_compile=self.jit_compile)
            loss, prediction = compiled[count](*self._rows(first, count))
            losses.append(loss)
            predictions.append(prediction)
        risk = tf.reduce_mean(tf.cast(tf.concat(losses, 0), tf.float64))
        return float(risk), tf.concat(predictions, 0).numpy()

    def labels(self, labels=None) -> np.ndarray | None:
        """Class labels int64 (n,): `labels` checked, or those that the targets stand for.

        None: there are none, as the targets are neither labels, one-hot nor (one output) 0 and 1.

        Raises:
            ValueError: Labels that do not fit, or with outputs that are no classes.
        """
        if len(self.outputs) != 1 and labels is not None:
            raise ValueError(
                f"Expected labels for a model with outputs (n, K), received them for "
                f"{('n', *self.outputs)}."
            )
        if labels is None:
            return labels_in(self.y, self.outputs[0]) if len(self.outputs) == 1 else None
        return as_labels(labels, self.y, self.outputs[0])

    def accuracy(self, predictions: np.ndarray, labels: np.ndarray) -> float:
        """Share of examples in their class."""
        threshold = 0.0 if self.loss.takes_logits else 0.5
        return float(np.mean(hits(predictions, labels, threshold)))

    def _rows(self, first, count: int):
        """Examples from `first` on, with static shapes, as XLA needs them inside a loop."""
        if count == self.examples:
            return self.x, self.y

        def rows(a):
            if isinstance(a, (tf.RaggedTensor, tf.SparseTensor)):
                return a[first : first + count]
            return tf.slice(a, [first] + [0] * (len(a.shape) - 1), [count, *a.shape[1:]])

        return keras.tree.map_structure(rows, (self.x, self.y))

    def _inference(self, x, y):
        [predictions] = keras.tree.flatten(call(self.model, x))
        return self.loss(y, predictions), predictions


def complete(model: keras.Model, x) -> None:
    """Calls `model` on one example if a layer in it makes its weights only then.

    An activation with weights, in one of Keras's own layers, does that. Weights made while a
    function is compiled would not be trained by it.

    Raises:
        ValueError: Layers whose answers depend on what they were asked before.
    """
    layers = layers_of(model)
    stateful = [la.name for la in layers if getattr(la, "stateful", False)]
    if stateful:
        raise ValueError(
            f"Expected layers that forget, received {', '.join(stateful)} in {model.name!r} with "
            "stateful=True: what is computed would depend on earlier batches. Use stateful=False."
        )
    if not all(layer.built for layer in layers):
        call(model, take(x, slice(0, 1)))


def _one_output(model, x) -> tuple:
    """Shape of the model's one output for one example."""
    outputs = outputs_like(model, x)
    flat = keras.tree.flatten(outputs)
    if len(flat) != 1:
        names = list(outputs) if isinstance(outputs, dict) else getattr(model, "output_names", [])
        raise ValueError(
            f"Expected a model with one output, received {model.name!r} with {len(flat)} "
            f"({', '.join(map(str, names))}). Take the model of one of them, for example "
            "keras.Model(model.inputs, model.outputs[0])."
        )
    if mask_of(flat[0]) is not None:
        raise ValueError(
            f"Expected outputs that all count alike, received {model.name!r}, whose output carries "
            "a mask: the risk of masked positions is not defined example by example. Pool over "
            "the positions, or take the mask away (keras.layers.Lambda(lambda x: x))."
        )
    return tuple(flat[0].shape[1:])


def _risk_dtype(model) -> str:
    """Of the weights, not of the model: a model's own dtype policy may be another."""
    variables = [*model.trainable_variables, *model.variables]
    dtypes = [str(v.dtype) for v in variables if "float" in str(v.dtype)]
    return "float64" if dtypes[:1] == ["float64"] else "float32"


def _tile(model, examples: int) -> int:
    """Examples per pass so that all layers' outputs, forward and backward, fit TILE_BYTES."""
    operations = [] if input_structure(model) is None else graph_of(model).operations
    numbers = sum(
        int(np.prod([s or 1 for s in tensor.shape[1:]]))
        for operation in operations
        for tensor in keras.tree.flatten(operation.output)
    )
    weights = model.trainable_variables or model.weights
    numbers += max((int(v.shape[-1]) for v in weights if len(v.shape)), default=0)
    dtype = weights[0].dtype if weights else "float32"
    per_example = 4 * numbers * tf.as_dtype(dtype).size
    return int(min(examples, max(1, TILE_BYTES // max(per_example, 1))))
