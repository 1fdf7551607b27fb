"""Gaussian moments against closed forms and two-dimensional quadrature; angles to rounding."""

from __future__ import annotations

import numpy as np
import pytest

from asym_keras.ntg import Activation, describe_activation, moments
from asym_keras.ntg.moments import angles, hermite_coefficients, slope_moment

RNG = np.random.default_rng(0)
X = np.concatenate([RNG.normal(size=(5, 4)), np.eye(1, 4), -0.5 * np.eye(1, 4)])
X2 = RNG.normal(size=(3, 4))


def of_slope(slope):
    """An `Activation` of which only the slope is used."""
    return Activation("own", np.zeros_like, slope, np.zeros_like, None, None, 1.0, 1.0)


def joint_law(x, x2, stddev):
    """Standard deviations (n, 1) and (1, n2), and covariances (n, n2), of z and z'."""
    r, r2 = (stddev * np.linalg.norm(a, axis=1) / a.shape[1] ** 0.5 for a in (x, x2))
    return r[:, None], r2[None], stddev**2 * (x @ x2.T) / x.shape[1]


CLOSED_FORMS = {
    "erf": (
        describe_activation("erf"),
        lambda r, s, c: 4 / np.pi / np.sqrt((1 + 2 * r**2) * (1 + 2 * s**2) - 4 * c**2),
    ),
    "sine": (of_slope(np.cos), lambda r, s, c: np.exp(-(r**2 + s**2) / 2) * np.cosh(c)),
    "exponential": (of_slope(np.exp), lambda r, s, c: np.exp((r**2 + s**2) / 2 + c)),
    "cubic": (of_slope(lambda z: z**2), lambda r, s, c: r**2 * s**2 + 2 * c**2),
}


@pytest.mark.parametrize("stddev", [0.3, 1.0, 2.0])
@pytest.mark.parametrize("name", CLOSED_FORMS)
def test_slope_moment_equals_a_closed_form(name, stddev):
    activation, formula = CLOSED_FORMS[name]
    for x2 in (X, X2):
        expected = formula(*joint_law(X, x2, stddev))
        scale = np.sqrt(np.outer(*(np.diag(formula(*joint_law(a, a, stddev))) for a in (X, x2))))
        np.testing.assert_array_less(
            np.abs(slope_moment(activation, X, x2, stddev) - expected), 1e-12 * scale
        )


def quadrature(phi, x, x2, stddev):
    """`E[phi(z) phi(z')]` by two-dimensional Gauss-Hermite quadrature, pair by pair."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(150)
    weights = weights / weights.sum()
    r, r2, covariance = joint_law(x, x2, stddev)
    result = np.empty_like(covariance)
    for i, k in np.ndindex(result.shape):
        cosine = covariance[i, k] / (r[i, 0] * r2[0, k])
        sine = max(0.0, 1.0 - cosine**2) ** 0.5
        z2 = r2[0, k] * (cosine * nodes[:, None] + sine * nodes)
        result[i, k] = weights @ (phi(r[i, 0] * nodes) * (phi(z2) @ weights))
    return result


@pytest.mark.parametrize("power", [1, 2])
@pytest.mark.parametrize(
    ("name", "error"),
    [("softplus", 1e-12), ("sigmoid", 1e-12), ("gelu", 1e-12), ("silu", 1e-12), ("tanh", 1e-6)],
)
def test_slope_moment_equals_quadrature(name, error, power):
    """The errors are those of the quadrature: tanh has its poles nearest to the real line."""
    activation = describe_activation(name)
    expected = quadrature(lambda z: activation.slope(z) ** power, X, X2, 1.0)
    result = slope_moment(activation, X, X2, 1.0, power=power)
    np.testing.assert_allclose(result, expected, rtol=0, atol=error)


@pytest.mark.parametrize("power", [1, 2])
def test_slope_moment_of_straight_sides_counts_the_quadrants(power):
    """Between orthogonal inputs each quadrant has probability 1/4."""
    steep = describe_activation("leaky_relu")
    expected = ((0.2**power + 1.0) / 2.0) ** 2
    assert slope_moment(steep, np.eye(2), np.eye(2), 1.0, power)[0, 1] == pytest.approx(expected)
    same = (0.2 ** (2 * power) + 1.0) / 2.0
    assert slope_moment(steep, np.eye(2), np.eye(2), 1.0, power)[0, 0] == pytest.approx(same)


@pytest.mark.parametrize("name", ["relu", "softplus"])
def test_slope_moment_does_not_depend_on_tiles(name, monkeypatch):
    activation = describe_activation(name)
    whole = slope_moment(activation, X, X, 1.0)
    monkeypatch.setattr(moments, "TILE", 9)
    np.testing.assert_array_equal(slope_moment(activation, X, X, 1.0), whole)


def test_slope_moment_cut_off_is_a_lower_bound(monkeypatch):
    """In the Loewner order, and positive semi-definite."""
    activation = describe_activation("tanh")
    whole = slope_moment(activation, X, X, 1.0)
    monkeypatch.setattr(moments, "RELATIVE_TAIL", 1e-3)
    cut = slope_moment(activation, X, X, 1.0)
    assert 1e-6 < np.abs(whole - cut).max() < 1e-3
    assert np.linalg.eigvalsh(cut)[0] > -1e-14
    assert np.linalg.eigvalsh(whole - cut)[0] > -1e-14


@pytest.mark.parametrize("spread", [0.0, 0.7, 3.0])
def test_hermite_coefficients_obey_parseval(spread):
    slope = describe_activation("softplus").slope
    nodes, weights = np.polynomial.hermite_e.hermegauss(150)
    square = weights @ slope(spread * nodes) ** 2 / weights.sum()
    coefficients = hermite_coefficients(slope, np.array([spread]), name="slope")
    assert np.sum(coefficients**2) == pytest.approx(square, rel=1e-9)
    assert coefficients[0, 0] == pytest.approx(0.5, abs=1e-14)


def test_hermite_coefficients_resolve_an_oscillation():
    """`E[cos(30 z)^2]` is 1/2 to 781 digits, and all of it stands in terms around the 900th."""
    coefficients = hermite_coefficients(np.cos, np.array([30.0]), name="cos")
    assert len(coefficients) > 900
    assert np.sum(coefficients**2) == pytest.approx(0.5, rel=1e-12)


@pytest.mark.parametrize(
    ("phi", "spread"),
    [
        (np.cos, 300.0),
        (np.sign, 1.0),
        (lambda z: np.maximum(z, 0.0), 1.0),
        (describe_activation("tanh").slope, 30.0),
    ],
)
def test_hermite_coefficients_refuse_what_does_not_converge(phi, spread, monkeypatch):
    monkeypatch.setattr(moments, "MAX_TERMS", 512)
    with pytest.raises(ValueError, match=r"converges within 512 terms.* standard deviation"):
        hermite_coefficients(phi, np.array([spread]), name="phi")


@pytest.mark.parametrize("angle", [0.0, 1e-14, 1e-9, 1e-4, 3e-3, 0.05, 0.3, 1.0, 1.6, 2.7])
def test_angles_are_exact_to_rounding(angle):
    rows = np.array([[1.0, 0.0], [np.cos(angle), np.sin(angle)]])
    for expected, row in ((angle, rows[1]), (np.pi - angle, -rows[1])):
        found = angles(rows[:1], row[None])[0, 0]
        assert abs(found - expected) < 1e-15
    assert angles(rows, rows)[0, 1] == pytest.approx(angle, rel=1e-14)
    np.testing.assert_array_equal(np.diag(angles(rows, rows)), 0.0)


def test_angles_of_two_sets_are_those_of_one():
    steps = np.array([0.0, 1e-3, 0.1, 1.0, 1.1])
    rows = np.stack([np.cos(steps), np.sin(steps)], axis=1)
    whole = angles(rows, rows)
    np.testing.assert_allclose(whole, np.abs(steps - steps[:, None]), rtol=1e-12)
    np.testing.assert_allclose(angles(rows[:2], rows[1:]), whole[:2, 1:], rtol=1e-12)
