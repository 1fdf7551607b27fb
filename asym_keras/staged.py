"""Anytime prediction: a nested model answers at the first of its widths that is sure enough."""

from __future__ import annotations

import dataclasses
from typing import Any

import keras
import numpy as np
from keras import ops

from asym_keras.copies import copy_model
from asym_keras.graphs import compile_arguments, graph_of, input_structure, is_graph
from asym_keras.inputs import as_inputs, example_count, require_biases, take
from asym_keras.losses import ExampleLoss
from asym_keras.nesting.loss import NestedLoss
from asym_keras.nesting.model import find_readout
from asym_keras.nesting.readout import NestedReadout
from asym_keras.nesting.sure import FirstSure, sureness, thresholds
from asym_keras.pruning.prefixes import backwards, prune_prefix, trunk_tensor
from asym_keras.targets import as_targets, hits, labels_in

__all__ = ["Anytime", "anytime"]


@dataclasses.dataclass(frozen=True, eq=False)
class Anytime:
    """A nested classifier that takes as many nodes for an example as it needs: see `anytime`.

    Its weights are its own: training the model that it was made of does not change it.

    Attributes:
        model: a copy of the nested model.
        widths: of its networks.
        threshold: the least probability that is sure enough.
        from_logits: whether its outputs are logits.
        trunk: what all widths share, computed once; None: nothing.
        heads: for each width the model that goes on from there, (n, K).
    """

    model: keras.Model
    widths: tuple[int, ...]
    threshold: float
    from_logits: bool
    trunk: keras.Model | None
    heads: tuple[keras.Model, ...]

    def predict(self, x: Any, batch_size: int = 256) -> tuple[np.ndarray, np.ndarray]:
        """Outputs, and the width of the network that gave them.

        Wider networks only see the examples of which no narrower one was sure.

        Args:
            x: examples (n, ...), as the model takes them.
            batch_size: examples at once.

        Returns:
            float (n, K) and int (n,).
        """
        x = _arrays(self.model, x)
        if self.trunk is not None:
            x = self.trunk.predict(x, batch_size, verbose=0)
        count = len(keras.tree.flatten(x)[0])
        left, used = np.arange(count), np.zeros(count, int)
        outputs: Any = None
        for width, head in zip(self.widths, self.heads, strict=True):
            found = _answers(head, take(x, left), batch_size)
            if outputs is None:
                outputs = np.empty((count, *found.shape[1:]), found.dtype)
            outputs[left], used[left] = found, width
            sure = ops.convert_to_numpy(sureness(found, self.from_logits)) >= self.threshold
            left = left[~sure]
            if not len(left):
                break
        return outputs, used

    def evaluate(self, x: Any, y: Any, batch_size: int = 256) -> dict[str, Any]:
        """`accuracy`, `mean_width`, and `shares`: the share of examples that each width answered.

        Args:
            x: examples (n, ...). y: labels (n,) or one-hot targets (n, K).
        """
        labels = _labels(self.model, x, y)
        outputs, used = self.predict(x, batch_size)
        right = hits(outputs, labels, 0.0 if self.from_logits else 0.5)
        shares = {width: float(np.mean(used == width)) for width in self.widths}
        return {
            "accuracy": float(np.mean(right)),
            "mean_width": float(used.mean()),
            "shares": shares,
        }

    def as_model(self) -> keras.Model:
        """One `keras.Model`, with outputs `outputs` and `width`, to be saved or exported.

        It computes all widths and then chooses. Use it where a single graph is needed, such as on a
        server. Its weights are its own.
        """
        own = copy_model(self.model, compiled=False)
        sure = FirstSure(self.widths, self.threshold, from_logits=self.from_logits, name="anytime")
        return keras.Model(input_structure(own), sure(own.outputs[0]), name=own.name)


def anytime(
    model: keras.Model,
    threshold: float | None = None,
    *,
    held_out: Any = None,
    accuracy: float | None = None,
    mean_width: float | None = None,
    from_logits: bool | None = None,
) -> Anytime:
    """A classifier that answers at the first width that is sure enough of an example.

    Args:
        model: a nested model (`asym_keras.nested`) of classes, trained: (n, ...) -> (n, P, K).
        threshold: the least probability that is sure enough, in [0, 1]. None: it is chosen on
            `held_out`, by `accuracy` or `mean_width`.
        held_out: `(x, y)`, examples that the model was not trained on, and their labels (n,) or
            one-hot targets. They are judged by `model.predict`. Of thresholds that do the same to
            all of them the middle one is taken.
        accuracy: the accuracy wanted on them; the threshold is the smallest that has it, so that
            the fewest nodes are used.
        mean_width: the mean width wanted on them; the threshold is the largest that needs no more.
        from_logits: whether the outputs are logits. None: the end of the model tells; no activation
            means logits, unless the model is compiled with a loss that is no cross-entropy.

    Returns:
        An `Anytime`, with weights of its own. After more training, make another.

    Raises:
        ValueError: A model that is not nested, or whose end is unknown; not one of threshold,
            accuracy and mean_width, or one out of reach; no examples to choose on, or no labels.

    Example:
        >>> import keras
        >>> readout = asym_keras.NestedReadout(3, widths=(2, 8))
        >>> quick = asym_keras.anytime(keras.Sequential([keras.Input((8,)), readout]), 0.9)
        >>> outputs, width = quick.predict(np.zeros((1, 8)))  # never sure of equal scores
        >>> int(width[0])
        8
    """
    readout = find_readout(model) if isinstance(model, keras.Model) else None
    if readout is None or not is_graph(model) or len(model.outputs) != 1:
        raise ValueError(
            "anytime: expected a model with one output, of a NestedReadout, received "
            f"{getattr(model, 'name', model)!r}. Make one by asym_keras.nested."
        )
    if len(model.outputs[0].shape) != 3:
        raise ValueError(
            "anytime: expected outputs of shape (n, widths, classes), received "
            f"{model.outputs[0].shape}. Take a model that gives one answer an example."
        )
    wanted = [threshold, accuracy, mean_width]
    if sum(value is not None for value in wanted) != 1:
        raise ValueError(
            "anytime: expected one of threshold, accuracy and mean_width, received "
            f"{threshold!r}, {accuracy!r} and {mean_width!r}."
        )
    if from_logits is None:
        from_logits = _ends_in_logits(model, readout)
    if threshold is None:
        if held_out is None:
            raise ValueError(
                "anytime: expected held_out=(x, y) to choose the threshold on, received none."
            )
        threshold = _chosen(model, readout, held_out, accuracy, mean_width, from_logits)
    if not 0.0 <= threshold <= 1.0:
        raise ValueError(f"anytime: expected threshold in [0, 1], received {threshold!r}.")
    own = copy_model(model, compiled=False)
    trunk, heads = stages(own)
    for head in heads:  # they are called eagerly
        require_biases(head)
    return Anytime(own, readout.widths, float(threshold), from_logits, trunk, heads)


def stages(model: keras.Model) -> tuple[keras.Model | None, tuple[keras.Model, ...]]:
    """What all widths of a nested model compute alike, and for each width what follows.

    Args:
        model: a nested model with one output.

    Returns:
        The model of what they share, None if that is nothing, and for each width the model of the
        rest, (n, K).
    """
    readout = find_readout(model)
    assert readout is not None
    tensor = trunk_tensor(model, readout)
    trunk = None if tensor is None else keras.Model(input_structure(model), tensor)
    rest = model if tensor is None else keras.Model(tensor, model.outputs[0])
    return trunk, tuple(prune_prefix(rest, readout, width) for width in readout.widths)


def _answers(head: keras.Model, x: Any, batch_size: int) -> np.ndarray:
    """Outputs of a small network. `predict` would compile each head, and TensorFlow would warn."""
    count = len(keras.tree.flatten(x)[0])
    slices = [slice(i, i + batch_size) for i in range(0, count, batch_size)]
    parts = [head(take(x, rows), training=False) for rows in slices]
    return np.concatenate([ops.convert_to_numpy(part) for part in parts])


def _chosen(
    model: keras.Model,
    readout: NestedReadout,
    held_out: Any,
    accuracy: Any,
    mean_width: Any,
    from_logits: bool,
) -> float:
    """The threshold that meets what is wanted on held-out examples."""
    x, y = held_out
    x, labels = _arrays(model, x), _labels(model, x, y)
    outputs = model.predict(x, verbose=0)
    right = hits(np.moveaxis(outputs, 1, 0), labels, 0.0 if from_logits else 0.5).T
    sure = ops.convert_to_numpy(sureness(outputs, from_logits))
    grid, accuracies, means = thresholds(right, sure, np.array(readout.widths))
    if accuracy is not None:
        fits, asked = accuracies >= accuracy, f"accuracy={accuracy}"
        best = f"at most {accuracies.max():.4f}"
    else:
        fits, asked, best = (
            means <= mean_width,
            f"mean_width={mean_width}",
            f"at least {means[0]:g}",
        )
    if not fits.any():
        raise ValueError(f"anytime: received {asked}, but on the held-out examples it is {best}.")
    places = np.flatnonzero(fits)
    return float(grid[places[0] if accuracy is not None else places[-1]])


def _ends_in_logits(model: keras.Model, readout: NestedReadout) -> bool:
    """Whether the model is linear after the readout's sums; False: softmax or sigmoid follows."""
    functions: list = []
    for operation, _ in backwards(model, graph_of(model).outputs[0]):
        if operation is readout:
            functions.append(readout.activation)
            break
        if type(operation) is keras.layers.Softmax and operation.axis == -1:
            functions.append(keras.activations.softmax)
        elif type(operation) is keras.layers.Activation:
            functions.append(operation.activation)
        elif type(operation) is not keras.layers.Dropout:
            functions.append(operation)
    else:
        functions.append("calls that do not lead to it once")
    others = [f for f in functions if f is not keras.activations.linear]
    link = "sigmoid" if readout.outputs == 1 else "softmax"
    loss = compile_arguments(model).get("loss")
    loss = loss.loss if isinstance(loss, NestedLoss) else loss
    if not others and loss is not None and ExampleLoss(loss).link != link:
        others.append(f"the loss {ExampleLoss(loss).name}")  # a regression, or several labels
    if not others:
        return True
    if others != [getattr(keras.activations, link)]:
        raise ValueError(
            f"anytime: expected a model that ends in logits or in their {link}, received "
            f"{model.name!r}, after whose readout come {[getattr(f, 'name', f) for f in others]}. "
            "Say whether its outputs are logits (from_logits=)."
        )
    return False


def _arrays(model: keras.Model, x: Any) -> Any:
    return keras.tree.map_structure(ops.convert_to_numpy, as_inputs(model, x))


def _labels(model: keras.Model, x: Any, y: Any) -> np.ndarray:
    """The labels (n,) that `y`, labels or one-hot targets of the examples `x`, stands for."""
    classes = model.outputs[0].shape[-1]
    targets, _ = as_targets(y, (classes,), model=model.name)
    example_count(_arrays(model, x), targets)
    labels = labels_in(targets, classes)
    if labels is None:
        raise ValueError(
            f"anytime: expected labels from 0 to {max(classes, 2) - 1}, or one-hot targets of "
            f"zeros and ones, received values from {np.min(targets):g} to {np.max(targets):g}."
        )
    return labels
