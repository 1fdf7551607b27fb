"""Other precisions: mixed, half and double, quantised weights, low-rank updates."""

from __future__ import annotations

import keras
from keras import layers as kl

from asym_keras.models import shallow_network
from benchmarks.wild.entry import (
    EXAMPLES,
    FIXED_DTYPE,
    HALF,
    LOW_RANK,
    case,
    model,
    no,
    nodes,
    numbers,
    refuse,
    sequential,
)


def _network(policy: str):
    inputs = keras.Input((4,), dtype="float64" if policy == "float64" else "float32")
    hidden = kl.Dense(5, "tanh", dtype=policy)(inputs)
    hidden = nodes(gamma=0.8, dtype=policy)(hidden)
    return keras.Model(inputs, kl.Dense(2, dtype=policy)(hidden))


def _case(policy: str):
    return case(_network(policy), columns=2, output=(0, 1), named=1)


@model("mixed_bfloat16", "precision")
def _():
    return _case("mixed_bfloat16")


@model("mixed_float16", "precision")
def _():
    return _case("mixed_float16")


@model("bfloat16", "precision", flow=no(HALF, "bfloat16"))
def _():
    return _case("bfloat16")


@model("float16", "precision", flow=no(HALF, "float16"))
def _():
    return _case("float16")


@model("float64", "precision")
def _():
    return _case("float64")


@model("float32 in front of float64", "precision", flow=no(HALF, "float64"))
def _():
    layers = (
        kl.Dense(5, "tanh", dtype="float32"),
        nodes(dtype="float64"),
        kl.Dense(1, dtype="float64"),
    )
    return case(sequential(*layers, dtype="float32"))


@model("mixed in front, float32 at the end", "precision")
def _():
    layers = (kl.Dense(5, "tanh", dtype="mixed_bfloat16"), nodes(dtype="mixed_bfloat16"))
    return case(sequential(*layers, kl.Dense(1, dtype="float32"), dtype="float32"), loss="own")


@model("shallow network, mixed_bfloat16", "shallow")
def _():
    return case(shallow_network(4, 1, width=6, gamma=0.8, seed=0, dtype="mixed_bfloat16"))


@model("shallow network, float64", "shallow")
def _():
    found = shallow_network(4, 2, width=6, gamma=0.5, seed=0, dtype="float64", activation="tanh")
    return case(found, numbers(EXAMPLES, 4).astype("float64"), columns=2)


def _quantised(mode: str):
    found = sequential(
        kl.Dense(8, "tanh", dtype="float32"), nodes(dtype="float32"), kl.Dense(4, dtype="float32")
    )
    found.quantize(mode)
    return case(found, columns=4, output=(0, 3), named=3)


INT8 = {
    **refuse("keep all", "masking", reason="a quantised kernel: prune first", word="quantised"),
    **refuse("float64", "ntg_predict", reason=FIXED_DTYPE, word="kernel_scale"),
}
LORA = refuse("float64", "ntg_predict", reason=LOW_RANK, word="lora_kernel_a")


@model("int8", "precision", **INT8)
def _():
    return _quantised("int8")


@model(
    "low-rank updates (LoRA)",
    "precision",
    **LORA,
    **refuse("keep all", "masking", reason="a low-rank update: prune first", word="low-rank"),
)
def _():
    return _lora("readout")


@model("low-rank updates in front of nodes", "precision", **LORA)
def _():
    return _lora("first")


def _lora(where: str):
    first, readout = kl.Dense(5, "tanh", name="first"), kl.Dense(1, name="readout")
    found = sequential(first, nodes(), readout)
    layer = found.get_layer(where)
    layer.enable_lora(2)
    generator = keras.random.SeedGenerator(1)
    for variable in layer.trainable_variables:  # one factor begins at zero
        variable.assign(keras.random.normal(variable.shape, dtype=variable.dtype, seed=generator))
    return case(found)
