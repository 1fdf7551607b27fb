"""The nested loss beside a loop, its weights, and the algebra that ties it to node scalings."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from asym_keras import AsymScaledDense, NestedLoss, NestedReadout, nested, node_scalings, prune
from asym_keras.nesting import prefix_weights
from asym_keras.ntg import shallow_ntg

RNG = np.random.default_rng(0)
LABELS, ONE_HOT = np.array([0, 2, 1, 1]), np.eye(3)[[0, 2, 1, 1]]
F = RNG.normal(size=(4, 5, 3)).astype("float32")
LOSSES = {
    "by name": ("mse", ONE_HOT),
    "a function": (keras.losses.mean_absolute_error, ONE_HOT),
    "an object": (keras.losses.SparseCategoricalCrossentropy(from_logits=True), LABELS),
    "labels in a column": (
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        LABELS[:, None],
    ),
    "a class that is ignored": (
        keras.losses.SparseCategoricalCrossentropy(True, ignore_class=1),
        LABELS,
    ),
    "smoothed": (keras.losses.CategoricalCrossentropy(True, label_smoothing=0.1), ONE_HOT),
    "summed": (keras.losses.MeanSquaredError(reduction="sum"), ONE_HOT),
}


def unlike(y, f):
    """A function of the user's own, in which y (n,) and f (n, 1) would broadcast."""
    return keras.ops.mean((y - 2.0 * f) ** 2, axis=-1)


@pytest.mark.parametrize("shape", [(4,), (4, 1)])
@pytest.mark.parametrize(
    "loss",
    ["hinge", "kl_divergence", "huber", "binary_crossentropy", "crossentropy", "CE", unlike],
)
def test_functions_meet_targets_as_in_compile(loss, shape):
    y = np.array([0.0, 1.0, 1.0, 0.0], "float32").reshape(shape)
    f = RNG.uniform(0.1, 0.9, (4, 2, 1)).astype("float32")
    assert float(NestedLoss(loss)(y, f)) == pytest.approx(as_compiled(loss, y, f), rel=1e-5)


@pytest.mark.parametrize("loss", ["mse", "ce", keras.losses.CategoricalCrossentropy()])
def test_reduction_is_kept_in_the_file_and_in_the_model_that_is_cut_out(loss):
    many = nested(keras.Sequential([keras.Input((6,)), keras.layers.Dense(3, "softmax")]), (2, 6))
    x = RNG.normal(size=(4, 6))
    whole, summed = NestedLoss(loss), NestedLoss(loss, reduction="sum")
    back = keras.losses.deserialize(keras.losses.serialize(summed))
    assert float(back(ONE_HOT, F)) == pytest.approx(4 * float(whole(ONE_HOT, F)), rel=1e-5)
    many.compile("sgd", summed, run_eagerly=True)
    cut = prune(many, 2).evaluate(x, ONE_HOT, verbose=0)
    first = NestedLoss(loss, [1.0, 0.0])(ONE_HOT, many(x))
    assert cut == pytest.approx(4 * float(first), rel=1e-5)


@pytest.mark.parametrize("reduction", [None, "none"])
def test_a_loss_without_reduction_stays_without(reduction):
    loss = NestedLoss(keras.losses.MeanSquaredError(reduction=reduction))
    expected = ((F - ONE_HOT[:, None]) ** 2).mean(axis=(1, 2))
    np.testing.assert_allclose(loss(ONE_HOT, F), expected, rtol=1e-5)
    np.testing.assert_allclose(
        NestedLoss.from_config(loss.get_config())(ONE_HOT, F), expected, 1e-5
    )


def as_compiled(loss, y, f):
    """The mean over prefixes of what Keras makes of a plain model with those outputs."""
    model = keras.Sequential([keras.Input(f.shape[2:]), keras.layers.Identity()])
    model.compile("sgd", loss)
    return np.mean([model.compute_loss(y=y, y_pred=f[:, p]) for p in range(f.shape[1])])


@pytest.mark.parametrize("y", [LABELS, LABELS[:, None], ONE_HOT])
def test_crossentropy_is_the_one_of_the_targets(y):
    f = keras.ops.convert_to_numpy(keras.ops.softmax(F))
    loss = NestedLoss("crossentropy")
    assert float(loss(y, f)) == pytest.approx(as_compiled("crossentropy", y, f), rel=1e-5)
    assert NestedLoss.from_config(loss.get_config()).loss == "crossentropy"


@pytest.mark.parametrize("weights", [None, [1.0, 0.0, 2.0, 5.0, 0.5], node_scalings(5, 0.3, 0.5)])
@pytest.mark.parametrize("case", LOSSES)
def test_loss_is_the_weighted_mean_over_prefixes(case, weights):
    loss, y = LOSSES[case]
    whole = {"mse": keras.losses.MeanSquaredError()}.get(loss, loss) if case == "by name" else loss
    one = [float(np.sum(whole(y, F[:, p])) / _count(case, y)) for p in range(5)]
    expected = np.average(one, weights=weights)
    assert float(NestedLoss(loss, weights)(y, F)) == pytest.approx(expected, rel=1e-5)


def _count(case, y):
    return len(y) if case == "a function" else 1


def test_sample_weights_count():
    loss, weights = keras.losses.MeanSquaredError(), np.array([1.0, 0.0, 3.0, 0.5])
    expected = np.mean([loss(ONE_HOT, F[:, p], weights) for p in range(5)])
    nested = NestedLoss(loss)(ONE_HOT, F, weights)
    assert float(nested) == pytest.approx(expected, rel=1e-5)


def test_masked_positions_do_not_count():
    x = RNG.normal(size=(2, 4, 6)).astype("float32")
    x[0, 2:] = 0.0
    stack = [keras.layers.Masking(), NestedReadout(2, (2, 6))]
    model = keras.Sequential([keras.Input((4, 6)), *stack])
    model.compile("sgd", NestedLoss("mse"))
    y, f = RNG.normal(size=(2, 4, 2)), model(x).numpy()
    squares = ((f - y[:, :, None]) ** 2).mean(axis=(2, 3))
    expected = (squares[0, :2].sum() + squares[1].sum()) / 6
    assert model.evaluate(x, y, verbose=0) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("ignored", [None, 2])
def test_padding_counts_as_in_a_plain_model(ignored):
    """In the loss, and in metrics with weights and without."""
    x, y = RNG.normal(size=(2, 4, 6)).astype("float32"), np.array([[0, 2, 1, 1], [1, 0, 2, 2]])
    x[0, 2:] = 0.0
    dense = keras.layers.Dense(3)
    plain = keras.Sequential([keras.Input((4, 6)), keras.layers.Masking(), dense])
    loss = keras.losses.SparseCategoricalCrossentropy(True, ignore_class=ignored)
    metrics = {"metrics": ["accuracy"], "weighted_metrics": ["sparse_categorical_accuracy"]}
    plain.compile("sgd", loss, run_eagerly=True, **metrics)
    found = nested(plain, (6,)).evaluate(x, y, verbose=0)
    assert found == pytest.approx(plain.evaluate(x, y, verbose=0), rel=1e-5)


@pytest.mark.parametrize(
    "loss", ["mse", keras.losses.CategoricalCrossentropy(True, label_smoothing=0.3)]
)
def test_config_comes_back(loss):
    nested = NestedLoss(loss, node_scalings(5, 0.3, 0.5))
    back = keras.losses.deserialize(keras.losses.serialize(nested))
    assert float(back(ONE_HOT, F)) == float(nested(ONE_HOT, F))
    assert back.get_config() == nested.get_config()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((None,), "expected a Keras loss, received None"),
        (("mse", [1.0, -1.0]), "expected weights .* nonnegative and not all zero"),
        (("mse", [0.0, 0.0]), "expected weights .* not all zero"),
        (("mse", [np.nan]), "expected weights .* finite"),
        (("mse", [[1.0]]), "expected weights"),
        (("mse", []), "expected weights"),
        ((NestedLoss("mse"),), "expected the loss of one prefix, received a NestedLoss"),
    ],
)
def test_bad_arguments_are_refused(arguments, message):
    with pytest.raises(ValueError, match=f"NestedLoss: {message}"):
        NestedLoss(*arguments)


@pytest.mark.parametrize(
    ("weights", "f", "message"),
    [
        ([1.0, 2.0], F, r"with 2 \(a weight each\) prefixes, received \(4, 5, 3\)"),
        (None, F[:, 0], r"expected predictions of shape .* received \(4, 3\)"),
    ],
)
def test_predictions_of_another_shape_are_refused(weights, f, message):
    with pytest.raises(ValueError, match=f"NestedLoss: .*{message}"):
        NestedLoss("mse", weights)(ONE_HOT, f)


def reached(widths, weights, nodes):
    """P(K >= j) of each node j, where K is drawn from `widths` by `weights`."""
    shares = np.array(weights) / np.sum(weights)
    return np.array([shares[np.array(widths) >= j].sum() for j in nodes])


@settings(max_examples=25, deadline=None)
@given(
    widths=st.sets(st.integers(1, 12), min_size=1, max_size=5).map(sorted),
    weights=st.lists(st.floats(0.1, 3.0), min_size=5, max_size=5),
    seed=st.integers(0, 10_000),
)
def test_a_random_width_scales_each_node_by_the_chance_to_be_reached(widths, weights, seed):
    """At equal residuals: node j has P(K >= j) times the plain gradient.

    The loss is linear in the outputs, so that residuals are the same at every width. The kernel's
    gradient is taken through the layer, the readout and the loss as they are trained.
    """
    rng = np.random.default_rng(seed)
    weights = weights[: len(widths)]
    x, residuals = rng.normal(size=(6, 4)), rng.normal(size=(6, 3))
    layer = AsymScaledDense(12, gamma=1.0, activation="tanh", seed=seed, dtype="float64")
    readout = NestedReadout(3, widths, shared=True, use_bias=False, dtype="float64")
    features = layer(x)
    readout(features)

    def linear(y, f):
        return tf.reduce_sum(y * f, axis=-1)

    with tf.GradientTape(persistent=True) as tape:
        features = layer(x)
        nested = NestedLoss(linear, weights, dtype="float64")(residuals, readout(features))
        plain = tf.reduce_mean(linear(residuals, tf.matmul(features, readout.kernel.value)))
    ours, whole = (tape.gradient(loss, layer.kernel.value).numpy() for loss in (nested, plain))
    chances = reached(widths, weights, range(1, 13))
    assert np.abs(whole).min() > 0.0
    np.testing.assert_allclose(ours, chances * whole, rtol=1e-9, atol=1e-15)


@pytest.mark.parametrize(("gamma", "alpha"), [(0.0, 0.5), (0.4, 0.7), (1.0, 0.5)])
def test_prefix_weights_make_the_ntg_of_the_scalings(gamma, alpha):
    """What nested training does to the whole network's outputs is the NTG of those scalings.

    A step along the scaled gradients moves the outputs by `sum_j P(K >= j) theta_j`, theta_j a
    node's NTG; that is, up to a constant, the NTG of a layer with lambda_j = P(K >= j).
    """
    m, widths = 12, (2, 3, 7, 12)
    law = node_scalings(m, gamma, alpha)
    weights = prefix_weights(widths, law)
    assert weights.sum() == pytest.approx(1.0, rel=1e-12)
    chances = reached(widths, weights, range(1, m + 1))
    blocks = np.repeat(
        [law[a:b].mean() for a, b in ((0, 2), (2, 3), (3, 7), (7, 12))], (2, 1, 4, 5)
    )
    np.testing.assert_allclose(chances, blocks / blocks[0], rtol=1e-12)
    layer = AsymScaledDense(m, 1, scalings=chances, activation="tanh", seed=0, dtype="float64")
    layer.build((None, 4))
    x = RNG.normal(size=(5, 4))
    ones = AsymScaledDense(m, 1, scalings=np.ones(m), activation="tanh", seed=0, dtype="float64")
    ones.build((None, 4))
    with tf.GradientTape() as tape:
        f = ones(x)[:, 0]
    jacobian = tape.jacobian(f, ones.kernel.value).numpy()  # (n, d, m)
    moved = np.einsum("idj,j,kdj->ik", jacobian, chances, jacobian)
    np.testing.assert_allclose(shallow_ntg(layer, x), moved, rtol=1e-10)


def test_prefix_weights_of_equal_scalings_train_the_whole_network_alone():
    np.testing.assert_array_equal(prefix_weights((2, 5, 9), np.full(9, 0.25)), [0.0, 0.0, 1.0])


@pytest.mark.parametrize(
    ("scalings", "message"),
    [
        ([1.0], "at least 2 nodes"),
        ([1.0, 2.0], "do not increase"),
        ([1.0, -1.0], "nonnegative"),
        ([np.inf, 1.0], "finite"),
        ([0.0, 0.0], "not all zero"),
    ],
)
def test_scalings_that_give_no_weights_are_refused(scalings, message):
    with pytest.raises(ValueError, match=f"prefix_weights: expected .*{message}"):
        prefix_weights((1, 2), scalings)
