"""Node scalings against hand-worked numbers, limits and the zeta law."""

from __future__ import annotations

import fractions
import subprocess
import sys

import numpy as np
import pytest

from asym_keras import scaling

LAWS = {
    "zipf": scaling.zipf_weights(50, 0.4),
    "geometric": scaling.geometric_weights(50, 0.5),
    "finite": scaling.finite_weights(50, 7),
    "custom": np.random.default_rng(0).exponential(size=50),
}


@pytest.mark.parametrize(
    ("width", "gamma", "alpha", "expected"),
    [
        (2, 0.5, 0.5, [0.65, 0.35]),  # w = 1, 1/4
        (3, 0.0, 0.5, [36 / 49, 9 / 49, 4 / 49]),  # w = 1, 1/4, 1/9
        (2, 0.0, 0.25, [16 / 17, 1 / 17]),  # w = 1, 1/16
        (4, 1.0, 0.5, [0.25] * 4),
        (1, 0.3, 0.7, [1.0]),
    ],
)
def test_node_scalings_equal_hand_worked_numbers(width, gamma, alpha, expected):
    scalings = scaling.node_scalings(width, gamma, alpha)
    assert scalings.dtype == np.float64
    assert scalings.shape == (width,)
    np.testing.assert_allclose(scalings, expected, rtol=1e-14)


@pytest.mark.parametrize("width", [1, 2, 1_000, 100_000])
@pytest.mark.parametrize("gamma", [0.0, 0.2, 0.5, 1.0])
@pytest.mark.parametrize("alpha", [0.01, 0.4, 0.7, 0.999])
def test_node_scalings_sum_to_one_and_never_increase(width, gamma, alpha):
    scalings = scaling.node_scalings(width, gamma, alpha)
    assert abs(scalings.sum() - 1.0) <= 1e-12
    assert np.all(np.diff(scalings) <= 0.0)
    assert scalings[-1] >= gamma / width


def test_node_scalings_at_gamma_one_are_uniform_whatever_alpha():
    for alpha in (0.01, 0.5, 0.99):
        np.testing.assert_array_equal(scaling.node_scalings(2_000, 1.0, alpha), 1 / 2_000)


def test_node_scalings_are_linear_in_gamma():
    ends = [scaling.node_scalings(30, gamma, 0.4) for gamma in (0.0, 1.0)]
    between = scaling.node_scalings(30, 0.25, 0.4)
    np.testing.assert_allclose(between, 0.75 * ends[0] + 0.25 * ends[1], rtol=1e-14)


@pytest.mark.parametrize("alpha", [1e-320, 1e-9, 0.01])
def test_node_scalings_at_very_small_alpha_underflow_to_one_live_node(alpha):
    with np.errstate(all="raise"):  # no warning escapes either
        scalings = scaling.node_scalings(2_000, 0.0, alpha)
    np.testing.assert_allclose(scalings, np.eye(2_000)[0], atol=1e-30)


def test_node_scalings_accept_numpy_and_rational_numbers():
    expected = scaling.node_scalings(8, 0.5, 0.25)
    for number in (np.float32, np.float64, fractions.Fraction):
        given = scaling.node_scalings(np.int64(8), number(0.5), number(0.25))
        np.testing.assert_array_equal(given, expected)
    np.testing.assert_array_equal(scaling.node_scalings(8, 1, 0.25), 1 / 8)


def test_laws_equal_their_formulas():
    np.testing.assert_allclose(scaling.zipf_weights(4, 0.5), [1, 1 / 4, 1 / 9, 1 / 16])
    np.testing.assert_allclose(scaling.geometric_weights(4, 0.5), [1, 1 / 2, 1 / 4, 1 / 8])
    np.testing.assert_allclose(scaling.finite_weights(5, 4), [0.25, 0.25, 0.25, 0.25, 0])
    np.testing.assert_array_equal(scaling.finite_weights(3, 3), 1 / 3)


def test_finite_weights_at_gamma_zero_give_the_scalings_of_a_narrow_network():
    scalings = scaling.mix_scalings(scaling.finite_weights(100, 20), 0.0)
    np.testing.assert_allclose(scalings[:20], scaling.node_scalings(20, 1.0, 0.5), rtol=1e-14)
    assert not scalings[20:].any()


@pytest.mark.parametrize("law", LAWS)
@pytest.mark.parametrize("scale", [1e-300, 3.0, 1e307])
def test_mix_scalings_ignores_the_scale_of_the_weights(law, scale):
    weights = LAWS[law]
    expected = 0.3 / 50 + 0.7 * weights / weights.sum()  # Eq. (1) as printed
    np.testing.assert_allclose(scaling.mix_scalings(weights * scale, 0.3), expected, rtol=1e-12)


def test_mix_scalings_takes_lists_of_ints_and_keeps_the_callers_array():
    np.testing.assert_allclose(scaling.mix_scalings([3, 1, 0], 0.0), [0.75, 0.25, 0.0])
    weights = np.array([2.0, 2.0])
    scaling.mix_scalings(weights, 0.5)
    np.testing.assert_array_equal(weights, [2.0, 2.0])


def test_concentration_equals_hand_worked_numbers():
    assert scaling.concentration([1.0, 0.0, 0.0]) == 1.0
    assert scaling.concentration(np.ones(8)) == pytest.approx(1 / 8)
    assert scaling.concentration([3, 1]) == pytest.approx(10 / 16)
    assert scaling.concentration(scaling.finite_weights(50, 7)) == pytest.approx(1 / 7)


def test_zipf_concentration_equals_closed_forms():
    # zeta(2) = pi^2 / 6, zeta(4) = pi^4 / 90, zeta(8) = pi^8 / 9450
    assert scaling.zipf_concentration(0.5) == pytest.approx(36 / 90, rel=1e-13)
    assert scaling.zipf_concentration(0.25) == pytest.approx(90**2 / 9450, rel=1e-13)


def test_zipf_concentration_falls_from_one_to_zero():
    values = [scaling.zipf_concentration(alpha) for alpha in (1e-320, 0.1, 0.4, 0.7, 0.99)]
    assert values[0] == 1.0
    assert 0.0 < values[-1] < 1e-3
    assert np.all(np.diff(values) < 0.0)


@pytest.mark.parametrize("alpha", [0.1, 0.4, 0.5, 0.7])
def test_concentration_of_wide_zipf_weights_approaches_the_zeta_law(alpha):
    width, limit = 10**6, scaling.zipf_concentration(alpha)
    value = scaling.concentration(scaling.zipf_weights(width, alpha))
    # What the nodes beyond the width would have added to the normaliser is about this share.
    missing = width ** (1 - 1 / alpha) / (1 / alpha - 1)
    assert limit * (1 - 1e-12) <= value <= limit * (1 + 2.1 * missing + 1e-12)


@pytest.mark.parametrize("width", [0, -3, 2.5, 8.0, float("nan"), float("inf")])
def test_width_that_is_no_count_is_refused(width):
    with pytest.raises(ValueError, match=r"width: expected an int of at least 1, received .*;"):
        scaling.node_scalings(width, 0.5, 0.5)


@pytest.mark.parametrize("gamma", [-0.1, 1.0001, float("nan"), float("inf"), -float("inf")])
def test_gamma_outside_its_range_is_refused(gamma):
    with pytest.raises(ValueError, match=r"gamma: expected a number in \[0, 1\], received .*;"):
        scaling.node_scalings(8, gamma, 0.5)


@pytest.mark.parametrize("gamma", [0.5, 1.0])
@pytest.mark.parametrize("alpha", [0.0, 1.0, -0.5, 2, float("nan"), float("inf")])
def test_alpha_outside_its_range_is_refused_at_every_gamma(alpha, gamma):
    with pytest.raises(ValueError, match=r"alpha: expected a number in \(0, 1\), .*received .*;"):
        scaling.node_scalings(8, gamma, alpha)
    with pytest.raises(ValueError, match="alpha: "):
        scaling.zipf_concentration(alpha)


@pytest.mark.parametrize("value", [True, np.True_, None, "0.5", [0.5], 0.5j])
@pytest.mark.parametrize("name", ["width", "gamma", "alpha"])
def test_arguments_that_are_no_numbers_are_refused(name, value):
    arguments = {"width": 8, "gamma": 0.5, "alpha": 0.5, name: value}
    with pytest.raises(TypeError, match=rf"{name}: expected .*, received .* of type .*; pass"):
        scaling.node_scalings(**arguments)


@pytest.mark.parametrize("ratio", [0.0, 1.0, -0.5, float("nan")])
def test_geometric_ratio_outside_its_range_is_refused(ratio):
    with pytest.raises(ValueError, match=r"ratio: expected a number in \(0, 1\)"):
        scaling.geometric_weights(8, ratio)


def test_finite_nodes_outside_their_range_are_refused():
    with pytest.raises(ValueError, match="nodes: expected at most width = 8, received 9; lower"):
        scaling.finite_weights(8, 9)
    with pytest.raises(ValueError, match="nodes: expected an int of at least 1, received 0"):
        scaling.finite_weights(8, 0)


@pytest.mark.parametrize("function", [scaling.concentration, lambda w: scaling.mix_scalings(w, 1)])
@pytest.mark.parametrize(
    ("weights", "error", "message"),
    [
        ([1.0, -0.5], ValueError, r"nonnegative numbers, received -0.5 at index 1;"),
        ([1.0, 2.0, np.nan], ValueError, r"finite .* received nan at index 2;"),
        ([np.inf], ValueError, r"finite .* received inf at index 0;"),
        ([0.0, 0.0], ValueError, "at least one positive weight, received only zeros;"),
        ([], ValueError, r"nonempty vector \(m,\), received shape \(0,\);"),
        ([[1.0, 2.0]], ValueError, r"nonempty vector \(m,\), received shape \(1, 2\);"),
        (1.0, ValueError, r"nonempty vector \(m,\), received shape \(\);"),
        (["a"], TypeError, "real numbers, received dtype <U1;"),
        ([1j], TypeError, "real numbers, received dtype complex128;"),
        ([True], TypeError, "real numbers, received dtype bool;"),
    ],
)
def test_weights_that_are_no_law_are_refused(function, weights, error, message):
    with pytest.raises(error, match=f"weights: expected .*{message}"):
        function(weights)


def test_importing_scaling_loads_neither_scipy_nor_tensorflow():
    code = (
        "import sys, asym_keras.scaling; "
        "sys.exit(' '.join({'scipy', 'tensorflow', 'keras'} & set(sys.modules)) or 0)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
