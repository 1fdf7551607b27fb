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


def features_end():
    return keras.Sequential([keras.Input((4,)), models.nodes("float32")])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: models.build(models.middle), "in which other layers have a part"),
        (lambda: models.build(models.two_readouts), "in which other layers have a part"),
        (lambda: models.build(models.twice), "in which other layers have a part"),
        (lambda: models.build("next layer"), "outputs .* in which other layers have a part"),
        (lambda: models.build("next layer with outputs"), "'next' .AsymScaledDense. after them"),
        (features_end, "a model that returns the features"),
    ],
)
def test_models_with_another_end_are_refused(make, message):
    model = make()
    with pytest.raises(ValueError, match=f"Expected model .* to end in .*{message}"):
        pruning_curve(
            model, *data(model), layer="nodes" if len(models.asym_layers(model)) > 1 else None
        )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"pruned": [0, 13]}, r"nodes from 0 to 12, received \[0, 13\]"),
        ({"pruned": [2, 2]}, "distinct"),
        ({"pruned": [0.5]}, r"received \[0.5\]"),
        ({"pruned": []}, r"received \[\]"),
        ({"labels_train": np.zeros(5, int)}, "labels_train to be 23 integers"),
        ({"labels_test": np.full(11, 0.5)}, "labels_test to be integers from 0 to 2"),
        ({"labels_test": np.full(11, 3)}, "labels_test to be integers from 0 to 2.*to 3"),
        ({"y_train": np.full(23, 3)}, "labels to be integers from 0 to 2.*to 3"),
        ({"y_train": np.full(23, 0.5)}, r"shape \(n, 3\).*received \(23,\)"),
        ({"y_test": np.full((11, 3), np.nan)}, r"finite numbers.*y \(11, 3\)"),
        ({"x_test": np.zeros((3, 4))}, "same number of examples.*{11, 3}"),
        ({"loss": "categorical_cross"}, "categorical_cross"),
        ({"loss": lambda y, f: keras.ops.mean((y - f) ** 2)}, "one value per example"),
        ({"refit": True, "regression": "lasso"}, "'cross_entropy'.*received 'lasso'"),
        ({"regression": "lasso"}, "'cross_entropy'.*received 'lasso'"),
        ({"refit": True, "regression": "cross_entropy"}, "class labels, or one-hot.*sum to 0"),
        ({"batch_size": 0}, "batch_size to be at least 1 or None, received 0"),
        ({"importance": "size"}, "expected rule to be one of"),
    ],
)
def test_errors_say_what_to_do(change, message):
    model = models.build(models.shallow)
    names = ("x_train", "y_train", "x_test", "y_test")
    with pytest.raises(ValueError, match=message):
        pruning_curve(model, **{**dict(zip(names, data(model), strict=True)), **change})


def test_labels_of_one_output_need_targets_that_are_classes():
    model = shallow_network(4, 1, width=models.UNITS, seed=0)
    x_train, y_train, *test = data(model, 1)
    with pytest.raises(ValueError, match="labels_train of a model with one output beside targets"):
        pruning_curve(model, x_train, y_train + 0.5, *test, labels_train=np.zeros(23, int))


def test_refits_of_what_is_no_sum_are_refused():
    """Sums at every position that are pooled, and a temperature: curves, but no refits."""
    for make in (models.tokens, temperature):
        model = models.build(make)
        assert pruning_curve(model, *data(model))
        with pytest.raises(ValueError, match="outputs are another function of them"):
            pruning_curve(model, *data(model), refit=True)
    model = models.build("softmax inside")
    with pytest.raises(ValueError, match=r"regression='ridge' .* outputs are the softmax of them"):
        pruning_curve(model, *data(model), refit=True, regression="ridge")


def temperature(dtype):
    stack = models.nodes(dtype), keras.layers.Dense(3, dtype=dtype)
    tail = keras.layers.Rescaling(2.0, dtype=dtype), keras.layers.Softmax(dtype=dtype)
    return keras.Sequential([models.floats((4,), dtype), *stack, *tail])
