"""Tests over several axes: each value in the quick run, half of all pairs in the slow one."""

from __future__ import annotations

import itertools

import pytest


def crossed(*axes, quick=(), least=None):
    """Parameters of all combinations of the axes' values; most are marked slow or drill.

    The quick run takes one combination for each value of the longest axis, while the shorter axes
    go round: each value is met, unless `least` says that fewer combinations will do. The slow run
    takes half of the others, as the white fields of a board; the drills take the black ones.

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
    parameters = []
    for places in itertools.product(*(range(len(axis)) for axis in axes)):
        values = tuple(axis[place] for axis, place in zip(axes, places, strict=True))
        mark = pytest.mark.drill if sum(places) % 2 else pytest.mark.slow
        marks = () if values in some or values in quick else mark
        name = "-".join(_name(value) for value in values)
        parameters.append(pytest.param(*values, marks=marks, id=name))
    return parameters


def some_slow(quick, slow):
    """Parameters of which the quick run takes the first ones alone."""
    return [*quick, *(pytest.param(value, marks=pytest.mark.slow) for value in slow)]


def some_drills(values):
    """Parameters that the drills alone take."""
    return [pytest.param(value, marks=pytest.mark.drill) for value in values]


def _name(value) -> str:
    """The same in every process, which a text with an address in it is not."""
    plain = value is None or isinstance(value, str | int | float | tuple)
    return str(value) if plain else getattr(value, "__name__", type(value).__name__)
