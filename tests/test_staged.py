"""Anytime prediction: the first width that is sure, by an explicit loop over examples."""

from __future__ import annotations

import functools

import keras
import nested_models as models
import numpy as np
import pytest
from crossed import some_drills, some_slow

from asym_keras import NestedReadout, anytime, nested
from asym_keras.nesting import FirstSure, find_readout
from asym_keras.nesting.sure import sureness
from asym_keras.staged import _choices

layers = keras.layers
WIDTHS = (2, 5, 12)
ROUNDING = 1e-6  # of probabilities in float32; where all nodes are dead they are all equal


def first_sure(outputs, threshold, probabilities):
    """Outputs and widths, example by example; `outputs` (n, P, K)."""
    chosen, used = [], []
    for answers, sizes in zip(outputs, probabilities, strict=True):
        for p, width in enumerate(WIDTHS):
            sure = max(sizes[p]) if len(sizes[p]) > 1 else max(sizes[p][0], 1 - sizes[p][0])
            if sure >= threshold or width == WIDTHS[-1]:
                chosen.append(answers[p])
                used.append(width)
                break
    return np.array(chosen), np.array(used)


def softmax(logits):
    e = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


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


@functools.cache
def labelled():
    """A nested model, examples, their labels, and its outputs."""
    many = nested(models.build(models.mlp), WIDTHS)
    x = models.examples(many, 400)
    outputs = many.predict(x, verbose=0)
    return many, x, outputs[:, -1].argmax(axis=-1), outputs  # the widest is right


def risks(threshold):
    _, _, y, outputs = labelled()
    found, used = first_sure(outputs, threshold, softmax(outputs.astype("float64")))
    return np.mean(found.argmax(axis=-1) == y), used.mean()


@pytest.mark.parametrize("wanted", [0.7, 0.9, 1.0])
def test_threshold_for_an_accuracy_is_the_smallest_that_has_it(wanted):
    many, x, y, _ = labelled()
    quick = anytime(many, held_out=(x, y), accuracy=wanted)
    accuracy, mean_width = risks(quick.threshold - ROUNDING)
    assert accuracy >= wanted
    found = quick.evaluate(x, np.eye(3)[y])
    assert (found["accuracy"], found["mean_width"]) == pytest.approx((accuracy, mean_width))
    assert sum(found["shares"].values()) == pytest.approx(1.0)
    if quick.threshold:
        less = [risks(t) for t in np.linspace(0, quick.threshold - 1e-3, 20)]
        assert not any(a >= wanted and width < mean_width for a, width in less)


def test_one_width_answers_in_any_case():
    _, x, y, _ = labelled()
    one = nested(keras.Sequential([keras.Input((6,)), layers.Dense(4), layers.Dense(3)]), (4,))
    assert anytime(one, held_out=(x, y), accuracy=0.0).threshold == 0.0
    with pytest.raises(ValueError, match=r"accuracy=1.0, but on the held-out examples it is at m"):
        anytime(one, held_out=(x, y), accuracy=1.0)


@pytest.mark.parametrize("wanted", [2.0, 6.5, 12.0])
def test_threshold_for_a_mean_width_needs_no_more(wanted):
    many, x, y, _ = labelled()
    quick = anytime(many, held_out=(x, y), mean_width=wanted)
    assert risks(quick.threshold - ROUNDING)[1] <= wanted
    if WIDTHS[0] < wanted < WIDTHS[-1]:
        assert risks(min(quick.threshold + 0.01, 1.0))[1] > wanted


@pytest.mark.parametrize("dtype", ["float32", "float64", "mixed_float16", "mixed_bfloat16"])
def test_rounding_does_not_undo_the_choice(dtype):
    """All examples reach the same probability, .73, at width 1, which is wrong of half of them."""
    readout = NestedReadout(2, (1, 2), use_bias=False, dtype=dtype)
    many = keras.Sequential([keras.Input((2,)), readout])
    readout.kernel.assign([[[0.0, 1.0], [0.0, 0.0]], [[0.0, 0.0], [0.0, 5.0]]])
    signs = np.resize([-1.0, 1.0], 40)
    x, y = np.stack([np.ones(40), signs], axis=1), (signs > 0).astype(int)
    for wanted, width in ((0.5, 1), (1.0, 2)):
        quick = anytime(many, held_out=(x, y), accuracy=wanted)
        found = quick.evaluate(x, y)
        assert (found["accuracy"], found["mean_width"]) == (wanted, width)
        answers = quick.as_model().predict(x, verbose=0)
        assert (answers["width"] == width).all()
        assert (
            anytime(many, held_out=(x, y), mean_width=width).evaluate(x, y)["mean_width"] == width
        )


def test_every_threshold_is_considered():
    """Against each probability as the threshold, and one above them, with NaN and ties."""
    rng = np.random.default_rng(0)
    sure = rng.uniform(0.4, 1.0, (300, 3)).astype("float32").round(3)
    right, widths = rng.uniform(size=(300, 3)) < sure, np.array([2, 5, 12])
    sure[0, 0], sure[1, :2] = np.nan, np.nan
    grid, accuracies, means = _choices(right, sure, widths)
    best = {}
    for threshold in [*np.unique(sure[:, :2][sure[:, :2] > 0]), np.float32(1.0)]:
        index = [next((p for p in (0, 1) if row[p] >= threshold), 2) for row in sure]
        best[(right[range(300), index].mean(), widths[index].mean())] = threshold
    assert grid.dtype == "float32"
    assert (np.diff(grid) > 0).all()
    assert list(zip(accuracies, means, strict=True)) == list(best)
    for threshold, accuracy, mean in zip(grid, accuracies, means, strict=True):
        index = [next((p for p in (0, 1) if row[p] >= threshold), 2) for row in sure]
        assert (right[range(300), index].mean(), widths[index].mean()) == (accuracy, mean)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "expected one of threshold, accuracy and mean_width"),
        ({"threshold": 0.5, "accuracy": 0.9}, "expected one of threshold"),
        ({"threshold": 1.5}, r"expected threshold in \[0, 1\], received 1.5"),
        ({"accuracy": 0.9}, r"expected held_out=\(x, y\)"),
        ({"accuracy": 1.1, "held_out": True}, "accuracy=1.1, but .* it is at most 1.0000"),
        ({"mean_width": 1.0, "held_out": True}, "mean_width=1.0, but .* it is at least 2"),
    ],
)
def test_bad_arguments_are_refused(arguments, message):
    many, x, y, _ = labelled()
    if "held_out" in arguments:
        arguments = {**arguments, "held_out": (x, y)}
    with pytest.raises(ValueError, match=f"anytime: .*{message}"):
        anytime(many, **arguments)


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


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_probabilities_of_16_bit_logits_are_of_32(dtype):
    """Probabilities of .9998 and .9999 are both 1 in 16 bits."""
    logits = np.array([[[8.75, 0.0]], [[9.0, 0.0]], [[-6.25, 0.0]]])
    expected = softmax(logits).max(axis=-1)
    assert len(np.unique(expected.astype(dtype))) < 3
    for outputs in (logits, logits[..., :1]):  # of two classes, or of one logit
        tensor = keras.ops.cast(outputs, dtype)
        for given in (tensor, keras.ops.convert_to_numpy(tensor)):
            sure = sureness(given, True)
            assert keras.backend.standardize_dtype(sure.dtype) == "float32"
            np.testing.assert_allclose(sure, expected, rtol=1e-6)
    sure = sureness(keras.ops.cast(logits, "float64"), True)
    np.testing.assert_allclose(sure, expected, rtol=1e-14)


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


def test_choosing_layer_comes_back_from_its_config():
    layer = FirstSure(WIDTHS, 0.25, from_logits=False)
    back = FirstSure.from_config(layer.get_config())
    assert (back.widths, back.threshold, back.from_logits) == (WIDTHS, 0.25, False)


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
