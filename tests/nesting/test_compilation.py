"""Nested models that are compiled: what they train, measure and hand on is as in Keras."""

from __future__ import annotations

import functools

import keras
import nested_models as models
import numpy as np
import pytest

from asym_keras import NestedLoss, nested, node_scalings, prune
from asym_keras.nesting import PrefixMetric, prefix_metrics

layers = keras.layers
X = np.random.default_rng(0).normal(size=(40, 6)).astype("float32")
LABELS = np.random.default_rng(1).integers(0, 3, 40)
ONE_HOT = np.eye(3, dtype="float32")[LABELS]
POSITIVE = (LABELS > 0).astype("float32")


def ends_in(*stack):
    return keras.Sequential([keras.Input((6,)), *stack])


def compiled(**kwargs):
    model = models.build(models.mlp)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(0.02), loss, **kwargs)
    return model


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


def test_another_number_of_weights_is_refused():
    with pytest.raises(ValueError, match="a weight for each of 2 widths, received 3"):
        nested(compiled(), (2, 5), weights=[1, 2, 3])


class Factor(keras.metrics.Mean):
    """A metric of the user's own, whose configuration lacks an argument."""

    def __init__(self, factor=1.0, name="factor", **kwargs):
        super().__init__(name=name, **kwargs)
        self.factor = factor

    def update_state(self, y_true, y_pred, sample_weight=None):
        super().update_state(self.factor * keras.ops.mean(y_pred, -1))


class Hidden(Factor):
    def __init__(self, scale=1.0, name="hidden", **kwargs):
        super().__init__(scale, name, **kwargs)


class Boosted(keras.optimizers.SGD):
    def __init__(self, learning_rate=0.01, boost=1.0, **kwargs):
        super().__init__(learning_rate, **kwargs)
        self.boost = boost


def test_copies_have_the_arguments_that_configurations_lack():
    model = ends_in(layers.Dense(12), layers.Dense(3))
    metrics = [Factor(10.0), keras.metrics.CosineSimilarity(axis=0)]
    model.compile(Boosted(boost=100.0), "mse", metrics=metrics, run_eagerly=True)
    many = nested(model, (12,))
    expected, found = (m.evaluate(X, ONE_HOT, batch_size=40, verbose=0) for m in (model, many))
    assert found == pytest.approx(expected, rel=1e-4)
    assert many.optimizer.boost == 100.0


class Steady(keras.optimizers.schedules.LearningRateSchedule):
    def __init__(self, rate):
        self.rate = rate

    def __call__(self, step):
        return self.rate

    def get_config(self):
        return {"rate": self.rate}


@pytest.mark.parametrize(
    "optimizer",
    [
        lambda: keras.optimizers.SGD(Steady(0.3), momentum=0.5),
        lambda: keras.optimizers.LossScaleOptimizer(keras.optimizers.Adam(0.1), initial_scale=8.0),
    ],
)
def test_copied_optimizers_step_as_the_first_ones(optimizer):
    model = ends_in(layers.Dense(12), layers.Dense(3))
    model.compile(optimizer(), "mse", run_eagerly=True)
    many = nested(model, (12,))
    for one in (model, many, model, many):
        one.train_on_batch(X, ONE_HOT)
    np.testing.assert_allclose(many(X)[:, 0], model(X), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    ("metric", "message"),
    [
        (Hidden(2.0), r"received 'hidden' \(Hidden\).*does not tell 'scale'. Define get_config"),
        (
            keras.metrics.MeanMetricWrapper(lambda y, f: keras.ops.mean(f, -1), name="mine"),
            "received 'mine' .*instead of a lambda, give a named function",
        ),
    ],
)
def test_metrics_that_can_not_be_made_again_are_refused(metric, message):
    with pytest.raises(ValueError, match=f"(?s)Expected metrics.*{message}"):
        nested(compiled(metrics=[metric]), (12,))


@pytest.mark.parametrize("by", ["var_names", "var_list"])
def test_what_is_not_decayed_is_not_decayed_in_the_copy(by, caplog):
    """Variables that were named one by one are those of the model: the log says so."""
    model = ends_in(layers.Dense(12), layers.Dense(3))
    optimizer = keras.optimizers.AdamW(0.1, weight_decay=0.5)
    bias = model.layers[0].bias
    optimizer.exclude_from_weight_decay(**{by: [bias if by == "var_list" else "bias"]})
    model.compile(optimizer, "mse", run_eagerly=True)
    many = nested(model, (12,))
    for one in (model, many):
        one.layers[0].bias.assign(np.ones(12))
        gradients = [keras.ops.zeros(v.shape) for v in one.trainable_variables]
        one.optimizer.apply(gradients, one.trainable_variables)
    kept = np.array_equal(many.layers[0].bias, model.layers[0].bias)
    assert kept == (by == "var_names") == ("excludes by var_list" not in caplog.text)


def test_a_model_cut_out_without_its_compilation_says_so(caplog):
    many = nested(compiled(), (12,))
    metric = keras.metrics.MeanMetricWrapper(lambda y, f: keras.ops.mean(f, -1), name="mine")
    many.compile("sgd", NestedLoss("mse"), metrics=[PrefixMetric(metric, 0)])
    assert not prune(many, 12).compiled
    assert "is not compiled. Expected metrics" in caplog.text
