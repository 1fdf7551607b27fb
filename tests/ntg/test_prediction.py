"""Kernel regression with the NTG: closed-form cases, and the law that lazy training follows it."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import scipy.linalg
from ntg_models import build, examples, mlp

from asym_keras import shallow_network, training
from asym_keras.ntg import empirical_ntg, ntg_predict


def network(outputs=2, width=40, gamma=0.5, seed=0, dtype="float64"):
    return shallow_network(
        4, outputs, width=width, gamma=gamma, alpha=0.5, activation="tanh", seed=seed, dtype=dtype
    )


def problem(outputs=2):
    rng = np.random.default_rng(0)
    return rng.normal(size=(6, 4)), rng.normal(size=(6, outputs)), rng.normal(size=(3, 4))


@pytest.mark.parametrize("t", [0.0, 0.3, 40.0])
@pytest.mark.parametrize("outputs", [1, 3])
def test_prediction_equals_the_matrix_exponential(outputs, t):
    model, (x, y, x_test) = network(outputs), problem(outputs)
    size = 6 * outputs
    ntg = np.reshape(empirical_ntg(model, x, output="all"), (size, size))
    cross = np.reshape(empirical_ntg(model, x_test, x, output="all"), (-1, size))
    decay = scipy.linalg.expm(-2.0 * t / size * ntg)
    residual = (y - model(x).numpy()).ravel()
    change = cross @ np.linalg.solve(ntg, (np.eye(size) - decay) @ residual)
    expected = model(x_test).numpy() + change.reshape(3, outputs)
    np.testing.assert_allclose(ntg_predict(model, x, y, x_test, t), expected, rtol=1e-9)


@pytest.mark.slow
def test_prediction_of_a_linear_model_is_its_training():
    """Linear in its weights, the model is its own linearisation: Euler steps get there."""
    model = keras.Sequential(
        [keras.Input((4,), dtype="float64"), keras.layers.Dense(2, dtype="float64")]
    )
    x, y, x_test = problem()
    times = np.array([0.0, 0.5, 3.0])
    predicted = ntg_predict(model, x, y, x_test, times)
    method, seen = training.GradientFlow(1e-9, 1e-11), []
    training.train(
        model, x, y, method=method, end_time=3.0, times=times, progress=False,
        probes={"outputs": lambda m: seen.append(m(x_test).numpy()) or {}},
    )  # fmt: skip
    np.testing.assert_allclose(predicted, seen, rtol=1e-6, atol=1e-8)


def test_at_infinity_the_training_set_is_fitted():
    model, (x, y, x_test) = network(), problem()
    np.testing.assert_allclose(ntg_predict(model, x, y, x), y, rtol=1e-6)
    late = ntg_predict(model, x, y, x_test, 1e9)
    np.testing.assert_allclose(ntg_predict(model, x, y, x_test), late, rtol=1e-6)


def test_what_cannot_be_told_apart_is_averaged():
    """Two equal inputs with two targets: a null direction, along which nothing is learned."""
    model, (x, y, _) = network(1), problem(1)
    x[1] = x[0]
    fit = ntg_predict(model, x, y, x)
    np.testing.assert_allclose(fit[:2], np.mean(y[:2]), rtol=1e-6)
    np.testing.assert_allclose(fit[2:], y[2:], rtol=1e-6)


def test_times_make_an_axis_and_rank_one_outputs_keep_their_rank():
    inputs = keras.Input((4,), dtype="float64")
    model = keras.Model(
        inputs, keras.ops.sum(keras.layers.Dense(3, "tanh", dtype="float64")(inputs), -1)
    )
    x, y, x_test = problem(1)
    times = [0.0, 1.0, np.inf]
    predicted = ntg_predict(model, x, y[:, 0], x_test, times)
    assert predicted.shape == (3, 3)
    for i, t in enumerate(times):
        np.testing.assert_allclose(predicted[i], ntg_predict(model, x, y[:, 0], x_test, t))
    np.testing.assert_allclose(predicted[0], model(x_test), rtol=1e-14)


def test_float32_models_are_computed_in_float64():
    model, (x, y, x_test) = network(dtype="float32"), problem()
    exact = network()
    for weight, source in zip(exact.weights, model.weights, strict=True):
        weight.assign(np.asarray(source.numpy(), "float64"))
    x, x_test = x.astype("float32"), x_test.astype("float32")
    expected = ntg_predict(exact, x, y, x_test)
    np.testing.assert_allclose(ntg_predict(model, x, y, x_test), expected, rtol=1e-9)
    np.testing.assert_allclose(
        ntg_predict(model, x, y, x_test, dtype="float32"), expected, rtol=0.05
    )


@pytest.mark.slow
@pytest.mark.parametrize("gamma", [1.0, 0.0])
@pytest.mark.drill
def test_lazy_law(gamma):
    """Real and linearised training agree ever better in the width at gamma = 1, and only there.

    The NTG moves by `sum_j a_j lambda_j^(3/2)` times terms of order one, signs being random: as
    1 / width, and so does the gap.
    """
    x, y, x_test = problem(1)
    gaps = []
    for width in (100, 1600):
        squares = []
        for seed in range(3):
            model = network(1, width=width, gamma=gamma, seed=seed)
            lazy = ntg_predict(model, x, y, x_test, 20.0)
            method = training.GradientFlow(1e-6, 1e-8, jit_compile=False)
            options = {"end_time": 20.0, "times": [20.0], "progress": False}
            training.train(model, x, y, method=method, **options)
            squares.append(np.mean((model(x_test).numpy() - lazy) ** 2))
        gaps.append(np.sqrt(np.mean(squares)))
    ratio = gaps[0] / gaps[1]
    if gamma == 1.0:
        assert 8.0 < ratio < 32.0  # 16, as the widths
        assert gaps[1] < 1e-3
    else:
        assert 0.3 < ratio < 3.0
        assert gaps[1] > 0.05


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"t": -1.0}, "expected t to be a nonnegative number"),
        ({"t": np.nan}, "expected t to be a nonnegative number"),
        ({"t": [[1.0]]}, "expected t to be a nonnegative number"),
        ({"y_train": np.zeros((6, 3))}, r"shape of the outputs, \(6, 2\), received shape \(6, 3\)"),
        ({"y_train": np.full((6, 2), np.nan)}, "expected y_train to be finite"),
        ({"method": "fast"}, "expected method in"),
    ],
)
def test_refuses(change, message):
    x, y, x_test = problem()
    arguments = {"x_train": x, "y_train": y, "x_test": x_test} | change
    with pytest.raises(ValueError, match=message):
        ntg_predict(network(), **arguments)


def test_any_model():
    model = build(mlp)
    x, x_test = examples(model, 5), examples(model, 3, seed=1)
    y = np.random.default_rng(0).normal(size=(5, 2))
    np.testing.assert_allclose(ntg_predict(model, x, y, x), y, rtol=1e-6)
    assert ntg_predict(model, x, y, x_test).shape == (3, 2)
