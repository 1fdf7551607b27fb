"""The documented example of the layer: Adam's default rate trains it as it does a Dense layer."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import pytest
from docs_pages import blocks, read

import asym_keras as ak
from asym_keras.datasets import load_mnist

EXAMPLES, EPOCHS = 5000, 5


def documented_model(gamma: float) -> keras.Model:
    text = read(Path("docs/nested.md")).partition("## AsymScaledDense under")[2]
    [code] = blocks(text, "python")
    assert "gamma=0.5" in code.text
    names: dict = {"ak": ak, "keras": keras}
    exec(code.text.replace("gamma=0.5", f"gamma={gamma}"), names)
    return names["model"]


def dense_model(gamma: float) -> keras.Model:
    stack = [keras.layers.Dense(2000, "relu"), keras.layers.Dense(10)]
    model = keras.Sequential([keras.Input((784,)), *stack])
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    return model


def accuracy(make, gamma: float, seeds: int) -> float:
    data, found = load_mnist(), []
    for seed in range(seeds):
        keras.utils.set_random_seed(seed)
        model = make(gamma)
        x, y = data.x_train[:EXAMPLES], data.labels_train[:EXAMPLES]
        model.fit(x, y, epochs=EPOCHS, verbose=0)
        scores = model.predict(data.x_test, batch_size=1000, verbose=0)
        found.append(np.mean(scores.argmax(axis=1) == data.labels_test))
    return float(np.mean(found))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("seeds", "gammas"),
    [(1, [0.5]), pytest.param(3, [0.5, 0.0], marks=pytest.mark.drill)],
    ids=["one seed", "three seeds"],
)
def test_layer_in_standard_parametrization_trains_as_a_dense_layer_does(seeds, gammas):
    dense = accuracy(dense_model, 0.5, seeds)
    assert dense > 0.91
    for gamma in gammas:
        assert accuracy(documented_model, gamma, seeds) > dense - {0.5: 0.01, 0.0: 0.03}[gamma]
