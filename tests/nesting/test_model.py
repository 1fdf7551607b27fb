"""Models made nested: what they compute, how they are compiled, and what is refused."""

from __future__ import annotations

import itertools

import keras
import nested_models as models
import numpy as np
import pytest
from crossed import some_slow

from asym_keras import AsymScaledDense, NestedReadout, nested
from asym_keras.nesting import auto_widths, find_readout

layers = keras.layers
MODELS = [*models.CUT, *models.WHOLE]
X = np.random.default_rng(0).normal(size=(40, 6)).astype("float32")
LABELS = np.random.default_rng(1).integers(0, 3, 40)


@pytest.mark.parametrize("make", some_slow(MODELS[::2], MODELS[1::2]))
def test_largest_width_is_the_model_and_smaller_ones_read_fewer_features(make):
    model = models.build(make)
    features = find_dense(model).kernel.shape[0]
    x, before = models.examples(model), model.get_weights()
    many = nested(model, (2, 5, features))
    f = many(x)
    assert f.shape == (*model(x).shape[:-1], 3, 3)
    np.testing.assert_allclose(f[..., 2, :], model(x), rtol=1e-5, atol=1e-6)
    assert np.abs(f[..., 0, :] - f[..., 1, :]).max() > 0.0
    for weight, old in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(weight, old)
    readout = find_readout(many)
    assert type(many) is type(model)
    assert (readout.name, readout.widths) == (find_dense(model).name, (2, 5, features))


def find_dense(model):
    last = model.layers[-2] if isinstance(model.layers[-1], layers.Softmax) else model.layers[-1]
    return last.layers[-1] if isinstance(last, keras.Model) else last


def test_a_shared_readout_starts_with_the_weights_of_the_dense():
    model = models.build(models.mlp)
    many = nested(model, (2, 5), shared=True)
    hidden = keras.Model(model.inputs[0], model.layers[0].output)(X).numpy()
    kernel, bias = model.layers[-1].get_weights()
    for p, width in enumerate((2, 5)):
        expected = hidden[:, :width] @ kernel[:width] + bias
        np.testing.assert_allclose(many(X)[:, p], expected, rtol=1e-5, atol=1e-5)


def test_weights_below_the_readout_are_a_copy():
    model = models.build(models.mlp)
    many = nested(model, (3, 12))
    many.layers[0].kernel.assign(np.zeros((6, 12)))
    assert np.abs(model.layers[0].kernel).max() > 0.0


@pytest.mark.parametrize(
    ("features", "widths"),
    [
        (2000, (16, 32, 63, 125, 250, 500, 1000, 2000)),
        (17, (16, 17)),
        (32, (16, 32)),
        (33, (16, 17, 33)),
    ],
)
def test_auto_widths_at_most_double(features, widths):
    assert auto_widths(features) == widths
    assert all(b <= 2 * a for a, b in itertools.pairwise(widths))
    model = keras.Sequential([keras.Input((2,)), layers.Dense(features), layers.Dense(1)])
    assert find_readout(nested(model)).widths == widths


def test_frozen_layers_stay_frozen():
    model = models.build(models.mlp)
    model.layers[0].trainable = False
    many = nested(model, (3, 12))
    assert [v.path.split("/")[-2] for v in many.trainable_variables] == [model.layers[-1].name] * 2
    model.trainable = False
    assert not nested(model, (3, 12)).trainable_variables


def test_a_list_of_one_output_is_that_output():
    inputs = keras.Input((6,))
    assert nested(keras.Model(inputs, [layers.Dense(3)(inputs)]), (2, 6))(X).shape == (40, 2, 3)


def ends_in(*stack):
    return keras.Sequential([keras.Input((6,)), *stack])


def subclassed():
    class Own(keras.Model):
        def call(self, x):
            return x

    return Own()


def two_outputs():
    inputs = keras.Input((6,))
    return keras.Model(inputs, [layers.Dense(3)(inputs), layers.Dense(2)(inputs)])


def one_by_name():
    inputs = keras.Input((6,))
    return keras.Model(inputs, {"o": layers.Dense(3)(inputs)})


def called_twice():
    dense, inputs = layers.Dense(6), keras.Input((6,))
    return keras.Model(inputs, dense(dense(inputs)))


def low_rank():
    dense = layers.Dense(3)
    model = ends_in(dense)
    dense.enable_lora(1)
    return model


REFUSED = {
    "a subclass": (subclassed, "expected a built functional or Sequential model"),
    "no model": (lambda: layers.Dense(3), "expected a built functional or Sequential model"),
    "not built": (lambda: keras.Sequential([layers.Dense(3)]), "expected a built functional"),
    "two outputs": (two_outputs, "expected a model with one output, received 2"),
    "a dict of one": (one_by_name, "expected a model that returns a tensor, .* returns a dict"),
    "own outputs": (
        lambda: ends_in(AsymScaledDense(20, 3, name="all")),
        "'all' .AsymScaledDense.. An AsymScaledDense gives its features with outputs=None",
    ),
    "no weights": (lambda: ends_in(layers.ReLU()), "which ends in no layer with weights"),
    "a recurrent end": (lambda: ends_in(layers.Reshape((2, 3)), layers.LSTM(2)), "LSTM"),
    "called twice": (called_twice, "called more than once"),
    "low rank": (low_rank, "without a low-rank update"),
    "nested": (lambda: nested(models.build(models.mlp), (2, 12)), "received .* which is one"),
    "constraint": (
        lambda: ends_in(layers.Dense(3, kernel_constraint="max_norm", name="held")),
        "expected 'held' without a constraint",
    ),
    "a flat end": (lambda: ends_in(layers.Dense(3), layers.Flatten()), "do the same to each"),
    "an end over widths": (
        lambda: keras.Sequential([keras.Input((5, 6)), layers.Dense(3), layers.Softmax(axis=-2)]),
        "received other outputs",
    ),
}


@pytest.mark.parametrize(
    "mixing",
    [
        lambda: layers.Softmax(axis=1),
        lambda: layers.UnitNormalization(axis=1),
        lambda: layers.Lambda(lambda f: f - keras.ops.mean(f, axis=1, keepdims=True)),
        layers.Flatten,
    ],
)
def test_last_layers_in_which_widths_meet_are_refused(mixing):
    """Also where some features are not read and all outputs are still zero."""
    model = ends_in(layers.Dense(3, kernel_initializer="zeros"), mixing())
    with pytest.raises(ValueError, match="do the same to each"):
        nested(model, (2, 3, 4))


@pytest.mark.parametrize(("make", "message"), REFUSED.values(), ids=REFUSED)
def test_models_with_another_end_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        nested(make(), (2, 6))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"widths": (2, 13)}, "expected widths of at most 12, the features that"),
        ({"widths": (5, 2)}, "expected widths that increase"),
        ({"widths": "all"}, "expected widths to be integers"),
        ({"widths": "auto"}, "expected more than 16 features for widths='auto', received 12"),
        ({"widths": (2, 5), "weights": [1, 2]}, "expected a compiled model for weights"),
    ],
)
def test_bad_arguments_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        nested(models.build(models.mlp), **arguments)


def test_two_readouts_are_not_guessed_between():
    inputs = keras.Input((6,))
    model = keras.Model(inputs, [NestedReadout(2, (3,))(inputs), NestedReadout(2, (3,))(inputs)])
    with pytest.raises(ValueError, match="to have one NestedReadout"):
        find_readout(model)
