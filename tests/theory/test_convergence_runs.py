"""Theorem 4.2 and Proposition C.1 on networks: wide enough, trained, and drawn many times."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest

import asym_keras as ak
from asym_keras.ntg import NTGProbe, minimum_eigenvalue
from asym_keras.ntg.limiting import kappa_n
from asym_keras.theory import GlobalConvergence, InitialEigenvalueBound
from asym_keras.training import GradientFlow, WeightChange, train

# Two orthogonal inputs in many dimensions: kappa_n d is nearly 1, and a width in reach enough.
X, Y = np.eye(2, 1000), np.array([[0.01], [-0.01]])


@pytest.fixture(scope="module")
def theorem():
    return GlobalConvergence.from_data(X, Y, gamma=1.0, delta=0.1, activation="tanh")


def test_theorem_4_2_can_be_met(theorem):
    assert theorem.theorem == "4.2"
    assert (theorem.examples, theorem.input_dim, theorem.target_bound) == (2, 1000, 0.01)
    # By hand, with kappa_n d and C_1 d near 1: the series of sech^4 and tanh^2
    assert theorem.kappa_n * 1000 == pytest.approx(1 - 2e-3, abs=1e-5)
    assert theorem.second_moment * 1000 == pytest.approx(1 - 2e-3, abs=1e-5)
    assert theorem.curvature_bound == pytest.approx(4 / (3 * math.sqrt(3)))
    # 8 n log(2 n / delta); M^2 = 16 / 27, C^2 + C_1 = 1.098e-3
    by_hand = np.array([16 * math.log(40), 2**13, 2**19]) / 0.998 ** np.array([1, 3, 4])
    by_hand[1:] *= 16 / 27 * 1.098e-3 / 0.1
    np.testing.assert_allclose(theorem.width_terms, by_hand, rtol=1e-4)
    assert theorem.required_width == theorem.width_terms[2]
    assert 3_400 < theorem.required_width < 3_500


@pytest.fixture(scope="module")
def run(theorem):
    """History of a training run at the width that the theorem asks for, and its scalings."""
    width = math.ceil(theorem.required_width)
    model = ak.shallow_network(
        1000, 1, width=width, gamma=1.0, activation="tanh", seed=0, dtype="float64"
    )
    risk = ak.training.RiskProbe("train", X, Y)
    history = train(
        model,
        X,
        Y,
        method=GradientFlow(rtol=1e-8, atol=1e-8),
        end_time=1.5 / theorem.rate,
        times=np.linspace(0.0, 1.5, 16) / theorem.rate,
        probes={"risk": risk, "weights": WeightChange(), "ntg": NTGProbe(X)},
        progress=False,
    )
    return history, model.get_layer("asym_scaled_dense").scalings


@pytest.mark.slow
def test_theorem_4_2_holds_along_a_run(theorem, run):
    history, scalings = run
    assert theorem.applies(len(scalings))
    times, risks = (
        np.array([row[name] for row in history.rows]) for name in ("time", "train_risk")
    )
    assert len(times) == 16
    # (a) to (d)
    assert min(row["ntg_min_eigenvalue"] for row in history.rows) >= theorem.min_eigenvalue
    assert np.all(risks <= theorem.risk(times, risks[0]) * (1 + 1e-9))
    changes = np.stack(history.arrays["node_weight_change"])
    assert np.all(changes <= theorem.weight_change(scalings))
    assert max(row["ntg_change"] for row in history.rows) <= theorem.ntg_change(scalings)
    # and none of them for want of a change: (b) is off by the fourth power that the proof loses
    assert np.log(risks[-1] / risks[0]) == pytest.approx(-4 * 1.5, rel=0.05)
    assert changes[-1].max() > 1e-3 * theorem.weight_change(scalings).max()
    assert history[-1]["ntg_change"] > 1e-6 * theorem.ntg_change(scalings)


def test_risk_bound_is_the_paper_rate_in_our_clock(theorem):
    # gamma kappa / 2 in paper time 2 t / n
    assert theorem.rate == theorem.kappa_n / 2
    assert theorem.risk(100.0, 0.5) == pytest.approx(0.5 * math.exp(-theorem.kappa_n * 50.0))


def unit_inputs(n, d, seed=0):
    x = np.random.default_rng(seed).normal(size=(n, d))
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def initial_eigenvalue(x, width, gamma, activation, seed):
    model = ak.shallow_network(
        x.shape[1],
        width=width,
        gamma=gamma,
        alpha=0.4,
        activation=activation,
        seed=seed,
        dtype="float64",
    )
    return minimum_eigenvalue(ak.empirical_ntg(model, x))


@pytest.mark.slow
@pytest.mark.parametrize("activation", ["relu", "softplus"])
def test_proposition_c_1_holds_at_its_width_and_probability(activation):
    x, delta = unit_inputs(4, 30), 0.3
    bound = InitialEigenvalueBound.from_data(x, gamma=0.5, delta=delta, activation=activation)
    width = math.ceil(bound.required_width)
    assert 10 < width < 1_000
    values = [initial_eigenvalue(x, width, 0.5, activation, seed) for seed in range(20)]
    assert np.mean(np.array(values) > bound.min_eigenvalue) >= 1 - delta
    # The mean is gamma kappa_n plus the asymmetrical part: the bound is no idle one.
    assert min(values) < 4 * bound.min_eigenvalue


def test_from_data_computes_the_constants():
    x, y = unit_inputs(6, 5), np.linspace(-2.0, 0.5, 6)
    bound = GlobalConvergence.from_data(x, y, gamma=0.3, delta=0.2)
    expected = GlobalConvergence(6, 5, kappa_n(x), 2.0, 0.3, 0.2)
    assert bound == expected
    assert bound.theorem == "4.1"
    assert 1e9 < bound.required_width < math.inf
    initial = InitialEigenvalueBound.from_data(x, gamma=0.3, delta=0.2)
    assert initial == InitialEigenvalueBound(6, 5, kappa_n(x), 0.3, 0.2)


@pytest.mark.parametrize("activation", ["relu", "tanh"])
@pytest.mark.parametrize("copies", [1, 30])
def test_from_data_with_duplicates_gives_infinite_width(activation, copies):
    x = np.vstack([unit_inputs(40, 7), np.repeat(unit_inputs(1, 7), copies, axis=0)])
    bound = GlobalConvergence.from_data(
        x, np.ones(len(x)), gamma=0.5, delta=0.1, activation=activation
    )
    assert bound.kappa_n == 0.0
    assert bound.required_width == math.inf


def test_from_data_with_a_zero_row_or_without_gamma_gives_infinite_width():
    x = unit_inputs(3, 4)
    assert GlobalConvergence.from_data(x, [1, 2, 3], gamma=0.0, delta=0.1).kappa_n > 0
    assert (
        GlobalConvergence.from_data(x, [1, 2, 3], gamma=0.0, delta=0.1).width_terms[0] == math.inf
    )
    x[1] = 0.0
    assert GlobalConvergence.from_data(x, [1, 2, 3], gamma=0.5, delta=0.1).kappa_n == 0.0


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"activation": "gelu"}, "1.1289"),
        ({"activation": "leaky_relu"}, "kink"),
        ({"activation": "linear"}, "polynomial"),
        ({"x": 2 * np.eye(3)}, "divide every input by 2"),
        ({"y": np.ones((3, 2))}, "one output"),
        ({"y": np.ones(4)}, "one target per row"),
        ({"gamma": -0.1}, "gamma"),
        ({"delta": 2.0}, "delta"),
    ],
)
def test_from_data_refuses_what_the_theorems_do_not_cover(change, words):
    arguments = {"x": np.eye(3), "y": np.ones(3), "gamma": 0.5, "delta": 0.1, **change}
    with pytest.raises(ValueError, match=words):
        GlobalConvergence.from_data(arguments.pop("x"), arguments.pop("y"), **arguments)


def test_required_width_is_where_the_theorem_begins_to_apply(theorem):
    width = math.ceil(theorem.required_width)
    assert theorem.applies(width)
    assert not theorem.applies(width - 1)
    assert not dataclasses.replace(theorem, gamma=0.5).applies(width)
