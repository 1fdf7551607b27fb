"""Convolutions with channels first, to whose outputs Keras may add biases along the last axis."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from asym_keras import AsymScaledDense, anytime, nested, prune
from asym_keras.pruning import pruning_curve

layers = keras.layers
REFUSED = r"received 'conv' with outputs \(None, 2, 2, 2\) of channels first"


def convolution(filters, **options):
    return layers.Conv2D(filters, 3, data_format="channels_first", name="conv", **options)


def model_of(*stack):
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((2, 4, 4)), *stack])
    for weight in model.weights:
        if "bias" in weight.path:
            weight.assign(np.arange(3.0, 3.0 + weight.shape[0]))
    return model


def examples():
    rng = np.random.default_rng(0)
    return rng.normal(size=(9, 2, 4, 4)).astype("float32"), rng.normal(size=(9, 3))


def test_keras_is_wrong_where_it_is_expected_to_be():
    """Without this there is nothing to refuse any more."""
    model, (x, _) = model_of(convolution(2)), examples()
    biases = model.layers[0].bias.numpy()
    found = model(x).numpy()
    model.layers[0].bias.assign([0.0, 0.0])
    assert np.abs(found - biases[:, None, None] - model(x).numpy()).max() > 0.5


@pytest.mark.parametrize("filters", [2, 4])
def test_networks_of_as_many_channels_as_columns_are_refused(filters):
    """The widths are 2 and 4 channels of 2 x 2 places. As predict has it, 4 are right."""
    many = nested(model_of(convolution(filters), layers.Flatten(), layers.Dense(3)), (8,))
    for act in (lambda: prune(many, 8), lambda: anytime(many, 0.5)):
        with pytest.raises(ValueError, match=REFUSED):
            act()


@pytest.mark.parametrize("options", [{"filters": 4}, {"filters": 2, "use_bias": False}], ids=str)
def test_others_are_as_predict_has_them(options):
    stack = convolution(**options), layers.Flatten(), layers.Dense(3)
    many, (x, _) = nested(model_of(*stack), (4 * options["filters"],)), examples()
    expected = many.predict(x, verbose=0)[:, 0]
    np.testing.assert_allclose(prune(many, many.layers[-1].widths[0])(x), expected, atol=1e-5)
    np.testing.assert_allclose(anytime(many, 0.5).predict(x)[0], expected, atol=1e-5)


def test_curves_over_features_after_such_a_convolution_are_refused():
    x, y = examples()
    for filters in (2, 3):
        stack = layers.Flatten(), AsymScaledDense(12, seed=0), layers.Dense(3)
        model = model_of(convolution(filters), *stack)
        model.compile("sgd", "mse")
        if filters == 2:
            with pytest.raises(ValueError, match=REFUSED):
                pruning_curve(model, x, y, x, y, pruned=[0])
            continue
        [row] = pruning_curve(model, x, y, x, y, pruned=[0])
        assert row["test_risk"] == pytest.approx(model.evaluate(x, y, verbose=0), rel=1e-5)
