"""Learning curves of a run folder: the files drawn, and the numbers in them."""

from __future__ import annotations

import struct

import numpy as np
import pytest

from asym_keras import plotting
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
    """The curves of each figure by file name, as they are drawn."""
    curves = {}
    original = plotting._draw

    def draw(path, steps, values):
        curves[path.name] = (np.asarray(steps), values)
        original(path, steps, values)

    monkeypatch.setattr(plotting, "_draw", draw)
    return curves


def size_of(path):
    content = path.read_bytes()
    assert content.startswith(PNG)
    assert content[12:16] == b"IHDR"
    assert content.rstrip().endswith(b"IEND\xaeB`\x82")
    return struct.unpack(">II", content[16:24])


@pytest.mark.parametrize(
    "columns",
    [
        RISKS + ACCURACIES + CHANGE + NTG,  # classification: seven panels in two rows
        RISKS + CHANGE + NTG,  # regression: five
        RISKS + CHANGE,  # no NTG: three, in one row
        RISKS[:1],
    ],
    ids=["classification", "regression", "no NTG", "one panel"],
)
def test_one_figure_a_column_and_one_with_all(tmp_path, columns, drawn):
    run_folder(tmp_path, columns, nodes="weight_change" in columns)
    written = plotting.learning_curves(tmp_path)
    names = [f"{name}.png" for name in [*columns, "learning_curves"]]
    assert [path.name for path in written] == names
    assert sorted(path.name for path in (tmp_path / "figures").iterdir()) == sorted(names)
    single = {size_of(path) for path in written[:-1]}
    rows, across = -(-len(columns) // 4), min(4, len(columns))
    ((width, height),) = single
    assert size_of(written[-1]) == pytest.approx((across * width, rows * height), abs=4)
    for k, name in enumerate(columns):
        steps, ((values, _),) = drawn[f"{name}.png"]
        np.testing.assert_array_equal(steps, [0, 10, 20, 30, 40])
        if name != "weight_change":
            np.testing.assert_array_equal(values, 0.1 * k + np.arange(5))
    _, together = drawn["learning_curves.png"]
    assert len(together) == len(columns)


def test_weight_change_is_of_the_node_that_moves_most_by_the_end(tmp_path, drawn):
    moves = run_folder(tmp_path, RISKS + CHANGE)
    plotting.learning_curves(tmp_path)
    _, ((values, _),) = drawn["weight_change.png"]
    np.testing.assert_array_equal(values, moves[:, 1])
    _, together = drawn["learning_curves.png"]
    np.testing.assert_array_equal(together[2][0], moves[:, 1])


def test_weight_change_without_nodes_is_the_column(tmp_path, drawn):
    run_folder(tmp_path, RISKS + CHANGE, nodes=False)
    plotting.learning_curves(tmp_path)
    _, ((values, _),) = drawn["weight_change.png"]
    np.testing.assert_array_equal(values, 0.2 + np.arange(5))


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
    assert [axis.get_visible() for axis in figures[-1].axes] == [True] * 5 + [False] * 3


def test_figures_are_drawn_anew_over_old_ones(tmp_path):
    run_folder(tmp_path, RISKS)
    (tmp_path / "figures").mkdir()
    (tmp_path / "figures" / "test_risk.png").write_bytes(b"old")
    plotting.learning_curves(str(tmp_path))
    size_of(tmp_path / "figures" / "test_risk.png")


def test_folder_without_history_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"history\.csv"):
        plotting.learning_curves(tmp_path)
