"""Panels: scales, bands, the legend, and where it stands."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.colors import to_hex

from asym_keras.plotting.panels import COLOURS, Line, Panel, draw_panels

X = np.arange(4.0)


def panel(*lines, **options):
    return Panel(tuple(lines), "x", "y", **options)


@pytest.fixture
def figure(monkeypatch, tmp_path):
    """Draws panels; returns matplotlib's figure."""
    from matplotlib.figure import Figure

    figures = []
    original = Figure.savefig
    monkeypatch.setattr(
        Figure, "savefig", lambda self, *a, **k: (figures.append(self), original(self, *a, **k))
    )

    def draw(panels, **options):
        draw_panels(tmp_path / "figure.png", panels, **options)
        return figures[-1]

    return draw


def entries(legend):
    return [text.get_text() for text in legend.get_texts()]


@pytest.mark.parametrize(
    ("values", "may_be_log", "scale"),
    [
        ([1.0, 0.1, 0.01, 0.001], True, "log"),
        ([1.0, 0.1, 0.01, 0.001], False, "linear"),
        ([1.0, 0.9, 0.8, 0.1], True, "linear"),  # less than two decades
        ([1.0, 0.1, 0.01, 0.0], True, "linear"),  # zero has no logarithm
        ([np.nan, 0.1, 0.01, 0.001], True, "log"),  # a width that was not refitted
        ([np.nan] * 4, True, "linear"),
    ],
)
def test_scale_is_logarithmic_where_risks_span_decades(figure, values, may_be_log, scale):
    (axis,) = figure([panel(Line(X, np.array(values)), may_be_log=may_be_log)]).axes
    assert axis.get_yscale() == scale
    np.testing.assert_array_equal(axis.lines[0].get_ydata(), values)


def test_band_is_one_standard_deviation(figure):
    y, std = np.array([1.0, 2.0, 3.0, 4.0]), np.array([0.5, 0.25, 1.0, 2.0])
    (axis,) = figure([panel(Line(X, y, std=std))]).axes
    points = axis.collections[0].get_paths()[0].vertices
    for x, low, high in zip(X, y - std, y + std, strict=True):
        at = points[points[:, 0] == x, 1]
        assert (at.min(), at.max()) == (low, high)


def test_band_that_reaches_zero_does_not_stretch_a_logarithmic_axis(figure):
    y = np.array([1.0, 1e-1, 1e-2, 1e-3])
    (axis,) = figure([panel(Line(X, y, std=2.0 * y), may_be_log=True)]).axes
    points = axis.collections[0].get_paths()[0].vertices
    assert points[:, 1].min() == pytest.approx(1e-4)
    assert axis.get_ylim()[0] > 1e-5


def test_single_run_has_no_band(figure):
    drawn = figure([panel(Line(X, X, label="a", std=np.full(4, np.nan)))])
    assert not drawn.axes[0].collections
    assert entries(drawn.legends[0]) == ["a"]


def test_legend_names_each_colour_once_and_the_kinds_of_line(figure):
    lines = [
        Line(X, X, 0, "a", std=X),
        Line(X, X, 1, "b"),
        Line(X, X + 1, 0, published=True),
    ]
    drawn = figure([panel(*lines), panel(*lines)])
    (legend,) = drawn.legends
    assert entries(legend) == ["a", "b", "± one standard deviation", "published"]
    solid, other, crossed = drawn.axes[0].lines
    assert [to_hex(la.get_color()).upper() for la in (solid, other, crossed)] == [
        COLOURS[0],
        COLOURS[1],
        COLOURS[0],
    ]
    assert (solid.get_marker(), crossed.get_marker()) == (".", "x")


def test_refitted_readout_has_rings_in_its_colour_and_is_named(figure):
    lines = [Line(X, X, 1, "a"), Line(X, X / 2, 1, refitted=True)]
    drawn = figure([panel(*lines)])
    plain, ringed = drawn.axes[0].lines
    assert (plain.get_marker(), ringed.get_marker()) == (".", "o")
    assert ringed.get_color() == plain.get_color()
    np.testing.assert_array_equal(ringed.get_ydata(), X / 2)
    assert entries(drawn.legends[0]) == ["a", "readout refitted"]
    # Where there is one curve without a name, too: two lines need a word.
    (legend,) = figure([panel(Line(X, X), Line(X, X / 2, refitted=True))]).legends
    assert entries(legend) == ["readout refitted"]


def test_legend_stands_in_the_first_free_place(figure):
    one = panel(Line(X, X, 0, "a"))
    drawn = figure([one, None, one], columns=2)
    assert not drawn.legends
    assert [axis.get_legend() is not None for axis in drawn.axes] == [False, True, False, False]
    assert [axis.axison for axis in drawn.axes] == [True, False, True, False]
    assert not figure([panel(Line(X, X))]).legends  # no label, no legend
