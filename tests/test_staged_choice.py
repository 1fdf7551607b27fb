"""Thresholds of anytime prediction that are chosen on held-out examples."""

from __future__ import annotations

import functools

import keras
import nested_models as models
import numpy as np
import pytest
from nested_models import WIDTHS, first_sure, softmax

from asym_keras import NestedReadout, anytime, nested

layers = keras.layers
ROUNDING = 1e-6  # of probabilities in float32; where all nodes are dead they are all equal


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


@pytest.mark.parametrize(
    ("outputs", "labels", "message"),
    [
        (3, [1], "same number of examples"),
        (3, [np.nan] * 50, "not all finite|NaN"),
        (3, [0.7] * 50, "or integer labels"),
        (3, [3] * 50, "from 0 to 2, one for each class, received values from 3"),
        (3, np.full((50, 3), 0.3), "labels from 0 to 2, or one-hot targets of zeros and ones"),
        (1, [0.5] * 50, "labels from 0 to 1, or one-hot .* received values from 0.5"),
        (1, [-1] * 50, "labels from 0 to 1, or .* from -1 to -1"),
    ],
)
def test_what_are_no_labels_is_refused(outputs, labels, message):
    readout = NestedReadout(outputs, (2, 6))
    many, x = keras.Sequential([keras.Input((6,)), readout]), np.ones((50, 6))
    with pytest.raises(ValueError, match=message):
        anytime(many, 0.5).evaluate(x, labels)
    with pytest.raises(ValueError, match=message):
        anytime(many, held_out=(x, labels), accuracy=0.5)


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
