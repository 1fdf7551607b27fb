"""Fast ways are compared with the definition, and follow a model that changes."""

from __future__ import annotations

import contextlib
import dataclasses
import logging

import keras
import numpy as np
import pytest
from crossed import crossed
from keras import ops
from wild_layers import (
    Meeting,
    Scale,
    Twice,
    assert_close,
    by_activation,
    examples,
    ntg_by_definition,
    patched,
    reaching,
    sequential,
    tied,
)

from asym_keras import empirical_ntg, shallow_network
from asym_keras.ntg import empirical, evidence
from asym_keras.ntg.structured import known_variables

layers = keras.layers
X = examples()


def adapted():
    layer = layers.Normalization()
    layer.adapt(X)
    return sequential(layer, layers.Dense(2, "tanh"))


CHANGES = {
    "activation": (
        lambda: sequential(layers.Dense(5, "tanh"), layers.Dense(3, "softmax")),
        lambda m: setattr(m.layers[-1], "activation", keras.activations.linear),
    ),
    "activation of the layer": (
        lambda: shallow_network(4, 2, width=8, seed=0),
        lambda m: setattr(m.layers[-1], "activation", keras.activations.softmax),
    ),
    "adapted": (adapted, lambda m: m.layers[0].adapt(3 * X + 5)),
    "attribute": (
        lambda: sequential(Scale(), layers.Dense(2, "tanh")),
        lambda m: setattr(m.layers[0], "factor", 5.0),
    ),
    "added": (lambda: sequential(layers.Dense(3, "tanh")), lambda m: m.add(layers.Dense(2))),
}
LOW_RANK = (
    lambda: sequential(layers.Dense(3, "tanh"), layers.Dense(2)),
    lambda m: m.layers[0].enable_lora(1),
)


# Keras keeps low-rank weights in float32, which float64 refuses.
@pytest.mark.parametrize(
    ("name", "method"),
    [
        *crossed(CHANGES, ["auto", "float64"], least=3),
        pytest.param("low rank", "auto", id="low rank"),
    ],
)
def test_ntg_is_of_the_model_as_it_is(name, method):
    make, change = CHANGES.get(name, LOW_RANK)
    model = make()
    options = {"dtype": "float64"} if method == "float64" else {}
    assert_close(empirical_ntg(model, X, **options), ntg_by_definition(model, X))
    change(model)
    assert_close(empirical_ntg(model, X, **options), ntg_by_definition(model, X))


def test_fast_ways_are_not_taken_where_weights_may_be_reached():
    for make in (tied, reaching, by_activation, patched, Twice):
        model = make()
        assert known_variables(model, model.trainable_variables) == [], make
        with pytest.raises(ValueError, match="method='structured'"):
            empirical_ntg(model, X, method="structured")


def test_evidence_overrules_a_rule_that_is_wrong(monkeypatch, caplog):
    """As if nobody had thought of tied weights: the two examples tell."""
    monkeypatch.setattr("asym_keras.ntg.structured.reaches_variables", lambda layer: False)
    model = tied()
    assert known_variables(model, model.trainable_variables)
    with caplog.at_level(logging.WARNING):
        matrix = empirical_ntg(model, X)
    assert_close(matrix, ntg_by_definition(model, X))
    assert "not what backward passes of two examples give" in caplog.text
    with pytest.raises(ValueError, match="expected outputs"):
        empirical_ntg(model, X, method="structured")


def test_evidence_overrules_the_closed_form(monkeypatch, caplog):
    monkeypatch.setattr("asym_keras.ntg.shallow.is_elementwise", lambda *a: True)
    model = shallow_network(4, 2, width=8, seed=0, activation=lambda z: ops.softmax(z))
    with caplog.at_level(logging.WARNING):
        matrix = empirical_ntg(model, X)
    assert_close(matrix, ntg_by_definition(model, X))
    assert "the closed form is not what backward passes give" in caplog.text


class Drawing(layers.Layer):
    """Draws numbers, also in inference."""

    def build(self, shape):
        self.w = self.add_weight(shape=(4, 1))

    def call(self, x):
        return (x * keras.random.normal(ops.shape(x))) @ self.w


@pytest.mark.parametrize("layer", [Meeting, Drawing])
def test_examples_that_meet_and_random_outputs_are_refused(layer):
    with pytest.raises(ValueError, match="each, on its own example"):
        empirical_ntg(sequential(layer()), X)


def test_evidence_is_asked_once_for_a_model(monkeypatch):
    asked = []
    monkeypatch.setattr(empirical, "agrees", lambda *a: asked.append(a) or evidence.agrees(*a))
    for model in (sequential(layers.Dense(2)), shallow_network(4, 2, width=8, seed=0)):
        for _ in range(3):
            empirical_ntg(model, X)
            model.layers[-1].kernel.assign(2 * model.layers[-1].kernel)
        assert len(asked) == 1
        asked.clear()


@pytest.mark.slow
@pytest.mark.parametrize("blind", [X[:1], np.zeros_like(X), np.repeat(X[:1], 4, axis=0)])
def test_evidence_waits_for_examples_that_can_tell(blind):
    """Where examples meet in a batch, one of them, or several that are equal, do not show it."""
    model = sequential(layers.Dense(4, "tanh"), Meeting())
    with contextlib.suppress(ValueError):
        empirical_ntg(model, blind)
    with pytest.raises(ValueError, match="each, on its own example"):
        empirical_ntg(model, X)


def test_closed_form_follows_an_activation_that_changes():
    model = shallow_network(4, 2, width=8, seed=0, activation=layers.LeakyReLU(0.1))
    assert_close(empirical_ntg(model, X), ntg_by_definition(model, X))
    model.layers[-1].activation.negative_slope = 0.7
    assert_close(empirical_ntg(model, X), ntg_by_definition(model, X))


@dataclasses.dataclass
class Cubed:
    """An object that has no hash."""

    power: int = 3

    def __call__(self, z):
        return z**self.power


@pytest.mark.parametrize("method", ["auto", "closed_form"])
def test_closed_form_of_activations_without_a_hash_or_a_slope(method):
    model = shallow_network(4, 2, width=8, seed=0, activation=Cubed())
    assert_close(empirical_ntg(model, X, method=method), ntg_by_definition(model, X))
    model = shallow_network(4, 2, width=8, seed=0, activation=ops.round)
    assert not empirical_ntg(model, X, method=method).numpy().any()


def test_a_weight_that_an_operation_takes_has_no_rule():
    inputs, dense = keras.Input((4,)), layers.Dense(4, "tanh")
    model = keras.Model(inputs, ops.matmul(dense(inputs), dense.kernel))
    assert known_variables(model, model.trainable_variables) == [dense.bias]
    assert_close(empirical_ntg(model, X), ntg_by_definition(model, X))
