"""What is said of the mean of draws beside its expectation."""

from __future__ import annotations

import math
import re

import numpy as np
import pytest

from asym_keras import node_scalings
from asym_keras.ntg import describe_activation
from trainers.theory.draws import draw_networks
from trainers.theory.numbers import theory_of
from trainers.theory.report import Measured, _agreement, theory_rows


def draws(expected, error, offset, count=100):
    """Draws whose mean has the standard error `error`, `offset` of it beside `expected`."""
    spread = np.tile([-1.0, 1.0], count // 2) * math.sqrt(count - 1)
    return expected + error * (spread + offset)


@pytest.mark.parametrize(
    ("error", "offset", "words"),
    [
        # 4 standard errors from 0 take (4 error / 3)^2 times the 100 draws.
        (1.4, 0.5, "too few draws to tell from 0; about 350 would (--draws)"),
        (7.4, -3.0, "too few draws to tell from 0; about 9800 would (--draws)"),
        (0.76, 0.9, "too few draws to tell from 0; about 110 would (--draws)"),
        (0.74, 0.9, "within 1 standard error"),
        (0.74, -2.5, "within 3 standard errors"),
        (1.4, 4.2, "FAILS: 4.2 standard errors away"),  # what is refuted is told
        (1.4, 0.0, "equal"),
    ],
)
@pytest.mark.parametrize("sign", [-1.0, 1.0])
def test_draws_that_would_agree_with_zero_as_well_tell_nothing(sign, error, offset, words):
    assert _agreement(3.0 * sign, sign * draws(3.0, error, offset)) == words


def test_as_many_draws_as_it_says_do_tell():
    few = draws(3.0, 1.4, 0.5)
    (count,) = map(int, re.findall(r"about (\d+) would", _agreement(3.0, few)))
    more = draws(3.0, 1.4 * math.sqrt(100 / count), 0.5, count)
    assert _agreement(3.0, more) == "within 1 standard error"


def test_zero_that_is_expected_is_no_lack_of_draws():
    assert _agreement(0.0, draws(0.0, 5.0, 0.5)) == "within 1 standard error"


@pytest.mark.parametrize(
    ("own", "words"), [(0.6, "about 280 would (--draws)"), (0.76, "no number would, since")]
)
def test_more_draws_do_not_mend_the_error_of_the_expectation(own, words):
    verdict = _agreement(3.0, draws(3.0, 0.75, 0.5), theory_error=own)
    assert verdict.startswith(f"too few draws to tell from 0; {words}")


def test_two_draws_of_a_network_tell_nothing_and_the_table_says_so():
    x = np.random.default_rng(0).normal(size=(4, 6))
    x /= np.linalg.norm(x, axis=1).max()
    y = np.random.default_rng(1).normal(size=4)
    softplus, scalings = describe_activation("softplus"), node_scalings(30, 0.5, 0.4)
    settings = {"gamma": 0.5, "delta": 0.2, "scalings": scalings, "activation": softplus}
    at = theory_of(x, y, **settings, seed=0)
    run = Measured(
        *(np.array([0.0, 1.0]), np.ones(2), np.ones(2), np.zeros(2), np.zeros((2, 30)), 1.0)
    )
    for count, few in ((10, True), (3000, False)):
        drawn = draw_networks(x, y, at, activation=softplus, count=count, seed=2)
        row = {r.key: r for r in theory_rows(at, run, drawn)}["weight_velocity"]
        assert ("too few draws" in row.verdict) == few
        assert ("within" in row.verdict) == (not few)
