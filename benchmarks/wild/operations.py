"""The columns of the table: each operation beside its reference.

An operation returns nothing where it is right, raises `Refused` with the library's message where
the library refuses, and `Wrong` for everything else: there is no third outcome.
"""

from __future__ import annotations

import dataclasses
import functools
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from asym_keras.ntg import empirical_ntg, ntg_predict
from asym_keras.pruning import prune
from asym_keras.training import GradientDescent, GradientFlow, RiskProbe, train
from benchmarks.wild import references
from benchmarks.wild.cells import TOLERANCE, Cell, Refused, Wrong, ask, close, close_outputs
from benchmarks.wild.entry import Case, Entry, Refusal

STEPS = 3
FLOW_TIME, FLOW_STEPS = 0.05, 24
PREDICT_TIME = 0.7


def run(entry: Entry, operation: str) -> Cell:
    """One cell; a refusal that nobody expects here, or of something else, is wrong."""
    expected = refusal_of(entry, operation)
    try:
        OPERATIONS[operation](entry)
    except Refused as error:
        said = str(error)
        if expected is None:
            return Cell("wrong", f"refused: {said}")
        if expected.word.lower() not in said.lower():
            return Cell("wrong", f"refused, but {expected.word!r} is not named: {said}")
        return Cell("refused", said)
    except Wrong as error:
        return Cell("wrong", str(error))
    except Exception as error:  # of the reference, or of something that stands around
        return Cell("wrong", f"{type(error).__name__}: {' '.join(str(error).split())[:400]}")
    if expected is not None:
        return Cell("wrong", f"right, but a refusal was expected that names {expected.word!r}")
    return Cell("right")


def refusal_of(entry: Entry, operation: str) -> Refusal | None:
    """What is expected: what the entry says, or what goes for every model."""
    if operation in entry.refusals:
        return entry.refusals[operation]
    if operation == "closed form" and entry.kind != "shallow":
        return Refusal(
            "closed_form", "the model is more than one trainable AsymScaledDense with outputs"
        )
    if operation in ("keep all", "masking") and not _widths(entry)[0]:
        return Refusal("AsymScaledDense", "no AsymScaledDense in it: there are no nodes to cut")
    return None


def descent(entry: Entry) -> None:
    """Weights, state and risk after some steps, beside an eager loop."""
    ours, plain = entry.fresh(), entry.fresh()
    _train(entry, ours, GradientDescent(entry.rate, jit_compile=False), STEPS * entry.rate)
    references.descend(plain, entry.rate, STEPS)
    _same_weights(entry, ours, plain, TOLERANCE[references.precision(plain)])


def flow(entry: Entry) -> None:
    """The same of a flow to a small time, beside Runge-Kutta of order four."""
    ours, plain = entry.fresh(), entry.fresh()
    exact = references.precision(ours) == "float64"
    tolerances = {"rtol": 1e-6, "atol": 1e-6} if exact else {"rtol": 1e-5, "atol": 1e-5}
    _train(entry, ours, GradientFlow(jit_compile=False, **tolerances), FLOW_TIME)
    references.flow(plain, FLOW_TIME, FLOW_STEPS)
    _same_weights(entry, ours, plain, max(1e-2, TOLERANCE[references.precision(plain)]))


def _train(entry: Entry, case: Case, method, end: float) -> None:
    loss = references.LOSSES[case.loss][0]
    options = {"method": method, "end_time": end, "loss": loss, "progress": False}
    history = ask(train, case.model, case.x, case.y, times=[0.0, end], **options)
    expected = references.risk_and_accuracy(entry.fresh())[0]
    tolerance = TOLERANCE[references.precision(case)]
    close("the first train_risk", history[0]["train_risk"], expected, tolerance)
    expected = references.risk_and_accuracy(case)[0]
    close("the last train_risk", history[-1]["train_risk"], expected, tolerance)


def _same_weights(entry: Entry, ours: Case, plain: Case, tolerance: float) -> None:
    began = entry.fresh()
    references.call(began.model, began.x)  # some layers make weights only then
    pairs = list(zip(began.model.weights, ours.model.weights, plain.model.weights, strict=True))
    moved = {True: 0.0, False: 0.0}
    arrays = []
    for variables in pairs:
        start, *both = (np.asarray(v.value).astype("float64") for v in variables)
        one, other = (a - start for a in both)
        trained = variables[0].trainable
        moved[trained] = max(moved[trained], np.abs(other).max(initial=0.0))
        arrays.append((variables[0], one, other, np.abs(start).max(initial=0.0)))
    if not moved[True]:
        raise Wrong("the reference does not train")
    units = {"bfloat16": 8e-3, "float16": 1e-3, "float32": 1e-6, "float64": 1e-14}
    for variable, one, other, size in arrays:
        off = np.abs(one - other).max(initial=0.0)
        if not off <= tolerance * moved[variable.trainable] + units.get(variable.dtype, 0) * size:
            largest = np.abs(other).max(initial=0.0)
            raise Wrong(f"change of {variable.path}: off by {off:.3g}, it being {largest:.3g}")


def probes(entry: Entry) -> None:
    """Risk, and accuracy for classes, beside NumPy on `model.predict`."""
    case = entry.fresh()
    classes = case.loss in ("labels", "logits", "one_hot", "binary")
    labels = case.y if np.ndim(case.y) == 1 else np.argmax(case.y, axis=-1)
    labels = case.y[:, 0].astype("int64") if case.loss == "binary" else labels
    loss = references.LOSSES[case.loss][0]
    probe = RiskProbe("t", case.x, case.y, labels=labels if classes else None, loss=loss)
    row = ask(probe, case.model)
    risk, accuracy = references.risk_and_accuracy(case)
    close("risk", row["t_risk"], risk, TOLERANCE[references.precision(case)])
    if classes:
        close("accuracy", row["t_accuracy"], accuracy, 1e-6)


def ntg(entry: Entry, **options) -> None:
    """The NTG beside one backward pass an example."""
    case = entry.fresh()
    matrix = ask(empirical_ntg, case.model, case.x, output=case.named, **options)
    dtype, tolerance = options.get("dtype"), TOLERANCE[references.precision(case)]
    if dtype == "float64" and references.known(entry.name)["exact"]:
        tolerance = TOLERANCE["float64"]
    if dtype is not None and matrix.dtype != dtype:
        raise Wrong(f"a matrix of {matrix.dtype}, expected {dtype}")
    expected = references.ntg(entry.name)
    if not expected.any():
        raise Wrong("the reference is zero: the entry shows nothing")
    close("NTG", matrix, expected, tolerance)


def predict(entry: Entry) -> None:
    """The linearised model at time 0, at a finite time and at the end of training."""
    case, train_count = entry.fresh(), 3
    shape = references.outputs(entry.fresh().model, case.x)[case.output[0]].shape[1:]
    y = np.random.default_rng(5).normal(size=(train_count, *shape))
    few = tf.nest.map_structure(lambda a: a[:train_count], case.x)
    times = np.array([0.0, PREDICT_TIME, np.inf])
    received = ask(ntg_predict, case.model, few, y, case.x, t=times)
    found = references.known(entry.name)
    tolerance = 1e-6 if found["exact"] else max(1e-3, TOLERANCE[references.precision(case)])
    close("at time 0", received[0], found["outputs"], tolerance)
    flat = y.reshape(train_count, -1)
    at_time = references.predicted(entry.name, flat, train_count, PREDICT_TIME)
    close("at a finite time", received[1].reshape(at_time.shape), at_time, tolerance)
    rows = found["jacobian"][:train_count].reshape(y.size, -1)
    if np.linalg.cond(rows @ rows.T) < 1e6:
        close("fit at the end", received[2][:train_count], y, 1e-3)


def keep_all(entry: Entry) -> None:
    """With all nodes kept the pruned model is the model, which stays as it was."""
    _prune(entry, everything=True)


def masking(entry: Entry) -> None:
    """With half of the nodes it is the model with the others masked."""
    _prune(entry, everything=False)


def _prune(entry: Entry, *, everything: bool) -> None:
    for place, units in enumerate(_widths(entry)):
        case, reference = entry.fresh(), entry.fresh()
        small, kept = _pruned(case, place, units if everything else units // 2)
        expected = references.masked(reference, place, kept)
        received = references.outputs(small, case.x)
        for i, (a, b) in enumerate(zip(received, expected, strict=True)):
            if a.shape != b.shape and a.shape[-1] == len(kept) and b.shape[-1] == units:
                expected[i] = b[..., kept]  # an output that is the nodes themselves
        tolerance = TOLERANCE[references.precision(case)]
        close_outputs(f"pruned layer {place}", received, expected, tolerance)
        untouched = entry.fresh()
        references.call(case.model, case.x)  # some layers make weights only then
        references.call(untouched.model, case.x)
        before, after = ([v.numpy() for v in c.model.weights] for c in (untouched, case))
        if not all(np.array_equal(a, b) for a, b in zip(before, after, strict=True)):
            raise Wrong("prune changed the model that it was given")


@functools.cache
def _widths(entry: Entry) -> list[int]:
    """How many nodes each `AsymScaledDense` has; `[0]` for a model without one."""
    return [layer.units for layer in references.node_layers(entry.fresh().model)] or [0]


def _pruned(case: Case, place: int, keep: int):
    """A pruned model, and the nodes that it keeps: of an importance drawn here."""
    layers = references.node_layers(case.model)
    if not layers:
        return ask(prune, case.model, keep=1), []
    importance = np.random.default_rng(11).permutation(layers[place].units).astype("float64")
    kept = np.sort(np.argsort(-importance)[:keep])
    options = {"importance": importance, "layer": layers[place].name}
    return ask(prune, case.model, keep=int(keep), **options), kept


def save_and_load(entry: Entry) -> None:
    """Saved by Keras and loaded, the model and the pruned one answer the same, NTG included."""
    case = entry.fresh()
    tolerance = TOLERANCE[references.precision(case)]
    loaded = _through_a_file(case.model, case.x)
    expected = references.outputs(case.model, case.x)
    close_outputs("loaded", references.outputs(loaded, case.x), expected, tolerance)
    if refusal_of(entry, "auto") is None:
        matrix = ask(empirical_ntg, loaded, case.x, output=case.named)
        place, column = case.output
        again = dataclasses.replace(case, model=loaded)  # low-rank updates are merged in the file
        rows = references.jacobian(again, place, [column])[:, 0]
        close("NTG of the loaded", matrix, rows @ rows.T, tolerance)
    if refusal_of(entry, "masking") is None:
        small, _ = _pruned(case, 0, _widths(entry)[0] // 2)
        again = references.outputs(_through_a_file(small, case.x), case.x)
        close_outputs("loaded pruned", again, references.outputs(small, case.x), tolerance)


def _through_a_file(model, x):
    """The loaded model, called once: what Keras can't save shows then at the latest."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.keras"
        try:
            model.save(path)
            loaded = keras.saving.load_model(path, safe_mode=False)
            references.call(loaded, x)
        except Exception as error:  # of Keras: an entry has to expect it
            raise Refused(f"{type(error).__name__}: {' '.join(str(error).split())}") from error
    return loaded


def export(entry: Entry) -> None:
    """The pruned model (the model itself, where nothing can be cut) as a SavedModel."""
    case = entry.fresh()
    model = case.model
    if refusal_of(entry, "masking") is None:
        model, _ = _pruned(case, 0, _widths(entry)[0] // 2)
    expected = references.outputs(model, case.x)
    with tempfile.TemporaryDirectory() as folder:
        model.export(folder, verbose=False)
        served = tf.saved_model.load(folder)
        received = tf.nest.flatten(served.serve(_as_served(model, case.x)))
        received = [np.asarray(f).astype("float64") for f in received]
    try:
        close_outputs("served", received, expected, TOLERANCE[references.precision(case)])
    except Wrong as error:
        if "export" in entry.refusals:  # of Keras: known, and no fault of what was pruned
            raise Refused(f"keras.Model.export: {error}") from error
        raise


def _as_served(model, x):
    """Tensors of the signature's structure and dtypes: a SavedModel casts nothing."""
    if not getattr(model, "inputs", None):
        return tf.nest.map_structure(tf.convert_to_tensor, x)
    expected = model.inputs[0] if isinstance(model, keras.Sequential) else model.input
    if isinstance(x, dict) and isinstance(expected, list):
        x = [x[tensor.name] for tensor in expected]

    def tensor(spec, array):
        return tf.constant(array, spec.dtype) if array.dtype.kind == "f" else tf.constant(array)

    return tf.nest.map_structure(tensor, expected, x)


OPERATIONS: dict[str, Callable[[Entry], None]] = {
    "descent": descent,
    "flow": flow,
    "probes": probes,
    "auto": ntg,
    "structured": lambda entry: ntg(entry, method="structured"),
    "jacobian": lambda entry: ntg(entry, method="jacobian"),
    "closed form": lambda entry: ntg(entry, method="closed_form"),
    "float64": lambda entry: ntg(entry, dtype="float64"),
    "ntg_predict": predict,
    "keep all": keep_all,
    "masking": masking,
    "save, load": save_and_load,
    "export": export,
}


def wrong_cells(entry: Entry, operations: Iterable[str]) -> list[str]:
    """Runs some cells; says which of them are wrong, and what came."""
    cells = {operation: run(entry, operation) for operation in operations}
    return [f"{o}: {cell.message}" for o, cell in cells.items() if cell.outcome == "wrong"]
