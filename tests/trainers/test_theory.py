"""The theory command from its flags to the files of its folder."""

from __future__ import annotations

import contextlib
import io
import json
import math
import shlex

import keras
import numpy as np
import pytest
from trainer_runs import read_json, small_data

import asym_keras as ak
from asym_keras import plotting
from asym_keras.ntg import kappa_n, split_ntg
from asym_keras.theory import GlobalConvergence, check_assumptions
from asym_keras.training import History
from trainers import theory

WIDTH = 200
SMALL = ("--width", "30", "--records", "4", "--draws", "5", "--quiet")
FILES = {
    *("config.json", "history.csv", "nodes.npz", "theory.json", "theory.txt", "model.keras"),
    *("figures/theory.png", "checkpoint/state.npz"),
}


def run(folder, *argv):
    return theory.main([*SMALL, "--out-dir", str(folder), *argv])


def by_key(content):
    return {row["key"]: row for row in content["rows"]}


def error_of(capsys, folder, *argv):
    with pytest.raises(SystemExit) as caught:
        run(folder, *argv)
    assert caught.value.code == 1
    return capsys.readouterr().err


ORTHOGONAL = ("--dataset", "orthogonal", "--activation", "tanh", "--gamma", "1")
ORTHOGONAL += ("--records", "6", "--draws", "40", "--quiet")


@pytest.fixture
def no_figures(monkeypatch):
    monkeypatch.setattr(plotting, "theory_bounds", lambda folder, **_: folder)


@pytest.fixture(scope="module")
def tanh(tmp_path_factory):
    """A run with every bound: its folder, its content, its flags, what it printed."""
    folder = tmp_path_factory.mktemp("runs") / "tanh"
    argv = [*ORTHOGONAL, "--width", str(WIDTH), "--out-dir", str(folder)]
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        content = theory.main(argv)
    return folder, content, argv, printed.getvalue()


@pytest.mark.slow
@pytest.mark.usefixtures("no_figures")
@pytest.mark.drill
def test_theorem_4_2_is_met_and_every_bound_holds(tmp_path):
    content = theory.main([*ORTHOGONAL, "--width", "3400", "--out-dir", str(tmp_path / "run")])
    rows = by_key(content)
    assert {rows[k]["verdict"] for k in ("width_c1", "width_convergence")} == {"met"}
    assert {rows[k]["verdict"] for k in ("c1", "a", "b", "c", "d")} == {"holds"}
    assert "within" in rows["ntg_deviation"]["verdict"]
    assert content["assumptions"]["holds"]


def test_folder_holds_its_files_and_what_was_printed(tanh):
    folder, content, argv, printed = tanh
    files = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    assert files == FILES
    assert read_json(folder / "theory.json") == content
    text = (folder / "theory.txt").read_text(encoding="utf-8")
    assert printed == f"{text}{folder}\n"
    assert content["assumptions"]["text"] in text
    assert read_json(folder / "config.json")["command"] == shlex.join(
        ["python", "-m", "trainers.theory", *argv]
    )


def test_numbers_are_those_of_direct_calls(tanh):
    folder, content, *_ = tanh
    data = ak.datasets.load_orthogonal()
    x = data.x_train.astype("float64")
    x /= np.linalg.norm(x, axis=1).max()
    bound = GlobalConvergence.from_data(x, data.y_train, gamma=1.0, delta=0.1, activation="tanh")
    rows, history = by_key(content), History.from_csv(folder / "history.csv")
    assert content["end_time"] == math.ceil(5 / bound.rate) == history[-1]["time"]
    assert content["input_divisor"] == pytest.approx(1.0, rel=1e-6)
    model = ak.shallow_network(
        1000, width=WIDTH, gamma=1.0, alpha=0.4, activation="tanh", seed=0, dtype="float64"
    )
    layer = model.get_layer("asym_scaled_dense")
    expected = {
        "kappa_n": np.linalg.eigvalsh(ak.empirical_ntg(model, x))[0],
        "c1": np.linalg.eigvalsh(split_ntg(layer, x)[0])[0],
        "a": history.column("ntg_min_eigenvalue").min(),
        "d": history.column("ntg_change").max(),
    }
    assert {k: rows[k]["measured"] for k in expected} == pytest.approx(expected, rel=1e-9)
    risks = history.column("train_risk")
    assert risks[0] == pytest.approx(np.mean((model(x).numpy() - data.y_train) ** 2), rel=1e-9)
    ratios = risks[1:] / bound.risk(history.column("time")[1:], risks[0])
    assert rows["b"]["measured"] == pytest.approx(ratios.max(), rel=1e-9)
    with np.load(folder / "nodes.npz") as file:
        np.testing.assert_allclose(file["scalings"], 1 / WIDTH)
        np.testing.assert_allclose(
            file["weight_change_bound"], bound.weight_change(file["scalings"])
        )
        share = (file["node_weight_change"] / file["weight_change_bound"]).max()
    assert rows["c"]["measured"] == pytest.approx(share, rel=1e-9)
    trained = keras.models.load_model(folder / "model.keras", safe_mode=True)
    assert np.mean((trained(x).numpy() - data.y_train) ** 2) == pytest.approx(risks[-1], rel=1e-6)


def test_figure_shows_run_and_bounds(tanh, monkeypatch):
    from matplotlib.figure import Figure

    folder, content, *_ = tanh
    figures = []
    monkeypatch.setattr(
        Figure, "savefig", lambda self, path, **kw: (figures.append(self), path.touch())
    )
    before = (folder / "figures" / "theory.png").read_bytes()
    assert before.startswith(b"\x89PNG")
    assert list(plotting.theory_bounds(folder)) == figures[0].axes
    (folder / "figures" / "theory.png").write_bytes(before)
    history, rows = History.from_csv(folder / "history.csv"), by_key(content)
    columns = ("train_risk", "ntg_min_eigenvalue", "ntg_change")
    bounds = (None, rows["a"]["theory"], rows["d"]["theory"])
    axes = figures[0].axes
    for axis, column, bound in zip(axes[:3], columns, bounds, strict=True):
        line, dashed = axis.lines
        np.testing.assert_array_equal(line.get_xdata(), history.column("time")[1:])
        np.testing.assert_array_equal(line.get_ydata(), history.column(column)[1:])
        if bound is not None:
            np.testing.assert_array_equal(dashed.get_ydata(), bound)
    risks, risk_bound = (line.get_ydata() for line in axes[0].lines)
    assert (risks / risk_bound).max() == pytest.approx(rows["b"]["measured"])
    assert risk_bound[-1] == pytest.approx(math.exp(-5) * history[0]["train_risk"], rel=1e-3)
    with np.load(folder / "nodes.npz") as file:
        np.testing.assert_array_equal(axes[3].lines[0].get_ydata(), file["node_weight_change"][-1])
        np.testing.assert_array_equal(axes[3].lines[1].get_ydata(), file["weight_change_bound"])
    assert [a.get_legend().get_texts()[1].get_text() for a in axes] == [
        f"bound ({k}), not promised" for k in "badc"
    ]


def test_finished_run_is_shown_again_on_resume(tanh, capsys, monkeypatch):
    _, content, argv, printed = tanh
    monkeypatch.setattr("trainers.theory.run._train", lambda *_: pytest.fail("trained"))
    assert theory.main([*argv, "--resume"]) == content
    assert capsys.readouterr().out == printed
    with pytest.raises(SystemExit):
        theory.main(argv)
    assert "--resume, --overwrite or another --out-dir" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.usefixtures("no_figures")
def test_interrupted_run_goes_on(tmp_path, capsys, monkeypatch):
    flags = ["--dataset", "simulated", "--examples", "6", "--steps", "40", "--activation", "tanh"]
    expected = run(tmp_path / "whole", *flags)
    probe, left = ak.training.WeightChange, iter([1, 1])
    original = probe.__call__

    def interrupted(self, model):
        if next(left, None) is None:
            raise KeyboardInterrupt
        return original(self, model)

    with monkeypatch.context() as patch:
        patch.setattr(probe, "__call__", interrupted)
        with pytest.raises(SystemExit) as caught:
            run(tmp_path / "run", *flags)
    assert caught.value.code == 130
    assert capsys.readouterr().err.rstrip().endswith("--resume")
    assert not (tmp_path / "run" / "theory.json").exists()
    assert run(tmp_path / "run", *flags, "--resume") == expected


@pytest.mark.slow
@pytest.mark.usefixtures("no_figures")
def test_own_data_gamma_zero_and_another_target(tmp_path):
    data = small_data(tmp_path / "mine.npz")
    flags = ["--data", data, "--gamma", "0", "--target", "2", "--examples", "5", "--steps", "9"]
    content = run(tmp_path / "run", *flags, "--dtype", "float32")
    dataset = ak.datasets.load_npz(data)
    x = dataset.x_train[:5].astype("float64")
    largest = np.linalg.norm(x, axis=1).max()
    rows = by_key(content)
    assert content["input_divisor"] == pytest.approx(largest)
    assert rows["kappa_n"]["theory"] == pytest.approx(kappa_n(x / largest), rel=1e-4)
    assert rows["width_convergence"]["theory"] == "inf"
    text = (tmp_path / "run" / "theory.json").read_text(encoding="utf-8")
    json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    assert rows["a"] == {**rows["a"], "theory": None, "verdict": "no bound: gamma = 0"}
    history = History.from_csv(tmp_path / "run" / "history.csv")
    assert history[-1]["time"] == 9
    model = ak.shallow_network(6, width=30, gamma=0.0, alpha=0.4, seed=0)
    f = model((x / largest).astype("float32")).numpy()[:, 0]
    expected = np.mean((f - dataset.y_train[:5, 2]) ** 2)
    assert history[0]["train_risk"] == pytest.approx(expected, rel=1e-5)


def duplicates(path, *, zero=False):
    x = np.eye(4, 3, dtype="float32") * (0 if zero else 3)
    x[3] = x[0]
    np.savez(path, x_train=x, y_train=x.sum(1), x_test=x, y_test=x.sum(1))
    return str(path)


@pytest.mark.usefixtures("no_figures")
@pytest.mark.slow
def test_duplicates_are_named_and_leave_no_bound(tmp_path):
    data = duplicates(tmp_path / "twice.npz")
    content = run(tmp_path / "run", "--data", data, "--scale", "max")
    rows = by_key(content)
    assert "(0, 3) duplicate" in content["assumptions"]["text"]
    assert rows["kappa_n"]["theory"] == 0.0
    assert rows["d"]["verdict"] == "no bound: kappa_n = 0"
    assert content["input_divisor"] == 3.0


@pytest.mark.slow
@pytest.mark.usefixtures("no_figures")
def test_inputs_as_they_are_may_break_the_assumption(tmp_path):
    data = duplicates(tmp_path / "long.npz")
    content = run(tmp_path / "run", "--data", data, "--scale", "none", "--steps", "5")
    x = ak.datasets.load_npz(data).x_train
    assert content["assumptions"]["text"] == str(check_assumptions(x, x.sum(1)))
    assert "Assumption 2.1(a) fails" in by_key(content)["a"]["verdict"]
    assert content["input_divisor"] == 1.0


@pytest.mark.filterwarnings("ignore:You are using a softmax over axis")  # of one number
@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--target", "1"], "--target: expected a column from 0 to 0 of bad, received 1."),
        (["--activation", "softmax"], "--activation: expected an elementwise activation of Keras"),
        (["--activation", "typo"], "received 'typo'"),
        ([], "expected inputs other than zero in the first 4 examples of bad"),
    ],
)
def test_bad_data_and_activation_are_told_before_training(
    argv, message, tmp_path, capsys, monkeypatch
):
    monkeypatch.setattr("asym_keras.training.train", lambda *a, **k: pytest.fail("trained"))
    data = duplicates(tmp_path / "bad.npz", zero=not argv)
    assert message in error_of(capsys, tmp_path / "run", "--data", data, *argv)
    assert not (tmp_path / "run").exists()
