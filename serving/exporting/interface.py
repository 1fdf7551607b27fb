"""The inputs and outputs of any Keras model by name, as its SavedModel's signatures need them."""

from __future__ import annotations

import dataclasses
import logging
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from asym_keras.graphs import input_structure, is_graph, layers_of, output_structure, steps_of
from asym_keras.inputs import call
from serving.texts import array_of

logger = logging.getLogger("serving.export")

# The REST API can't carry these dtypes. In the signature each becomes the dtype on the right.
_BORDER = {"float16": "float32", "bfloat16": "float32", "uint16": "int32"}
_CARRIED = {*("float32", "float64", "int8", "int16", "int32", "int64", "uint8", "uint32")}
_CARRIED |= {"uint64", "bool", "string"}


@dataclasses.dataclass(frozen=True, eq=False)
class Interface:
    """A model called by names.

    Attributes:
        inputs: by name. The first axis is that of rows.
        answer: function that runs the model's inference: from tensors by input name to tensors by
            output name.
    """

    inputs: Mapping[str, tf.TensorSpec]
    answer: Callable[[Mapping[str, Any]], dict[str, Any]]

    @property
    def rows(self) -> int | None:
        """The number of rows that the model was made for. None: it takes any number."""
        return next((s.shape[0] for s in self.inputs.values() if s.shape[0] is not None), None)


def interface_of(model: keras.Model, dtypes: Mapping[str, str] | None = None) -> Interface:
    """The inputs of `model` by their names, and its call.

    The name of an input is that of its `keras.Input`, or its key in a dict, or an argument of
    `call`. A single input that nobody named is `inputs`. The name of an output is its key in a
    dict, or that of the layer that makes it. A single output that nobody named is `outputs`, and
    the outputs of a subclassed model's list are `outputs_0`, ...

    Args:
        model: built functional, Sequential or subclassed model.
        dtypes: dtypes of the inputs of a subclassed model by name, since it does not tell them. An
            input that is not in it has the dtype in which the model computes.

    Raises:
        ValueError: The model is not built or holds a Lambda layer, or a signature can't have an
            input or output of this kind.
    """
    check_model(model)
    structure = input_structure(model)
    if structure is None:
        specs, pack = _of_shapes(model, dtypes or {})
    else:
        tensors = keras.tree.flatten(structure)
        specs = _of_tensors(structure, tensors, model)

        def pack(values: list) -> Any:
            if isinstance(structure, keras.KerasTensor):
                return values[0]
            return keras.tree.pack_sequence_as(structure, values)

    served = {name: _served(spec, name) for name, spec in specs.items()}
    names = _output_names(model)
    told: set[str] = set()

    def answer(inputs: Mapping[str, Any]) -> dict[str, Any]:
        values = [tf.cast(inputs[n], s.dtype) if inputs[n].dtype != s.dtype else inputs[n]
                  for n, s in specs.items()]  # fmt: skip
        packed = pack(values)
        outputs = model(**packed) if isinstance(packed, _Arguments) else call(model, packed)
        return {name: _carried(value, name) for name, value in _named(outputs, names, told)}

    return Interface(served, answer)


class _Arguments(dict):
    """Arguments of a `call` that takes several."""


def check_model(model: Any) -> None:
    """Raises a ValueError if `model` is no built Keras model, or holds Lambda layers."""
    if not isinstance(model, keras.Model):
        raise ValueError(f"expected a keras.Model, received {type(model).__name__}.")
    unbuilt = not model.built or (input_structure(model) is None and not _shapes(model))
    if unbuilt:
        raise ValueError(
            f"expected a built model, received {model.name!r}, whose inputs are not known. Call it "
            "on a row, or begin it with keras.Input, and save it again."
        )
    found = [la.name for la in layers_of(model) if isinstance(la, keras.layers.Lambda)]
    if found:
        raise lambda_error(found)


def lambda_error(names: Iterable[str]) -> ValueError:
    """The error about a model with `Lambda` layers, which can't be exported."""
    return ValueError(
        "expected layers that a .keras file describes, received Lambda layers: "
        f"{', '.join(names)}. "
        "They hold Python code, which is neither safe to load nor sure to mean the same tomorrow. "
        "Write it as a keras.layers.Layer, registered by "
        "@keras.saving.register_keras_serializable()."
    )


def _of_tensors(structure: Any, tensors: list, model: Any) -> dict[str, tf.TensorSpec]:
    plain = isinstance(structure, dict) and all(
        isinstance(t, keras.KerasTensor) for t in structure.values()
    )
    names = sorted(structure) if plain else [tensor.name for tensor in tensors]
    if len(names) == 1 and not plain and _is_made_up(names[0], ("InputLayer", "KerasTensor")):
        names = ["inputs"]
    for tensor in tensors:
        kinds = [kind for kind in ("sparse", "ragged") if getattr(tensor, kind, False)]
        if kinds:
            raise _unfit(f"dense inputs in {model.name!r}", f"{tensor.name}, which is {kinds[0]}")
    pairs = zip(_valid(names, "input", set()), tensors, strict=True)
    return {name: tf.TensorSpec(t.shape, t.dtype, name=name) for name, t in pairs}


def _shapes(model: keras.Model) -> Any:
    """Shapes of the inputs on which a subclassed model was built. None: it was not built."""
    config = model.get_build_config() or {}
    return config.get("shapes_dict") or config.get("input_shape")


def _of_shapes(model: keras.Model, dtypes: Mapping[str, str]) -> tuple[dict, Callable]:
    shapes = _shapes(model)
    arguments = "shapes_dict" in (model.get_build_config() or {})
    if arguments:
        shapes = {key.removesuffix("_shape"): shape for key, shape in shapes.items()}
    if _is_shape(shapes):
        flat, pack = {"inputs": shapes}, lambda values: values[0]
    elif isinstance(shapes, Mapping):
        flat, kind = dict(shapes), _Arguments if arguments else dict
        pack = lambda values: kind(zip(flat, values, strict=True))  # noqa: E731
    else:
        flat = {f"inputs_{i}": shape for i, shape in enumerate(shapes)}
        pack = type(shapes) if type(shapes) in (list, tuple) else list
    wrong = [name for name, shape in flat.items() if not _is_shape(shape)]
    if wrong:
        received = f"{', '.join(wrong)} with inputs of their own"
        raise _unfit(f"a flat list or dict of inputs in {model.name!r}", received)
    names = _valid(list(flat), "input", set())
    specs = {}
    for name, shape in zip(names, flat.values(), strict=True):
        dtype = dtypes.get(name) or model.input_dtype
        specs[name] = tf.TensorSpec((None, *shape[1:]), dtype, name=name)
    return specs, pack


def _is_shape(value: Any) -> bool:
    return isinstance(value, (list, tuple)) and all(n is None or isinstance(n, int) for n in value)


def _served(spec: tf.TensorSpec, name: str) -> tf.TensorSpec:
    """The spec that the signature has for an input of the model."""
    if spec.shape.rank is None or spec.shape.rank == 0:
        raise _unfit("inputs whose first axis is that of rows", f"{name} of shape {spec.shape}")
    dtype = _BORDER.get(spec.dtype.name, spec.dtype.name)
    if dtype not in _CARRIED:
        raise _unfit("inputs that TensorFlow Serving carries", f"{name} of {dtype}")
    return tf.TensorSpec(spec.shape, dtype, name=name)


def _carried(value: Any, name: str) -> Any:
    if not isinstance(value, tf.Tensor) and not hasattr(value, "numpy"):
        value = getattr(value, "value", value)
    if not tf.is_tensor(value) or isinstance(value, (tf.RaggedTensor, tf.SparseTensor)):
        kind = type(value).__name__
        cure = "Make it dense, as RaggedTensor.to_tensor() does"
        raise _unfit("outputs that are dense tensors", f"{name}, {kind}. {cure}")
    value = tf.convert_to_tensor(value)
    dtype = _BORDER.get(value.dtype.name, value.dtype.name)
    if dtype not in _CARRIED:
        raise _unfit("outputs that TensorFlow Serving carries", f"{name} of {dtype}")
    return tf.cast(value, dtype) if dtype != value.dtype.name else value


def _output_names(model: keras.Model) -> list[str] | None:
    """Names of a graph's outputs, from the layers that make them.

    None: the model is no graph, or its outputs are a dict with names of its own.
    """
    structure = output_structure(model) if is_graph(model) else None
    if structure is None or isinstance(structure, dict):
        return None
    makers = {id(t): step.operation for step in steps_of(model) for t in step.outputs}
    found = [makers.get(id(t)) for t in keras.tree.flatten(structure)]
    names = [getattr(maker, "name", "outputs") for maker in found]
    if len(names) == 1 and _is_made_up(names[0], (type(found[0]).__name__,)):
        return ["outputs"]
    return [n if names.count(n) == 1 else f"{n}_{i}" for i, n in enumerate(names)]


def _named(outputs: Any, names: list[str] | None, told: set[str]) -> Iterable[tuple[str, Any]]:
    if isinstance(outputs, Mapping):
        return zip(_valid(list(outputs), "output", told), outputs.values(), strict=True)
    flat = keras.tree.flatten(outputs)
    if names is None or len(names) != len(flat):
        names = ["outputs"] if len(flat) == 1 else [f"outputs_{i}" for i in range(len(flat))]
    return zip(_valid(names, "output", told), flat, strict=True)


def _is_made_up(name: str, kinds: Iterable[str]) -> bool:
    """Whether Keras made up the name: the class's name, with a number if others came before."""
    stems = (re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", kind).lower() for kind in kinds)
    return any(re.fullmatch(rf"{re.escape(stem)}(_\d+)?", name) for stem in stems)


def _valid(names: list, what: str, told: set[str]) -> list[str]:
    """The names with all characters replaced that a signature can't have.

    Logs each change once, and adds its name to `told`: a model's outputs get names at each call.
    """
    valid = [re.sub(r"[^A-Za-z0-9_]", "_", str(name)) for name in names]
    valid = [name if re.match("[A-Za-z]", name) else f"{what}_{name}" for name in valid]
    if len(set(valid)) < len(valid):
        raise _unfit(f"{what}s with different names", f"{', '.join(map(str, names))}")
    for name, new in zip(names, valid, strict=True):
        if name != new and new not in told:
            told.add(new)
            logger.info("%s %r is called %s in the signature", what, name, new)
    return valid


def numbers_of(tensor: Any) -> np.ndarray:
    """A tensor as an array; strings as bytes."""
    return array_of(tensor.numpy() if hasattr(tensor, "numpy") else tensor)


class Unfit(ValueError):
    """An input or output that no signature can have."""


def _unfit(expected: str, received: str) -> Unfit:
    return Unfit(f"expected {expected}, received {received}.")
