"""Keeps "not a number" what it is, where TensorFlow's fused kernels make a number of it.

TensorFlow's optimiser puts a sum and the ReLU after it into one kernel, and oneDNN's takes the
larger of the sum and 0: NaN becomes 0, and the answer to a row with a missing value looks like any
other. The Keras model says NaN. So the file says it, too: `relu(z)` becomes `z` where `z` is NaN.
Since the sum then has several readers, the optimiser no longer fuses it with what follows. That
also mends a fused kernel that is missing: a batch normalisation with tanh fails in the server.

Max pooling passes over NaN, fused or not, and gives -3.4e38 where there is nothing else. There the
mean of the same window tells.
"""

from __future__ import annotations

import os
from typing import Any

from tensorflow.core.framework import types_pb2
from tensorflow.core.protobuf import saved_model_pb2

FILE = "saved_model.pb"
_FLOATS = (types_pb2.DT_FLOAT, types_pb2.DT_HALF, types_pb2.DT_BFLOAT16, types_pb2.DT_DOUBLE)
_LOSE_NAN = ("Relu", "Relu6")
# Kernels that the optimiser fuses with a batch normalisation, though TensorFlow has no such kernel.
_AFTER_BATCH_NORMALIZATION = ("Elu", "LeakyRelu", "Sigmoid", "Tanh")
_OUTPUT = {"LeakyRelu": "activations", "Relu": "activations", "Relu6": "activations"}
_OUTPUT |= {"Elu": "activations", "Sigmoid": "y", "Tanh": "y"}
_MEANS = {"MaxPool": "AvgPool", "MaxPool3D": "AvgPool3D"}
_OUTPUT |= dict.fromkeys(_MEANS, "output")
_WINDOW = ("ksize", "strides", "padding", "data_format")


def keep_not_a_number(folder: str | os.PathLike[str]) -> int:
    """Guards each ReLU of the SavedModel in `folder`; returns how many there were."""
    path = os.path.join(os.fspath(folder), FILE)
    saved = saved_model_pb2.SavedModel()
    with open(path, "rb") as file:
        saved.ParseFromString(file.read())
    count = 0
    for meta in saved.meta_graphs:
        count += len(_guard(meta.graph_def.node))
        for function in meta.graph_def.library.function:
            guarded = _guard(function.node_def, function=True)
            _rename_outputs(function, guarded)
            count += len(guarded)
    if count:
        with open(path, "wb") as file:
            file.write(saved.SerializeToString(deterministic=True))
    return count


def _guard(nodes: Any, *, function: bool = False) -> dict[str, str]:
    """Guards the nodes in place; returns the name of each one's former output.

    In a function the inputs of a node are `NODE:OUTPUT:0`, in a graph `NODE` or `NODE:1`.
    """
    by_name = {node.name: node for node in nodes}
    guarded = {n.name: _OUTPUT[n.op] for n in nodes if _needs_guard(n, by_name)}
    for name, output in guarded.items():
        node = by_name[name]
        [z] = [text for text in node.input if not text.startswith("^")]
        waits = [text for text in node.input if text.startswith("^")]
        number, is_nan = nodes.add(), nodes.add()
        number.CopyFrom(node)
        number.name = f"{name}/number"
        if node.op in _MEANS:
            z = _add_mean(nodes, node, z, function)
        is_nan.op, is_nan.name, is_nan.device = "IsNan", f"{name}/is_nan", node.device
        is_nan.input.extend([z, *waits])
        is_nan.attr["T"].type = _type(node)
        chosen = f"{number.name}:{output}:0" if function else number.name
        node.op = "SelectV2"
        node.input[:] = [f"{is_nan.name}:y:0" if function else is_nan.name, z, chosen, *waits]
        for key in [key for key in node.attr if key != "_class"]:
            del node.attr[key]
        node.attr["T"].type = _type(number)
    return guarded


def _add_mean(nodes: Any, pool: Any, z: str, function: bool) -> str:
    """The mean of each window of a max pooling, which is NaN if anything in it is."""
    mean = nodes.add(op=_MEANS[pool.op], name=f"{pool.name}/mean", device=pool.device)
    mean.input.append(z)
    mean.attr["T"].type = _type(pool)
    for key in (key for key in _WINDOW if key in pool.attr):
        mean.attr[key].CopyFrom(pool.attr[key])
    return f"{mean.name}:output:0" if function else mean.name


def _needs_guard(node: Any, by_name: dict[str, Any]) -> bool:
    if node.op not in _OUTPUT or _type(node) not in _FLOATS:
        return False
    if node.op in _MEANS:
        return node.attr["padding"].s in (b"SAME", b"VALID")  # means know no other padding
    return node.op in _LOSE_NAN or _maker(node, by_name).op.startswith("FusedBatchNorm")


def _type(node: Any) -> int:
    return node.attr["T"].type if "T" in node.attr else types_pb2.DT_FLOAT  # defaults are left out


def _maker(node: Any, by_name: dict[str, Any]) -> Any:
    """The node whose output `node` takes; what only passes it on does not count."""
    while node.input and (before := by_name.get(node.input[0].partition(":")[0])) is not None:
        node = before
        if node.op != "Identity":
            break
    return node


def _rename_outputs(function: Any, guarded: dict[str, str]) -> None:
    """Names the outputs of guarded nodes as those of SelectV2, wherever they are read."""
    new = {f"{name}:{old}:0": f"{name}:output:0" for name, old in guarded.items()}
    for node in function.node_def:
        node.input[:] = [new.get(text, text) for text in node.input]
    for key, text in function.ret.items():
        function.ret[key] = new.get(text, text)
