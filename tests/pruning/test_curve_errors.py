"""What pruning curves refuse, and what they say."""

from __future__ import annotations

import keras
import numpy as np
import pruning_models as models
import pytest

from asym_keras import shallow_network
from asym_keras.pruning import pruning_curve


def data(model, outputs=3):
    x = models.examples(model, 23), models.examples(model, 11, seed=1)
    return x[0], np.zeros((23, outputs)), x[1], np.zeros((11, outputs))


def softmax_end():
    last = keras.layers.Dense(3, "softmax")
    return keras.Sequential([keras.Input((4,)), models.nodes("float32"), last])


def features_end():
    return keras.Sequential([keras.Input((4,)), models.nodes("float32")])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: models.build(models.middle), "in which other layers have a part"),
        (lambda: models.build(models.two_readouts), "in which other layers have a part"),
        (lambda: models.build(models.twice), "in which other layers have a part"),
        (softmax_end, "activation 'softmax' in 'dense"),
        (features_end, "a model that returns the features"),
    ],
)
def test_models_with_another_end_are_refused(make, message):
    model = make()
    with pytest.raises(ValueError, match=f"Expected model .* to end in .*{message}"):
        pruning_curve(model, *data(model))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"pruned": [0, 13]}, r"nodes from 0 to 12, received \[0, 13\]"),
        ({"pruned": [2, 2]}, "distinct"),
        ({"pruned": [0.5]}, r"received \[0.5\]"),
        ({"pruned": []}, r"received \[\]"),
        ({"labels_train": np.zeros(5, int)}, "labels to be 23 integers"),
        ({"labels_test": np.zeros(11)}, "labels to be 11 integers.*float64"),
        ({"y_train": np.zeros(23, int)}, r"shape \(23, 3\), one row.*one-hot"),
        ({"y_test": np.full((11, 3), np.nan)}, "finite targets"),
        ({"x_test": np.zeros((3, 4))}, r"shape \(3, 3\).*received shape \(11, 3\)"),
        ({"batch_size": 0}, "batch_size to be at least 1 or None, received 0"),
        ({"importance": "size"}, "expected rule to be one of"),
    ],
)
def test_errors_say_what_to_do(change, message):
    model = models.build(models.shallow)
    names = ("x_train", "y_train", "x_test", "y_test")
    with pytest.raises(ValueError, match=message):
        pruning_curve(model, **{**dict(zip(names, data(model), strict=True)), **change})


def test_labels_need_several_outputs():
    model = shallow_network(4, 1, width=models.UNITS, seed=0)
    with pytest.raises(ValueError, match=r"with several outputs.*for 1 outputs"):
        pruning_curve(model, *data(model, 1), labels_train=np.zeros(23, int))
