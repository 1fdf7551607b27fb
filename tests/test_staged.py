"""Anytime prediction: the first width that is sure, by an explicit loop over examples."""

from __future__ import annotations

import keras
import nested_models as models
import numpy as np
import pytest
from crossed import some_drills, some_slow
from nested_models import WIDTHS, first_sure, softmax

from asym_keras import NestedReadout, anytime, nested
from asym_keras.nesting import find_readout

layers = keras.layers


def one_score(activation=None):
    def make():
        stack = [layers.Dense(12, "relu"), layers.Dense(1, activation)]
        return keras.Sequential([keras.Input((6,)), *stack])

    return make


QUICK = {
    "one logit": (one_score(), lambda z: 1 / (1 + np.exp(-z))),
}
SLOW = {
    "softmax after it": (models.normalised, lambda p: p),
    "a head of a cnn": (models.cnn, softmax),
    "logits": (models.mlp, softmax),
    "softmax in the layer": (models.scaled, lambda p: p),
    "channels": (models.pooled_cnn, softmax),
    "nothing to cut": (models.transformer, softmax),
    "in nested models": (models.inside, softmax),
    "one probability": (one_score("sigmoid"), lambda p: p),
}


@pytest.mark.parametrize("case", [*some_slow(QUICK, [*SLOW][::2]), *some_drills([*SLOW][1::2])])
def test_each_example_gets_the_first_width_that_is_sure(case, tmp_path):
    make, probabilities = (QUICK | SLOW)[case]
    many = nested(models.build(make), WIDTHS)
    x = models.examples(many, 60)
    outputs = many.predict(x, verbose=0)
    sure = probabilities(outputs.astype("float64"))
    largest = sure.max(axis=-1) if sure.shape[-1] > 1 else np.maximum(sure, 1 - sure)[..., 0]
    threshold = float(np.median(largest))
    expected, widths = first_sure(outputs, threshold, sure)
    assert len(set(widths)) > 1
    quick = anytime(many, threshold)
    found, used = quick.predict(x)
    np.testing.assert_array_equal(used, widths)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
    one = quick.as_model()
    one.save(tmp_path / "one.keras")
    for model in (one, keras.saving.load_model(tmp_path / "one.keras")):
        whole = model.predict(x, verbose=0)
        np.testing.assert_array_equal(whole["width"], widths)
        np.testing.assert_allclose(whole["outputs"], expected, rtol=1e-5, atol=1e-6)


def test_probabilities_of_inner_models_are_no_logits():
    def stacked(*stack):
        return keras.Sequential([keras.Input((6,)), *stack])

    def inner():
        return stacked(layers.Dense(12, "relu"), layers.Dense(3), layers.Softmax())

    for make in (lambda: stacked(inner()), lambda: stacked(stacked(inner()))):
        many = nested(models.build(make), WIDTHS)
        x = models.examples(many, 30)
        p = many.predict(x, verbose=0)
        np.testing.assert_allclose(p.sum(axis=-1), 1.0, rtol=1e-5)
        threshold = float(np.median(p.max(axis=-1)))
        quick = anytime(many, threshold)
        assert not quick.from_logits
        np.testing.assert_array_equal(quick.predict(x)[1], first_sure(p, threshold, p)[1])


def test_calls_that_never_come_to_the_readout_are_refused():
    again = keras.Sequential([keras.Input((3, 3)), layers.Activation("linear")])
    stack = [keras.Input((12,)), NestedReadout(3, WIDTHS), again, again]
    with pytest.raises(ValueError, match=r"calls that do not lead to it once.*from_logits="):
        anytime(keras.Sequential(stack), 0.5)


def test_what_widths_share_is_computed_once():
    quick = anytime(nested(models.build(models.cnn), WIDTHS), 0.5)
    assert [type(la).__name__ for la in quick.trunk.layers[1:]] == [
        "Conv2D",
        "MaxPooling2D",
        "Flatten",
    ]
    assert [head.layers[1].units for head in quick.heads] == list(WIDTHS)
    assert anytime(nested(models.build(models.mlp), WIDTHS), 0.5).trunk is None


def test_it_stays_as_it_was_when_the_model_changes():
    """No half of it goes with the model: what all widths share would be new, the heads old."""
    stack = layers.Dense(10, "relu"), layers.Dense(12, "relu"), layers.Dense(3)
    many = nested(models.build(lambda: keras.Sequential([keras.Input((6,)), *stack])), WIDTHS)
    x = models.examples(many, 30)
    quick = anytime(many, 0.6)
    one = quick.as_model()
    expected, widths = quick.predict(x)
    assert quick.trunk is not None
    for other in (many, quick.as_model()):
        other.set_weights([0.5 * w for w in other.get_weights()])
        np.testing.assert_array_equal(quick.predict(x)[0], expected)
        for model in (one, quick.as_model()):
            np.testing.assert_array_equal(model.predict(x, verbose=0)["width"], widths)
    assert np.abs(anytime(many, 0.6).predict(x)[0] - expected).max() > 0.1


@pytest.mark.parametrize(
    ("outputs", "loss"),
    [
        (1, "mse"),
        (3, "mse"),
        (3, keras.losses.BinaryCrossentropy(from_logits=True)),
        (1, keras.losses.BinaryCrossentropy(from_logits=True)),
        (3, keras.losses.SparseCategoricalCrossentropy(from_logits=True)),
    ],
)
def test_sums_of_regressions_and_of_several_labels_are_no_logits(outputs, loss):
    stack = [layers.Dense(12, "relu"), layers.Dense(outputs)]
    model = keras.Sequential([keras.Input((6,)), *stack])
    model.compile("sgd", loss)
    many = nested(model, WIDTHS)
    if (outputs == 1) == isinstance(loss, keras.losses.BinaryCrossentropy) and loss != "mse":
        assert anytime(many, 0.5).from_logits
    else:
        with pytest.raises(ValueError, match=r"readout come \['the loss .*from_logits="):
            anytime(many, 0.5)
        assert anytime(many, 0.5, from_logits=True).from_logits


def test_models_that_tell_no_probabilities_are_refused():
    with pytest.raises(ValueError, match="of a NestedReadout, received"):
        anytime(models.build(models.mlp), 0.5)
    with pytest.raises(ValueError, match=r"shape \(n, widths, classes\)"):
        anytime(nested(models.build(models.tokens), WIDTHS), 0.5)
    stack = [layers.Dense(12), layers.Dense(3, "tanh")]
    other = nested(keras.Sequential([keras.Input((6,)), *stack]), WIDTHS)
    with pytest.raises(ValueError, match=r"ends in logits or in their softmax.*from_logits="):
        anytime(other, 0.5)
    assert anytime(other, 0.5, from_logits=True).from_logits


@pytest.mark.parametrize(
    ("policy", "dtype"), [("mixed_float16", "float32"), ("float32", "float64")]
)
def test_one_model_has_the_outputs_and_no_other_dtype_policy(policy, dtype, tmp_path):
    """The policy of the program, in which the choosing layer is made and loaded, says nothing."""
    stack = [layers.Dense(12, "relu", dtype=dtype), layers.Dense(3, dtype=dtype)]
    many = nested(keras.Sequential([keras.Input((6,), dtype=dtype), *stack]), WIDTHS)
    x = models.examples(many, 30)
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        quick = anytime(many, 0.6)
        quick.as_model().save(tmp_path / "one.keras")
        one = keras.saving.load_model(tmp_path / "one.keras")
        logits = many.predict(x, verbose=0)
        expected = first_sure(logits, 0.6, softmax(logits))
        for model in (quick.as_model(), one):
            found = model.predict(x, verbose=0)
            assert found["outputs"].dtype == model.output["outputs"].dtype == dtype
            np.testing.assert_allclose(found["outputs"], expected[0], rtol=1e-6)
            np.testing.assert_array_equal(found["width"], expected[1])
    finally:
        keras.config.set_dtype_policy(before)


@pytest.mark.filterwarnings("ignore:.*does not have a `quantize` method")
def test_quantised_models_are_quantised_where_keras_can():
    """Dense layers become int8; the layers of this package stay as they are, and right."""
    many = nested(models.build(models.scaled), WIDTHS)
    x = models.examples(many)
    before = many(x).numpy()
    many.quantize("int8")
    np.testing.assert_array_equal(many(x), before)
    small = models.build(models.scaled)
    hidden, expected = small.layers[0], small(x).numpy()
    kernel = hidden.kernel.numpy()
    small.quantize("int8")
    assert [la.quantization_mode for la in small.layers] == [None, "int8"]
    np.testing.assert_array_equal(hidden.kernel, kernel)
    assert 0.0 < np.abs(small(x) - expected).max() < 0.05
    assert find_readout(many).quantization_mode is None
