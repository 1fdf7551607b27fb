"""Writes any Keras model as a version folder, once its SavedModel answers as the model does."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from asym_keras.files import user_path
from serving.card import write_card
from serving.exporting import any_card, warmup
from serving.exporting.any_check import check_answers
from serving.exporting.heads import Head, example_of, head_of, parse_examples
from serving.exporting.interface import Interface, Unfit, check_model, interface_of
from serving.exporting.rows import (
    drawn_rows,
    dtypes_of,
    fitted_rows,
    middle_rows,
    read_rows,
)
from serving.exporting.saved_model import finished
from serving.texts import array_of
from serving.versions import check_name, check_version, new_version


def export_any_model(
    model: keras.Model,
    name: str,
    to: str | os.PathLike[str],
    *,
    task: str | None = None,
    labels: Sequence[str] | None = None,
    keep: int | None = None,
    warm_up: bool | str | os.PathLike[str] | Mapping[str, Any] = True,
    facts: Mapping[str, Any] | None = None,
    version: int | None = None,
    command: str | None = None,
) -> Path:
    """Writes a Keras model as a new version `to/<name>/<version>`: see `serving.export_model`."""
    check_name(name)
    if version is not None:
        check_version(version)
    any_card.check_facts(facts or {})
    check_model(model)
    if warm_up is not False:
        warmup.check_installed()
    given = None
    if not isinstance(warm_up, bool):
        rows = warm_up if isinstance(warm_up, Mapping) else read_rows(warm_up)
        given = {key: array_of(value) for key, value in rows.items()}
    if keep is not None:
        model, keep = _pruned(model, keep)
    interface = interface_of(model, dtypes_of(given or {}))
    if given is not None:
        given = fitted_rows(given, interface.inputs)
    tried = _tried(model, interface, given)
    default = _function(interface.answer, interface.inputs)
    outputs = default.get_concrete_function().structured_outputs
    head = head_of(interface.inputs, outputs, task=task, labels=labels)
    signatures = {"serving_default": default}
    if head is not None:
        signatures[head.task] = _example_function(interface, head)
    with new_version(user_path(to) / name, version) as new:
        _save(model, signatures, new.temporary)
        if warm_up is not False:
            warmup.write_requests(new.temporary, _requests(name, interface, head, given))
        difference = check_answers(new.temporary, model, interface, head, tried)
        card = any_card.card_of(
            model, name, interface, outputs, head,
            keep=keep, example=given, facts=facts or {}, command=command,
            folder=new.temporary,
        )  # fmt: skip
        card["export"]["largest_difference"] = float(f"{difference:.2g}")
        write_card(new.temporary, card, any_card.render(card))
    assert new.path is not None
    any_card.report(new.path, card)
    return new.path


def _pruned(model: keras.Model, keep: int) -> tuple[keras.Model, int]:
    """The pruned model, and the number of its nodes.

    A nested model keeps its first nodes. If each width has a readout of its own, the number is the
    largest width that is not above `keep`.
    """
    from asym_keras.importance import find_layer
    from asym_keras.nesting.model import find_readout
    from asym_keras.pruning import prune

    readout = find_readout(model)
    if readout is None:
        try:
            find_layer(model)
        except ValueError as error:
            expected = "a model with one AsymScaledDense or a NestedReadout, which can lose nodes"
            raise ValueError(f"--keep: expected {expected}. {error}") from error
    pruned = prune(model, keep)
    if readout is not None and not readout.shared:
        keep = max(width for width in readout.widths if width <= keep)
    return pruned, keep


def _tried(model: keras.Model, interface: Interface, given: Any) -> list[dict[str, np.ndarray]]:
    """Batches on which `check_answers` compares SavedModel and model.

    Raises a ValueError if the model itself does not answer them.
    """
    batches = [middle_rows(interface.inputs, 1)] if given is None else []
    if given is None:
        batches.append(drawn_rows(model, interface.inputs))
    else:
        batches.append({name: array[: max(warmup.BATCHES)] for name, array in given.items()})
    try:
        for batch in batches:
            interface.answer({name: tf.constant(array) for name, array in batch.items()})
    except Unfit:
        raise
    except Exception as error:  # the model's own layers may raise anything
        lines = (re.sub(r"\x1b\[\d+m", "", line).strip() for line in str(error).splitlines())
        told = " ".join([line for line in lines if line][:2]) or type(error).__name__
        if given is None:
            rows = "rows drawn from its input specs, or to come with rows that it takes"
            cure = "Give some: --warm-up FILE.npz with an array for each of: "
            cure += ", ".join(f"{n} {s.dtype.name} {s.shape}" for n, s in interface.inputs.items())
        else:
            rows, cure = "the rows of --warm-up", "Give rows that it takes"
        raise ValueError(
            f"expected a model that answers {rows}; it says: {told} {cure}."
        ) from error
    return batches


def _function(answer: Callable, specs: Mapping[str, tf.TensorSpec]) -> Any:
    def signature(*values: Any) -> dict[str, Any]:
        # The server does not compare the shape of an input with the signature's.
        pairs = zip(specs.items(), values, strict=True)
        return answer({n: tf.ensure_shape(value, spec.shape) for (n, spec), value in pairs})

    return tf.function(signature, input_signature=list(specs.values()), autograph=False)


def _example_function(interface: Interface, head: Head) -> Any:
    serialized = tf.TensorSpec((interface.rows,), tf.string, name="inputs")

    def answer(inputs: Mapping[str, Any]) -> dict[str, Any]:
        return head.answer(interface.answer(parse_examples(interface.inputs, inputs["inputs"])))

    return _function(answer, {"inputs": serialized})


def _save(model: keras.Model, signatures: Mapping[str, Any], folder: Path) -> None:
    archive = keras.export.ExportArchive()  # it finds the tables of lookup layers, too
    archive.track(model)
    for name, function in signatures.items():
        function.get_concrete_function()
        archive.add_endpoint(name, function)
    finished(folder, signatures, lambda: archive.write_out(os.fspath(folder), verbose=False))


def _requests(name: str, interface: Interface, head: Head | None, given: Any) -> list:
    """Warm-up requests, of the rows in `given` or, if it is None, of zeros and words."""
    log = warmup.check_installed().PredictionLog
    found = []
    sizes = [interface.rows] if interface.rows else warmup.BATCHES
    for size in sizes:
        rows = middle_rows(interface.inputs, size) if given is None else given
        inputs = {key: _message(array[:size]) for key, array in rows.items()}
        spec = {"name": name, "signature_name": "serving_default"}
        found.append(log(predict_log={"request": {"model_spec": spec, "inputs": inputs}}))
    if head is not None:
        rows = middle_rows(interface.inputs, 1) if given is None else given
        count = interface.rows or 1
        examples = [example_of({k: a[i] for k, a in rows.items()}) for i in range(count)]
        request = {
            "model_spec": {"name": name, "signature_name": head.task},
            "input": {"example_list": {"examples": examples}},
        }
        found.append(log(**{f"{head.task}_log": {"request": request}}))
    return found


def _message(array: np.ndarray) -> Any:
    """A TensorProto of the array. If all values are equal, it holds the value once."""
    first = array.reshape(-1)[0]
    kind = tf.string if array.dtype == object else array.dtype
    value = first if (array == first).all() else array
    return tf.make_tensor_proto(value, kind, array.shape)
