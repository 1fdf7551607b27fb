"""Transfer curves of the same data in every form that a model takes."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from asym_keras import compilation
from asym_keras.layers import AsymScaledDense
from asym_keras.models import shallow_network
from asym_keras.transfer import transfer_curve

N, D, M, K = 23, 4, 12, 3
SMALL = dict(features=(2, 5), hidden=(8,), steps=6, learning_rate=0.5, progress=False)


@pytest.fixture(autouse=True)
def no_jit(monkeypatch):
    """Compilation with XLA takes longer than these small runs."""
    monkeypatch.setattr(compilation, "JIT_LIMIT", 0)


def network(outputs=K):
    options = dict(width=M, gamma=0.5, alpha=0.5, seed=3, dtype="float64")
    return shallow_network(D, outputs, **options)


def data():
    """Training and test inputs and one-hot targets, and the classes."""
    x, x_test = np.random.default_rng(1).normal(size=(2, N, D))
    classes = [np.argmax(a[:, :K], axis=1) for a in (x, x_test)]
    y, y_test = (np.eye(K)[c] for c in classes)
    return (x, y, x_test, y_test), dict(zip(("labels_train", "labels_test"), classes, strict=True))


@pytest.mark.slow
def test_labels_one_hot_targets_and_datasets_are_the_same():
    (x, y, x_test, y_test), labels = data()
    classes, classes_test = labels.values()
    expected = transfer_curve(network(), x, y, x_test, y_test, **labels, **SMALL)
    batches = tf.data.Dataset.from_tensor_slices((x, classes)).batch(5)
    for form in ((x, y), (x, classes), (x, classes[:, None]), (batches, None)):
        assert transfer_curve(network(), *form, x_test, classes_test, **SMALL) == expected


def test_integers_of_one_output_are_numbers():
    (x, _, x_test, _), labels = data()
    one = network(1)
    counts, counts_test = labels.values()
    rows = transfer_curve(one, x, counts, x_test, counts_test, **SMALL)
    floats = transfer_curve(one, x, counts.astype(float), x_test, counts_test * 1.0, **SMALL)
    assert rows == floats
    assert "train_accuracy" not in rows[0]


def test_inputs_go_by_name_and_the_layer_may_be_in_a_subclass():
    class Network(keras.Model):
        def __init__(self, layer):
            super().__init__()
            self.layer, self.last = layer, keras.layers.Dense(K, dtype="float64")

        def call(self, x):  # no training argument
            return self.last(self.layer(x))

    model, (arrays, _) = network(), data()
    expected = transfer_curve(model, *arrays, **SMALL)
    x, y, x_test, y_test = arrays
    assert expected == transfer_curve(model, {"inputs": x}, y, [x_test], y_test, **SMALL)
    layer = AsymScaledDense(M, gamma=0.5, alpha=0.5, seed=3, dtype="float64")
    subclass = Network(layer)
    subclass(x)
    layer.kernel.assign(model.get_layer("asym_scaled_dense").kernel)
    # Its inputs are rounded to the float32 of its own policy.
    for row, other in zip(transfer_curve(subclass, *arrays, **SMALL), expected, strict=True):
        assert row == pytest.approx(other, rel=1e-6)


@pytest.mark.slow
def test_features_are_no_classes_and_a_subclass_tells_its_outputs():
    (x, y, x_test, y_test), labels = data()
    classes, classes_test = labels.values()
    inputs = keras.Input((D,), dtype="float64")
    layer = AsymScaledDense(M, gamma=0.5, alpha=0.5, seed=3, dtype="float64")
    features = keras.Model(inputs, layer(inputs))
    rows = transfer_curve(features, x, classes, x_test, classes_test, **SMALL)
    numbers = transfer_curve(features, x, 1.0 * classes, x_test, 1.0 * classes_test, **SMALL)
    assert rows == numbers

    class Own(keras.Model):
        def __init__(self):
            super().__init__()
            self.hidden, self.last = layer, keras.layers.Dense(K, dtype="float64")

        def call(self, x):
            return self.last(self.hidden(x))

    own = Own()
    own(x)
    expected = transfer_curve(own, x, y, x_test, y_test, **labels, **SMALL)
    assert transfer_curve(own, x, classes, x_test, classes_test, **SMALL) == expected
