"""Several runs: found, shown, as data frames, and grouped by what matters."""

from __future__ import annotations

import sys

import pytest
from synthetic_runs import write_run

from asym_keras import load_run, load_runs
from asym_keras.plotting import by_seed
from asym_keras.runs import OPERATIONAL, Runs
from asym_keras.tables import History


@pytest.fixture
def folder(tmp_path):
    """Two seeds of one pair and one of another, deep and shallow."""
    write_run(tmp_path / "a" / "s0", seed=0, resume=True, out_dir="x", jobs=2)
    write_run(tmp_path / "a" / "s1", seed=1, resume=False, out_dir="y", jobs=1)
    write_run(tmp_path / "b", gamma=0.5, seed=0, solver="descent")
    return tmp_path


def test_all_runs_below_a_folder_are_read(folder):
    runs = load_runs(folder)
    assert [run.path.name for run in runs] == ["s0", "s1", "b"]
    assert isinstance(runs[1:], Runs)
    assert [run.config["seed"] for run in runs[1:]] == [1, 0]
    with pytest.raises(FileNotFoundError, match="received no such folder"):
        load_runs(folder / "nowhere")


def test_settings_are_those_that_differ_and_matter(folder):
    settings = load_runs(folder).settings()
    assert settings == {
        **{"gamma": [0.0, 0.0, 0.5], "alpha": [0.4] * 3, "seed": [0, 1, 0]},
        "solver": ["flow", "flow", "descent"],
    }


@pytest.mark.parametrize("name", ["resume", "out_dir", "jobs"])
def test_seeds_are_one_group_however_they_were_run(tmp_path, name):
    assert name in OPERATIONAL
    runs = [load_run(write_run(tmp_path / f"{s}", seed=s, **{name: f"{s}"})) for s in (1, 0)]
    [group] = by_seed(runs)
    assert [run.config["seed"] for run in group] == [0, 1]
    other = load_run(write_run(tmp_path / "other", seed=2, rtol=0.5))
    assert list(map(len, by_seed([*runs, other]))) == [2, 1]
    assert list(map(len, by_seed([*runs, other], ignore=["rtol"]))) == [3]


def test_frames_have_the_settings_in_each_row(folder):
    runs = load_runs(folder)
    frame = runs.to_dataframe()
    assert list(frame["path"]) == [str(run.path) for run in runs]
    assert frame["train_risk"].tolist() == [run.history[-1]["train_risk"] for run in runs]
    assert frame["finished"].all()
    pruning = runs.to_dataframe("pruning")
    assert len(pruning) == 3 * 21
    assert pruning.groupby("path")["seed"].first().tolist() == [0, 1, 0]
    history = runs[2].to_dataframe()
    assert history.columns[:5].tolist() == ["gamma", "alpha", "seed", "step", "time"]
    assert history["gamma"].tolist() == [0.5] * 6
    assert runs[2].history.to_dataframe().shape == (6, 9)
    with pytest.raises(ValueError, match=r"\(history, pruning\), received 'transfer'"):
        runs.to_dataframe("transfer")


def test_without_pandas_the_command_is_named(folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ImportError, match=r"expected the package pandas.*\[pandas\]"):
        load_runs(folder).to_dataframe()


def test_a_run_a_history_and_runs_show_themselves_shortly(folder):
    runs = load_runs(folder)
    assert repr(runs[0]).startswith(
        "Run(task simulated, network gamma = 0, alpha = 0.4, seed 0, state finished, records 6, "
        "train_risk 0.002, test_risk 0.004"
    )
    assert repr(runs[0].history).startswith("History(6 rows: step, time, train_risk")
    assert repr(History()) == "History(no rows)"
    shown = repr(runs).splitlines()
    assert shown[0] == "3 runs"
    assert len(shown) == 5
    assert shown[1].split()[:3] == ["gamma", "alpha", "seed"]
    assert shown[-1].endswith(str(folder / "b"))
    many = Runs(list(runs) * 20)
    assert repr(many).splitlines()[-1] == "... and 40 more; to_dataframe() has all"


def test_notebooks_get_tables_in_html(folder):
    runs = load_runs(folder)
    for thing, rows in ((runs, 4), (runs[0], 17), (runs[0].history, 7)):
        html = thing._repr_html_()
        assert html.count("<tr>") == html.count("</tr>") == rows
    assert "&lt;" in History([{"a<b": 1.0}])._repr_html_()


def test_unfinished_runs_are_told(tmp_path):
    write_run(tmp_path / "run", finished=False)
    runs = load_runs(tmp_path)
    assert "(unfinished)" in repr(runs)
    assert not runs.to_dataframe()["finished"].any()
