"""The NTG of models that others bring, beside one backward pass an example."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf
from crossed import crossed, some_slow
from keras import ops
from wild_layers import (
    Plainest,
    Product,
    Scale,
    Temperature,
    Twice,
    assert_close,
    by_activation,
    examples,
    ntg_by_definition,
    patched,
    reaching,
    rng,
    sequential,
    tied,
)

from asym_keras import AsymScaledDense, empirical_ntg, shallow_network

layers = keras.layers
X = examples()


class Tripled(AsymScaledDense):
    """A layer of a known class, but for its call."""

    def call(self, x):
        return 3 * super().call(x)


class Attribute(layers.Layer):
    def __init__(self, **options):
        super().__init__(**options)
        self.inputs = 4

    def call(self, x):
        return x


def weighty(shared_axes):
    activation = layers.PReLU(alpha_initializer="ones", shared_axes=shared_axes)
    return shallow_network(4, 2, width=8, seed=0, activation=activation)


def nested_subclass():
    inputs = keras.Input((4,))
    inner = Twice()
    return keras.Model(inputs, layers.Dense(2)(inner(layers.Dense(4, "tanh")(inputs))))


def built(model, x=X):
    model(x)
    return model


def low_rank():
    model = sequential(layers.Dense(6, "tanh"), layers.Dense(2))
    model.layers[0].enable_lora(2)
    model.layers[0].lora_kernel_b.assign(rng(1).normal(size=(2, 6)))
    return model


MODELS = {
    "tied by a Lambda": tied,
    "own layer that reaches": reaching,
    "activation that reaches": by_activation,
    "functional subclass": Twice,
    "subclass in a graph": nested_subclass,
    "subclass of the layer": lambda: sequential(Tripled(6, 2, seed=0)),
    "call replaced": patched,
    "weighty activation": lambda: weighty(None),
    "shared weighty activation": lambda: weighty([1]),
    "weighty activation of a Dense": lambda: sequential(
        layers.Dense(5, activation=layers.PReLU(alpha_initializer="ones")), layers.Dense(2)
    ),
    "attribute called inputs": lambda: sequential(Attribute(), layers.Dense(2)),
    "scalar weight": lambda: sequential(layers.Dense(3), Temperature()),
    "no training argument": lambda: built(Plainest()),
    "low rank": low_rank,
    "softmax": lambda: sequential(layers.Dense(5, "tanh"), layers.Dense(3, "softmax")),
    "own layer": lambda: sequential(Scale(3.0), layers.Dense(2)),
}


@pytest.mark.parametrize(
    "name", some_slow([*MODELS][::4], [n for i, n in enumerate(MODELS) if i % 4])
)
def test_ntg_is_that_of_the_definition(name):
    model = MODELS[name]()
    assert_close(empirical_ntg(model, X), ntg_by_definition(model, X))
    model(X)  # the model stays usable


@pytest.mark.slow  # the Jacobian, whole, knows no layers: a case for each is the slow run's
@pytest.mark.parametrize("name", MODELS)
def test_jacobian_is_that_of_the_definition(name):
    model = MODELS[name]()
    assert_close(empirical_ntg(model, X, method="jacobian"), ntg_by_definition(model, X))


@pytest.mark.parametrize(
    ("dtype", "first"),
    crossed(["int32", "uint8", "int64", "bool"], [layers.Dense, AsymScaledDense]),
)
def test_integer_inputs_are_cast_as_the_layer_casts_them(first, dtype):
    model = sequential(first(6, activation="relu"), layers.Dense(1), shape=(50,), dtype=dtype)
    pixels = rng().integers(0, 2 if dtype == "bool" else 250, (6, 50)).astype(dtype)
    assert_close(empirical_ntg(model, pixels), ntg_by_definition(model, pixels))


def test_large_integers_do_not_overflow():
    model = sequential(layers.Dense(6, "relu"), layers.Dense(1), shape=(784,), dtype="int32")
    pixels = rng().integers(0, 65536, (6, 784)).astype("int32")
    assert_close(empirical_ntg(model, pixels), ntg_by_definition(model, pixels))


@pytest.mark.parametrize("pair", [lambda x: [x, x], lambda x: {"a": x, "b": x}])
def test_subclasses_with_several_inputs(pair):
    model = Product()
    x = pair(X)
    model(x)
    assert_close(empirical_ntg(model, x), ntg_by_definition(model, x))


def test_dict_of_inputs_goes_by_name():
    user, age = keras.Input((1,), dtype="int32", name="user"), keras.Input((1,), name="age")
    joined = layers.Concatenate()([ops.cast(user, "float32"), age])
    model = keras.Model([user, age], layers.Dense(1)(joined))
    x = {"age": X[:, :1], "user": np.arange(8)[:, None]}
    expected = ntg_by_definition(model, [x["user"], x["age"]])
    assert_close(empirical_ntg(model, x), expected)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("stack", "shape", "other"),
    [
        ([layers.Dense(5, "tanh"), layers.GlobalAveragePooling1D()], (None, 4), (6, 4)),
        pytest.param([layers.LSTM(3)], (None, 4), (6, 4), marks=pytest.mark.slow),
        (
            [layers.Conv2D(3, 2, activation="tanh"), layers.GlobalMaxPooling2D()],
            (None, None, 4),
            (5, 6, 4),
        ),
    ],
)
def test_cross_matrix_of_examples_of_other_sizes(stack, shape, other):
    model = sequential(*stack, layers.Dense(1), shape=shape)
    x = rng().normal(size=(5, *(3 if s is None else s for s in shape))).astype("float32")
    x2 = rng(1).normal(size=(4, *other)).astype("float32")

    def gradients(data):
        rows = []
        for i in range(len(data)):
            with tf.GradientTape() as tape:
                f = tf.reshape(model(data[i : i + 1]), [])
            rows.append(np.concatenate([np.ravel(g) for g in tape.gradient(f, model.weights)]))
        return np.stack(rows).astype("float64")

    assert_close(empirical_ntg(model, x, x2), gradients(x) @ gradients(x2).T)
    assert_close(empirical_ntg(model, x), gradients(x) @ gradients(x).T)


def test_text_goes_in():
    words = layers.TextVectorization(vocabulary=["a", "b"], output_sequence_length=3)
    stack = words, layers.Embedding(5, 3), layers.Flatten(), layers.Dense(1)
    model = sequential(*stack, shape=(1,), dtype="string")
    x = np.array([["a b"], ["b"], ["c a"]])
    assert_close(empirical_ntg(model, x), ntg_by_definition(model, tf.constant(x)))


def test_negative_indices_of_an_embedding_count_from_the_end():
    model = sequential(layers.Embedding(5, 3), layers.Flatten(), layers.Dense(1), shape=(2,))
    x = np.array([[-1, 0], [4, 1], [2, -5]], "int32")
    for method in ("structured", "jacobian"):
        assert_close(empirical_ntg(model, x, method=method), ntg_by_definition(model, x))


def test_variables_may_be_one_and_others_are_named():
    model = sequential(layers.Dense(2))
    kernel = model.layers[0].kernel
    expected = ntg_by_definition(model, X, variables=[kernel])
    assert_close(empirical_ntg(model, X, variables=kernel), expected)
    with pytest.raises(ValueError, match="expected variables of"):
        empirical_ntg(model, X, variables=["kernel"])


def test_layers_that_remember_are_refused():
    model = keras.Sequential(
        [keras.Input(batch_shape=(8, 3, 4)), layers.GRU(2, stateful=True), layers.Dense(1)]
    )
    with pytest.raises(ValueError, match="layers that forget, received gru"):
        empirical_ntg(model, np.ones((8, 3, 4)))


def test_integer_outputs_and_one_number_of_examples_are_refused():
    inputs = keras.Input((4,))
    model = keras.Model(inputs, ops.argmax(layers.Dense(3)(inputs), axis=-1))
    with pytest.raises(ValueError, match=r"floating-point outputs.*received int32"):
        empirical_ntg(model, X)
    inputs = keras.Input(batch_shape=(8, 4))
    fixed = keras.Model(inputs, layers.Dense(1)(ops.reshape(inputs, (8, 4))))
    with pytest.raises(ValueError, match=r"any number of examples, received .* takes 8 and fails"):
        empirical_ntg(fixed, X)
    only_told = keras.Sequential([keras.Input(batch_shape=(8, 4)), layers.Dense(1)])
    assert_close(empirical_ntg(only_told, X), ntg_by_definition(only_told, X))


def test_ragged_and_sparse_examples_are_refused():
    model = shallow_network(4, width=8, seed=0)
    for x in (tf.RaggedTensor.from_tensor(X), tf.sparse.from_dense(X)):
        with pytest.raises(
            ValueError, match=f"expected dense arrays, received a {type(x).__name__}"
        ):
            empirical_ntg(model, x)


def test_a_variable_named_twice_counts_once(caplog):
    model = sequential(layers.Dense(2, "tanh"))
    kernel = model.layers[0].kernel
    expected = empirical_ntg(model, X, variables=[kernel]).numpy()
    assert_close(empirical_ntg(model, X, variables=[kernel, kernel]), expected)
    assert "not taken" not in caplog.text


@pytest.mark.filterwarnings("error::RuntimeWarning")
def test_gradients_that_are_not_numbers_are_given_as_they_are():
    model = sequential(layers.Dense(1, activation=ops.sqrt, use_bias=False))
    model.layers[0].kernel.assign(np.ones((4, 1)))
    x = np.array([[1.0, -1.0, 0.0, 0.0], [4.0, 0.0, 0.0, 0.0]])  # of 0 and of 4
    matrix = empirical_ntg(model, x).numpy()
    np.testing.assert_array_equal(np.isnan(matrix), [[True, True], [True, False]])
    assert matrix[1, 1] == pytest.approx(1.0)


def test_sizes_of_the_other_examples_are_named():
    model = sequential(layers.Dense(2), layers.GlobalAveragePooling1D(), shape=(None, 4))
    x, x2 = np.ones((2, 3, 4)), np.ones((2, 5, 4))
    with pytest.raises(ValueError, match=r"received sizes \[\(3, 4\)\] and \[\(5, 4\)\]"):
        empirical_ntg(model, x, x2, method="structured")
