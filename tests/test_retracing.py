"""One model after another in one process: no function is traced twice, and TensorFlow is silent."""

from __future__ import annotations

import logging

import numpy as np
import pytest

from asym_keras import shallow_network
from asym_keras.ntg import NTGProbe
from asym_keras.pruning import pruning_curve
from asym_keras.tracing import traced_once
from asym_keras.training import GradientDescent, GradientFlow, RiskProbe, WeightChange, train
from asym_keras.transfer import transfer_curve

MODELS = 5  # TensorFlow warns at the fifth
generator = np.random.default_rng(0)
X, X_TEST = (generator.normal(size=(n, 4)).astype("float32") for n in (12, 7))
Y, Y_TEST = (np.sin(x.sum(axis=1, keepdims=True)) for x in (X, X_TEST))


@pytest.fixture
def warnings_of_tensorflow():
    """What TensorFlow's Python code says; each time anew, whatever ran before in this process."""
    from tensorflow.python.eager.polymorphic_function import polymorphic_function

    messages = []
    handler = logging.Handler(logging.WARNING)
    handler.emit = lambda record: messages.append(record.getMessage())
    logger = logging.getLogger("tensorflow")
    level, detector = logger.level, polymorphic_function._frequent_tracing_detector_manager
    fresh = polymorphic_function._FrequentTracingDetectorManager()
    polymorphic_function._frequent_tracing_detector_manager = fresh
    logger.addHandler(handler)
    logger.setLevel(logging.WARNING)
    yield messages
    logger.setLevel(level)
    logger.removeHandler(handler)
    polymorphic_function._frequent_tracing_detector_manager = detector


def run(seed, method):
    model = shallow_network(4, width=20, gamma=0.5, alpha=0.4, seed=seed)
    probes = {
        "train": RiskProbe("train", X, Y),
        "test": RiskProbe("test", X_TEST, Y_TEST),
        "weights": WeightChange(),
        "ntg": NTGProbe(X[:5]),
    }
    end = 4 * method.time_step
    train(model, X, Y, method=method, end_time=end, probes=probes, progress=False)


METHODS = [
    pytest.param(GradientFlow(jit_compile=True), id="flow", marks=pytest.mark.slow),
    pytest.param(GradientFlow(jit_compile=False), id="flow, fused"),
    pytest.param(GradientDescent(0.1, jit_compile=True), id="descent", marks=pytest.mark.drill),
    pytest.param(
        GradientDescent(0.1, batch_size=5, jit_compile=False), id="batches", marks=pytest.mark.slow
    ),
]


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
def test_training_one_model_after_another(method, warnings_of_tensorflow):
    for seed in range(MODELS):
        run(seed, method)
    assert warnings_of_tensorflow == []


@pytest.mark.slow
def test_pruning_and_transfer_of_one_model_after_another(warnings_of_tensorflow):
    data = (X, Y, X_TEST, Y_TEST)
    for seed in range(MODELS):
        model = shallow_network(4, width=20, gamma=0.5, alpha=0.4, seed=seed)
        pruning_curve(model, *data, refit=True)
        transfer_curve(model, *data, features=(2, 4), hidden=(3,), steps=2, progress=False)
    assert warnings_of_tensorflow == []


def test_traced_once_is_traced_once_and_refuses_other_shapes():
    import tensorflow as tf

    traces = []

    def double(pair, factor):
        traces.append(len(traces))
        return [factor * t for t in pair]

    function = traced_once(double, jit_compile=False)
    for value in (1.0, 2.0):
        first, second = function([tf.constant([value]), tf.constant(value)], tf.constant(3.0))
        assert (float(first[0]), float(second)) == (3 * value, 3 * value)
    assert traces == [0]
    with pytest.raises((TypeError, ValueError, tf.errors.InvalidArgumentError)):
        function([tf.constant([1.0, 2.0]), tf.constant(1.0)], tf.constant(3.0))
