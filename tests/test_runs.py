"""Run folders read back, whole, unfinished and damaged."""

from __future__ import annotations

import numpy as np
import pytest
from synthetic_runs import write_json, write_run

from asym_keras.models import shallow_network
from asym_keras.plotting import learning_curves
from asym_keras.runs import find_runs, load_run


def test_everything_is_read(tmp_path):
    folder = write_run(tmp_path / "run", gamma=0.5, alpha=0.7, seed=2, transfer=True)
    run = load_run(str(folder))
    assert run.path == folder
    assert (run.task, run.label, run.finished) == ("simulated", "gamma = 0.5, alpha = 0.7", True)
    assert (run.config["seed"], run.config["width"]) == (2, 20)
    assert run.facts["command"] == "python -m trainers.simulated"
    assert "config" not in run.facts
    assert len(run.history) == 6
    assert run.history[-1]["train_risk"] == pytest.approx(2.0e-3)  # 2 - 0.5 + 0.25 * 2 = 2
    np.testing.assert_allclose(run.nodes["node_weight_change"][-1], [2.0, 4.0, 1.0])
    assert run.pruning.column("kept").tolist() == list(range(20, -1, -1))
    assert run.transfer.column("features").tolist() == list(range(10, 101, 10))
    assert run.metrics["total_seconds"] == 3.5


def test_label_at_gamma_1_names_no_alpha(tmp_path):
    assert load_run(write_run(tmp_path / "run", gamma=1.0)).label == "gamma = 1"
    assert load_run(write_run(tmp_path / "other", gamma=0.0)).label == "gamma = 0, alpha = 0.4"


def test_files_that_are_not_there_are_none(tmp_path):
    run = load_run(write_run(tmp_path / "run", pruning=False))
    assert run.pruning is None
    assert run.transfer is None


def test_unfinished_run_has_the_records_so_far(tmp_path):
    folder = write_run(tmp_path / "run", finished=False)
    run = load_run(folder)
    assert not run.finished
    assert (len(run.history), run.nodes, run.metrics) == (6, None, {})
    (folder / "history.csv").unlink()
    assert len(load_run(folder).history) == 0


def test_theory_run_is_finished_without_metrics(tmp_path):
    folder = write_run(tmp_path / "run", finished=False)
    write_json(folder / "theory.json", {})
    assert load_run(folder).finished


def test_model_computes_what_was_saved(tmp_path):
    run = load_run(write_run(tmp_path / "run"))
    with pytest.raises(FileNotFoundError, match=r"trained model in .*model\.keras.*--resume"):
        run.load_model()
    model = shallow_network(4, 2, width=6, gamma=0.5, alpha=0.5, seed=3)
    model.save(run.path / "model.keras")
    x = np.random.default_rng(0).normal(size=(5, 4)).astype("float32")
    np.testing.assert_array_equal(run.load_model()(x), model(x))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda f: None, "expected a run folder, received no such file|no such folder"),
        (lambda f: f.mkdir(), r"received a folder without config\.json"),
    ],
)
def test_folder_that_is_no_run(tmp_path, make, message):
    make(tmp_path / "x")
    with pytest.raises(FileNotFoundError, match=message):
        load_run(tmp_path / "x")


def test_config_of_another_program(tmp_path):
    write_json(tmp_path / "config.json", {"model_type": "bert"})
    with pytest.raises(ValueError, match=r"received \['model_type'\]: no trainer's file"):
        load_run(tmp_path)


@pytest.mark.parametrize("name", ["config.json", "metrics.json"])
@pytest.mark.parametrize(("text", "message"), [("{", "expected JSON in"), ("[1]", "JSON object")])
def test_damaged_json_is_named(tmp_path, name, text, message):
    folder = write_run(tmp_path / "run")
    (folder / name).write_text(text)
    with pytest.raises(ValueError, match=f"{message}.*{name}"):
        load_run(folder)


@pytest.mark.parametrize("name", ["history", "pruning", "transfer"])
@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda lines: [*lines[:-1], lines[-1].rpartition(",")[0]], r"\d cells, not \d"),
        (lambda lines: [*lines[:-1], lines[-1] + ",1"], r"\d+ cells, not \d+, in line"),
        (lambda lines: [lines[0], "x" + lines[1], *lines[2:]], "'x0.0|'x10' in line 2"),
        (lambda lines: lines[:1], "received no row"),
        (lambda lines: [], "received no row"),
        (lambda lines: ["a,b", "1,2"], "received none named"),
        (lambda lines: ["\udcff\udcfe"], "expected a table of numbers"),
    ],
    ids=["cut", "longer", "text", "no row", "empty", "other columns", "not UTF-8"],
)
def test_damaged_table_is_named(tmp_path, name, damage, message):
    folder = write_run(tmp_path / "run", transfer=True)
    path = folder / f"{name}.csv"
    lines = damage(path.read_text().splitlines())
    path.write_bytes("\n".join(lines).encode(errors="surrogateescape"))
    with pytest.raises(ValueError, match=message) as caught:
        load_run(folder)
    assert str(path) in str(caught.value)
    assert "--overwrite" in str(caught.value)


def test_finished_run_without_history(tmp_path):
    folder = write_run(tmp_path / "run")
    (folder / "history.csv").unlink()
    with pytest.raises(FileNotFoundError, match=r"records of a finished run in .*history\.csv"):
        load_run(folder)


def test_damaged_arrays_are_named(tmp_path):
    folder = write_run(tmp_path / "run")
    content = (folder / "nodes.npz").read_bytes()
    (folder / "nodes.npz").write_bytes(content[: len(content) // 2])
    with pytest.raises(ValueError, match=r"expected arrays in .*nodes\.npz"):
        load_run(folder)
    np.savez(folder / "nodes.npz", node_weight_change=np.ones((2, 3)))
    with pytest.raises(ValueError, match=r"shape \(6, m\) .* received shape \(2, 3\)"):
        load_run(folder)


def test_runs_are_found_at_any_depth(tmp_path):
    a, b = write_run(tmp_path / "b" / "run"), write_run(tmp_path / "a")
    write_json(tmp_path / "config.json.bak", {})
    (tmp_path / "c").mkdir()
    write_json(tmp_path / "c" / "config.json", {"other": "program"})
    assert find_runs(tmp_path) == [b, a]
    assert find_runs(a) == [a]
    for folder, received in ((tmp_path / "nowhere", "no such folder"), (a / "f", "without runs")):
        if received == "without runs":
            folder.mkdir()
        with pytest.raises(FileNotFoundError, match=received):
            find_runs(folder)


def test_a_damaged_model_is_told(tmp_path):
    folder = write_run(tmp_path / "run")
    (folder / "model.keras").write_bytes(b"PK\x03\x04 half of a model")
    with pytest.raises(ValueError, match=r"expected a trained model in .*model\.keras, received"):
        load_run(folder).load_model()


def test_home_folder_is_found(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    write_run(tmp_path / "run")
    assert load_run("~/run").path == tmp_path / "run"
    assert find_runs("~") == [tmp_path / "run"]
    learning_curves("~/run")
    assert (tmp_path / "run" / "figures" / "learning_curves.png").is_file()
