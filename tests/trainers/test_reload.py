"""Data loaded again from a run folder alone: by the run's trainer, with its flags, the same."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
from trainer_runs import small_data

import asym_keras as ak
from trainers import cifar10, mnist, regression, simulated
from trainers.common import experiment
from trainers.common.folder import RunFolder
from trainers.common.reload import check_data, loss_of, reload_config, reload_data


def opened(path, config, module):
    """A run folder as it is when training begins."""
    facts = {"command": f"python -m {module} --quiet", "device": "CPU"}
    facts["dataset"] = experiment.describe(config.load())
    RunFolder(path).open(config, facts)
    return ak.load_run(path)


def write_table(path):
    values = np.random.default_rng(1).normal(size=(20, 3))
    np.savetxt(path, values, delimiter=",", header="a,b,y", comments="")
    return str(path)


def write_features(path):
    generator = np.random.default_rng(3)
    arrays = {}
    for part in ("train", "test"):
        arrays[f"x_{part}"] = generator.normal(size=(12, 5)).astype("float16")
        arrays[f"y_{part}"] = np.arange(12) % 10
    np.savez(path, **arrays)
    return str(path)


@pytest.fixture(params=["simulated", "regression", "mnist", "cifar10"])
def of_each_trainer(request, tmp_path):
    """Configuration and module of a run of each trainer."""
    if request.param == "simulated":
        return simulated.Config(data_seed=3, examples=7), simulated.MODULE
    if request.param == "regression":
        return regression.Config(data=write_table(tmp_path / "t.csv"), target="b"), (
            regression.MODULE
        )
    if request.param == "mnist":
        return mnist.Config(data=small_data(tmp_path / "d.npz", kind="images")), mnist.MODULE
    features = write_features(tmp_path / "f.npz")
    return cifar10.Config(features=features, train_examples=11, device="gpu"), cifar10.MODULE


def test_data_are_those_of_the_run(tmp_path, of_each_trainer):
    config, module = of_each_trainer
    run = opened(tmp_path / "run", config, module)
    data = reload_data(run)
    for name in ("x_train", "y_train", "x_test", "y_test"):
        np.testing.assert_array_equal(getattr(data, name), getattr(config.load(), name))
    assert reload_config(run) == config
    assert run.facts["dataset"]["preprocessing"] == data.preprocessing.to_dict()
    assert data.preprocessing is not None


def test_loss_is_the_trainers(tmp_path, of_each_trainer):
    config, module = of_each_trainer
    run = opened(tmp_path / "run", config, module)
    for file in tmp_path.glob("*.*"):
        file.unlink()  # it needs no data
    loss = loss_of(run)
    if module != cifar10.MODULE:
        assert loss == "mse"
    else:
        f, y = np.array([[2.0, -1.0]]), np.array([[0.0, 1.0]])
        assert float(loss(y, f)) == pytest.approx(np.log1p(np.exp(3.0)), rel=1e-6)


def test_moved_data_are_named(tmp_path):
    config = mnist.Config(data=small_data(tmp_path / "d.npz"))
    run = opened(tmp_path / "run", config, mnist.MODULE)
    moved = (tmp_path / "d.npz").rename(tmp_path / "e.npz")
    with pytest.raises(ValueError, match=r"config\.json: --data: expected an \.npz file"):
        reload_data(run)
    assert reload_data(run, data=str(moved)).fingerprint() == run.facts["dataset"]["fingerprint"]


def test_other_data_are_refused(tmp_path):
    path = small_data(tmp_path / "d.npz")
    run = opened(tmp_path / "run", mnist.Config(data=path), mnist.MODULE)
    small_data(path, kind="regression")
    with pytest.raises(ValueError, match=r"expected the data of the run in .*, received others"):
        reload_data(run)
    with pytest.raises(ValueError, match="Put the data back"):
        check_data(run, ak.datasets.load_simulated(examples=2))


@pytest.mark.parametrize(
    "command", ["python -m os.path", "python -m trainers.theory", "python trainers/mnist.py", "-m"]
)
def test_no_other_module_is_imported(tmp_path, command):
    run = opened(tmp_path / "run", simulated.Config(examples=2), simulated.MODULE)
    run.facts["command"] = command
    with pytest.raises(ValueError, match=r"expected the command of one of trainers\.simulated"):
        reload_data(run)
    with pytest.raises(ValueError, match="expected the command of one of"):
        loss_of(run)


def test_flags_of_another_version_are_told(tmp_path):
    run = opened(tmp_path / "run", simulated.Config(examples=2), simulated.MODULE)
    run.config["momentum"] = 0.9
    with pytest.raises(ValueError, match=r"flags of trainers\.simulated, received momentum, too"):
        reload_config(run)


def test_flags_that_are_newer_than_the_run_have_their_defaults(tmp_path):
    run = opened(tmp_path / "run", simulated.Config(examples=4, noise=0.5), simulated.MODULE)
    del run.config["data_seed"]
    assert reload_config(run).data_seed == 0
    assert "noise 0.5, seed 0" in reload_data(run).source


def test_data_without_preprocessing_are_described_without():
    dataset = ak.datasets.load_simulated(examples=2)
    facts = experiment.describe(dataclasses.replace(dataset, preprocessing=None))
    assert facts["preprocessing"] is None
    assert json.loads(json.dumps(experiment.describe(dataset)))["preprocessing"]["kind"] == "vector"
