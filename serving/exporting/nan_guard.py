"""Changes a SavedModel so that it answers NaN where its Keras model does.

TensorFlow's optimiser fuses a sum and the ReLU after it into one kernel. oneDNN's kernel takes the
larger of the sum and 0, so NaN becomes 0, and the answer to a row with a missing value looks like
any other, while the Keras model answers NaN. So each `relu(z)` in the file becomes a choice: `z`
where `z` is NaN, `relu(z)` elsewhere. Then several nodes read the sum, and the optimiser no longer
fuses it with the ReLU. The same change helps where the optimiser picks a fused kernel that does not
exist: without it a batch normalisation with tanh fails in the server.

Max pooling ignores NaN, fused or not, and answers -3.4e38 for a window of NaN alone. There the mean
of the window is NaN, and decides.
"""

from __future__ import annotations

import os
from typing import Any

from tensorflow.core.framework import types_pb2
from tensorflow.core.protobuf import saved_model_pb2

FILE = "saved_model.pb"
_FLOATS = (types_pb2.DT_FLOAT, types_pb2.DT_HALF, types_pb2.DT_BFLOAT16, types_pb2.DT_DOUBLE)
_LOSE_NAN = ("Relu", "Relu6")
_OUTPUT = dict.fromkeys(_LOSE_NAN, "activations")
# Operations that the optimiser fuses with a batch normalisation before them, though TensorFlow has
# no such fused kernel.
_OUTPUT |= {"Elu": "activations", "LeakyRelu": "activations", "Sigmoid": "y", "Tanh": "y"}
_MEANS = {"MaxPool": "AvgPool", "MaxPool3D": "AvgPool3D"}
_OUTPUT |= dict.fromkeys(_MEANS, "output")
_WINDOW = ("ksize", "strides", "padding", "data_format")


def keep_not_a_number(folder: str | os.PathLike[str]) -> int:
    """Changes each node of the SavedModel in `folder` that may lose NaN; returns their number.

    These are ReLUs, max poolings, and activations after a batch normalisation.
    """
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
    """Changes the nodes in place. Returns what the output of each changed node was called before.

    A node's inputs are written as `NODE:OUTPUT:0` in a function, and as `NODE` or `NODE:1` in a
    graph.
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
    """Adds the mean of each window of a max pooling, which is NaN if any value in it is."""
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
        return node.attr["padding"].s in (b"SAME", b"VALID")  # AvgPool has no other padding
    return node.op in _LOSE_NAN or _maker(node, by_name).op.startswith("FusedBatchNorm")


def _type(node: Any) -> int:
    # A SavedModel leaves out attributes with their default values.
    return node.attr["T"].type if "T" in node.attr else types_pb2.DT_FLOAT


def _maker(node: Any, by_name: dict[str, Any]) -> Any:
    """The node that computes the input of `node`; nodes that only pass it on are skipped."""
    while node.input and (before := by_name.get(node.input[0].partition(":")[0])) is not None:
        node = before
        if node.op != "Identity":
            break
    return node


def _rename_outputs(function: Any, guarded: dict[str, str]) -> None:
    """Makes all readers of the changed nodes read `output`, which is SelectV2's name for it."""
    new = {f"{name}:{old}:0": f"{name}:output:0" for name, old in guarded.items()}
    for node in function.node_def:
        node.input[:] = [new.get(text, text) for text in node.input]
    for key, text in function.ret.items():
        function.ret[key] = new.get(text, text)
