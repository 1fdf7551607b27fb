"""The regression trainer: its flags, a run on a UCI set and one on a user's own table."""

from __future__ import annotations

import dataclasses
import subprocess
import sys

import keras
import numpy as np
import pytest
from trainer_runs import SMALL, read_json

from asym_keras import datasets
from asym_keras.datasets import uci
from asym_keras.training import History
from trainers import regression
from trainers.common import cli
from trainers.common.tasks import UCI

NAMES = ("width", "the height", "y")
HEAVY = {"numpy", "tensorflow", "keras", "matplotlib", "scipy", "tqdm"}


def parse(*argv):
    return cli.parse_config(regression.Config, argv, module=regression.MODULE, description=None)


@pytest.fixture
def table(tmp_path):
    values = np.random.default_rng(0).normal(size=(40, 3))
    values[:, 2] += 3.0 * np.sin(values[:, 0])
    path = tmp_path / "my table.csv"
    np.savetxt(path, values, delimiter=";", header=";".join(NAMES), comments="")
    return str(path)


@pytest.fixture
def no_figures(monkeypatch):
    monkeypatch.setattr("asym_keras.plotting.learning_curves", lambda folder, **_: [])


def assert_run_is_of(dataset, folder):
    """The run's facts, and its risks by the saved model on the dataset's own arrays."""
    facts = read_json(folder / "config.json")["dataset"]
    assert facts == {
        "name": dataset.name,
        "source": dataset.source,
        "examples": [len(dataset.x_train), len(dataset.x_test)],
        "input_dim": dataset.input_dim,
        "outputs": 1,
        "fingerprint": dataset.fingerprint(),
        "preprocessing": dataset.preprocessing.to_dict(),
    }
    history = History.from_csv(folder / "history.csv")
    assert "train_accuracy" not in history[0]
    assert history[-1]["train_risk"] < history[0]["train_risk"]
    model = keras.models.load_model(folder / "model.keras", safe_mode=True)
    for part in ("train", "test"):
        predictions = model(getattr(dataset, f"x_{part}")).numpy().astype("float64")
        risk = np.mean((predictions - getattr(dataset, f"y_{part}")) ** 2)
        assert history[-1][f"{part}_risk"] == pytest.approx(risk, rel=1e-5)


@pytest.mark.usefixtures("no_figures")
def test_uci_set_is_read_from_the_data_folder(tmp_path, shared_data, monkeypatch):
    monkeypatch.setenv("ASYM_KERAS_DATA_DIR", str(shared_data))
    flags = ["--dataset", "energy", "--gamma", "0.5", "--out-dir", str(tmp_path / "run")]
    (metrics,) = regression.main([*SMALL, *flags])
    dataset = datasets.load_uci("energy", data_dir=shared_data)
    assert_run_is_of(dataset, tmp_path / "run")
    assert (metrics["gamma"], metrics["step"]) == (0.5, 50)


@pytest.mark.usefixtures("no_figures")
def test_own_table_names_the_folder(tmp_path, table, monkeypatch):
    monkeypatch.chdir(tmp_path)
    flags = ["--data", table, "--target", "y", "--solver", "descent"]
    regression.main([*SMALL, *flags])
    folder = tmp_path / "runs" / "my table-paper-g0-a0.4-m20-descent-s0"
    assert_run_is_of(datasets.load_table(table, target="y"), folder)


def test_settings():
    config = parse("--dataset", "plant")
    assert (config.task(), config.steps, config.solver) == ("plant", 100_000, "flow")
    authors = parse("--dataset", "plant", "--protocol", "authors", "--pairs", "all")
    assert authors.scaling_pairs() == [(1.0, 0.4), (0.5, 0.7), (0.2, 0.5), (0.0, 0.4)]
    assert (config.ntg_count(3827), authors.ntg_count(3827)) == (500, 50)


def test_target_may_be_any_column_of_the_table(table):
    config = parse("--data", table, "--target", "the height")
    assert config.task() == "my table"
    expected = datasets.load_table(table, target="the height")
    assert config.load().fingerprint() == expected.fingerprint()


def test_sets_are_those_of_the_library():
    assert UCI == tuple(uci._SETS)


WANTED = (
    "expected --dataset {concrete,energy,airfoil,plant}, --data FILE.csv --target COLUMN, or "
    "--data FILE.npz"
)


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        ([], f"{WANTED}, received neither."),
        (["--dataset", "energy", "--data", "TABLE", "--target", "y"], f"{WANTED}, received both."),
        (["--target", "y"], f"{WANTED}, received neither."),
        (["--dataset", "wine"], "--dataset: invalid choice: 'wine'"),
        (["--dataset", "energy", "--target", "y"], "--target: expected --data FILE.csv with it"),
        (
            ["--data", "none.csv"],
            "--data: expected a CSV or .npz file, received no such file: none.csv.",
        ),
        (["--data", "TABLE"], "(width, the height, y), received none."),
        (["--data", "TABLE", "--target", "Y"], "(width, the height, y), received 'Y'."),
        (["--dataset", "energy", "--classes"], "--classes: expected --data FILE.csv with it"),
        (["--dataset", "energy", "--gamma", "2"], "gamma"),
        (["--dataset", "energy", "--steps", "0"], "--steps: expected at least 1, received 0."),
    ],
)
def test_bad_flag_is_told_with_exit_code_2(argv, message, table, capsys):
    with pytest.raises(SystemExit) as caught:
        regression.main([table if flag == "TABLE" else flag for flag in argv])
    assert caught.value.code == 2
    assert message in capsys.readouterr().err


def test_bad_cell_and_missing_file_are_a_message_without_traceback(
    tmp_path, table, capsys, monkeypatch
):
    with open(table, "a", encoding="utf-8") as file:
        file.write("1;2;many\n")
    monkeypatch.setattr(uci, "_URL", "http://127.0.0.1:9/{}/data.csv")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv("ASYM_KERAS_DATA_DIR", raising=False)
    for flags, message in (
        (
            ["--data", table, "--target", "y"],
            "column 'y': expected finite numbers, received 'many'",
        ),
        (["--dataset", "airfoil"], "uci/airfoil.csv in a folder that ASYM_KERAS_DATA_DIR names"),
    ):
        with pytest.raises(SystemExit) as caught:
            regression.main([*SMALL, *flags, "--out-dir", str(tmp_path / "run")])
        assert caught.value.code == 1
        shown = capsys.readouterr().err
        assert shown.startswith("error: ")
        assert message in shown
        assert len(shown.splitlines()) == 1
    assert not (tmp_path / "run").exists()


def test_help_loads_nothing_heavy():
    script = (
        "import sys\nfrom trainers.regression import main\n"
        "try:\n    main(['--help'])\n"
        "finally:\n    print(*sys.modules, file=sys.stderr)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0
    assert not HEAVY & set(done.stderr.split())
    assert "python -m trainers.regression --dataset energy --gamma 0" in done.stdout
    for flag in ("--dataset {concrete,energy,airfoil,plant}", "--data FILE.csv", "--target COLUMN"):
        assert flag in done.stdout
    assert "(default: 100000)" in done.stdout


def test_arrays_of_an_npz_file_are_taken_as_they_are(tmp_path):
    from trainer_runs import small_data

    for kind in ("regression", "vectors"):
        data = parse("--data", small_data(tmp_path / f"{kind}.npz", kind=kind)).load()
        assert data.is_classification == (kind == "vectors")
        assert data.name == kind
    with pytest.raises(ValueError, match=r"--target: expected --data FILE\.csv with it"):
        regression.Config(data=str(tmp_path / "vectors.npz"), target="y")


def test_classes_of_a_table_are_text_or_asked_for(tmp_path):
    rows = [(i, i * i % 7, ("small", "large")[i > 9]) for i in range(20)]
    path = tmp_path / "table.csv"
    path.write_text("a,b,size\n" + "\n".join(f"{a},{b},{c}" for a, b, c in rows) + "\n")
    data = parse("--data", str(path), "--target", "size").load()
    assert data.preprocessing.classes == ("large", "small")
    assert data.is_classification
    path.write_text("a,b,size\n" + "\n".join(f"{a},{b},{len(c)}{a % 2}" for a, b, c in rows) + "\n")
    config = parse("--data", str(path), "--target", "size")
    assert not config.load().is_classification
    classes = dataclasses.replace(config, classes=True).load()
    assert classes.preprocessing.classes == ("50", "51")


def test_theory_refuses_classes_by_name(tmp_path):
    from trainers import theory

    path = tmp_path / "table.csv"
    path.write_text("a,b,size\n" + "".join(f"{i},{i % 3},{'ab'[i % 2]}\n" for i in range(20)))
    with pytest.raises(ValueError, match="expected a column of numbers, since the theorems"):
        theory.Config(data=str(path), target="size").load()
