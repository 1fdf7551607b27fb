"""What a run recorded: the table and the arrays come back bit for bit."""

from __future__ import annotations

import numpy as np
import pytest

from asym_keras.training import History

AWKWARD = [
    0.1,
    1 / 3,
    -0.0,
    5e-324,
    1.7976931348623157e308,
    2.0**53 + 2,
    float("inf"),
    float("nan"),
]


def bits(values):
    return np.asarray(values, "float64").tobytes()


def test_csv_gives_back_every_bit(tmp_path):
    rows = [{"step": i, "train_risk": v, "time": 0.1 * i} for i, v in enumerate(AWKWARD)]
    History(rows).to_csv(tmp_path / "history.csv")
    text = (tmp_path / "history.csv").read_bytes()
    assert text.startswith(b"step,train_risk,time\n0,0.1,0.0\n1,0.3333333333333333,0.1\n")
    history = History.from_csv(tmp_path / "history.csv")
    assert list(history[0]) == ["step", "train_risk", "time"]
    for name in history[0]:
        assert bits(history.column(name)) == bits([row[name] for row in rows])


def test_csv_of_random_numbers_gives_back_every_bit(tmp_path):
    values = np.random.default_rng(0).integers(0, 2**63, 300).view("float64")
    values = values[np.isfinite(values)]
    History([{"a": v} for v in values.tolist()]).to_csv(tmp_path / "a.csv")
    assert bits(History.from_csv(tmp_path / "a.csv").column("a")) == bits(values)


def test_empty_history_is_an_empty_table(tmp_path):
    History().to_csv(tmp_path / "a.csv")
    history = History.from_csv(tmp_path / "a.csv")
    assert len(history) == 0
    assert history.column("anything").shape == (0,)


def test_append_keeps_rows_and_arrays_in_order():
    history = History()
    for i in range(3):
        history.append({"step": i, "time": i / 2}, {"nodes": np.full(2, i)})
    assert len(history) == 3
    assert history[-1] == {"step": 2, "time": 1.0}
    np.testing.assert_array_equal(history.column("time"), [0.0, 0.5, 1.0])
    np.testing.assert_array_equal(np.stack(history.arrays["nodes"]), [[0, 0], [1, 1], [2, 2]])


def test_two_histories_share_nothing():
    one, other = History(), History()
    one.append({"step": 0}, {"nodes": np.zeros(1)})
    assert len(other) == 0
    assert other.arrays == {}


def test_arrays_are_stacked_beside_step_and_time(tmp_path):
    history = History()
    nodes = np.random.default_rng(0).normal(size=(4, 3))
    for i, row in enumerate(nodes):
        history.append({"step": 2 * i, "time": 0.2 * i, "risk": 1.0}, {"nodes": row})
    history.arrays_to_npz(tmp_path / "nodes.npz")
    with np.load(tmp_path / "nodes.npz", allow_pickle=False) as file:
        assert sorted(file.files) == ["nodes", "step", "time"]
        assert bits(file["nodes"]) == bits(nodes)
        np.testing.assert_array_equal(file["step"], [0, 2, 4, 6])
        assert bits(file["time"]) == bits(history.column("time"))


def test_unknown_column_lists_the_known_ones():
    history = History([{"step": 0, "time": 0.0}])
    with pytest.raises(KeyError, match=r"one of the columns \['step', 'time'\], received 'risk'"):
        history.column("risk")


def test_home_folder_and_any_suffix(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    history = History([{"step": 0, "time": 0.0}], {"nodes": [np.arange(3.0)]})
    history.to_csv("~/h.csv")
    assert History.from_csv("~/h.csv").rows == history.rows
    history.arrays_to_npz("~/h.dat")
    with np.load(tmp_path / "h.dat") as file:
        np.testing.assert_array_equal(file["nodes"], [[0.0, 1.0, 2.0]])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["h.csv", "h.dat"]
