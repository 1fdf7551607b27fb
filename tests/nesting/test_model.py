"""Models made nested: what they compute, how they are compiled, and what is refused."""

from __future__ import annotations

import functools
import itertools

import keras
import nested_models as models
import numpy as np
import pytest
from crossed import some_slow

from asym_keras import AsymScaledDense, NestedLoss, NestedReadout, nested, node_scalings, prune
from asym_keras.nesting import auto_widths, find_readout, prefix_metrics

layers = keras.layers
MODELS = [*models.CUT, *models.WHOLE]
X = np.random.default_rng(0).normal(size=(40, 6)).astype("float32")
LABELS = np.random.default_rng(1).integers(0, 3, 40)


def compiled(**kwargs):
    model = models.build(models.mlp)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(0.02), loss, **kwargs)
    return model


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


@pytest.mark.slow
@pytest.mark.parametrize("jit_compile", [True, False])
def test_fit_logs_metrics_by_width_and_learns_every_width(jit_compile):
    model = compiled(metrics=["accuracy", "sparse_categorical_crossentropy"])
    model.compile(**{**model_arguments(model), "jit_compile": jit_compile})
    x = np.random.default_rng(0).normal(size=(300, 6)).astype("float32")
    y = np.abs(x[:, :3]).argmax(axis=1)
    many = nested(model, (2, 6, 12))
    assert isinstance(many.loss, NestedLoss)
    assert many.optimizer is not model.optimizer
    assert float(many.optimizer.learning_rate) == pytest.approx(0.02)
    history = many.fit(x, y, epochs=12, verbose=0).history
    names = [f"{metric}_{width}" for metric in METRICS for width in (2, 6, 12)]
    assert sorted(history) == sorted(["loss", *names])
    for width in (2, 6, 12):
        assert history[f"accuracy_{width}"][-1] > history[f"accuracy_{width}"][0] + 0.05
    found = many.evaluate(x, y, verbose=0, return_dict=True)
    right = many.predict(x, verbose=0).argmax(axis=-1) == y[:, None]
    for p, width in enumerate((2, 6, 12)):
        assert found[f"accuracy_{width}"] == pytest.approx(right[:, p].mean(), abs=1e-6)


METRICS = ("accuracy", "sparse_categorical_crossentropy")


def model_arguments(model):
    return {"optimizer": model.optimizer, "loss": model.loss, "metrics": list(METRICS)}


@pytest.mark.parametrize("weights", [None, node_scalings(2, 0.2, 0.5)])
def test_evaluated_loss_is_the_weighted_mean(weights):
    model = compiled()
    many = nested(model, (3, 12), weights=weights)
    f = many.predict(X, verbose=0)
    one = [float(model.loss(LABELS, f[:, p])) for p in range(2)]
    expected = np.average(one, weights=weights)
    assert many.evaluate(X, LABELS, verbose=0) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(
    ("make", "y", "name"),
    [
        (lambda: layers.Dense(1, "sigmoid"), LABELS > 0, "binary_accuracy"),
        (lambda: layers.Dense(3), LABELS, "sparse_categorical_accuracy"),
        pytest.param(
            *(lambda: layers.Dense(3), LABELS[:, None], "sparse_categorical_accuracy"),
            marks=pytest.mark.slow,
        ),
        (lambda: layers.Dense(3), np.eye(3)[LABELS], "categorical_accuracy"),
    ],
)
def test_accuracy_is_what_keras_takes_it_for(make, y, name):
    many = nested(keras.Sequential([keras.Input((6,)), layers.Dense(20), make()]), (4, 20))
    metrics = prefix_metrics(["accuracy", name, getattr(keras.metrics, name)], (4, 20))
    many.compile("sgd", NestedLoss(lambda y, f: keras.ops.sum(f, axis=-1)), metrics=metrics)
    found = many.evaluate(X, y, verbose=0, return_dict=True)
    assert found["accuracy_4"] == pytest.approx(found[f"{name}_4"])
    assert found["accuracy_20"] == pytest.approx(found[f"{name}_20"])


def test_nested_model_is_saved_with_loss_and_metrics(tmp_path):
    many = nested(
        compiled(metrics=["accuracy", keras.metrics.SparseTopKCategoricalAccuracy(2)]), (3, 12)
    )
    many.fit(X, LABELS, verbose=0)
    many.save(tmp_path / "many.keras")
    back = keras.saving.load_model(tmp_path / "many.keras")
    np.testing.assert_array_equal(back(X), many(X))
    found, again = (m.evaluate(X, LABELS, verbose=0, return_dict=True) for m in (many, back))
    assert found == pytest.approx(again, rel=1e-6)
    assert "sparse_top_k_categorical_accuracy_12" in found


def test_frozen_layers_stay_frozen():
    model = models.build(models.mlp)
    model.layers[0].trainable = False
    many = nested(model, (3, 12))
    assert [v.path.split("/")[-2] for v in many.trainable_variables] == [model.layers[-1].name] * 2
    model.trainable = False
    assert not nested(model, (3, 12)).trainable_variables


ONE_HOT = np.eye(3, dtype="float32")[LABELS]
POSITIVE = (LABELS > 0).astype("float32")
# Last layers, loss, metrics and targets, of which Keras itself tells what is right.
AS_KERAS = {
    "softmax": (
        *(lambda: [layers.Dense(3, "softmax")], "categorical_crossentropy"),
        *(["categorical_crossentropy"], ONE_HOT),
    ),
    "a layer of softmax": (
        *(lambda: [layers.Dense(3), layers.Softmax()], "sparse_categorical_crossentropy"),
        *(["accuracy"], LABELS),
    ),
    "sigmoid": (
        *(lambda: [layers.Dense(1, "sigmoid")], "binary_crossentropy"),
        *(["binary_crossentropy"], POSITIVE[:, None]),
    ),
}


@pytest.mark.parametrize(
    ("case", "eagerly"), [*((case, True) for case in AS_KERAS), ("softmax", False)]
)
def test_one_width_of_all_features_is_trained_as_the_model_is(case, eagerly):
    end, loss, metrics, y = AS_KERAS[case]
    model = ends_in(layers.Dense(12, "relu"), *end())
    model.compile(keras.optimizers.SGD(1e-3), loss, metrics=metrics, run_eagerly=eagerly)
    many, x = nested(model, (12,)), 100.0 * X
    expected, found = (m.train_on_batch(x, y, return_dict=True) for m in (model, many))
    names = {key if key == "loss" else f"{key}_12": value for key, value in expected.items()}
    assert found == pytest.approx(names, rel=1e-5)
    np.testing.assert_allclose(many(x)[:, 0], model(x), rtol=1e-3, atol=1e-6)


def MyRight(y_true, y_pred):
    right = keras.ops.argmax(y_true, -1) == keras.ops.argmax(y_pred, -1)
    return keras.ops.cast(right, "float32")


METRICS_AS_KERAS = {
    "names": lambda: ["Accuracy", "acc", "mae", "AUC"],
    "losses": lambda: [keras.losses.CategoricalHinge(), keras.losses.Huber()],
    "own functions": lambda: [MyRight, lambda y, f: keras.ops.mean(f, -1)],
    "functools": lambda: [functools.partial(keras.losses.huber, delta=0.1)],
    "objects": lambda: [keras.metrics.AUC(curve="PR"), keras.metrics.TopKCategoricalAccuracy(2)],
    "a class": lambda: [keras.metrics.Poisson],
    "wrapped": lambda: [keras.metrics.MeanMetricWrapper(MyRight, name="right")],
}


@pytest.mark.parametrize("metrics", METRICS_AS_KERAS.values(), ids=METRICS_AS_KERAS)
def test_metrics_and_their_names_are_those_of_keras(metrics):
    """Of the nested model, each with its width; and of the model that is cut out of it."""
    model = ends_in(layers.Dense(12, "relu"), layers.Dense(3, "softmax"))
    model.compile("sgd", "categorical_crossentropy", metrics=metrics(), run_eagerly=True)
    expected = model.evaluate(X, ONE_HOT, verbose=0, return_dict=True)
    many = nested(model, (12,))
    found, cut = (
        m.evaluate(X, ONE_HOT, verbose=0, return_dict=True) for m in (many, prune(many, 12))
    )
    assert cut == pytest.approx(expected, rel=1e-5)
    assert found == pytest.approx(
        {name if name == "loss" else f"{name}_12": value for name, value in expected.items()},
        rel=1e-5,
    )


@pytest.mark.parametrize("share", [0.1, [0.1]])
def test_the_weight_of_the_loss_is_kept(share):
    model = ends_in(layers.Dense(12, "relu"), layers.Dense(3))
    model.compile("sgd", "mse", loss_weights=share, run_eagerly=True)
    expected = pytest.approx(model.evaluate(X, ONE_HOT, verbose=0), rel=1e-5)
    many = nested(model, (12,))
    assert many.evaluate(X, ONE_HOT, verbose=0) == expected
    assert prune(many, 12).evaluate(X, ONE_HOT, verbose=0) == expected


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


def test_another_number_of_weights_is_refused():
    with pytest.raises(ValueError, match="a weight for each of 2 widths, received 3"):
        nested(compiled(), (2, 5), weights=[1, 2, 3])


def test_two_readouts_are_not_guessed_between():
    inputs = keras.Input((6,))
    model = keras.Model(inputs, [NestedReadout(2, (3,))(inputs), NestedReadout(2, (3,))(inputs)])
    with pytest.raises(ValueError, match="to have one NestedReadout"):
        find_readout(model)
