"""Runs signatures for the REST and gRPC front ends. Inputs and outputs are NumPy arrays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from tensorflow.core.framework import types_pb2
from tensorflow_serving.apis import classification_pb2, regression_pb2

from serving.preview.errors import ServingError, invalid
from serving.preview.servable import Servable

DEFAULT_SIGNATURE = "serving_default"


def predict(
    servable: Servable,
    signature_name: str,
    inputs: Mapping[str, np.ndarray],
    *,
    output_filter: Sequence[str] = (),
    timeout: float | None = None,
) -> dict[str, np.ndarray]:
    """Outputs of a signature by alias: all of them, or those that `output_filter` lists.

    Raises:
        ServingError: FAILED_PRECONDITION: the signature is unknown; INVALID_ARGUMENT: inputs or
            outputs are not those of the signature; or the run's own error.
    """
    name = signature_name or DEFAULT_SIGNATURE
    signature = servable.signatures.get(name)
    if signature is None:
        raise ServingError("FAILED_PRECONDITION", f'Serving signature key "{name}" not found.')
    servable.check(signature, inputs)
    seen: set[str] = set()
    for alias in output_filter:
        if alias not in signature.outputs:
            known = f"Outputs expected to be in the set {{{','.join(sorted(signature.outputs))}}}."
            raise invalid(f"output tensor alias not found in signature: {alias} {known}")
        if alias in seen:
            raise invalid(f"duplicate output tensor alias: {alias}")
        seen.add(alias)
    return servable.run(signature, inputs, output_filter or sorted(signature.outputs), timeout)


def classify(
    servable: Servable, signature_name: str, examples: Sequence[bytes], timeout: float | None = None
) -> classification_pb2.ClassificationResult:
    """Labels and scores of serialized `tf.Example`s. A model may answer only one of the two.

    Raises:
        ServingError: The signature does not classify, or its run failed.
    """
    signature = _example_signature(servable, signature_name, examples, "classification")
    if len(signature.outputs) > 2:
        raise invalid(f"Expected one or two output Tensors, found {len(signature.outputs)}")
    aliases = [alias for alias in ("classes", "scores") if alias in signature.outputs]
    if not aliases:
        names = f'at least one of "classes" or "scores". Signature was: {signature}'
        raise invalid(f"Expected classification signature outputs to contain {names}")
    inputs = {"inputs": np.array(examples, object)}
    servable.check(signature, inputs)
    outputs = servable.run(signature, inputs, aliases, timeout)
    for alias, dtype in (("classes", "DT_STRING"), ("scores", "DT_FLOAT")):
        if alias not in outputs:
            continue
        given = types_pb2.DataType.Name(signature.outputs[alias].dtype)
        if given != dtype:
            raise invalid(f"Expected {alias} Tensor of {dtype}. Got: {given}")
        if outputs[alias].ndim != 2 or len(outputs[alias]) != len(examples):
            shape = list(outputs[alias].shape)
            raise invalid(f"Expected Tensor shape: [batch_size num_classes] but got {shape}")
    labels, scores = outputs.get("classes"), outputs.get("scores")
    if labels is not None and scores is not None and labels.shape != scores.shape:
        sizes = f"Got {labels.shape[1]} vs. {scores.shape[1]}"
        raise invalid(f"Tensors class and score should match in dim_size(1). {sizes}")
    result = classification_pb2.ClassificationResult()
    for row in range(len(examples)):
        pairs = result.classifications.add().classes
        for column in range(outputs[aliases[0]].shape[1]):
            pair = pairs.add()
            if labels is not None:
                pair.label = labels[row, column].decode("utf-8", "replace")
            if scores is not None:
                pair.score = scores[row, column]
    return result


def regress(
    servable: Servable, signature_name: str, examples: Sequence[bytes], timeout: float | None = None
) -> regression_pb2.RegressionResult:
    """Values of serialized `tf.Example`s.

    Raises:
        ServingError: The signature does not compute a regression, or its run failed.
    """
    signature = _example_signature(servable, signature_name, examples, "regression")
    if len(signature.outputs) != 1:
        raise invalid("Expected one output Tensor.")
    if "outputs" not in signature.outputs:
        raise invalid(f"No regression outputs found in SignatureDef: {signature}")
    inputs = {"inputs": np.array(examples, object)}
    servable.check(signature, inputs)
    values = servable.run(signature, inputs, ["outputs"], timeout)["outputs"]
    if values.shape not in ((len(examples),), (len(examples), 1)):
        either = "either [batch_size] or [batch_size, 1]"
        raise invalid(f"Expected output Tensor shape to be {either} but got {list(values.shape)}")
    if signature.outputs["outputs"].dtype != types_pb2.DT_FLOAT:
        raise invalid("Expected output Tensor of DT_FLOAT.")
    result = regression_pb2.RegressionResult()
    for value in values.ravel().tolist():
        result.regressions.add().value = value
    return result


def _example_signature(
    servable: Servable, signature_name: str, examples: Sequence[bytes], kind: str
) -> Any:
    """The signature, after TF Serving's own checks, which do not include the method name."""
    name = signature_name or DEFAULT_SIGNATURE
    signature = servable.signatures.get(name)
    if signature is None:
        raise invalid(f"No signature was found with the name: {name}")
    if len(signature.inputs) != 1:
        raise invalid("Expected one input Tensor.")
    if "inputs" not in signature.inputs:
        raise invalid(f"No {kind} inputs found in SignatureDef: {signature}")
    if not examples:
        raise invalid("Input is empty.")
    return signature
