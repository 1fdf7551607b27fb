"""Tests over several axes: every value in the quick run, every combination with `--run-slow`."""

from __future__ import annotations

import itertools

import pytest


def crossed(*axes, quick=(), least=None):
    """Parameters of all combinations of the axes' values; most are marked slow.

    The quick run takes one combination for each value of the longest axis, while the shorter axes
    go round: each value is met, unless `least` says that fewer combinations will do. What goes
    wrong for one combination alone is the slow run's find.

    Args:
        axes: the values of each argument.
        quick: further combinations that the quick run takes.
        least: the quick run takes so many of the combinations, spread over the longest axis.
    """
    axes = [[*axis] for axis in axes]
    longest = max(map(len, axes))
    turns = range(longest) if least is None else range(0, longest, max(1, longest // least))
    some = [
        tuple(axis[(i if len(axis) == longest else turn) % len(axis)] for axis in axes)
        for turn, i in enumerate(turns)
    ]
    return [
        pytest.param(
            *values,
            marks=() if values in some or values in quick else pytest.mark.slow,
            id="-".join(_name(value) for value in values),
        )
        for values in itertools.product(*axes)
    ]


def some_slow(quick, slow):
    """Parameters of which the quick run takes the first ones alone."""
    return [*quick, *(pytest.param(value, marks=pytest.mark.slow) for value in slow)]


def _name(value) -> str:
    """The same in every process, which a text with an address in it is not."""
    plain = value is None or isinstance(value, str | int | float | tuple)
    return str(value) if plain else getattr(value, "__name__", type(value).__name__)
