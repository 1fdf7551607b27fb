"""Inputs paired and cast as Keras does it, against `model.predict`."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops
from wild_layers import Plainest, Product, examples, sequential

from asym_keras.arrays import materialised, require_finite
from asym_keras.graphs import takes_training
from asym_keras.inputs import as_inputs, call, example_count, stateless_call

layers = keras.layers
X = examples()


def weighted(*names, structure):
    """Outputs in which each input counts another power of ten."""
    parts = {name: keras.Input((1,), name=name) for name in names}
    total = sum(10.0**i * parts[name] for i, name in enumerate(names))
    return keras.Model(structure(parts), total)


def nested_structure(parts):
    return {"left": [parts["b"], parts["a"]], "right": (parts["c"],)}


DATA = {name: np.full((2, 1), i + 1.0, "float32") for i, name in enumerate("bac")}


@pytest.mark.parametrize(
    ("structure", "x"),
    [
        (lambda p: [p["b"], p["a"], p["c"]], DATA),
        (lambda p: [p["b"], p["a"], p["c"]], {**DATA, "more": DATA["a"]}),
        (lambda p: [p["b"], p["a"], p["c"]], [DATA["b"], DATA["a"], DATA["c"]]),
        (lambda p: [p["b"], p["a"], p["c"]], (DATA["b"], DATA["a"], DATA["c"])),
        (lambda p: dict(p), DATA),
        (lambda p: dict(p), {**DATA, "aa": DATA["b"]}),
        (lambda p: {k: p[k] for k in "abc"}, [DATA["a"], DATA["b"], DATA["c"]]),
        (nested_structure, {"left": [DATA["b"], DATA["a"]], "right": (DATA["c"],)}),
        (nested_structure, {"left": {"a": DATA["a"], "b": DATA["b"]}, "right": [DATA["c"]]}),
        (lambda p: [[p["b"], p["a"], p["c"]]], [[DATA["b"], DATA["a"], DATA["c"]]]),
    ],
)
def test_inputs_go_by_name_or_by_order(structure, x):
    model = weighted("b", "a", "c", structure=structure)
    np.testing.assert_allclose(call(model, as_inputs(model, x)), np.full((2, 1), 321.0))


@pytest.mark.parametrize(
    ("x", "received"),
    [
        ({"b": DATA["b"], "a": DATA["a"]}, r"a dict with \['a', 'b'\]"),
        ([DATA["b"], DATA["a"]], "received 2, in a list"),
        (DATA["b"], "received 1, a ndarray"),
    ],
)
def test_another_structure_is_refused_with_the_names(x, received):
    model = weighted("b", "a", "c", structure=lambda p: [p["b"], p["a"], p["c"]])
    with pytest.raises(ValueError, match=rf"Expected 3 inputs .* {received}"):
        as_inputs(model, x)


def test_a_list_cannot_stand_for_a_dict_whose_order_is_not_keras_s():
    model = weighted("b", "a", "c", structure=dict)
    with pytest.raises(ValueError, match=r"3, in a list\. Pass one array for each, by name"):
        as_inputs(model, [DATA["b"], DATA["a"], DATA["c"]])


@pytest.mark.parametrize(
    "given",
    [
        X.tolist(),
        [row for row in X],
        tf.constant(X),
        X.astype("float64"),
        [X],
        np.round(X * 9).astype("int64"),
        np.abs(X * 9).astype("uint8"),
        X > 0,
        np.where(X > 0, True, 0.5).astype(object),
    ],
    ids=["list", "rows", "tensor", "float64", "list of one", "int", "uint8", "bool", "object"],
)
def test_one_input_in_any_form(given):
    model = sequential(layers.Dense(2))
    values = np.asarray(given[0] if len(given) == 1 else given, "float32")
    x = as_inputs(model, given)
    assert x.dtype == "float32"
    np.testing.assert_array_equal(x, values)


def test_a_data_frame_is_an_array():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"a": [1.0, 2.0], "b": [3, 4], "c": [True, False], "d": [0.5, 1.5]})
    x = as_inputs(sequential(layers.Dense(2)), frame)
    np.testing.assert_array_equal(x, [[1, 3, 1, 0.5], [2, 4, 0, 1.5]])
    frame.loc[1, "a"] = None
    with pytest.raises(ValueError, match="NaN or infinity in 1 rows, the first being 1"):
        as_inputs(sequential(layers.Dense(2)), frame)


@pytest.mark.parametrize("dtype", ["int32", "uint8", "bool", "float64"])
def test_each_input_is_cast_as_the_model_casts_it(dtype):
    inputs = keras.Input((2,), dtype=dtype)
    model = keras.Model(inputs, ops.cast(inputs, "float32") * 1.0)
    given = np.array([[0.9, 2.6], [3.0, 0.0]])
    x = as_inputs(model, given)
    assert x.dtype == dtype
    np.testing.assert_allclose(call(model, x), model(given))


def test_text_goes_to_a_model_that_takes_it_and_to_no_other():
    lookup = layers.StringLookup(vocabulary=["a", "b"], output_mode="one_hot")
    model = sequential(lookup, layers.Dense(1), shape=(1,), dtype="string")
    words = np.array([["a"], ["b"]])
    np.testing.assert_array_equal(call(model, as_inputs(model, words)), model(tf.constant(words)))
    np.testing.assert_array_equal(as_inputs(model, words.astype(object)), words.astype("S"))
    with pytest.raises(ValueError, match=r"array of text, received numbers"):
        as_inputs(model, np.ones((2, 1)))
    with pytest.raises(ValueError, match=r"array of numbers, received text"):
        as_inputs(sequential(layers.Dense(1)), np.full((2, 4), "a"))


def test_a_last_axis_of_one_is_added_or_taken_away():
    assert as_inputs(sequential(layers.Dense(1), shape=(1,)), np.ones(3)).shape == (3, 1)
    assert as_inputs(sequential(layers.Dense(1)), np.ones((3, 4, 1))).shape == (3, 4)


def test_sequences_may_have_any_length():
    model = sequential(layers.GlobalAveragePooling1D(), shape=(None, 3))
    assert as_inputs(model, np.ones((2, 7, 3))).shape == (2, 7, 3)


@pytest.mark.parametrize(
    ("x", "words"),
    [
        (X[:, :3], r"inputs of shape \(None, 4\) .* received \(8, 3\)"),
        (X[:0], r"at least one, received \{0\}"),
        (np.where(np.arange(8)[:, None] == 5, np.nan, X), "in 1 rows, the first being 5"),
        ([[1.0, 2.0], [3.0]], "of one shape"),
        ((row for row in X), "generator"),
        (np.full((2, 4), None), "NoneType"),
    ],
)
def test_bad_examples_are_refused(x, words):
    with pytest.raises(ValueError, match=words):
        as_inputs(sequential(layers.Dense(1)), x)


def test_a_subclass_takes_structures_and_keeps_integers():
    model = Product()
    model([X, X])
    x = as_inputs(model, [X.astype("float64"), np.ones(X.shape, "int64")])
    assert [t.dtype.name for t in x] == ["float32", "int64"]
    named = as_inputs(model, {"a": X, "b": X})
    np.testing.assert_allclose(call(model, named), model([X, X]), rtol=1e-6)
    plain = Plainest()
    plain(X)
    assert not takes_training(plain)
    np.testing.assert_array_equal(as_inputs(plain, X.tolist()), X)
    np.testing.assert_allclose(call(plain, X, training=True), plain(X), rtol=1e-6)


def test_lengths_must_agree():
    assert example_count([X, (X, {"a": X})]) == 8
    with pytest.raises(ValueError, match="same number of examples"):
        example_count(X, X[:3])
    model = weighted("b", "a", "c", structure=lambda p: [p["b"], p["a"], p["c"]])
    with pytest.raises(ValueError, match="same number of examples"):
        as_inputs(model, {**DATA, "c": DATA["c"][:1]})


def test_datasets_are_read_whole():
    data = tf.data.Dataset.from_tensor_slices(({"a": X}, X[:, 0])).batch(3)
    x, y = materialised(data, None)
    np.testing.assert_array_equal(x["a"], X)
    np.testing.assert_array_equal(y, X[:, 0])
    assert materialised(X, 1)[0] is X
    with pytest.raises(ValueError, match="that ends"):
        materialised(data.repeat(), None)
    with pytest.raises(ValueError, match=r"batches \(x, y\)"):
        materialised(tf.data.Dataset.from_tensor_slices(X).batch(2), None)


class Mixed(keras.Model):
    """Weights of its own, which Keras casts to half precision in `__call__` alone."""

    def __init__(self):
        super().__init__(dtype="mixed_bfloat16")

    def build(self, shape):
        self.w = self.add_weight(shape=(4, 2), initializer="ones")

    def call(self, x):
        assert x.dtype == "bfloat16"
        return ops.matmul(x, self.w)


def test_stateless_call_is_a_call():
    model = Mixed()
    model(X)
    values = [2 * v.value for v in model.variables]
    outputs, new, penalties = stateless_call(model, model.variables, values, X, training=True)
    np.testing.assert_allclose(
        np.asarray(outputs, "float32"), 2 * np.asarray(model(X), "float32"), rtol=2e-2
    )
    assert penalties == []
    assert new[0] is not model.variables[0]
    np.testing.assert_array_equal(model.w, np.ones((4, 2)))


def test_what_no_model_computes_with_is_refused():
    model = keras.Sequential([keras.Input((4,)), layers.Dense(1)])
    with pytest.raises(ValueError, match=r"x \(2, 4\) in float32 with NaN or infinity in 1 rows"):
        as_inputs(model, np.array([[0.0] * 4, [1e300] * 4]))
    with pytest.raises(ValueError, match=r"entries such as 'a' \(str\)"):
        as_inputs(model, np.array([[1.0, 2.0, 3.0, "a"]], dtype=object))
    with pytest.raises(ValueError, match=r"received datetime64\[D\]"):
        as_inputs(model, np.full((2, 4), "2020-01-01", "datetime64[D]"))
    ragged = tf.ragged.constant([[1.0, 2.0], [np.nan]])
    with pytest.raises(ValueError, match=r"with NaN or infinity\. Repair"):
        require_finite(ragged, "x")


def test_single_pairs_are_no_batches():
    for y in (X[:, 0], X[:, :2]):
        pairs = tf.data.Dataset.from_tensor_slices((X[:, 0], y))
        with pytest.raises(ValueError, match=r"Call batch\(n\)"):
            materialised(pairs, None)


@pytest.mark.filterwarnings("error")
def test_large_numbers_are_finite():
    require_finite(np.full(8, 1e30, "float32"), "x")
    with pytest.raises(ValueError, match="in 1 rows, the first being 3"):
        require_finite(np.array([1e30, 1e30, 1e30, np.inf], "float32"), "x")
