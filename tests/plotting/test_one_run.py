"""Learning curves of a run folder: the files drawn, and the numbers in them."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from crossed import some_slow
from synthetic_runs import write_run

from asym_keras import plotting
from asym_keras.plotting import one_run
from asym_keras.training import History

PNG = b"\x89PNG\r\n\x1a\n"
RISKS = ["train_risk", "test_risk"]
ACCURACIES = ["train_accuracy", "test_accuracy"]
CHANGE = ["weight_change"]
NTG = ["ntg_change", "ntg_min_eigenvalue"]


def run_folder(folder, columns, *, nodes=True, records=5):
    """A folder with `history.csv`, and `nodes.npz` of three nodes that cross."""
    history = History()
    moves = np.outer(np.linspace(0.0, 1.0, records), [1.0, 2.0, 1.5])
    moves[2] = [9.0, 0.5, 0.1]  # the first node leads on the way, the second at the end
    for i, move in enumerate(moves):
        numbers = {name: 0.1 * k + i for k, name in enumerate(columns)}
        row = {"step": 10 * i, "time": 5.0 * i, **numbers, "gradients": i, "wall_seconds": 0.5 * i}
        history.append(row, {"node_weight_change": move})
    history.to_csv(folder / "history.csv")
    if nodes:
        history.arrays_to_npz(folder / "nodes.npz")
    return moves


@pytest.fixture
def drawn(monkeypatch):
    """The lines of each figure by file name, as they would be drawn."""
    return noted(monkeypatch, lambda path, panels, **_: path.touch())


@pytest.fixture
def painted(monkeypatch):
    """The same, of figures that are drawn."""
    return noted(monkeypatch, one_run.draw_panels)


def noted(monkeypatch, draw):
    curves = {}

    def note(path, panels, **options):
        curves[path.name] = [panel.lines[0] for panel in panels]
        return draw(path, panels, **options)

    monkeypatch.setattr(one_run, "draw_panels", note)
    return curves


def size_of(path):
    content = path.read_bytes()
    assert content.startswith(PNG)
    assert content[12:16] == b"IHDR"
    assert content.rstrip().endswith(b"IEND\xaeB`\x82")
    return struct.unpack(">II", content[16:24])


@pytest.mark.parametrize(
    "columns",
    some_slow(
        [
            RISKS + CHANGE + NTG,  # regression: five panels, three and two
            RISKS[:1],
        ],
        [
            RISKS + ACCURACIES + CHANGE + NTG,  # classification: seven in two rows
            RISKS + CHANGE,  # no NTG: three, in one row
        ],
    ),
    ids=["regression", "one panel", "classification", "no NTG"],
)
def test_one_figure_a_column_and_one_with_all(tmp_path, columns, painted):
    run_folder(tmp_path, columns, nodes="weight_change" in columns)
    axes = plotting.learning_curves(tmp_path)
    names = [f"{name}.png" for name in [*columns, "learning_curves"]]
    assert len(axes) == len(columns)
    written = [tmp_path / "figures" / name for name in names]
    assert sorted(path.name for path in (tmp_path / "figures").iterdir()) == sorted(names)
    single = {size_of(path) for path in written[:-1]}
    rows = -(-len(columns) // 4)
    across = -(-len(columns) // rows)
    ((width, height),) = single
    assert size_of(written[-1]) == pytest.approx((across * width, rows * height), abs=4)
    for k, name in enumerate(columns):
        (line,) = painted[f"{name}.png"]
        np.testing.assert_array_equal(line.x, [0, 10, 20, 30, 40])
        if name != "weight_change":
            np.testing.assert_array_equal(line.y, 0.1 * k + np.arange(5))
    assert len(painted["learning_curves.png"]) == len(columns)


def test_weight_change_is_of_the_node_that_moves_most_by_the_end(tmp_path, drawn):
    moves = run_folder(tmp_path, RISKS + CHANGE)
    plotting.learning_curves(tmp_path)
    np.testing.assert_array_equal(drawn["weight_change.png"][0].y, moves[:, 1])
    np.testing.assert_array_equal(drawn["learning_curves.png"][2].y, moves[:, 1])


def test_weight_change_without_nodes_is_the_column(tmp_path, drawn):
    run_folder(tmp_path, RISKS + CHANGE, nodes=False)
    plotting.learning_curves(tmp_path)
    np.testing.assert_array_equal(drawn["weight_change.png"][0].y, 0.2 + np.arange(5))


def test_line_runs_through_the_numbers(tmp_path, monkeypatch):
    """What matplotlib is given, not only what we hand to our own function."""
    from matplotlib.figure import Figure

    figures = []
    monkeypatch.setattr(
        Figure, "savefig", lambda self, path, **kw: (figures.append(self), path.touch())
    )
    run_folder(tmp_path, RISKS + ACCURACIES + CHANGE)
    plotting.learning_curves(tmp_path)
    (line,) = figures[1].axes[0].lines
    np.testing.assert_array_equal(line.get_xydata(), [[10 * i, 0.1 + i] for i in range(5)])
    assert figures[1].axes[0].get_ylabel() == "test risk"
    assert [axis.axison for axis in figures[-1].axes] == [True] * 5 + [False]


def test_pruning_and_transfer_are_drawn_where_they_are(tmp_path, drawn):
    folder = write_run(tmp_path / "run", width=40, transfer=True)
    plotting.learning_curves(folder)
    (line,) = drawn["pruning_test_risk.png"]
    np.testing.assert_array_equal(line.x, np.arange(40, 0, -2))  # nodes kept, one at least
    np.testing.assert_allclose(line.y, 2.0 * (1.0 + np.linspace(0, 1, 21)[:-1] ** 2), rtol=1e-12)
    (line,) = drawn["transfer_train_risk.png"]
    np.testing.assert_allclose(line.y, 2.0 / np.arange(10, 101, 10), rtol=1e-12)
    assert len(drawn) == 5 + 2 + 2 + 1


def test_refitted_pruning_is_drawn_beside_the_plain_one(tmp_path, monkeypatch):
    panels = {}
    monkeypatch.setattr(
        one_run, "draw_panels", lambda path, group, **_: panels.setdefault(path.name, group)
    )
    plotting.learning_curves(write_run(tmp_path / "run", refit=True, transfer=True))
    expected = 2.0 * (1.0 + np.linspace(0, 1, 21)[:-1] ** 2)
    for name in ("train", "test"):
        plain, refitted = panels[f"pruning_{name}_risk.png"][0].lines
        assert (plain.refitted, refitted.refitted) == (False, True)
        np.testing.assert_array_equal(refitted.x, np.arange(20, 0, -1))
        np.testing.assert_allclose(plain.y, expected, rtol=1e-12)
        np.testing.assert_allclose(refitted.y, expected / 2, rtol=1e-12)
    lines = [len(panel.lines) for panel in panels["learning_curves.png"]]
    assert lines == [1] * 5 + [2, 2] + [1, 1]


def test_figures_are_drawn_anew_over_old_ones(tmp_path):
    run_folder(tmp_path, RISKS)
    (tmp_path / "figures").mkdir()
    (tmp_path / "figures" / "test_risk.png").write_bytes(b"old")
    plotting.learning_curves(str(tmp_path))
    size_of(tmp_path / "figures" / "test_risk.png")


def test_folder_without_history_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"history\.csv"):
        plotting.learning_curves(tmp_path)
