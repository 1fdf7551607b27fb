"""The paper's figures and figures of several runs: panels, lines, and the numbers beside them."""

from __future__ import annotations

import csv

import numpy as np
import pytest
from scipy.special import zeta
from synthetic_runs import height, write_run

from asym_keras.plotting import (
    PAPER_FIGURES,
    QUANTITIES,
    MeanCurve,
    paper_figure,
    run_groups,
    several_runs,
)
from asym_keras.runs import load_run

PAIRS = ((1.0, 0.4), (0.5, 0.7), (0.2, 0.5), (0.0, 0.4))


@pytest.fixture(autouse=True)
def figures(monkeypatch):
    """The figures of matplotlib, in the order they would be saved: files are test_panels.py's."""
    from matplotlib.figure import Figure

    saved = []
    monkeypatch.setattr(
        Figure, "savefig", lambda self, path, **k: (saved.append(self), path.touch())
    )
    return saved


def groups(folder, task="simulated", *, seeds=3, **options):
    return [
        [
            load_run(write_run(folder / f"{g}-{s}", task=task, gamma=g, alpha=a, seed=s, **options))
            for s in range(seeds)
        ]
        for g, a in PAIRS
    ]


def rows_of(path):
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def numbers(draw, number, path, *arguments, **options):
    """Rows of the CSV file beside a figure that is drawn."""
    draw(number, path, *arguments, **options)
    return rows_of(path.with_suffix(".csv"))


def labels(figure):
    return [axis.get_ylabel() for axis in figure.axes if axis.axison]


def test_figure_1_has_the_panels_and_means_of_the_paper(tmp_path, figures):
    runs = groups(tmp_path, protocol="authors")
    axes = paper_figure(1, tmp_path / "figure_01.png", {"simulated": runs})
    assert (tmp_path / "figure_01.csv").is_file()
    (figure,) = figures
    assert list(axes) == figure.axes[:4]
    assert labels(figure) == [
        "training risk",
        QUANTITIES["weight_change"].text,
        QUANTITIES["ntg_change"].text + r"$^{\,1/2}$",  # what `authors` drew
        QUANTITIES["ntg_min_eigenvalue"].text,
    ]
    assert [len(axis.lines) for axis in figure.axes] == [4] * 4
    part = np.linspace(0.0, 1.0, 6)
    for line, (gamma, _) in zip(figure.axes[2].lines, PAIRS, strict=True):
        mean = np.mean([height(gamma, seed) for seed in range(3)])
        np.testing.assert_allclose(line.get_xydata(), np.c_[100 * part, mean * part], rtol=1e-12)
    for line, (gamma, _) in zip(figure.axes[1].lines, PAIRS, strict=True):
        mean = np.mean([height(gamma, seed) for seed in range(3)])  # of the second node: part**2
        np.testing.assert_allclose(line.get_ydata(), mean * 2 * part**2, rtol=1e-12)


def test_numbers_drawn_stand_beside_the_figure(tmp_path):
    runs = groups(tmp_path)
    rows = numbers(paper_figure, 1, tmp_path / "f.png", {"simulated": runs})
    assert list(rows[0]) == ["task", "gamma", "alpha", "panel", "x", "mean", "std", "runs"]
    assert len(rows) == 4 * 4 * 6  # panels, pairs, records
    (row,) = [
        r
        for r in rows
        if (r["panel"], float(r["gamma"]), float(r["x"])) == ("ntg_change", 0.5, 100.0)
    ]
    values = [height(0.5, seed) ** 2 for seed in range(3)]  # protocol paper: no root
    assert float(row["mean"]) == pytest.approx(np.mean(values), rel=1e-12)
    assert float(row["std"]) == pytest.approx(np.std(values, ddof=1), rel=1e-12)
    assert (row["task"], row["alpha"], row["runs"]) == ("simulated", "0.7", "3")


def test_single_runs_have_no_std(tmp_path):
    rows = numbers(paper_figure, 1, tmp_path / "f.png", {"simulated": groups(tmp_path, seeds=1)})
    assert {(row["std"], row["runs"]) for row in rows} == {("", "1")}


def test_figure_5_is_the_closed_form(tmp_path):
    rows = numbers(paper_figure, 5, tmp_path / "f.png")
    alpha = np.array([float(row["x"]) for row in rows])
    mean = np.array([float(row["mean"]) for row in rows])
    np.testing.assert_allclose(mean, zeta(2 / alpha) / zeta(1 / alpha) ** 2, rtol=1e-12)
    assert alpha[0] < 0.02
    assert alpha[-1] > 0.98


def test_figure_2_names_the_task_of_each_panel(tmp_path, figures):
    tasks = ("concrete", "energy", "airfoil", "plant")
    runs = {t: groups(tmp_path / t, t, seeds=1, transfer=True) for t in tasks}
    paper_figure(2, tmp_path / "f.png", runs)
    assert [axis.get_title() for axis in figures[0].axes] == [*tasks]
    assert labels(figures[0])[2:] == ["training risk, pruned", "test risk, transfer"]
    assert [a.get_xlabel() for a in figures[0].axes] == ["step", "step", "nodes kept", "features"]


def test_figure_10_has_its_legend_between_the_panels(tmp_path, figures):
    runs = groups(tmp_path, "mnist", seeds=1, accuracies=True, transfer=True)
    paper_figure(10, tmp_path / "f.png", {"mnist": runs})
    axes = figures[0].axes
    assert len(axes) == 16
    assert [i for i, axis in enumerate(axes) if not axis.axison] == [7]
    assert axes[7].get_legend() is not None
    assert axes[8].get_ylabel() == "training risk, pruned"
    assert axes[12].get_ylabel() == "training risk, transfer"


def test_published_curves_have_crosses_in_the_colour_of_their_pair(tmp_path, figures):
    asked = []

    def published(task, quantity, gamma, alpha):
        asked.append((task, quantity, gamma, alpha))
        if gamma == 1.0:
            return None
        return MeanCurve(np.array([0.0, 50.0]), np.array([1.0, gamma]), np.zeros(2), 5)

    runs = groups(tmp_path, seeds=1)
    paper_figure(1, tmp_path / "f.png", {"simulated": runs}, published=published)
    lines = figures[0].axes[0].lines
    assert asked[:4] == [("simulated", "train_risk", *pair) for pair in PAIRS]
    assert len(lines) == 4 + 3
    assert lines[1].get_color() == lines[2].get_color()
    assert (lines[1].get_marker(), lines[2].get_marker()) == (".", "x")
    np.testing.assert_array_equal(lines[2].get_ydata(), [1.0, 0.5])


def test_every_panel_of_the_table_can_be_drawn():
    tasks = {panel.task for panels in PAPER_FIGURES.values() for panel in panels}
    assert {panel.quantity for of in PAPER_FIGURES.values() for panel in of} == set(QUANTITIES)
    assert tasks == {"simulated", "concrete", "energy", "airfoil", "plant", "mnist", "cifar10"}
    assert [len(PAPER_FIGURES[n]) for n in range(1, 12)] == [4, 4, 2, 4, 0, 9, 9, 9, 9, 15, 4]


def test_what_a_run_lacks_is_told(tmp_path):
    runs = groups(tmp_path, "airfoil", seeds=1)
    with pytest.raises(ValueError, match=r"train_risk in transfer\.csv of .*1\.0-0, received none"):
        paper_figure(8, tmp_path / "f.png", {"airfoil": runs})
    assert not (tmp_path / "f.png").exists()
    with pytest.raises(ValueError, match="from 1 to 11, received 12"):
        paper_figure(12, tmp_path / "f.png")


def test_several_runs_draw_what_all_have(tmp_path, figures):
    runs = groups(tmp_path, seeds=2)
    less = [load_run(write_run(tmp_path / "less", pruning=False))]
    axes = several_runs(tmp_path / "f.png", [*runs, less])
    assert [axis.get_ylabel() for axis in axes] == labels(figures[0])
    assert labels(figures[0])[-1] == QUANTITIES["ntg_min_eigenvalue"].text
    names = [text.get_text() for text in figures[0].axes[-1].get_legend().get_texts()]
    assert names[:2] == [r"$\gamma$ = 1", r"$\gamma$ = 0.5, $\alpha$ = 0.7"]
    several_runs(tmp_path / "g.png", [less], labels=["mine"])
    assert figures[1].axes[-1].get_legend().get_texts()[0].get_text() == "mine"
    with pytest.raises(ValueError, match="a curve in common, received 0 runs"):
        several_runs(tmp_path / "g.png", [])


def ringed(axis):
    return [line for line in axis.lines if line.get_marker() == "o"]


def test_several_runs_draw_refits_where_a_group_has_them(tmp_path, figures):
    with_refits = groups(tmp_path, seeds=2, refit=True)[:2]
    without = [load_run(write_run(tmp_path / "plain", gamma=0.0))]
    mixed = [load_run(write_run(tmp_path / f"m{s}", gamma=0.1, refit=s == 0)) for s in range(2)]
    several_runs(tmp_path / "f.png", [*with_refits, without, mixed])
    by_label = dict(zip(labels(figures[0]), figures[0].axes, strict=False))
    axis = by_label[QUANTITIES["pruning_train_risk"].text]
    assert len(axis.lines) == 4 + 2
    size = np.mean([height(1.0, seed) for seed in range(2)])
    expected = size * (1.0 + np.linspace(0, 1, 21)[:-1] ** 2) / 2
    np.testing.assert_allclose(ringed(axis)[0].get_ydata(), expected, rtol=1e-12)
    assert [d.get_color() for d in ringed(axis)] == [axis.lines[i].get_color() for i in (0, 2)]
    assert not ringed(by_label["training risk"])


def test_papers_figures_have_refits_only_where_asked_for(tmp_path, figures):
    runs = {"mnist": groups(tmp_path, "mnist", accuracies=True, transfer=True, refit=True)}
    plain = numbers(paper_figure, 3, tmp_path / "f.png", runs)
    rows = numbers(paper_figure, 3, tmp_path / "g.png", runs, refit=True)
    assert [[len(ringed(a)) for a in f.axes[:2]] for f in figures] == [[0, 0], [4, 0]]
    name = "pruning_test_accuracy_refit"
    assert [row for row in rows if row["panel"] != name] == plain
    of = [row for row in rows if row["panel"] == name and float(row["gamma"]) == 0.5]
    sizes = np.array([height(0.5, seed) for seed in range(3)])
    shape = (1.0 + np.linspace(0, 1, 21) ** 2) / 2
    assert [float(r["mean"]) for r in of] == pytest.approx(list(sizes.mean() * shape))
    assert [float(r["std"]) for r in of] == pytest.approx(list(sizes.std(ddof=1) * shape))


def test_mixed_protocols_keep_the_plain_label(tmp_path):
    both = [[load_run(write_run(tmp_path / p, protocol=p))] for p in ("paper", "authors")]
    assert run_groups.runs_panel("ntg_change", both)[0].y_label == QUANTITIES["ntg_change"].text
