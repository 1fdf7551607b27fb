"""The studies beyond the paper: flags, rates, probes, and small runs of each."""

from __future__ import annotations

import csv
import types

import numpy as np
import pytest
from trainer_runs import refuses_an_earlier_version

import asym_keras as ak
from asym_keras.pruning import prune
from trainers import beyond
from trainers.beyond import budget as beyond_budget
from trainers.beyond import one_training as beyond_one_training
from trainers.beyond.long_time import late_rate
from trainers.common import cli
from trainers.common.folder import RunFolder

IMAGES = np.random.default_rng(0).uniform(size=(30, 784)).astype("float32")
LABELS = np.arange(30) % 10


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ([], "--study: expected one of long-time, budget, one-training, received none"),
        (["--study", "budget", "--width", "10"], "--width: expected at least 200, received 10"),
        (["--study", "budget", "--jobs", "0"], "--jobs: expected at least 1, received 0"),
    ],
)
def test_bad_flags(flags, message, capsys):
    with pytest.raises(SystemExit) as exit_:
        beyond.main(flags)
    assert exit_.value.code == 2
    assert message in capsys.readouterr().err


def test_late_rate_is_that_of_an_exponential():
    time = np.linspace(0.0, 100.0, 201)
    # A fast part that is gone where the rate is read, and what rounding leaves at the end.
    risk = 5.0 * np.exp(-0.3 * time) + 2.0 * np.exp(-4.0 * time) + 1e-30
    assert late_rate(time, risk) == pytest.approx(0.3, rel=1e-6)
    assert np.isnan(late_rate(time[:3], np.ones(3)))


def test_pruned_accuracies_are_those_of_pruned_models():
    targets = np.eye(10, dtype="float32")[LABELS]
    data = types.SimpleNamespace(
        x_train=IMAGES,
        y_train=targets,
        labels_train=LABELS,
        x_test=IMAGES[:20],
        y_test=targets[:20],
        labels_test=LABELS[:20],
    )
    model = ak.shallow_network(784, 10, width=210, gamma=0.2, alpha=0.5, seed=0)
    row = beyond_budget.PrunedAccuracy(data)(model)
    assert len(row) == 2 * len(beyond_budget.BUDGETS)
    for kept in beyond_budget.BUDGETS:
        for suffix, refit in (("", None), ("_refit", (IMAGES, targets))):
            small = prune(model, kept, refit=refit, regression="cross_entropy", penalty="auto")
            outputs = small.predict(IMAGES[:20], verbose=0)
            expected = np.mean(outputs.argmax(1) == LABELS[:20])
            assert row[beyond_budget.column(kept, suffix)] == pytest.approx(expected)


def test_cells_and_runs_whose_refits_were_by_ridge_regression_are_not_taken(tmp_path, monkeypatch):
    flags = ["--study", "one-training", "--width", "200", "--out-dir", str(tmp_path)]
    config = cli.parse_config(beyond.Config, flags, module="m", description=None)
    folder = tmp_path / "one-training-cells"
    folder.mkdir()
    cell = next(beyond_one_training.networks(config, [20, 50, 100, 200]))
    for earlier in ("", "-logits"):
        path = folder / f"{cell.name}-n10000-m200-e20{earlier}.json"
        path.write_text("[]", encoding="utf-8")
    monkeypatch.setattr(beyond_one_training, "load_images", lambda examples: None)

    class Trained(Exception):
        """In the place of a training."""

    def rows(self, *_):
        raise Trained(self.name)

    monkeypatch.setattr(beyond_one_training._Cell, "rows", rows)
    with pytest.raises(Trained, match=cell.name):
        beyond_one_training.run(config, "")
    run = beyond_budget.Config(resume=True)
    match = r"expected a run of this version .* other refits"
    refuses_an_earlier_version(RunFolder(tmp_path / "run"), run, match)


def test_one_training_takes_the_images_that_come_with_the_package():
    images = beyond_one_training.load_images(7_000)
    assert images.x_train.shape == (7_000, 784)
    assert images.x_test.shape == (10_000, 784)
    first = ak.datasets.load_mnist()
    np.testing.assert_array_equal(images.x_train[5_000], first.transfer.x_train[0])
    np.testing.assert_array_equal(images.y_test[0], first.y_test[0])


def test_each_network_is_trained_at_the_rate_that_is_best_on_images_left_out(monkeypatch):
    x = np.arange(100, dtype="float32").reshape(50, 2) / 100
    labels = np.arange(50) % 10
    targets = np.eye(10, dtype="float32")[labels]
    data = ak.datasets.Dataset(
        name="own",
        source="counted",
        **dict(x_train=x, y_train=targets, labels_train=labels),
        **dict(x_test=x, y_test=targets, labels_test=labels),
    )
    config = beyond.Config(study="one-training", width=200, epochs=1, quiet=True)
    cell = beyond_one_training._Cell("mlp", 20, 0)
    trained, judged = [], {0.001: 0.2, 0.003: 0.7, 0.01: 0.7, 0.03: 0.1}
    train = beyond_one_training._Cell._trained

    def recorded(self, config, rows, rate):
        trained.append((len(rows), rate))
        return train(self, config, rows, rate)

    def accuracy(scores, labels):
        return (
            judged[trained[-1][1]]
            if len(labels) == 5
            else float(np.mean(scores.argmax(1) == labels))
        )

    monkeypatch.setattr(beyond_one_training._Cell, "_trained", recorded)
    monkeypatch.setattr(beyond_one_training, "_accuracy", accuracy)
    [row] = cell.rows(config, data, [20, 50])
    assert trained == [(45, rate) for rate in judged] + [(50, 0.003)]
    assert (row["learning_rate"], row["kept"], row["hidden"]) == (0.003, 20, "dense")


@pytest.mark.slow
def test_long_time_from_nothing(tmp_path):
    flags = ["--study", "long-time", "--width", "200", "--steps", "200", "--records", "4"]
    rows = beyond.main([*flags, "--quiet", "--out-dir", str(tmp_path)])
    assert [(row["gamma"], row["alpha"]) for row in rows] == [
        (1, 0.4),
        (0.5, 0.7),
        (0.5, 0.5),
        (0, 0.4),
    ]
    assert rows[0]["promised_rate"] > 0.0 == rows[-1]["promised_rate"]
    with open(tmp_path / "long-time.csv", newline="") as file:
        read = list(csv.DictReader(file))
    assert [float(row["final_train_risk"]) for row in read] == [r["final_train_risk"] for r in rows]
    assert (tmp_path / "long-time.png").stat().st_size > 10_000


@pytest.mark.drill
def test_one_training_from_nothing_and_again(tmp_path, monkeypatch):
    flags = ["--study", "one-training", "--width", "200", "--examples", "100", "--epochs", "1"]
    argv = [*flags, "--quiet", "--out-dir", str(tmp_path)]
    rows = beyond.main(argv)
    assert {row["body"] for row in rows} == {"mlp", "cnn"}
    assert all(0.0 <= row["test_accuracy_refit"] <= 1.0 for row in rows)
    monkeypatch.setattr(beyond_one_training._Cell, "_trained", lambda *_: pytest.fail("trained"))
    assert beyond.main(argv) == rows
