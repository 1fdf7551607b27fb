"""Checks the SavedModel of any Keras model: in a Session its signatures must answer as it does."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

import keras
import numpy as np
import tensorflow as tf

from asym_keras.graphs import layers_of
from serving.exporting.check import HALF_TOLERANCE, TOLERANCE, Served, check_graph, wrong
from serving.exporting.heads import Head, example_of
from serving.exporting.interface import Interface, numbers_of
from serving.exporting.rounding import model_errors

_Rows = Mapping[str, np.ndarray]


def check_answers(
    folder: str | os.PathLike[str],
    model: keras.Model,
    interface: Interface,
    head: Head | None,
    batches: Sequence[_Rows],
) -> float:
    """Loads a SavedModel anew and compares each signature with the Keras model.

    Floats may differ as far as rounding explains it. Whole numbers and strings must be equal. Where
    the model answers NaN or an infinity, the SavedModel must, too.

    Args:
        folder: a version.
        model: the model that was written.
        interface: its call by names.
        head: of its signature for Classify or Regress, if it has one.
        batches: rows by input name that the model itself answers.

    Returns:
        The largest difference that was found, as a share of the largest output.

    Raises:
        ValueError: A signature answers otherwise or not at all, the same rows get two different
            answers, or the graph holds what a model server refuses.
    """
    largest = 0.0
    with Served(folder) as served:
        check_graph(served)
        for rows in batches:
            expected, allowed = _expected(model, interface, rows)
            answers = _ask(served, "serving_default", rows)
            largest = max(largest, _compare("serving_default", answers, expected, allowed))
            again = _ask(served, "serving_default", rows)
            changed = [n for n, a in answers.items() if not _same(a, again[n])]
            if changed:
                asked = "a model that answers the same rows with the same numbers"
                raise wrong(asked, f"two answers for {', '.join(changed)}")
            if head is not None:
                _check_head(served, head, rows, expected, allowed)
        _check_special(served, interface, batches[-1])
    return largest


def _expected(
    model: keras.Model, interface: Interface, rows: _Rows
) -> tuple[dict[str, np.ndarray], dict[str, float]]:
    """The model's answers, and how much the floats of each output may differ from them."""
    expected = _answers(interface, rows)
    tensors = {name: tf.constant(array) for name, array in rows.items()}
    names = sorted(expected)  # the order in which Keras flattens a dict
    errors = dict(zip(names, model_errors(lambda: interface.answer(tensors), model.variables),
                      strict=True))  # fmt: skip
    few = any(layer.compute_dtype in ("float16", "bfloat16") for layer in layers_of(model))
    share = HALF_TOLERANCE if few else TOLERANCE
    return expected, {n: max(share * _size(expected[n]), 4.0 * errors[n]) for n in names}


def _answers(interface: Interface, rows: _Rows) -> dict[str, np.ndarray]:
    tensors = {name: tf.constant(array) for name, array in rows.items()}
    return {name: numbers_of(t) for name, t in interface.answer(tensors).items()}


def _ask(served: Served, signature: str, rows: _Rows | np.ndarray) -> dict[str, np.ndarray]:
    try:
        return served(signature, rows)
    except (tf.errors.OpError, KeyError, TypeError, ValueError) as error:
        told = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise wrong(f"{signature!r} to answer rows that the model answers", told) from error


def _compare(signature: str, answers: dict, expected: Mapping, allowed: Mapping) -> float:
    if answers.keys() != expected.keys():
        raise wrong(f"{signature!r} to answer {sorted(expected)}", f"{sorted(answers)}")
    share = 0.0
    for name, wanted in expected.items():
        got = answers[name]
        if got.shape != wanted.shape or (got.dtype.kind == "f") != (wanted.dtype.kind == "f"):
            received = f"{got.dtype} {got.shape}"
            raise wrong(f"{name} of {signature!r} {wanted.dtype} {wanted.shape}", received)
        if wanted.dtype.kind != "f":
            if not _same(got, wanted):
                raise wrong(f"{name} of {signature!r} as the Keras model answers", "others")
            continue
        finite = np.isfinite(wanted)
        difference = np.abs(got.astype("float64") - wanted)[finite].max(initial=0.0)
        if not difference <= allowed[name] or not _same(got[~finite], wanted[~finite]):
            size = _size(wanted)
            near = f"within {allowed[name] / size:.1g} of the Keras model's, which rounding"
            near += " explains, as a share of the largest"
            raise wrong(
                f"{name} of {signature!r} {near}", f"a difference of {difference / size:.2g}"
            )
        share = max(share, float(difference / _size(wanted)))
    return share


def _check_head(
    served: Served, head: Head, rows: _Rows, expected: Mapping, allowed: Mapping
) -> None:
    count = len(next(iter(rows.values())))
    examples = [example_of({n: a[i] for n, a in rows.items()}) for i in range(count)]
    serialized = np.array([example.SerializeToString() for example in examples], object)
    values = expected[head.output].astype("float32")
    name = "outputs" if head.task == "regress" else "scores"
    wanted: dict[str, np.ndarray] = {name: values}
    if head.task == "classify":
        labels = np.array([label.encode() for label in head.labels], object)
        wanted["classes"] = np.broadcast_to(labels, values.shape)
    answers = _ask(served, head.task, serialized)
    _compare(head.task, answers, wanted, {name: allowed[head.output]})


def _check_special(served: Served, interface: Interface, rows: _Rows) -> None:
    """Raises if a row with NaN or infinity gets a finite number where the model answers none."""
    for name in [n for n, a in rows.items() if a.dtype.kind == "f"]:
        for value in (np.nan, np.inf, -np.inf):
            special = {n: a.copy() for n, a in rows.items()}
            special[name][0] = value
            try:
                expected = _answers(interface, special)
            except Exception:  # the model refuses such a row, so there is nothing to compare with
                continue
            answers = _ask(served, "serving_default", special)
            for output, wanted in expected.items():
                if wanted.dtype.kind == "f":
                    if np.isfinite(answers[output][~np.isfinite(wanted)]).any():
                        asked = f"{output} that is no number where the Keras model has none"
                        raise wrong(f"{asked}, for {name} = {value}", "a number")


def _same(a: np.ndarray, b: np.ndarray) -> bool:
    return bool(np.array_equal(a, b, equal_nan=a.dtype.kind == "f"))


def _size(array: np.ndarray) -> float:
    if array.dtype.kind != "f":
        return 1.0
    return float(np.abs(array[np.isfinite(array)]).max(initial=0.0)) or 1.0
