"""One function for all exports: of packaged networks with their cards, and of any Keras model."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from serving.exporting.own_files import read_labels
from serving.exporting.writing import export_packaged


def export_model(
    model: Any,
    name: str | dict[str, Any],
    to: str | os.PathLike[str],
    *,
    task: str | None = None,
    labels: Sequence[str] | str | os.PathLike[str] | None = None,
    keep: int | None = None,
    warmup: bool | str | os.PathLike[str] | Mapping[str, Any] = True,
    card: Mapping[str, Any] | None = None,
    half: bool = False,
    version: int | None = None,
    command: str | None = None,
    measure: Callable[[Callable], dict[str, float]] | None = None,
) -> Path:
    """Writes a Keras model as a new version `to/<name>/<version>`, and checks it.

    The signature `serving_default` has the model's inputs and outputs by their names. It refuses
    inputs of other dtypes or shapes than the model's. `classify` or `regress` takes tf.Example with
    the inputs as features. Before the version gets its number, it is loaded as the model server
    loads it, and its answers are compared with the model's. A difference that rounding in float32
    does not explain is an error.

    Args:
        model: built `keras.Model`: functional, Sequential or a subclass. It may have several inputs
            of any rank, integers, strings, and preprocessing layers inside. An input or output
            that nobody named is called `inputs` or `outputs`. With the card of a packaged model:
            raw values float32 (n, d) -> (n, K).
        name: of the model on the server; or the card of a packaged model.
        to: folder of the models. It is made if it is not there.
        task: "classify": an output (n, K) holds scores. "regress": an output (n,) or (n, 1) is a
            number. "raw": the model answers Predict alone. None: "classify" if there are labels,
            else by the shape of the only output.
        labels: names of the K classes, in the order of the scores, or a file with one a line.
            None: their numbers.
        keep: nodes that stay of the model's `AsymScaledDense`, by the paper's rule, which needs no
            data, or of its `NestedReadout`. For another rule call `asym_keras.prune` first.
        warmup: whether to write warm-up requests, of zeros and words that fit the inputs; or rows
            for them, arrays by input name, in a dict or an .npz file. A subclassed model does not
            tell the dtypes of its inputs: integers and strings are known from these rows alone.
        card: further facts about the model for its card, such as the licence of its data.
        half: whether the weights are float16. Only for a packaged model.
        version: number of the version. None: one more than the largest there is.
        command: the command line that called this, for the card.
        measure: function that measures a network, and returns numbers for `metrics.half` of the
            card. Its argument is a function from raw values (n, d) to outputs (n, K). Used only
            with `half`.

    Returns:
        Path of the version.

    Raises:
        FileExistsError: This version exists.
        ModuleNotFoundError: The warm-up requests need the extra `serving`.
        OSError: The folder can't be written.
        ValueError: Model, name, task, labels or rows do not fit one another, or the SavedModel does
            not answer as the model does. No version is made.

    Example:
        >>> model = keras.Sequential([keras.Input((4,), name="flower"), keras.layers.Dense(3)])
        >>> serving.export_model(model, "iris", "models", labels=["setosa", "virginica", "other"])
        PosixPath('models/iris/1')
    """
    from asym_keras.backend import require_tensorflow

    require_tensorflow("export_model")
    if isinstance(name, dict):
        of_any = {"task": task, "labels": labels, "keep": keep, "card": card}
        _refuse(of_any, "a model whose card does not tell them")
        if not isinstance(warmup, bool):
            raise ValueError("warmup: expected True or False of a packaged model, received rows.")
        return export_packaged(
            model, name, to,
            half=half, version=version, warmup=warmup, command=command, measure=measure,
        )  # fmt: skip
    _refuse({"half": half or None, "measure": measure}, "a packaged model and its card")
    from serving.exporting.any_model import export_any_model

    if isinstance(labels, (str, os.PathLike)):
        labels = read_labels(labels)
    return export_any_model(
        model, name, to,
        task=task, labels=labels, keep=keep, warm_up=warmup, facts=card,
        version=version, command=command,
    )  # fmt: skip


def _refuse(arguments: dict[str, Any], needed: str) -> None:
    given = [name for name, value in arguments.items() if value is not None]
    if given:
        raise ValueError(
            f"{', '.join(given)}: expected {needed}, received another kind of model. Leave it out."
        )
