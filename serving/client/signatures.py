"""What a model takes and gives, as plain data, from either protocol."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

# Names of tensorflow.DataType, and what holds their values here. Strings are arrays of bytes.
NUMPY_DTYPES: dict[str, str] = {
    "DT_FLOAT": "float32",
    "DT_DOUBLE": "float64",
    "DT_HALF": "float16",
    "DT_INT8": "int8",
    "DT_INT16": "int16",
    "DT_INT32": "int32",
    "DT_INT64": "int64",
    "DT_UINT8": "uint8",
    "DT_UINT16": "uint16",
    "DT_UINT32": "uint32",
    "DT_UINT64": "uint64",
    "DT_BOOL": "bool",
    "DT_STRING": "object",
}


@dataclasses.dataclass(frozen=True)
class TensorSpec:
    """One input or output.

    Attributes:
        dtype: Name of a NumPy dtype, "object" for strings; None if NumPy has none for it.
        shape: None for a length that is free; None for a shape of unknown rank.
    """

    dtype: str | None
    shape: tuple[int | None, ...] | None

    def plain(self) -> dict[str, Any]:
        """For JSON."""
        dtype = "string" if self.dtype == "object" else self.dtype
        return {"dtype": dtype, "shape": None if self.shape is None else list(self.shape)}


@dataclasses.dataclass(frozen=True)
class Signature:
    """One way to call a model: its inputs and outputs by name, and TF Serving's method name."""

    inputs: Mapping[str, TensorSpec]
    outputs: Mapping[str, TensorSpec]
    method: str

    def plain(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "inputs": {name: spec.plain() for name, spec in sorted(self.inputs.items())},
            "outputs": {name: spec.plain() for name, spec in sorted(self.outputs.items())},
            "method": self.method,
        }

    def arrays(self, inputs: npt.ArrayLike | Mapping[str, npt.ArrayLike]) -> dict[str, npt.NDArray]:
        """`inputs` by name and in the dtype of the signature.

        Numbers are made fit where nothing but rounding is lost: float64 for a float32 input,
        whole numbers in range for an integer one. All else is an error; shapes and names that
        are too many or too few are the server's to judge.

        Raises:
            ValueError: No dict for a signature of several inputs, or values that do not fit.
        """
        if isinstance(inputs, Mapping):
            named = dict(inputs)
        elif len(self.inputs) == 1:
            named = {next(iter(self.inputs)): inputs}
        else:
            raise ValueError(
                f"inputs: expected a dict with the names {', '.join(sorted(self.inputs))}, "
                "received one array"
            )
        return {name: _fitted(name, value, self.inputs.get(name)) for name, value in named.items()}


@dataclasses.dataclass(frozen=True)
class ModelMetadata:
    """Signatures of a model by name, and the version that they are of."""

    version: int
    signatures: Mapping[str, Signature]


def signatures_from_json(answer: Mapping[str, Any]) -> ModelMetadata:
    """Of the body of `GET /v1/models/NAME/metadata`."""
    definitions = answer["metadata"]["signature_def"]["signature_def"]
    return ModelMetadata(
        version=int(answer["model_spec"]["version"]),
        signatures={
            name: Signature(
                {alias: _spec_from_json(info) for alias, info in definition["inputs"].items()},
                {alias: _spec_from_json(info) for alias, info in definition["outputs"].items()},
                definition["method_name"],
            )
            for name, definition in definitions.items()
            if not _is_pseudo(name)
        },
    )


def signatures_from_proto(
    version: int, definitions: Mapping[str, Any], types: Any
) -> ModelMetadata:
    """Of a `SignatureDefMap`; `types` is the module that names the dtypes."""

    def spec(info: Any) -> TensorSpec:
        shape = info.tensor_shape
        sizes = None if shape.unknown_rank else [dim.size for dim in shape.dim]
        return _spec(types.DataType.Name(info.dtype), sizes)

    return ModelMetadata(
        version=version,
        signatures={
            name: Signature(
                {alias: spec(info) for alias, info in definition.inputs.items()},
                {alias: spec(info) for alias, info in definition.outputs.items()},
                definition.method_name,
            )
            for name, definition in definitions.items()
            if not _is_pseudo(name)
        },
    )


def _is_pseudo(name: str) -> bool:
    return name == "__saved_model_init_op"  # listed by TF2 exports; nothing to call


def _spec_from_json(info: Mapping[str, Any]) -> TensorSpec:
    shape = info["tensor_shape"]
    sizes = None if shape.get("unknown_rank") else [int(dim["size"]) for dim in shape["dim"]]
    return _spec(info["dtype"], sizes)


def _spec(dtype: str, sizes: list[int] | None) -> TensorSpec:
    shape = None if sizes is None else tuple(None if size < 0 else size for size in sizes)
    return TensorSpec(NUMPY_DTYPES.get(dtype), shape)


def _fitted(name: str, value: npt.ArrayLike, spec: TensorSpec | None) -> npt.NDArray:
    array = np.asarray(value)
    if spec is None or spec.dtype is None or array.dtype == spec.dtype:
        return array
    if spec.dtype == "object":
        if array.dtype.kind in "SU":
            texts = [v.encode() if isinstance(v, str) else bytes(v) for v in array.ravel().tolist()]
            return np.array(texts, dtype=object).reshape(array.shape)
    elif array.dtype.kind in "buif":
        with np.errstate(over="ignore", invalid="ignore"):
            fitted = array.astype(spec.dtype)
        if fitted.dtype.kind == "f" or np.array_equal(fitted, array):
            return fitted
    raise ValueError(
        f"input {name!r}: expected {spec.plain()['dtype']}, received {array.dtype} with values "
        "that do not fit it; convert them, or choose a signature that takes them"
    )
