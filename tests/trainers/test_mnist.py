"""The MNIST trainer from its flags to the files of the run folder."""

from __future__ import annotations

import csv
import functools
import importlib.metadata
import shlex

import keras
import numpy as np
import pytest
from trainer_runs import SMALL, parse, read_json

import asym_keras as ak
from asym_keras.training import History
from trainers import mnist
from trainers.common.config import settings_of

COLUMNS = [
    *("step", "time", "train_risk", "test_risk", "train_accuracy", "test_accuracy"),
    *("weight_change", "ntg_change", "ntg_min_eigenvalue", "gradients", "wall_seconds"),
]
OWN_COLUMNS = {"flow": ["solver_steps", "rejected_steps"], "descent": []}


@pytest.fixture(scope="module")
def dataset():
    return ak.datasets.load_mnist()


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Folder, metrics and flags of a run by each solver; made when first asked for."""

    @functools.cache
    def run(solver):
        folder = tmp_path_factory.mktemp("runs") / solver
        argv = [*SMALL, "--solver", solver, "--out-dir", str(folder)]
        with pytest.MonkeyPatch.context() as patch:
            if solver != "flow":  # whose figures are drawn by the same code
                patch.setattr("asym_keras.plotting.learning_curves", lambda folder, **_: [])
            (metrics,) = mnist.main(argv)
        return folder, metrics, argv

    return run


@pytest.fixture
def no_figures(monkeypatch):
    monkeypatch.setattr("asym_keras.plotting.learning_curves", lambda folder, **_: [])


@pytest.fixture(params=["flow", "descent"])
def run(request, runs):
    return runs(request.param)


def history_of(folder):
    return History.from_csv(folder / "history.csv")


def columns_but_clock(folder):
    history = history_of(folder)
    return {name: history.column(name) for name in history[0] if name != "wall_seconds"}


def assert_same_run(folder, other):
    for name, column in columns_but_clock(other).items():
        np.testing.assert_array_equal(history_of(folder).column(name), column)
    with np.load(folder / "nodes.npz") as one, np.load(other / "nodes.npz") as two:
        np.testing.assert_array_equal(one["node_weight_change"], two["node_weight_change"])


def test_folder_holds_all_files_of_the_design_and_no_other(run):
    folder, _, _ = run
    files = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    pruning = [
        f"pruning_{part}_{kind}" for part in ("train", "test") for kind in ("risk", "accuracy")
    ]
    panels = [*COLUMNS[2:9], *pruning, "learning_curves"]
    assert files == {
        *("config.json", "history.csv", "nodes.npz", "metrics.json", "model.keras"),
        *(f"figures/{name}.png" for name in panels if folder.name == "flow"),
        *("checkpoint/state.npz", "pruning.csv"),
    }


def test_config_tells_all_that_the_numbers_depend_on(run, dataset):
    folder, _, argv = run
    config = read_json(folder / "config.json")
    assert config["config"] == settings_of(parse(*argv))  # flags that came later, where they differ
    assert config["config"]["rtol"] == 0.01  # resolved: defaults are there, too
    assert config["command"] == shlex.join(["python", "-m", "trainers.mnist", *argv])
    assert config["device"].startswith(("CPU (", "GPU ("))
    for name in ("tensorflow", "keras", "numpy", "scipy"):
        assert config["versions"][name] == importlib.metadata.version(name)
    assert config["versions"]["asym_keras"] == ak.__version__
    assert config["dataset"] == {
        "name": "mnist",
        "source": dataset.source,
        "examples": [5000, 5000],
        "input_dim": 784,
        "outputs": 10,
        "fingerprint": dataset.fingerprint(),
        "preprocessing": dataset.preprocessing.to_dict(),
    }


def test_history_has_the_columns_of_the_design_in_their_order(run):
    folder, _, _ = run
    with open(folder / "history.csv", newline="", encoding="utf-8") as file:
        header = next(csv.reader(file))
    assert header == [*COLUMNS, *OWN_COLUMNS[folder.name]]
    # (0, 1/3, 2/3, 1) cubed times 50 steps
    np.testing.assert_array_equal(history_of(folder).column("step"), [0, 2, 15, 50])
    np.testing.assert_array_equal(history_of(folder).column("time"), [0, 2, 15, 50])


def test_first_row_is_of_the_network_at_its_initial_weights(run, dataset):
    folder, _, _ = run
    row = history_of(folder)[0]
    model = ak.shallow_network(784, 10, width=20, gamma=0.0, alpha=0.4, seed=0)
    predictions = model(dataset.x_train).numpy()
    risk = np.mean((predictions.astype("float64") - dataset.y_train) ** 2)
    assert row["train_risk"] == pytest.approx(risk, rel=1e-6)
    assert row["train_accuracy"] == np.mean(predictions.argmax(1) == dataset.labels_train)
    assert row["weight_change"] == row["ntg_change"] == 0.0
    ntg = ak.empirical_ntg(model, dataset.x_train[:5], dtype="float64").numpy()
    assert row["ntg_min_eigenvalue"] == pytest.approx(np.linalg.eigvalsh(ntg)[0], rel=1e-9)


def test_nodes_hold_the_changes_of_each_node(run):
    folder, _, _ = run
    with np.load(folder / "nodes.npz", allow_pickle=False) as file:
        nodes = file["node_weight_change"]
        np.testing.assert_array_equal(file["step"], [0, 2, 15, 50])
    assert nodes.shape == (4, 20)
    np.testing.assert_array_equal(nodes.max(1), history_of(folder).column("weight_change"))


def test_saved_model_has_the_recorded_risks(run, dataset):
    folder, metrics, _ = run
    model = keras.models.load_model(folder / "model.keras", safe_mode=True)
    last = history_of(folder)[-1]
    for part in ("train", "test"):
        x, y = getattr(dataset, f"x_{part}"), getattr(dataset, f"y_{part}")
        predictions = model.predict(x, batch_size=1000, verbose=0).astype("float64")
        assert last[f"{part}_risk"] == pytest.approx(np.mean((predictions - y) ** 2), rel=1e-6)
        hits = predictions.argmax(1) == getattr(dataset, f"labels_{part}")
        assert last[f"{part}_accuracy"] == pytest.approx(hits.mean(), abs=2e-4)  # a tie may turn
        assert metrics[f"{part}_risk"] == last[f"{part}_risk"]
    assert last["test_risk"] < 0.5 * history_of(folder)[0]["test_risk"]


def test_metrics_are_the_last_row_and_what_the_run_was(run):
    folder, metrics, _ = run
    assert read_json(folder / "metrics.json") == metrics
    last = history_of(folder)[-1]
    assert {name: metrics[name] for name in last} == last
    assert (metrics["gamma"], metrics["alpha"], metrics["seed"]) == (0.0, 0.4, 0)
    assert metrics["total_seconds"] >= metrics["wall_seconds"] - 0.1
    assert 0.1 < metrics["peak_memory_gb"] < 100


def test_figures_are_png(runs):
    for path in (runs("flow")[0] / "figures").iterdir():
        assert path.read_bytes().startswith(b"\x89PNG\r\n\x1a\n")


class InterruptAt:
    """Stands for a probe's call, and for Ctrl-C in its call of index `call`."""

    def __init__(self, original, call):
        self.original, self.left = original, call

    def __call__(self, probe, model):
        self.left -= 1
        if self.left < 0:
            raise KeyboardInterrupt
        return self.original(probe, model)


@pytest.mark.slow
@pytest.mark.usefixtures("no_figures")
def test_interrupted_run_goes_on_with_the_command_shown(runs, tmp_path, capsys, monkeypatch):
    folder, _, argv = runs("flow")  # the one with more of a state
    argv = [*argv[:-1], str(tmp_path / "my run")]
    probe = ak.training.WeightChange
    interrupt = InterruptAt(probe.__call__, 2)
    with monkeypatch.context() as patch:
        patch.setattr(probe, "__call__", lambda self, model: interrupt(self, model))
        with pytest.raises(SystemExit) as caught:
            mnist.main(argv)
    assert caught.value.code == 130
    assert not (tmp_path / "my run" / "metrics.json").exists()
    command = capsys.readouterr().err.splitlines()[-1]
    python, option, module, *rest = shlex.split(command)
    assert (python, option, module) == ("python", "-m", "trainers.mnist")
    assert rest == [*argv, "--resume"]
    mnist.main(rest)
    assert_same_run(tmp_path / "my run", folder)


@pytest.mark.slow
@pytest.mark.usefixtures("no_figures")
def test_jacobian_ntg_equals_the_closed_form(runs, tmp_path):
    mnist.main([*SMALL, "--ntg-method", "jacobian", "--out-dir", str(tmp_path / "run")])
    closed, jacobian = columns_but_clock(runs("flow")[0]), columns_but_clock(tmp_path / "run")
    assert closed["ntg_change"][-1] > 0.01
    for name, column in closed.items():
        # The columns of the NTG to float32, all others bit for bit.
        tolerance = {"rtol": 1e-4, "atol": 1e-6} if name.startswith("ntg_") else {"rtol": 0}
        np.testing.assert_allclose(jacobian[name], column, **tolerance)


@pytest.mark.slow
@pytest.mark.usefixtures("no_figures")
def test_float64_gives_a_float64_model_and_nearly_the_same_numbers(runs, tmp_path):
    folder, _, argv = runs("descent")
    mnist.main([*argv[:-1], str(tmp_path / "run"), "--dtype", "float64"])
    model = keras.models.load_model(tmp_path / "run" / "model.keras", safe_mode=True)
    assert model.get_layer("asym_scaled_dense").kernel.dtype == "float64"
    single, double = (history_of(f).column("train_risk") for f in (folder, tmp_path / "run"))
    np.testing.assert_allclose(single, double, rtol=1e-4)
    assert (single != double).all()
