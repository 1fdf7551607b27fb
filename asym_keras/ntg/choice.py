"""Which of a model's outputs an NTG is of."""

from __future__ import annotations

import dataclasses

import keras
import tensorflow as tf

from asym_keras.checks import is_whole
from asym_keras.graphs import graph_of, input_structure
from asym_keras.inputs import call, outputs_like, take


@dataclasses.dataclass(frozen=True)
class Choice:
    """One output of a model, or all columns of one."""

    place: int  # which of the model's outputs, in flat order
    column: int | str  # of its K columns; `"trace"`, the mean over them; `"all"`, their pairs
    columns: int  # K

    @property
    def last(self) -> Choice:
        """The column that is chosen; of several, the last."""
        column = self.columns - 1 if isinstance(self.column, str) else self.column
        return dataclasses.replace(self, column=column)

    def outputs(self, everything) -> tf.Tensor:
        """What the model returned, as the (n, K) that is differentiated; K = 1 for one column."""
        f = keras.tree.flatten(everything)[self.place]
        f = f[:, None] if len(f.shape) == 1 else f
        return f if isinstance(self.column, str) else f[:, self.column : self.column + 1]


def choose(model, x, output) -> Choice:
    """The `Choice` that the argument `output` of `empirical_ntg` stands for.

    Args:
        model: built model. x: examples as tensors, of which one is tried where the model does not
            tell its outputs.
        output: of a model with one output (n, K): column, `"trace"` or `"all"`. Of a model with
            several: the name or index of one, or a pair of that and one of these.

    Raises:
        ValueError: No such output, outputs that are not (n, K) or (n,), or integers; a model that
            takes one number of examples only (its inputs may tell one, if others work).
    """
    inputs = [] if input_structure(model) is None else graph_of(model).inputs
    fixed = {t.shape[0] for t in inputs} - {None}
    if fixed:
        try:
            call(model, take(x, slice(0, 1)))
        except Exception as error:  # of a layer that knows the number, of whatever class
            raise ValueError(
                "empirical_ntg: expected a model that takes any number of examples, received "
                f"{model.name!r}, which takes {fixed.pop()} and fails on one. Make it with "
                "keras.Input(shape), without a batch size."
            ) from error
    everything = outputs_like(model, x)
    flat = keras.tree.flatten(everything)
    names = _names(model, everything, len(flat))
    place, column = 0, output
    if isinstance(output, tuple) and len(output) == 2:
        which, column = output
        place = _place(model, which, names)
    elif len(flat) > 1:
        place, column = _place(model, output, names), 0
    elif isinstance(output, str) and output in names and output not in ("trace", "all"):
        column = 0
    shape = tuple(flat[place].shape)
    count = 1 if len(shape) == 1 else shape[-1]
    index = is_whole(column, 0, count - 1)
    if len(shape) not in (1, 2) or not (index or column in ("trace", "all")):
        raise ValueError(
            f"empirical_ntg: expected outputs of shape (n, K) or (n,), and output below K, "
            f"'trace' or 'all', received shape {(None, *shape[1:])} and output={output!r}."
        )
    dtype = tf.as_dtype(flat[place].dtype)
    if not dtype.is_floating:
        raise ValueError(
            f"empirical_ntg: expected floating-point outputs, which have gradients, received "
            f"{dtype.name} of {model.name!r}. Take the outputs before the argmax or the rounding."
        )
    return Choice(place, int(column) if index else column, count)


def _names(model, everything, count: int) -> list[str]:
    if isinstance(everything, dict) and len(everything) == count:
        return sorted(everything)
    names = list(getattr(graph_of(model), "output_names", ()))
    return names if len(names) == count else [str(i) for i in range(count)]


def _place(model, which, names: list[str]) -> int:
    if isinstance(which, str) and which in names:
        return names.index(which)
    if is_whole(which, 0, len(names) - 1):
        return int(which)
    raise ValueError(
        f"empirical_ntg: expected output to be the name or index of one of the {len(names)} "
        f"outputs of {model.name!r}, {names}, or a pair of that and a column, 'trace' or 'all', "
        f"received {which!r}."
    )
