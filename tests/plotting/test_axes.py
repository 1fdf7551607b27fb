"""Figures for papers and notebooks: axes of the user's own, formats, colours and line styles."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from matplotlib import pyplot
from matplotlib.colors import to_hex
from synthetic_runs import write_run

from asym_keras import load_run, load_runs, plotting
from asym_keras.plotting.styles import DASHES, style_of, style_of_pair, styles_of

PAIRS = ((1.0, 0.4), (0.5, 0.7), (0.5, 0.5), (0.0, 0.4), (0.2, 0.5), (0.25, 0.4), (0.75, 0.4))


@pytest.fixture
def runs(tmp_path):
    """Two seeds of two pairs."""
    for gamma, seed in itertools.product((0.5, 0.0), range(2)):
        write_run(tmp_path / f"{gamma}-{seed}", gamma=gamma, alpha=0.5, seed=seed, refit=True)
    return load_runs(tmp_path)


@pytest.fixture(autouse=True)
def close():
    yield
    pyplot.close("all")


def test_one_quantity_is_drawn_into_axes_of_the_users_own(runs):
    figure, (left, right) = pyplot.subplots(1, 2)
    assert plotting.plot_curve(runs, "test_risk", ax=right) is right
    assert (len(left.lines), len(right.lines)) == (0, 2)
    assert right.get_title() == ""
    assert figure.axes == [left, right]
    mean = np.mean([run.history.column("test_risk") for run in runs[:2]], axis=0)
    np.testing.assert_allclose(right.lines[0].get_ydata(), mean, rtol=1e-12)
    assert plotting.plot_curve(runs[0], title="mine").get_title() == "mine"
    with pytest.raises(ValueError, match="expected a quantity of train_risk"):
        plotting.plot_curve(runs, "loss")


def test_figures_of_several_panels_take_axes_and_return_them(runs, tmp_path):
    groups = plotting.by_seed(runs)
    _, axes = pyplot.subplots(2, 4)
    drawn = plotting.several_runs(None, groups, ax=axes)
    assert list(drawn) == list(axes.ravel()[:7])
    _, four = pyplot.subplots(1, 4)
    given = plotting.paper_figure(1, None, {"simulated": groups}, ax=four)
    assert list(given) == list(four)
    assert len(plotting.learning_curves(runs[0].path, ax=axes)) == 7
    assert not (runs[0].path / "figures").exists()
    assert not list(tmp_path.glob("*.csv"))
    with pytest.raises(ValueError, match="ax: expected 4 axes, one each panel, received 1"):
        plotting.paper_figure(1, None, {"simulated": groups}, ax=four[0])


@pytest.mark.slow
def test_files_have_the_formats_asked_for_and_text_as_text(runs, tmp_path, caplog):
    caplog.set_level("INFO")  # as in a command
    path = tmp_path / "f.pdf"
    plotting.several_runs(path, runs, formats=("pdf", "svg"))
    assert not caplog.records
    assert sorted(p.name for p in tmp_path.glob("f.*")) == ["f.pdf", "f.svg"]
    assert b"/FontFile2" in path.read_bytes()  # a TrueType font; Type 3 has none
    assert b"/Type3" not in path.read_bytes()
    assert "training risk</text>" in path.with_suffix(".svg").read_text()
    plotting.learning_curves(runs[0].path, formats=("svg",))
    assert {p.suffix for p in (runs[0].path / "figures").iterdir()} == {".svg"}


def test_pruning_is_over_the_nodes_kept_on_a_logarithmic_axis(runs):
    axes = plotting.plot_curve(runs, "pruning_test_risk", refit=True)
    assert axes.get_xscale() == "log"
    assert axes.get_xlabel() == "nodes kept"
    plain, ringed = axes.lines[:2]
    np.testing.assert_array_equal(plain.get_xdata(), np.arange(20, 0, -1))
    np.testing.assert_array_equal(ringed.get_xdata(), np.arange(20, 0, -1))
    mean = np.mean([run.pruning.column("test_risk") for run in runs[:2]], axis=0)
    np.testing.assert_allclose(plain.get_ydata(), mean[:-1], rtol=1e-12)
    # The curve itself, and what is written of it, stays over the nodes pruned.
    np.testing.assert_array_equal(plotting.curve(runs[0], "pruning_test_risk")[0], np.arange(21))


def test_a_pair_has_one_colour_and_one_line_style_in_every_figure(tmp_path):
    styles = [style_of_pair(*pair) for pair in PAIRS]
    assert len({style.colour for style in styles}) == len({style.dashes for style in styles}) == 7
    assert style_of_pair(1.0, 0.4) == style_of_pair(1.0, 0.9)  # where alpha has no effect
    assert style_of_pair(0.3, 0.4) != style_of_pair(0.3, 0.6)
    assert style_of_pair(0.3, 0.4) == style_of_pair(0.3, 0.4)
    assert style_of_pair(0.0, 0.4, "geometric") != style_of_pair(0.0, 0.4)
    paths = [write_run(tmp_path / f"{g}-{a}", gamma=g, alpha=a) for g, a in PAIRS]
    all_runs = [load_run(path) for path in paths]
    for few in (all_runs, all_runs[3:5], all_runs[::-1]):
        lines = plotting.plot_curve(few).lines
        for line, run in zip(lines, sorted(few, key=few.index), strict=True):
            assert to_hex(line.get_color()).upper() == style_of(run).colour
    plotting.learning_curves(paths[3])
    assert style_of(all_runs[3]).colour == "#D55E00"


def test_lines_of_one_pair_in_a_figure_differ_in_their_dashes(tmp_path):
    two = [load_run(write_run(tmp_path / s, solver=s)) for s in ("flow", "descent")]
    first, second = styles_of(two)
    assert first == style_of(two[0])
    assert first.colour == second.colour
    assert first.dashes != second.dashes
    assert second.dashes in DASHES
