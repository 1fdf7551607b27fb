"""Training of models that others bring, beside what `model.fit` and eager tapes do."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf
from crossed import some_slow
from keras import ops
from wild_layers import (
    Plainest,
    Product,
    Temperature,
    examples,
    rng,
    seeded,
    sequential,
    two_steps,
    two_steps_of_keras,
)

from asym_keras import AsymScaledDense, shallow_network
from asym_keras.training import (
    GradientDescent,
    GradientFlow,
    Objective,
    RiskProbe,
    WeightChange,
    train,
)

layers = keras.layers
X = examples()
Y = X[:, :1] * X[:, 1:2]
RATE = 0.05


IDS = rng().integers(0, 5, (8, 2))


def embedding():
    stack = layers.Embedding(5, 3), layers.Flatten(), AsymScaledDense(8, 1, seed=0)
    return sequential(*stack, shape=(2,), dtype="int32")


def taken():
    """Rows of a weight taken by an operation."""
    inputs, table = keras.Input((2,), dtype="int32"), layers.Embedding(5, 4)
    table.build()
    rows = ops.sum(ops.take(table.embeddings, inputs, axis=0), axis=1)
    return keras.Model(inputs, layers.Dense(1)(table(inputs)[:, 0] + rows))


def constrained():
    return sequential(layers.Dense(6, "relu", kernel_constraint="non_neg"), layers.Dense(1))


def built(model, x=X):
    model(x)
    return model


def penalised():
    stack = layers.Dense(4, activity_regularizer="l2"), layers.ActivityRegularization(0.1)
    return sequential(*stack, layers.Dense(1, kernel_regularizer="l2"))


def weighty_activation():
    return sequential(layers.Dense(4, activation=layers.PReLU()), layers.Dense(1))


def in_a_dict():
    inputs = keras.Input((4,))
    return keras.Model(inputs, {"price": layers.Dense(1)(layers.Dense(5, "tanh")(inputs))})


MODELS = {
    "embedding": (embedding, IDS),
    "scalar": (lambda: sequential(layers.Dense(1), Temperature()), X),
    "no training argument": (lambda: built(Plainest()), X),
    "two inputs": (lambda: built(Product(), [X, X]), [X, X]),
    "constraint": (constrained, X),
    "penalties of activations": (penalised, X),
    "activation with weights": (weighty_activation, X),
    "recurrent": (lambda: sequential(layers.LSTM(3), layers.Dense(1), shape=(4, 1)), X[..., None]),
    "one output in a dict": (in_a_dict, X),
    "list of numbers": (lambda: sequential(layers.Dense(1)), X.tolist()),
}


@pytest.mark.parametrize(
    "name", some_slow([*MODELS][::3], [name for i, name in enumerate(MODELS) if i % 3])
)
def test_descent_steps_as_fit_does(name):
    make, x = MODELS[name]
    ours = two_steps(seeded(make), x, Y)
    keras_x = np.asarray(x, "float32") if name == "list of numbers" else x
    targets = {"price": Y} if name == "one output in a dict" else Y
    theirs = two_steps_of_keras(seeded(make), keras_x, targets)
    for one, other in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(one, other, rtol=2e-5, atol=1e-6)


def test_a_data_frame_trains():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(X, columns=list("abcd"))
    ours = two_steps(seeded(lambda: sequential(layers.Dense(1))), frame, pandas.Series(Y[:, 0]))
    theirs = two_steps(seeded(lambda: sequential(layers.Dense(1))), X, Y)
    for one, other in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(one, other)


def test_penalties_of_activations_take_no_tiles(monkeypatch):
    monkeypatch.setattr("asym_keras.evaluator.TILE_BYTES", 1)
    problem = Objective(penalised(), X, Y)
    assert problem.tile == len(X)
    assert "penalties of activations" in problem.indivisible
    plain = Objective(sequential(layers.Dense(1, kernel_regularizer="l2")), X, Y)
    assert (plain.tile, plain.indivisible) == (1, None)


def test_constraints_hold_after_each_step_and_the_flow_refuses_them():
    model = constrained()
    two_steps(model, X, -10 * np.abs(Y))
    assert np.min(model.layers[0].kernel) >= 0
    with pytest.raises(ValueError, match=r"without a constraint, .* received .*kernel"):
        train(constrained(), X, Y, method=GradientFlow(), end_time=1.0, progress=False)


@pytest.mark.parametrize("policy", ["bfloat16", "float16"])
def test_flow_refuses_weights_in_half_precision_in_words(policy):
    model = shallow_network(4, 1, width=8, seed=0, dtype=policy)
    with pytest.raises(ValueError, match=rf"all weights in float32.* received {policy}.*mixed"):
        train(model, X, Y, method=GradientFlow(), end_time=1.0, progress=False)


def test_descent_in_bfloat16_goes_on_from_its_checkpoint(tmp_path):
    def run(end, **options):
        model = shallow_network(4, 1, width=8, seed=0, dtype="bfloat16")
        train(
            model,
            X,
            Y,
            method=GradientDescent(0.5),
            end_time=6.0,
            times=[3.0],
            progress=False,
            target_risk=end,
            **options,
        )
        return np.asarray(model.trainable_variables[0], "float32")

    folder = tmp_path / "c"

    def stop(history):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(-np.inf, checkpoint=folder, on_record=stop)
    resumed = run(-np.inf, checkpoint=folder, resume=True)
    np.testing.assert_array_equal(resumed, run(-np.inf))


@pytest.mark.slow
@pytest.mark.parametrize("end", some_slow([1e10], [1e6]))
def test_flow_with_a_far_end_reaches_its_target(end):
    x = rng().normal(size=(30, 4)).astype("float32")
    options = {"end_time": end, "times": [0.0], "target_risk": 0.05, "progress": False}
    y = x[:, :1] * x[:, 1:2]
    model = shallow_network(4, 1, width=16, seed=0)
    history = train(model, x, y, method=GradientFlow(), **options)
    assert history[-1]["train_risk"] <= 0.05


def test_probe_is_of_the_model_as_it_is():
    model = sequential(layers.Dense(1, "tanh", bias_initializer="ones"))
    probe = RiskProbe("t", X, Y)
    probe(model)
    model.layers[0].activation = keras.activations.exponential
    assert probe(model)["t_risk"] == pytest.approx(np.mean((model(X) - Y) ** 2), rel=1e-5)


LABELS = np.arange(8) % 3


def classifier():
    return shallow_network(4, 3, width=50, seed=0)


def test_probe_of_a_frozen_model():
    model = classifier()
    model.trainable = False
    risk = RiskProbe("t", X, np.eye(3)[LABELS])(model)["t_risk"]
    assert risk == pytest.approx(np.mean((model(X) - np.eye(3)[LABELS]) ** 2), rel=1e-5)


def test_weight_change_of_a_scalar():
    model = sequential(Temperature())
    probe = WeightChange()
    probe.start(model)
    model.layers[0].t.assign(3.0)
    assert probe(model)["weight_change"] == 2.0


def test_lambdas_of_one_module_are_two_losses_in_a_checkpoint(tmp_path):
    def run(loss, **options):
        model = shallow_network(4, 1, width=8, seed=0)
        return train(
            model,
            X,
            Y,
            loss=loss,
            method=GradientDescent(0.1),
            end_time=1.0,
            progress=False,
            checkpoint=tmp_path / "run",
            **options,
        )

    run(lambda y, f: tf.reduce_mean((y - f) ** 2, -1))
    with pytest.raises(ValueError, match="differs in loss"):
        run(lambda y, f: tf.reduce_mean((y - f) ** 4, -1), resume=True)
