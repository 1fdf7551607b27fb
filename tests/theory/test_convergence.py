"""The constants of Theorems 4.1 and 4.2 and of Proposition C.1: by hand, and as laws."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest

import asym_keras as ak
from asym_keras.ntg.activation import Activation
from asym_keras.theory import (
    GlobalConvergence,
    InitialEigenvalueBound,
    paper_time,
    smooth_second_moment,
)

# Powers of two in every place, so that the theorems can be worked out by hand.
RELU = GlobalConvergence(
    examples=2, input_dim=4, kappa_n=0.125, target_bound=0.5, gamma=0.5, delta=0.25
)  # D_0 = 1
SMOOTH = dataclasses.replace(RELU, second_moment=0.75, curvature_bound=0.5)  # C^2 + C_1 = 1
SCALINGS = np.array([0.36, 0.64])


def test_paper_time_is_two_over_the_number_of_targets():
    assert paper_time(10.0, 5) == 4.0
    np.testing.assert_array_equal(paper_time([3.0, 6.0], 3, outputs=2), [1.0, 2.0])


def test_theorem_4_1_equals_hand_worked_numbers():
    assert RELU.theorem == "4.1"
    # 8 * 2 log(32) / 0.5; 2^25 2^4 / (2^-12 2^6 2^-2 2^-10); 2^35 2^6 / (2^-18 2^10 2^-2 2^-10)
    np.testing.assert_allclose(RELU.width_terms, [32 * math.log(32), 2.0**47, 2.0**61])
    assert RELU.required_width == 2.0**61
    assert RELU.min_eigenvalue == 2.0**-6
    # paper's rate gamma kappa / 2 = 2^-5, n = 2: our clock runs as the paper's
    assert RELU.risk(32.0, 3.0) == pytest.approx(3.0 / math.e)
    # 8 * 2 / (2^-3 * 2 * 2^-1 * 2^-1) sqrt(lambda)
    np.testing.assert_allclose(RELU.weight_change(SCALINGS), [256 * 0.6, 256 * 0.8])
    # 2^9 2^2 / (2^-3 2^3 2^-1 2^-5) and 2^6 2^1.5 / (2^-1.5 2^2.5 2^-0.5 2^-2.5)
    total = 0.216 + 0.512
    expected = 2**17 * total + 2**9.5 * math.sqrt(total)
    assert RELU.ntg_change(SCALINGS) == pytest.approx(expected, rel=1e-14)


def test_theorem_4_2_equals_hand_worked_numbers():
    assert SMOOTH.theorem == "4.2"
    # 8 * 2 log(16) / 0.5; 2^10 2^3 2^-2 / (2^-9 2^6 2^-4); 2^15 2^4 2^-2 / (2^-12 2^8 2^-4)
    np.testing.assert_allclose(SMOOTH.width_terms, [32 * math.log(16), 2.0**18, 2.0**25])
    assert SMOOTH.required_width == 2.0**25
    assert SMOOTH.min_eigenvalue == 2.0**-6
    np.testing.assert_allclose(SMOOTH.risk([0.0, 32.0], 2.0), [2.0, 2.0 / math.e])
    # 2 / (2^-3 * 2) * sqrt(2^7 / (2^-2 2^-2)) sqrt(lambda)
    change = 8 * 2**5.5
    np.testing.assert_allclose(SMOOTH.weight_change(SCALINGS), [change * 0.6, change * 0.8])
    # 2^7 2^3 2^-2 / (2^-6 2^6 2^-2 2^-2) and 2^5 2^2 2^-1 / (2^-3 2^4 2^-1 2^-1)
    total = 0.36**2 + 0.64**2
    expected = 2**12 * total + 2**7 * math.sqrt(total)
    assert SMOOTH.ntg_change(SCALINGS) == pytest.approx(expected, rel=1e-14)


def relu_proof(bound, scalings):
    """Lemma D.3 with the c_mj of Appendix E: width terms, (c) and (d), step by step."""
    n, d, kappa, gamma, delta = (
        getattr(bound, name) for name in ("examples", "input_dim", "kappa_n", "gamma", "delta")
    )
    moment = bound.target_bound**2 + 1 / d
    big_d = math.sqrt(n**2 * moment * 2 * 512**2 / (gamma**2 * delta**5 * kappa**2 * d))
    c = np.sqrt(scalings) * big_d
    total = np.sum(scalings * c)
    widths = (8 * n * big_d / (d * kappa)) ** 2, (16**2 * n**2 * big_d / (d * kappa) ** 2) ** 2
    ntg = n / d * total + 2 * math.sqrt(2) * n / d * math.sqrt(total)
    return widths, delta**2 * c / 64, ntg


def smooth_proof(bound, scalings):
    """Lemma D.5 with the c_mj of Appendix F."""
    n, d, kappa, gamma, delta = (
        getattr(bound, name) for name in ("examples", "input_dim", "kappa_n", "gamma", "delta")
    )
    bend, moment = bound.curvature_bound, bound.target_bound**2 + bound.second_moment
    square = scalings * n**2 * moment * 2 * 64**2 / (gamma**2 * delta**3 * kappa**2 * d)
    widths = (
        n * (bend * delta) ** 2 / (8 * d**2 * kappa) * square.sum(),
        4 * (n * bend * delta) ** 2 / (d**3 * kappa**2) * square.sum(),
    )
    total = np.sum(scalings * square)
    ntg = n * (bend * delta / 8 / d) ** 2 * total
    ntg += n * bend * delta / (2 * d) ** 1.5 * math.sqrt(total)
    return widths, delta * np.sqrt(square) / 8, ntg


@pytest.mark.parametrize(("proof", "spare"), [(relu_proof, 2.0), (smooth_proof, 1.0)])
def test_printed_constants_follow_from_the_proofs(proof, spare):
    """All but the last two width terms of Theorem 4.1, twice what the proof asks for."""
    smooth = {"second_moment": 0.6, "curvature_bound": 0.7} if proof is smooth_proof else {}
    bound = GlobalConvergence(7, 11, 0.013, 1.7, gamma=0.4, delta=0.15, **smooth)
    scalings = ak.node_scalings(30, 0.4, 0.6)
    widths, weight_change, ntg_change = proof(bound, scalings)
    np.testing.assert_allclose(bound.width_terms[1:], spare * np.array(widths))
    np.testing.assert_allclose(bound.weight_change(scalings), weight_change)
    assert bound.ntg_change(scalings) == pytest.approx(ntg_change)


@pytest.mark.parametrize("bound", [RELU, SMOOTH])
@pytest.mark.parametrize(
    ("field", "values"),
    [("gamma", [0.1, 0.5, 1.0]), ("delta", [0.01, 0.1, 0.9]), ("kappa_n", [1e-9, 1e-3, 0.2])],
)
def test_theorems_ask_and_allow_less_as_gamma_delta_and_kappa_grow(bound, field, values):
    scalings = ak.node_scalings(10, 1.0, 0.5)
    bounds = [dataclasses.replace(bound, **{field: value}) for value in values]
    for name in ("required_width", "ntg_change", "weight_change"):
        numbers = [getattr(b, name) for b in bounds]
        numbers = [n if isinstance(n, float) else np.max(n(scalings)) for n in numbers]
        assert np.all(np.diff(numbers) < 0), name
    for term in np.transpose([b.width_terms for b in bounds]):
        assert np.all(np.diff(term) < 0) or (field == "gamma" and term[0] == term[-1])
    if field != "delta":
        assert np.all(np.diff([b.min_eigenvalue for b in bounds]) > 0)
        assert np.all(np.diff([b.risk(5.0, 1.0) for b in bounds]) < 0)


@pytest.mark.parametrize("bound", [RELU, SMOOTH])
@pytest.mark.parametrize("change", [{"gamma": 0.0}, {"kappa_n": 0.0}])
def test_theorems_say_nothing_without_gamma_or_kappa(bound, change):
    bound = dataclasses.replace(bound, **change)
    assert bound.width_terms == (math.inf,) * 3
    assert not bound.applies(10**18)
    assert bound.min_eigenvalue == 0.0
    assert bound.risk(1e9, 0.7) == 0.7
    scalings = [0.75, 0.25, 0.0] if not bound.gamma else [0.5, 0.25, 0.25]
    np.testing.assert_array_equal(bound.weight_change(scalings), math.inf)
    assert bound.ntg_change(scalings) == math.inf


def test_tiny_kappa_gives_infinite_widths_without_a_warning():
    with np.errstate(all="raise"):
        bound = dataclasses.replace(RELU, kappa_n=1e-300)
        assert bound.required_width == math.inf
        assert bound.ntg_change(SCALINGS) > 1e290
        assert dataclasses.replace(SMOOTH, kappa_n=1e-300).ntg_change(SCALINGS) == math.inf


def test_bounds_of_the_changes_vanish_with_the_width_only_at_gamma_one():
    wide = {gamma: ak.node_scalings(10**6, gamma, 0.5) for gamma in (0.5, 1.0)}
    narrow = {gamma: ak.node_scalings(10**4, gamma, 0.5) for gamma in (0.5, 1.0)}
    for bound in (RELU, SMOOTH):
        for gamma, least, most in ((0.5, 0.9, 1.1), (1.0, 0.001, 0.32)):
            b = dataclasses.replace(bound, gamma=gamma)
            assert least < b.ntg_change(wide[gamma]) / b.ntg_change(narrow[gamma]) < most
            change = b.weight_change(wide[gamma]).max() / b.weight_change(narrow[gamma]).max()
            assert least < change < most


@pytest.mark.parametrize("input_dim", [1, 10, 1000])
def test_second_moment_of_tanh_lies_at_the_right_end(input_dim):
    z = np.random.default_rng(0).standard_normal(200_000)
    sample = np.tanh(z / np.sqrt(input_dim)) ** 2
    c_1 = smooth_second_moment("tanh", input_dim)
    assert abs(c_1 - sample.mean()) < 4 * sample.std() / np.sqrt(len(z))


def declared(function):
    return Activation("declared", function, np.cos, np.sin, "smooth", None, 1.0, 1.0)


def test_second_moment_need_not_lie_at_an_end():
    # E cos(c z)^2 = (1 + exp(-2 c^2)) / 2 is largest at c -> 0
    assert smooth_second_moment(declared(np.cos), 1) == pytest.approx(1.0, rel=1e-12)
    # sin(5 z)^2: (1 - exp(-50 c^2)) / 2, and with exp(-z^2): an inner maximum, not on the grid
    inner = declared(lambda z: np.sin(5 * z) * np.exp(-2 * z * z))

    def moment(c):
        k = 1 + 8 * c * c
        return (1 - np.exp(-50 * c * c / k)) / 2 / np.sqrt(k)

    expected = max(moment(c) for c in np.linspace(0, 1, 100_001))
    assert expected > 1.2 * moment(1.0)
    assert smooth_second_moment(inner, 1) == pytest.approx(expected, rel=1e-8)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"examples": 0}, "examples"),
        ({"input_dim": 0}, "input_dim"),
        ({"kappa_n": -1e-3}, "kappa_n"),
        ({"kappa_n": math.nan}, "kappa_n"),
        ({"gamma": 1.5}, "gamma"),
        ({"delta": 0.0}, "delta"),
        ({"delta": 1.0}, "delta"),
        ({"target_bound": -1.0}, "target_bound"),
        ({"second_moment": 0.5}, "both"),
        ({"second_moment": 0.5, "curvature_bound": math.inf}, "curvature_bound"),
    ],
)
def test_constants_outside_their_range_are_refused(change, words):
    with pytest.raises(ValueError, match=words):
        dataclasses.replace(RELU, **change)


@pytest.mark.parametrize(
    ("scalings", "words"), [([0.5, 0.2], "sum"), ([0.9, 0.1], "at least gamma / m = 0.25")]
)
def test_scalings_of_another_network_are_refused(scalings, words):
    with pytest.raises(ValueError, match=words):
        RELU.weight_change(scalings)
    with pytest.raises(ValueError, match=words):
        RELU.ntg_change(scalings)


def test_bad_sizes_are_refused():
    with pytest.raises(ValueError, match="at least one example"):
        paper_time(1.0, 0)
    with pytest.raises(ValueError, match="input_dim"):
        smooth_second_moment("tanh", 0)
    with pytest.raises(ValueError, match="smooth"):
        smooth_second_moment("relu", 3)


def test_proposition_c_1_equals_hand_worked_numbers():
    bound = InitialEigenvalueBound(2, 4, 0.125, gamma=0.5, delta=0.25)
    assert bound.required_width == pytest.approx(32 * math.log(8))
    assert bound.min_eigenvalue == 2.0**-5
    assert bound.applies(67)
    assert not bound.applies(66)
    assert dataclasses.replace(bound, gamma=0.0).required_width == math.inf
    assert dataclasses.replace(bound, kappa_n=0.0).required_width == math.inf
