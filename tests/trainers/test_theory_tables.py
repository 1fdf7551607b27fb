"""The theory command on tables: the UCI sets, with their duplicate rows, and the user's own."""

from __future__ import annotations

import numpy as np
import pytest

from asym_keras import datasets
from asym_keras.ntg import kappa_n
from trainers import theory
from trainers.common.tasks import UCI

SMALL = ("--width", "30", "--records", "3", "--draws", "5", "--steps", "5", "--quiet")


@pytest.fixture(autouse=True)
def no_figures(monkeypatch):
    monkeypatch.setattr("asym_keras.plotting.theory_bounds", lambda folder, **_: [])


def run(folder, *argv):
    """Rows of the table by name, and the text."""
    content = theory.main([*SMALL, "--out-dir", str(folder), *argv])
    rows = {row["key"]: row for row in content["rows"]}
    return rows, (folder / "theory.txt").read_text(encoding="utf-8"), content


@pytest.fixture
def uci(shared_data, monkeypatch):
    monkeypatch.setenv("ASYM_KERAS_DATA_DIR", str(shared_data))
    return shared_data


@pytest.fixture
def table(tmp_path):
    """40 rows: 16 to train on."""
    values = np.random.default_rng(0).normal(size=(40, 3))
    path = tmp_path / "my table.csv"
    np.savetxt(path, values, delimiter=",", header="width,the height,y", comments="")
    return str(path)


def test_every_uci_set_can_be_taken(uci):
    for name in UCI:
        config = theory.Config(dataset=name)
        assert (config.task(), config.count(), config.column()) == (name, 100, 0)
        expected = datasets.load_uci(name, data_dir=uci)
        assert config.load().fingerprint() == expected.fingerprint()


@pytest.mark.slow
def test_duplicate_rows_of_concrete_are_named(uci, tmp_path):
    rows, text, content = run(tmp_path / "run", "--dataset", "concrete", "--gamma", "1")
    x = datasets.load_uci("concrete", data_dir=uci).x_train
    np.testing.assert_array_equal(x[56], x[85])
    assert "namely (56, 85) duplicate; keep one" in content["assumptions"]["text"]
    assert rows["kappa_n"]["theory"] == 0.0
    assert rows["a"]["verdict"] == "no bound: kappa_n = 0"
    assert "kappa_n = 0 of all 412 training examples: 8 pairs of them have equal inputs" in text


@pytest.mark.slow
def test_duplicate_rows_of_plant_that_are_not_taken_are_named(uci, tmp_path):
    flags = ["--dataset", "plant", "--examples", "20"]
    rows, text, content = run(tmp_path / "run", *flags)
    x = datasets.load_uci("plant", data_dir=uci).x_train.astype("float64")
    _, counts = np.unique(x, axis=0, return_counts=True)
    pairs = int((counts * (counts - 1) // 2).sum())
    assert pairs > 0
    assert f"kappa_n = 0 of all 3827 training examples: {pairs} pairs of them" in text
    largest = np.linalg.norm(x[:20], axis=1).max()
    assert rows["kappa_n"]["theory"] == pytest.approx(kappa_n(x[:20] / largest), rel=1e-6)
    assert content["assumptions"]["holds"]


@pytest.mark.slow
def test_own_table_is_that_of_the_regression_trainer(tmp_path, table):
    flags = ["--data", table, "--target", "the height", "--examples", "4"]
    rows, text, content = run(tmp_path / "run", *flags)
    dataset = datasets.load_table(table, target="the height")
    x = dataset.x_train[:4].astype("float64")
    assert text.startswith("my table, target the height: ")
    assert "n = 4, d = 2, m = 30" in text
    assert "kappa_n = 0" not in text
    largest = np.linalg.norm(x, axis=1).max()
    assert content["input_divisor"] == pytest.approx(largest)
    assert rows["kappa_n"]["theory"] == pytest.approx(kappa_n(x / largest), rel=1e-6)


@pytest.mark.parametrize("target", [[], ["--target", "height"], ["--target", "0"]])
def test_column_of_an_own_table_is_asked_for(table, target, capsys):
    with pytest.raises(SystemExit) as caught:
        theory.main(["--data", table, *target])
    assert caught.value.code == 2
    assert "--target: expected a column of" in capsys.readouterr().err
