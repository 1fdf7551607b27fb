"""The paper's figures with a refitted readout beside the plain pruning curves."""

from __future__ import annotations

import shutil

import pytest
from matplotlib.figure import Figure
from synthetic_runs import write_run_of

from trainers import figures
from trainers.common import batch, cli
from trainers.figures import runs as figure_runs

FLAGS = ("--protocol", "authors", "--seeds", "1", "--width", "20", "--quiet")


def experiments(number, *argv):
    config = cli.parse_config(figures.Config, [*FLAGS, *argv], module="m", description=None)
    return figure_runs.experiments(number, config)


def fill(experiment, **options):
    """Writes all runs of an experiment."""
    config = experiment.config
    for run, path in zip(config.runs(), batch.run_paths(config), strict=True):
        write_run_of(run, path, **options)


def test_refits_are_made_where_pruning_is_drawn_and_they_are_not_there(tmp_path, monkeypatch):
    monkeypatch.setattr(Figure, "savefig", lambda self, path, **kwargs: path.touch())
    places = ["--runs", str(tmp_path / "runs"), "--out", str(tmp_path / "figures")]
    assert not any(e.config.refit for n in (2, 8) for e in experiments(n, *places))
    asked = {e.task: e.config.refit for e in experiments(2, *places, "--refit")}
    assert asked == {"concrete": False, "energy": False, "airfoil": True, "plant": False}
    (experiment,) = experiments(8, *places, "--refit")
    fill(experiment, transfer=True)
    assert "--refit" in experiment.command()
    paths = batch.run_paths(experiment.config)
    assert experiment.missing() == paths
    assert experiment.lacking(paths[0]) == ["pruning.csv with refits"]

    def run_all(config, _):
        for path in paths:
            shutil.rmtree(path)
        fill(experiment, transfer=True, refit=True)

    monkeypatch.setattr(batch, "run_all", run_all)
    figures.main(["--figure", "8", "--refit", *FLAGS, *places])
    table = (tmp_path / "figures" / "figure_08.csv").read_text(encoding="utf-8")
    assert table.count("pruning_test_risk_refit") == 4 * 21
    assert experiment.missing() == []
    # The same runs without the flag: the paper's figure.
    monkeypatch.setattr(batch, "run_all", lambda *a, **k: pytest.fail("ran"))
    figures.main(["--figure", "8", *FLAGS, *places])
    assert "_refit" not in (tmp_path / "figures" / "figure_08.csv").read_text(encoding="utf-8")
