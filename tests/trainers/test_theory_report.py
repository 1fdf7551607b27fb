"""The theory's table: rows from numbers, draws against definitions, what is said where."""

from __future__ import annotations

import dataclasses
import json
import math

import numpy as np
import pytest
from theory_reference import initial_weights, ntg_velocity, weight_velocity

from asym_keras import node_scalings
from asym_keras.ntg import describe_activation, kappa_n, ntg_variance
from asym_keras.theory import GlobalConvergence, InitialEigenvalueBound, expected_weight_velocity
from trainers.theory import draws as theory_draws
from trainers.theory.draws import Draws, draw_networks, weight_direction
from trainers.theory.numbers import theory_of
from trainers.theory.report import Measured, table_text, theory_json, theory_rows

N, D, M = 4, 6, 30
generator = np.random.default_rng(0)
X = generator.normal(size=(N, D))
X /= np.linalg.norm(X, axis=1).max()
Y = generator.normal(size=N)


def theory(activation="relu", *, gamma=0.5, x=X, width=M):
    return theory_of(
        x,
        Y[: len(x)],
        gamma=gamma,
        delta=0.2,
        scalings=node_scalings(width, gamma, 0.4),
        activation=describe_activation(activation),
        seed=0,
    )


def measured(**changes):
    """A run of three records that keeps every bound; times of our clock."""
    values = {
        "times": np.array([0.0, 1.0, 2.0]),
        "risks": np.array([2.0, 0.02, 0.01]),
        "eigenvalues": np.array([0.05, 0.04, 0.045]),
        "ntg_changes": np.array([0.0, 1e-5, 2e-5]),
        "node_changes": np.zeros((3, M)),
        "symmetric_eigenvalue": 0.03,
    }
    return Measured(**{**values, **changes})


def draws_of(*, offset=0.0, at):
    """100 draws whose means lie `offset` standard errors, a tenth, beside the expectations."""
    spread = 10.0 * np.tile([-1.0, 1.0], 50) * math.sqrt(0.99)  # standard error 1
    velocity, weight = at.ntg_velocity, np.linalg.norm(at.weight_velocity)
    ntg = velocity and np.linalg.norm(velocity.velocity)
    return Draws(
        deviations=at.variance + 1e-10 * (spread + offset),
        weight_velocities=weight * (1.0 + 0.1 * (spread + offset)),
        ntg_velocities=velocity and ntg * (1.0 + 0.1 * (spread + offset)),
    )


def rows(at, run=None, **kwargs):
    return {r.key: r for r in theory_rows(at, run or measured(), draws_of(at=at, **kwargs))}


def test_rows_stand_in_order():
    assert list(rows(theory())) == [
        *("kappa_n", "width_c1", "width_convergence", "c1", "a", "b", "c", "d"),
        *("ntg_deviation", "weight_velocity", "ntg_velocity"),
    ]


@pytest.mark.parametrize("activation", ["relu", "tanh"])
def test_theory_column_is_that_of_direct_calls(activation):
    at, scalings = theory(activation), node_scalings(M, 0.5, 0.4)
    bound = GlobalConvergence.from_data(X, Y, gamma=0.5, delta=0.2, activation=activation)
    initial = InitialEigenvalueBound.from_data(X, gamma=0.5, delta=0.2, activation=activation)
    velocity = expected_weight_velocity(X, scalings, activation=activation).sum(axis=1)
    expected = {
        "kappa_n": kappa_n(X, activation=activation),
        "width_c1": initial.required_width,
        "width_convergence": bound.required_width,
        "c1": 0.25 * kappa_n(X, activation=activation),
        "a": bound.min_eigenvalue,
        "b": 1.0,
        "c": 1.0,
        "d": bound.ntg_change(scalings),
        "ntg_deviation": ntg_variance(X, scalings, activation=activation) ** 0.5,
        "weight_velocity": np.linalg.norm(velocity),
    }
    found = {key: row.theory for key, row in rows(at).items() if key in expected}
    assert found == pytest.approx(expected, rel=1e-9, abs=1e-15)


def test_measured_column_is_the_worst_of_the_run():
    at = theory()
    changes = np.zeros((3, M))
    changes[1, 5] = 7.0
    found = rows(at, measured(node_changes=changes))
    bound = at.convergence
    ratio = 7.0 / bound.weight_change(at.scalings)[5]
    expected = {"kappa_n": 0.05, "c1": 0.03, "a": 0.04, "c": ratio, "d": 2e-5, "width_c1": M}
    # exp(-gamma kappa t / n) 2: the second record is the nearest to its bound
    expected["b"] = 0.02 / (2 * math.exp(-0.5 * at.kappa_n / N))
    assert {k: found[k].measured for k in expected} == pytest.approx(expected)


def within_reach(at):
    """`at` with theorems that ask for one node: no width in reach is enough for ReLU."""

    class Initial(InitialEigenvalueBound):
        required_width = 1.0

    class Convergence(GlobalConvergence):
        required_width = 1.0

    return dataclasses.replace(
        at,
        initial=Initial(**dataclasses.asdict(at.initial)),
        convergence=Convergence(**dataclasses.asdict(at.convergence)),
    )


BROKEN = {
    "c1": {"symmetric_eigenvalue": 1e-9},
    "a": {"eigenvalues": np.array([0.05, 0.04, 1e-9])},
    "b": {"risks": np.array([2.0, 2.0, 0.01])},
    "c": {"node_changes": np.full((3, M), 1e9)},
    "d": {"ntg_changes": np.array([0.0, 1e99, 0.0])},
}


@pytest.mark.parametrize("key", BROKEN)
@pytest.mark.parametrize("promised", [True, False])
def test_verdict_of_a_bound(key, promised):
    at = theory()
    if promised:
        at = within_reach(at)
    good, bad = rows(at)[key], rows(at, measured(**BROKEN[key]))[key]
    words = ("holds", "FAILS") if promised else ("kept, not promised", "exceeded, not promised")
    assert (good.verdict, bad.verdict) == words
    for width in ("width_c1", "width_convergence"):
        assert rows(at)[width].verdict.startswith("met" if promised else "not met")


@pytest.mark.parametrize(
    ("offset", "words"),
    [
        (0.5, "within 1 standard error"),
        (-2.5, "within 3 standard errors"),
        (3.9, "within 4 standard errors"),
        (4.2, "FAILS: 4.2 standard errors away"),
    ],
)
def test_verdict_of_an_expectation(offset, words):
    found = rows(theory("softplus"), offset=offset)
    assert {found[k].verdict for k in ("ntg_deviation", "weight_velocity")} == {words}
    velocity = found["weight_velocity"]
    assert velocity.error == pytest.approx(0.1 * velocity.theory)
    assert found["ntg_velocity"].verdict == words  # the quadrature's error is far smaller
    deviation = found["ntg_deviation"]
    assert deviation.error == pytest.approx(1e-10 / (2 * deviation.measured))


@pytest.mark.parametrize(
    ("arguments", "silence"),
    [
        ({"gamma": 0.0}, "gamma = 0"),
        ({"x": X[[0, 1, 0]]}, "kappa_n = 0"),
        ({"x": 2 * X}, "Assumption 2.1(a) fails; --scale max would repair it"),
        ({"activation": "gelu"}, "Assumption 2.2 fails"),
    ],
)
def test_without_a_bound_the_rows_say_why(arguments, silence):
    at = theory(**arguments)
    if at.weight_velocity is None:
        draws = Draws(np.ones(3), np.ones(3), None)
        found = {r.key: r for r in theory_rows(at, measured(), draws)}
        for key in ("weight_velocity", "ntg_velocity"):
            assert found[key].verdict == f"not covered: {silence}"
    else:
        found = rows(at)
    for key in ("c1", "a", "b", "c", "d"):
        assert (found[key].theory, found[key].verdict) == (None, f"no bound: {silence}")
    assert not at.promised
    if silence.endswith("= 0"):
        assert found["width_c1"].theory == found["width_convergence"].theory == math.inf
        assert found["width_c1"].verdict.startswith("not met")
    else:
        assert found["width_convergence"].verdict == f"not covered: {silence}"


def test_relu_has_no_ntg_velocity():
    assert rows(theory())["ntg_velocity"].verdict == "not covered: needs a smooth activation"


def test_linear_network_has_no_variance_and_draws_none():
    at = theory("linear")
    draws = draw_networks(X, Y, at, activation=describe_activation("linear"), count=5, seed=0)
    row = theory_rows(at, measured(), draws)[8]
    assert row.verdict == "equal"
    assert row.theory == 0.0


@pytest.mark.parametrize("activation", ["relu", "tanh", "softplus"])
def test_draws_follow_the_definitions(activation, monkeypatch):
    at = theory(activation)
    weights, signs = initial_weights(3, D, M, seed=5)
    numbers = iter(zip(weights, signs[..., 0], strict=True))

    class Given:
        """Hands out the weights and signs of the reference."""

        def standard_normal(self, shape):
            w, self.signs = next(numbers)
            assert w.shape == shape
            return w

        def choice(self, values, size):
            assert sorted(values) == [-1.0, 1.0]
            return self.signs

    monkeypatch.setattr(theory_draws.np.random, "default_rng", lambda seed: Given())
    draws = draw_networks(X, Y, at, activation=describe_activation(activation), count=3, seed=0)
    arguments = (X, Y[:, None], weights, signs, at.scalings, activation)
    velocity = weight_velocity(*arguments).sum(axis=2)
    along = velocity @ weight_direction(X, at.weight_velocity)
    np.testing.assert_allclose(draws.weight_velocities, along, rtol=1e-10)
    if activation != "relu":
        direction = at.ntg_velocity.velocity / np.linalg.norm(at.ntg_velocity.velocity)
        exact = np.sum(ntg_velocity(*arguments) * direction, axis=(1, 2))
        np.testing.assert_allclose(draws.ntg_velocities, exact, rtol=1e-5)
    else:
        assert draws.ntg_velocities is None


@pytest.mark.parametrize("activation", ["relu", "softplus", "tanh"])
def test_draws_agree_with_the_expectations(activation):
    at = theory(activation)
    described = describe_activation(activation)
    draws = draw_networks(X, Y, at, activation=described, count=2_000, seed=1)
    verdicts = [row.verdict for row in theory_rows(at, measured(), draws)[8:]]
    assert all("within" in v for v in verdicts[: 2 if activation == "relu" else 3])
    again = draw_networks(X, Y, at, activation=described, count=3, seed=1)
    np.testing.assert_array_equal(again.deviations, draws.deviations[:3])


def test_weight_direction_where_the_expectation_is_zero():
    at = theory("tanh")
    assert not at.weight_velocity.any()
    total = X.sum(axis=0)
    np.testing.assert_allclose(
        weight_direction(X, at.weight_velocity) * np.linalg.norm(total), total
    )


def test_end_time_is_where_bound_b_has_fallen():
    at = theory()
    t = at.end_time(5.0, 10**9)
    assert at.convergence.risk(t, 1.0) <= math.exp(-5) < at.convergence.risk(t - 1, 1.0)
    assert at.end_time(5.0, 7) == 7
    assert theory(gamma=0.0).end_time(5.0, 10**9) == theory(gamma=1.0).end_time(5.0, 10**9)
    twice = theory(x=X[[0, 1, 0]])
    # Of a duplicate pair the mean NTG has the eigenvalues of a 2 x 2 matrix, one zero aside.
    values = np.linalg.eigvalsh(twice.mean)
    assert twice.kappa_n == 0.0
    assert twice.end_time(5.0, 10**9) == math.ceil(5 * 3 / (0.5 * values[1]))


def test_weight_scale_is_that_of_kernel_gradient_flow():
    at = theory("softplus", gamma=1.0, width=4_000)
    r, t = Y, 20.0
    # dW/dt = -(2 / n) J^T r(t), J J^T = Theta*: by small steps
    root, change, residual = np.linalg.cholesky(at.mean), np.zeros(N), r.copy()
    for _ in range(20_000):
        change -= t / 20_000 * 2 / N * root.T @ residual
        residual -= t / 20_000 * 2 / N * at.mean @ residual
    expected = np.linalg.norm(change) / math.sqrt(4_000 * D)
    assert at.weight_scale(r, t) == pytest.approx(expected, rel=1e-3)


def test_text_and_json_hold_every_row():
    at = theory(gamma=0.0)
    table = list(rows(at).values())
    lines = table_text(table).splitlines()
    assert len(lines) == 2 + len(table)
    for row, line in zip(table, lines[2:], strict=True):
        assert line.startswith(row.quantity)
        assert line.endswith(row.verdict)
    assert "inf  30" in lines[3]
    content = json.loads(json.dumps(theory_json(table, at, end_time=3), allow_nan=False))
    assert [row["key"] for row in content["rows"]] == [row.key for row in table]
    assert content["rows"][1]["theory"] == "inf"
    assert content["assumptions"]["text"] == str(at.assumptions)
    assert content["bounds"]["silence"] == "gamma = 0"
    assert content["end_time"] == 3
