"""Training on the replicas of a strategy equals training alone; see tests/strategy_worker.py."""

from __future__ import annotations

import itertools
import re
import signal

import keras
import numpy as np
import pytest
import strategy_worker
import tensorflow as tf
from problems import tanh_problem
from training_runs import stateful_problem
from worker_processes import TESTS, ended, start, tf_configs

from asym_keras.training import GradientDescent, train
from asym_keras.training.distributed import DistributedObjective
from asym_keras.training.objective import Objective
from asym_keras.training.workers import Workers

PROGRAM = TESTS / "strategy_worker.py"
# In float32 round-off grows along the 200 steps.
TOLERANCE = {"float64": 1e-10, "float32": 1e-5}


@pytest.fixture(scope="module")
def alone():
    keras.utils.clear_session()
    return {name: strategy_worker.run_case(name, None) for name in strategy_worker.CASES}


def work_together(mode, folder):
    """Two workers; their statuses, outputs and errors."""
    arguments = [PROGRAM, "multiworker", mode, folder]
    return ended([start(arguments, tf_config=config) for config in tf_configs()])


def assert_equal_to(alone, path):
    with np.load(path) as records:
        assert len(records.files) == 4 * len(alone)
        for name, columns in alone.items():
            assert columns["weights"].shape[0] == strategy_worker.RECORDS
            tolerance = TOLERANCE[name.split()[-1]]
            for column, values in columns.items():
                np.testing.assert_allclose(
                    records[f"{name}/{column}"], values, rtol=tolerance, atol=tolerance
                )


@pytest.mark.slow
def test_cases_train(alone):
    for name, columns in alone.items():
        assert columns["risk"][-1] < 0.7 * columns["risk"][0], name


@pytest.mark.slow
def test_two_devices_equal_one(alone, tmp_path):
    [(status, _, errors)] = ended([start([PROGRAM, "mirrored", "cases", tmp_path])])
    assert status == 0, errors
    assert_equal_to(alone, tmp_path / "mirrored-cases-0.npz")


@pytest.mark.slow
def test_two_processes_equal_one_and_each_other(alone, tmp_path):
    for status, _, errors in work_together("cases", tmp_path):
        assert status == 0, errors
    assert_equal_to(alone, tmp_path / "multiworker-cases-0.npz")
    files = [tmp_path / f"multiworker-cases-{index}.npz" for index in (0, 1)]
    assert files[0].read_bytes() == files[1].read_bytes()


@pytest.mark.slow
def test_lost_worker_is_told_and_the_run_resumes(alone, tmp_path):
    (status, output, errors), (killed, _, _) = work_together("killed", tmp_path)
    assert killed == -signal.SIGKILL
    assert status == 1, errors
    told = re.search(r"lost after ([\d.]+) s: A worker was lost: .* worker 0 .* resume", output)
    assert told, output
    assert float(told[1]) < 30
    for status, _, errors in work_together("resumed", tmp_path):
        assert status == 0, errors
    name = strategy_worker.KILLED
    assert_equal_to({name: alone[name]}, tmp_path / "multiworker-resumed-0.npz")


@pytest.mark.drill
def test_workers_with_other_data_are_refused(tmp_path):
    for status, output, errors in work_together("differing", tmp_path):
        assert status == 0, errors
        assert "received others than worker 0's on worker 1" in output
        assert output.count("differs in: training data") == ("This is worker 1" in output)


@pytest.mark.drill
def test_a_worker_that_does_not_see_the_checkpoint_is_named(tmp_path):
    for status, output, errors in work_together("apart", tmp_path):
        assert status == 0, errors
        assert "received others than worker 0's on worker 1" in output
        assert output.count("differs in: checkpoint") == ("This is worker 1" in output)


@pytest.fixture(scope="module")
def strategy():
    return tf.distribute.MirroredStrategy(["CPU:0"])


def test_one_replica_is_the_objective(strategy):
    model, x, y = tanh_problem()
    workers = Workers(strategy)
    assert (workers.replicas, workers.local, workers.count, workers.index) == (1, [0], 1, 0)
    shared = DistributedObjective(model, x, y, workers=workers)
    ours, theirs = (o.gradient(shared.weights(), []) for o in (shared, Objective(model, x, y)))
    np.testing.assert_allclose(ours[0], theirs[0], rtol=1e-14)
    np.testing.assert_allclose(ours[1][0], theirs[1][0], rtol=1e-12, atol=1e-15)


@pytest.mark.slow
def test_models_with_state_are_refused(strategy):
    model, x, y = stateful_problem()
    with pytest.raises(ValueError, match=r"risk is a function of its weights alone.*norm.*drop"):
        train(model, x, y, method=GradientDescent(), end_time=1.0, strategy=strategy)


def test_replicas_without_examples_are_refused(strategy):
    workers = Workers(strategy)
    workers.replicas = 16
    with pytest.raises(ValueError, match="each of the 16 replicas, received 15 examples"):
        DistributedObjective(*tanh_problem(), workers=workers)


def test_shares_cover_all_examples(strategy):
    objective = DistributedObjective(*tanh_problem(), workers=Workers(strategy))
    objective._workers.replicas = 4
    for count in (1, 3, 4, 15, 16):
        rows = [list(range(count))[objective._share(p, count)] for p in range(4)]
        assert [*itertools.chain(*rows)] == list(range(count))
        assert max(map(len, rows)) - min(map(len, rows)) <= 1


def test_errors_of_a_single_process_stay_what_they_are():
    with pytest.raises(tf.errors.UnavailableError), Workers().loss_told():
        raise tf.errors.UnavailableError(None, None, "a file server")
