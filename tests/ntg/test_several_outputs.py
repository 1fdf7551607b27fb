"""The NTG of models with several outputs: one of them, by its name or its place."""

from __future__ import annotations

import keras
import pytest
from wild_layers import assert_close, examples, ntg_by_definition

from asym_keras import empirical_ntg
from asym_keras.ntg import ntg_predict

layers = keras.layers
X = examples()


def two_outputs(form):
    inputs = keras.Input((4,))
    hidden = layers.Dense(5, "tanh")(inputs)
    price, kind = layers.Dense(1, name="price")(hidden), layers.Dense(3, name="kind")(hidden)
    return keras.Model(inputs, form(price, kind))


@pytest.mark.parametrize(
    ("output", "place", "column"),
    [
        ("price", 0, 0),
        (0, 0, 0),
        ("kind", 1, 0),
        (1, 1, 0),
        (("kind", 2), 1, 2),
        ((1, 1), 1, 1),
    ],
)
def test_one_of_several_outputs_by_name_or_index(output, place, column):
    model = two_outputs(lambda price, kind: [price, kind])
    expected = ntg_by_definition(model, X, lambda f: f[place][:, column])
    assert_close(empirical_ntg(model, X, output=output), expected)


def test_outputs_in_a_dict_go_by_their_keys():
    model = two_outputs(lambda price, kind: {"p": price, "k": kind})
    expected = ntg_by_definition(model, X, lambda f: f["k"][:, 1])
    assert_close(empirical_ntg(model, X, output=("k", 1)), expected)
    trace = sum(ntg_by_definition(model, X, lambda f, c=c: f["k"][:, c]) for c in range(3)) / 3
    assert_close(empirical_ntg(model, X, output=("k", "trace")), trace)
    every = empirical_ntg(model, X, output=("k", "all"))
    assert_close(every[:, 1, :, 1], expected)


@pytest.mark.parametrize("output", ["size", 2, -1, "trace", "all", ("kind", 3), ("kind", "x")])
def test_other_outputs_are_refused(output):
    model = two_outputs(lambda price, kind: [price, kind])
    with pytest.raises(ValueError, match=r"expected .*output"):
        empirical_ntg(model, X, output=output)


def test_prediction_of_several_outputs_is_refused():
    model = two_outputs(lambda price, kind: [price, kind])
    with pytest.raises(ValueError, match=r"with one output, received .* with 2"):
        ntg_predict(model, X, X[:, :1], X)


def test_outputs_in_a_nested_dict_go_by_their_own_names():
    inputs = keras.Input((4,))
    made = [layers.Dense(1, name=name)(inputs) for name in ("one", "two", "three")]
    model = keras.Model(inputs, {"a": made[:2], "b": made[2]})
    expected = ntg_by_definition(model, X, output=lambda f: f["b"][:, 0])
    assert_close(empirical_ntg(model, X, output="three"), expected)
    with pytest.raises(ValueError, match="name or index of one of the 3 outputs"):
        empirical_ntg(model, X, output="b")
