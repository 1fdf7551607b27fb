"""The paper's figures: what runs they need, which are missing, and what is drawn."""

from __future__ import annotations

import csv
import dataclasses
import shlex

import numpy as np
import pytest
from synthetic_runs import height, write_json, write_run_of

from asym_keras.runs import load_run
from trainers import figures, simulated
from trainers.common import batch, cli
from trainers.common.config import PAIRS
from trainers.figures import runs as figure_runs

FLAGS = ("--protocol", "authors", "--seeds", "2", "--width", "20", "--quiet")
NEEDS = {  # figure -> tasks and the tables drawn of each
    1: {"simulated": ""},
    2: {"concrete": "", "energy": "", "airfoil": "pruning", "plant": "transfer"},
    3: {"mnist": "pruning transfer"},
    4: {"cifar10": "pruning"},
    5: {},
    6: {"concrete": "pruning transfer"},
    7: {"energy": "pruning transfer"},
    8: {"airfoil": "pruning transfer"},
    9: {"plant": "pruning transfer"},
    10: {"mnist": "pruning transfer"},
    11: {"cifar10": "pruning"},
}


@pytest.fixture
def places(tmp_path):
    return ["--runs", str(tmp_path / "runs"), "--out", str(tmp_path / "figures")]


@pytest.fixture
def no_runs(monkeypatch):
    """Collects the batches that would be run, and runs none."""
    batches = []
    monkeypatch.setattr(batch, "run_all", lambda config, command: batches.append((config, command)))
    return batches


def parse(*argv):
    return cli.parse_config(figures.Config, [*argv], module="m", description=None)


def experiments(number, places, *argv):
    return figure_runs.experiments(number, parse(*FLAGS, *places, *argv))


def features_file(tmp_path):
    np.savez(tmp_path / "features.npz", x_train=np.zeros((2, 3)))
    return str(tmp_path / "features.npz")


def fill(experiment, **options):
    """Writes all runs of an experiment."""
    config = experiment.config
    for run, path in zip(config.runs(), batch.run_paths(config), strict=True):
        write_run_of(run, path, **options)


def exit_code(argv):
    with pytest.raises(SystemExit) as exit_:
        figures.main(argv)
    return exit_.value.code


@pytest.mark.parametrize("number", NEEDS)
def test_experiments_of_each_figure(number, places, tmp_path):
    made = experiments(number, places, "--features", features_file(tmp_path))
    assert [experiment.task for experiment in made] == [*NEEDS[number]]
    for experiment in made:
        config = experiment.config
        tables = {*NEEDS[number][experiment.task].split(), "history"}
        assert {*experiment.files} == {"metrics.json", "nodes.npz", *(f"{t}.csv" for t in tables)}
        assert (config.protocol, config.width, config.resume) == ("authors", 20, True)
        assert config.task() == experiment.task
        assert config.rtol == config.atol == 1e-2
        assert config.transfer == (experiment.task not in ("simulated", "cifar10"))
        expected = list(PAIRS["authors"])
        if number == 11:
            expected = [(gamma, 0.4) for gamma in (0.0, 0.25, 0.5, 0.75, 1.0)]
        assert config.scaling_pairs() == expected
        paths = experiment.pairs()
        assert [len(group) for group in paths] == [2] * len(expected)
        folder = tmp_path / "runs" / experiment.task
        solver = "descent" if experiment.task == "cifar10" else "flow"
        gamma, alpha = expected[0]
        assert paths[0][1] == folder / (
            f"{experiment.task}-authors-g{gamma:g}-a{alpha:g}-m20-{solver}-s1"
        )


def test_command_makes_the_same_runs(places):
    (experiment,) = experiments(1, places, "--steps", "30")
    again = cli.parse_config(simulated.Config, experiment.command(), module="m", description=None)
    assert again == dataclasses.replace(experiment.config, quiet=False)
    assert experiment.text().startswith("python -m trainers.simulated --width 20 ")
    assert shlex.split(experiment.text())[3:] == experiment.command()


def test_runs_that_are_there_are_drawn(places, tmp_path, no_runs, capsys):
    (experiment,) = experiments(1, places)
    fill(experiment, pruning=False)
    drawn = figures.main(["--figure", "1", *FLAGS, *places])
    assert no_runs == []
    assert drawn == [tmp_path / "figures" / "figure_01.png"]
    assert drawn[0].read_bytes().startswith(b"\x89PNG")
    assert str(drawn[0]) in capsys.readouterr().out
    with open(tmp_path / "figures" / "figure_01.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    last = [row for row in rows if (row["panel"], row["x"]) == ("ntg_change", "100.0")]
    assert [(float(r["gamma"]), float(r["alpha"])) for r in last] == [*PAIRS["authors"]]
    for row in last:  # the root of the spectral norm, over seeds 0 and 1
        sizes = [height(float(row["gamma"]), seed) for seed in (0, 1)]
        assert float(row["mean"]) == pytest.approx(np.mean(sizes), rel=1e-12)
        assert float(row["std"]) == pytest.approx(0.25 / np.sqrt(2), rel=1e-9)
        assert (row["task"], row["runs"]) == ("simulated", "2")


def test_missing_runs_are_made_and_only_then_drawn(places, tmp_path, monkeypatch):
    (experiment,) = experiments(1, places)
    paths = batch.run_paths(experiment.config)
    write_run_of(experiment.config.runs()[0], paths[0])
    batches = []

    def run_all(config, command):
        batches.append((config, command))
        for run, path in zip(config.runs()[1:], paths[1:], strict=True):
            write_run_of(run, path)

    monkeypatch.setattr(batch, "run_all", run_all)
    assert experiment.missing() == paths[1:]
    assert len(figures.main(["--figure", "1", *FLAGS, *places])) == 1
    assert batches == [(experiment.config, experiment.text())]


def test_dry_run_lists_each_missing_run_once(places, tmp_path, no_runs, capsys):
    features = ["--features", features_file(tmp_path)]
    (experiment,) = experiments(8, places)
    fill(experiment, pruning=True, transfer=False)
    figures.main(["--figure", "all", "--dry-run", *FLAGS, *places, *features])
    printed = capsys.readouterr().out
    # 8 of each task, but of airfoil only those that lack a transfer curve, for Figure 8; of
    # CIFAR-10 3 pairs more for Figure 11, which shares gamma 0 and 1 with Figure 4.
    heads = [li for li in printed.splitlines() if li.startswith("figure")]
    assert heads == [
        "figure 1, simulated: 8 of 8 runs missing",
        *(f"figure 2, {task}: 8 of 8 runs missing" for task in ("concrete", "energy", "plant")),
        "figure 3, mnist: 8 of 8 runs missing",
        "figure 4, cifar10: 8 of 8 runs missing",
        "figure 8, airfoil: 8 of 8 runs missing",
        "figure 11, cifar10: 6 of 10 runs missing",
    ]
    assert printed.endswith("\n62 runs missing\n")
    assert experiment.text() in printed
    assert no_runs == []
    assert not (tmp_path / "figures").exists()


def test_a_figure_that_fails_does_not_stop_the_others(
    places, tmp_path, monkeypatch, caplog, capsys
):
    """No features, batches that fail, runs without their tables: Figures 1 and 5 are drawn."""
    (experiment,) = experiments(1, places)
    fill(experiment)
    tried = []

    def run_all(config, _):
        tried.append(config.task())
        if config.task() == "mnist":
            return
        raise batch.RunsFailed("told by the batch")

    monkeypatch.setattr(batch, "run_all", run_all)
    assert exit_code(["--figure", "all", *FLAGS, *places]) == 1
    assert {path.name for path in (tmp_path / "figures").glob("*.png")} == {
        "figure_01.png",
        "figure_05.png",
    }
    # Figure 2 ends with its first task, and what failed there is not run again for Figure 6.
    assert tried == ["concrete", "mnist", "energy", "airfoil", "plant"]
    assert "figure 2: told by the batch" in caplog.text
    assert "figure 6: told by the batch" in caplog.text
    assert "figure 3: expected metrics.json, nodes.npz" in caplog.text
    assert "figure 4: expected a file with features of CIFAR-10, received none" in caplog.text
    error = capsys.readouterr().err
    assert "figures that failed: 2, 3, 4, 6, 7, 8, 9, 10, 11" in error


def test_runs_with_other_settings_are_not_drawn(places, no_runs, caplog):
    (experiment,) = experiments(1, places, "--steps", "30")
    fill(experiment)
    assert exit_code(["--figure", "1", "--steps", "40", *FLAGS, *places]) == 1
    assert "steps (30 there, 40 here)" in caplog.text
    assert no_runs == []


def test_title_says_which_features_and_settings(places, tmp_path, no_runs, monkeypatch):
    from asym_keras import plotting

    titles = []
    monkeypatch.setattr(plotting, "paper_figure", lambda *a, title, **k: titles.append(title))
    features = ["--features", features_file(tmp_path)]
    (experiment,) = experiments(11, places, *features)
    fill(experiment, accuracies=True)
    figures.main(["--figure", "11", *FLAGS, *places, *features])
    figures.main(["--figure", "11", "--titles", *FLAGS, *places, *features])
    assert titles == [
        "",
        "Figure 11: cifar10 (features: features.npz)\nprotocol authors, m = 20, 2 seeds",
    ]


def test_published_curves_are_drawn(places, tmp_path, no_runs, monkeypatch, reference):
    from matplotlib.figure import Figure

    saved = []
    monkeypatch.setattr(
        Figure, "savefig", lambda self, path, **k: (saved.append(self), path.touch())
    )
    (experiment,) = experiments(1, places)
    fill(experiment)
    figures.main(["--figure", "1", *FLAGS, *places, "--reference", str(reference)])
    for axis in saved[0].axes:
        crossed = [li for li in axis.lines if li.get_marker() == "x"]
        assert (len(axis.lines), len(crossed)) == (8, 4)
        assert all(line.get_xdata()[-1] == 50_000 for line in crossed)


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--figure", "12"], "invalid choice"),
        (["--seeds", "0"], "--seeds: expected at least 1, received 0"),
        (["--features", "nowhere.npz"], "--features: expected a file, received no such file"),
        (["--reference", "nowhere.json", "--protocol", "authors"], "received no such file"),
        (["--reference", __file__], "--reference: expected --protocol authors"),
    ],
)
def test_bad_flags(argv, message, capsys):
    assert exit_code(argv) == 2
    assert message in capsys.readouterr().err


def test_bad_reference_is_told_before_anything_is_run(places, tmp_path, no_runs, capsys):
    write_json(tmp_path / "r.json", {"simulated": 1})
    reference = ["--reference", str(tmp_path / "r.json")]
    assert exit_code(["--figure", "1", *FLAGS, *places, *reference]) == 1
    assert "expected a file of published curves" in capsys.readouterr().err
    assert no_runs == []


def test_interruption_says_how_to_go_on(places, monkeypatch, capsys):
    def run_all(config, _):
        raise KeyboardInterrupt

    monkeypatch.setattr(batch, "run_all", run_all)
    assert exit_code(["--figure", "1", *FLAGS, *places]) == 130
    told = capsys.readouterr().err
    assert "interrupted; go on with:\n  python -m trainers.figures --figure 1" in told
    assert "--resume" not in told


@pytest.mark.slow
def test_figure_1_from_nothing(places, tmp_path):
    """The command on its own: trains, draws, and the second time only draws."""
    argv = ["--figure", "1", "--seeds", "1", "--width", "10", "--steps", "20", "--quiet", *places]
    (path,) = figures.main(argv)
    runs = sorted((tmp_path / "runs" / "simulated").iterdir())
    assert len(runs) == 4
    run = load_run(runs[0])
    assert run.finished
    assert run.config["steps"] == 20
    assert run.facts["command"].startswith("python -m trainers.simulated --width 10 --steps 20 ")
    assert run.nodes["node_weight_change"].shape == (len(run.history), 10)
    assert run.load_model().count_params() == 50 * 10 + 10 + 10
    with open(path.with_suffix(".csv"), newline="") as file:
        rows = list(csv.DictReader(file))
    of = [r for r in rows if r["panel"] == "train_risk" and float(r["gamma"]) == 0.0]
    risks = load_run(runs[0]).history.column("train_risk")
    np.testing.assert_allclose([float(r["mean"]) for r in of], risks, rtol=1e-12)
    times = {p: p.stat().st_mtime_ns for p in tmp_path.glob("runs/**/*.*")}
    first = path.stat().st_mtime_ns
    figures.main(argv)
    assert {p: p.stat().st_mtime_ns for p in times} == times
    assert path.stat().st_mtime_ns > first
