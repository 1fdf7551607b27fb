"""The inputs and outputs of a model, as plain data, whatever the protocol."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from serving.codes import NUMPY_DTYPES
from serving.texts import array_of, as_bytes

Arrays: TypeAlias = Mapping[str, npt.NDArray]  # by the name of an input or output


@dataclasses.dataclass(frozen=True)
class TensorSpec:
    """One input or output.

    Attributes:
        dtype: Name of a NumPy dtype, "object" for strings; None if NumPy has no such dtype.
        shape: None in place of a length that is free; None as a whole if the rank is unknown.
    """

    dtype: str | None
    shape: tuple[int | None, ...] | None

    def plain(self) -> dict[str, Any]:
        """The fields in types that JSON has."""
        dtype = "string" if self.dtype == "object" else self.dtype
        return {"dtype": dtype, "shape": None if self.shape is None else list(self.shape)}


@dataclasses.dataclass(frozen=True)
class Signature:
    """One way to call a model: its inputs and outputs by name, and TF Serving's method name."""

    inputs: Mapping[str, TensorSpec]
    outputs: Mapping[str, TensorSpec]
    method: str

    def plain(self) -> dict[str, Any]:
        """The fields in types that JSON has."""
        return {
            "inputs": {name: spec.plain() for name, spec in sorted(self.inputs.items())},
            "outputs": {name: spec.plain() for name, spec in sorted(self.outputs.items())},
            "method": self.method,
        }

    def arrays(self, inputs: npt.ArrayLike | Mapping[str, npt.ArrayLike]) -> dict[str, npt.NDArray]:
        """`inputs` by name and in the dtypes of the signature.

        A conversion may lose digits, but nothing else: float64 becomes float32, and whole numbers
        become an integer dtype that holds them. The server checks whether names are missing.

        Raises:
            ValueError: The signature has several inputs and `inputs` is no dict, or values do not
                fit the dtype or the shape.
        """
        if isinstance(inputs, Mapping):
            named = dict(inputs)
        elif len(self.inputs) == 1:
            named = {next(iter(self.inputs)): inputs}
        else:
            names = ", ".join(sorted(self.inputs))
            raise ValueError(f"inputs: expected a dict with the names {names}, received one array")
        return {name: _fitted(name, value, self.inputs.get(name)) for name, value in named.items()}

    def has_no_rows(self, arrays: Arrays) -> bool:
        """Whether these inputs have no rows. They must not be sent: they can stop a server.

        Raises:
            ValueError: Some of the inputs have rows, and others have none.
        """
        counts = {n: len(arrays[n]) for n in sorted(arrays) if self._has_rows(n, arrays[n])}
        if all(counts.values()):
            return False
        if any(counts.values()):
            raise ValueError(f"inputs: expected as many rows of each, received {counts}")
        return True

    def no_answers(self) -> dict[str, npt.NDArray]:
        """Answers to inputs without rows: empty outputs by name. A free length is 0.

        Raises:
            ValueError: The first axis of an output has a fixed length.
        """
        answers = {}
        for name, spec in self.outputs.items():
            shape = (None,) if spec.shape is None else spec.shape
            if shape[:1] != (None,):
                has = f"output {name!r} of shape {list(shape)} has no row for each of them"
                raise ValueError(f"inputs: expected at least one row, received none; {has}")
            answers[name] = np.zeros([size or 0 for size in shape], spec.dtype or object)
        return answers

    def _has_rows(self, name: str, array: npt.NDArray) -> bool:
        shape = self.inputs[name].shape if name in self.inputs else None
        return array.ndim > 0 and (shape is None or shape[0] is None)


@dataclasses.dataclass(frozen=True)
class ModelMetadata:
    """The signatures of one version of a model, by name."""

    version: int
    signatures: Mapping[str, Signature]


def signatures_from_json(version: int | str, definitions: Mapping[str, Any]) -> ModelMetadata:
    """The `signature_def` of a `SignatureDefMap` as JSON, which is how TF Serving writes it."""
    signatures = {
        name: Signature(_specs(of["inputs"]), _specs(of["outputs"]), of["method_name"])
        for name, of in definitions.items()
        if name != "__saved_model_init_op"  # the initialiser, in every export of TensorFlow 2
    }
    return ModelMetadata(int(version), signatures)


def _specs(infos: Mapping[str, Any]) -> dict[str, TensorSpec]:
    specs = {}
    for alias, info in infos.items():
        dtype, shape = NUMPY_DTYPES.get(info["dtype"]), info["tensor_shape"]
        unranked = shape.get("unknown_rank")
        sizes = [int(dim["size"]) for dim in ([] if unranked else shape["dim"])]
        free = tuple(None if size < 0 else size for size in sizes)
        specs[alias] = TensorSpec(dtype, None if unranked else free)
    return specs


def _fitted(name: str, value: npt.ArrayLike, spec: TensorSpec | None) -> npt.NDArray:
    array = _of_dtype(name, value, spec)
    if spec is None or spec.shape is None:
        return array
    fits = (size in (None, given) for size, given in zip(spec.shape, array.shape, strict=False))
    if array.ndim != len(spec.shape) or not all(fits):
        shape = ", ".join("n" if size is None else str(size) for size in spec.shape)
        raise ValueError(
            f"input {name!r}: expected shape ({shape}), received {array.shape}; a single row needs "
            "an axis of its own, rows[None]"
        )
    return array


def _of_dtype(name: str, value: npt.ArrayLike, spec: TensorSpec | None) -> npt.NDArray:
    array = array_of(value)
    if spec is None:
        return _sendable(name, array, "the signature has no such input")
    if spec.dtype is None:
        return _sendable(name, array, "convert them")
    if spec.dtype == "object":
        if array.dtype.kind in "SUO":
            return _texts(name, array)
    elif array.dtype == spec.dtype:
        return array
    elif array.dtype.kind in "buif":
        with np.errstate(over="ignore", invalid="ignore"):
            fitted = array.astype(spec.dtype)
        if fitted.dtype.kind != "f":
            if np.array_equal(fitted, array):
                return fitted
        elif not (infinite := np.isinf(fitted)).any() or np.isinf(array[infinite]).all():
            return fitted  # digits are lost, but no number became infinite
    received = np.asarray(value).dtype
    raise ValueError(
        f"input {name!r}: expected {spec.plain()['dtype']}, received {received} with values "
        "that do not fit it; convert them, or choose a signature that takes them"
    )


def _sendable(name: str, array: npt.NDArray, cure: str) -> npt.NDArray:
    """An array that no spec describes, if a request can hold it. The server judges it."""
    if array.dtype.kind in "SUO":
        return _texts(name, array, cure)
    if array.dtype.name not in NUMPY_DTYPES.values():
        expected = "expected numbers, booleans or texts"
        raise ValueError(f"input {name!r}: {expected}, received {array.dtype}; {cure}")
    return array


def _texts(
    name: str,
    array: npt.NDArray,
    cure: str = "a missing value needs a text in its place, such as ''",
) -> npt.NDArray:
    """An array of str or bytes as one of bytes, object."""
    values = array.ravel().tolist()
    for place, value in enumerate(values):
        if not isinstance(value, (str, bytes)):
            where = f"{value!r} ({type(value).__name__}), entry {place}"
            expected = "expected texts, each str or bytes"
            raise ValueError(f"input {name!r}: {expected}, received {where}; {cure}")
    return np.array(list(map(as_bytes, values)), dtype=object).reshape(array.shape)
