"""Curves of one run, and their means over seeds."""

from __future__ import annotations

import numpy as np
import pytest
from synthetic_runs import height, write_run

from asym_keras.plotting import by_seed, curve, differing_settings, has_curve, mean_curve
from asym_keras.runs import load_run


def runs_of(folder, count=3, **options):
    return [load_run(write_run(folder / str(s), seed=s, **options)) for s in range(count)]


def test_weight_change_follows_the_node_that_moves_most_by_the_end(tmp_path):
    run = load_run(write_run(tmp_path / "run"))
    steps, values = curve(run, "weight_change")
    part = np.linspace(0.0, 1.0, 6)
    np.testing.assert_allclose(steps, 100.0 * part)
    np.testing.assert_allclose(values, 2.0 * 2.0 * part**2)  # the first node leads at first
    assert values[1] < run.history.column("weight_change")[1]


@pytest.mark.parametrize(("protocol", "power"), [("paper", 2.0), ("authors", 1.0)])
def test_ntg_change_is_a_root_under_authors(tmp_path, protocol, power):
    run = load_run(write_run(tmp_path / "run", protocol=protocol))
    np.testing.assert_allclose(
        curve(run, "ntg_change")[1], (2.0 * np.linspace(0.0, 1.0, 6)) ** power
    )


def test_curves_that_a_run_lacks(tmp_path):
    run = load_run(write_run(tmp_path / "run"))
    assert has_curve(run, "pruning_test_risk")
    assert not has_curve(run, "transfer_test_risk")
    assert not has_curve(run, "test_accuracy")
    with pytest.raises(ValueError, match=r"test_risk in transfer\.csv of .*run, received none"):
        curve(run, "transfer_test_risk")


def test_mean_and_sample_deviation_over_seeds(tmp_path):
    mean = mean_curve(runs_of(tmp_path), "pruning_train_risk")
    sizes = np.array([height(0.0, seed) for seed in range(3)])
    shape = 1.0 + np.linspace(0.0, 1.0, 21) ** 2
    np.testing.assert_allclose(mean.mean, sizes.mean() * shape, rtol=1e-12)
    np.testing.assert_allclose(mean.std, np.sqrt(((sizes - sizes.mean()) ** 2).sum() / 2) * shape)
    assert mean.runs == 3
    single = mean_curve(runs_of(tmp_path / "one", 1), "pruning_train_risk")
    assert np.isnan(single.std).all()


def test_mean_is_over_the_first_runs_points_and_extrapolates_nothing(tmp_path):
    first = load_run(write_run(tmp_path / "a", records=6))  # to step 100, every 20
    longer = load_run(write_run(tmp_path / "b", records=3, end=200.0))  # every 100
    mean = mean_curve([first, longer], "train_risk")
    np.testing.assert_allclose(mean.x, np.linspace(0.0, 100.0, 6))
    between = np.interp(mean.x, [0.0, 100.0], [2.0, 2.0 * 10**-1.5])
    np.testing.assert_allclose(mean.mean, (2.0 * 10 ** (-3 * mean.x / 100) + between) / 2)
    shorter = load_run(write_run(tmp_path / "c", records=3, end=50.0))
    np.testing.assert_allclose(mean_curve([first, shorter], "train_risk").x, [0.0, 20.0, 40.0])


def test_means_of_nothing(tmp_path):
    with pytest.raises(ValueError, match="at least one run, received none"):
        mean_curve([], "train_risk")


def test_groups_are_of_runs_that_differ_in_seed_alone(tmp_path):
    a1 = load_run(write_run(tmp_path / "a1", seed=1))
    a0 = load_run(write_run(tmp_path / "a0", seed=0, jobs=2))
    b = load_run(write_run(tmp_path / "b", gamma=0.5))
    c = load_run(write_run(tmp_path / "c", task="energy"))
    assert by_seed([a1, b, a0, c]) == [[a0, a1], [b], [c]]  # jobs are no setting that matters
    d = load_run(write_run(tmp_path / "rtol", seed=0, rtol=0.1))
    assert by_seed([a1, b, d, c]) == [[a1], [b], [d], [c]]
    assert by_seed([a1, b, d, c], ignore=("rtol",)) == [[d, a1], [b], [c]]
    twice = load_run(write_run(tmp_path / "twice", seed=1))
    with pytest.raises(ValueError, match=r"seed 1, with the same settings: \S+a1 and \S+twice\."):
        by_seed([a1, b, a0, twice, c])
    assert differing_settings([a1, a0, b], ignore=("jobs",)) == ["gamma", "seed"]
    assert differing_settings([a1]) == []
    d = load_run(write_run(tmp_path / "d", seed=1, noise=0.5))
    assert differing_settings([a1, d]) == ["noise"]
