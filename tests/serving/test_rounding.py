"""The check of a written network: rounding in float32 passes, a wrong constant does not."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

import keras
import numpy as np
import packaged_models as pm
import pytest

import asym_keras as ak
from asym_keras import datasets
from asym_keras.copies import copy_model
from asym_keras.datasets.dataset import Dataset
from serving.exporting import network as networks
from serving.exporting.check import check_examples, check_saved_model
from serving.exporting.folding import fold
from serving.exporting.network import as_network
from serving.exporting.rounding import chain_errors, model_errors
from serving.exporting.wrapping import with_raw_values


def long_trained(units=200, seed=0):
    """Columns and a target far from zero, and weights that grew until large terms cancel."""
    model, _ = pm.packaged(
        "two rescalings", dim=4, outputs=1, units=units, refit=True, target=(17.1, 454.0), seed=seed
    )
    hidden, readout = model.layers[-3:-1]
    rng = np.random.default_rng(seed)
    hidden.kernel.assign(30.0 * pm.array(hidden.kernel))
    signs = rng.choice([-1.0, 1.0], (units, 1))
    readout.set_weights([50.0 * signs, rng.normal(size=1)])
    return model, pm.card("two rescalings", dim=4, outputs=1, task="regression")


BREAKS = {
    "no centre": lambda c: {"centre": 0.0 * c.centre},
    "no rest of the centre": lambda c: {"shift": 0.0 * c.shift},
    "no roots in the readout": lambda c: {"readout": c.readout / c.roots[:, None]},
    "no roots in the features": lambda c: {"roots": np.ones_like(c.roots)},
    "no bias": lambda c: {"bias": 0.0 * c.bias},
    "no scaling of inputs": lambda c: {"kernel": c.kernel / c.scale[:, None]},
    "no division by the root of d": lambda c: {"kernel": c.kernel * 2.0},
    "no unit of the target": lambda c: {"readout": c.readout / 17.1},
    "another activation": lambda c: {"activation": keras.activations.softplus},
    "two nodes exchanged": lambda c: {"kernel": c.kernel[:, [1, 0, *range(2, len(c.roots))]]},
    "another sign": lambda c: {"readout": -c.readout},
    "kernel in float16": lambda c: {"kernel": c.kernel.astype("f2").astype("f8")},
    "kernel 1e-5 too large": lambda c: {"kernel": c.kernel * (1.0 + 1e-5)},
}


def excess(model, card, chain=None):
    """Largest errors of outputs and features in float32, in parts of what the check allows."""
    whole = fold(model)
    network = networks._folded(chain or whole, half=False)
    x = check_examples(as_network(model), card)
    z = (x - whole.centre) @ whole.kernel + whole.shift
    h = np.asarray(whole.activation(keras.ops.convert_to_tensor(z)))
    exact = [np.asarray(copy_model(model, dtype="float64")(x.astype("f8"))), h * whole.roots]
    got = [np.asarray(f(x)).astype("f8") for f in (network.outputs, network.features)]
    bounds = chain_errors(chain or whole, x, half=False)
    return [np.max(np.abs(g - e) / b) for g, e, b in zip(got, exact, bounds, strict=True)]


@pytest.mark.parametrize("broken", BREAKS)
def test_a_broken_folding_is_beyond_rounding(broken):
    model, card = long_trained()
    chain = fold(model)
    changed = dataclasses.replace(chain, **BREAKS[broken](chain))
    assert max(excess(model, card)) < 0.5
    assert max(excess(model, card, changed)) > 2.0


@pytest.mark.slow
@pytest.mark.parametrize("broken", BREAKS)
def test_a_broken_folding_makes_no_version(broken, tmp_path, monkeypatch):
    model, card = long_trained()
    check_saved_model(tmp_path / "1", model, pm.write(model, card, tmp_path / "1"), card)
    monkeypatch.setattr(
        networks, "fold", lambda m: dataclasses.replace(fold(m), **BREAKS[broken](fold(m)))
    )
    network = pm.write(model, card, tmp_path / "2")
    with pytest.raises(ValueError, match=r"which rounding explains.*No version was made"):
        check_saved_model(tmp_path / "2", model, network, card)


@pytest.mark.parametrize("name", pm.CASES)
def test_rounding_stays_far_below_its_bound(name):
    model, _, card, _ = pm.case(name)
    assert 1e-3 < max(excess(model, card)) < 0.5


def test_model_errors_follow_the_weights():
    """An error of one unit in a large mean shows in what it is subtracted from, and is told."""
    inputs = keras.Input((1,))
    layer = keras.layers.Normalization(mean=1e5, variance=1.0)
    model = keras.Model(inputs, [layer(inputs), keras.layers.Identity()(inputs)])
    variables = [keras.Variable(1e5)]
    x = np.array([[1e5 + 1.0]], "float32")
    [error, none] = model_errors(lambda: [x - variables[0], x], variables)
    assert none == 0.0
    assert 1e5 * 2.0**-24 < error < 9e5 * 2.0**-24
    assert model_errors(lambda: model(x), model.variables) == [0.0, 0.0]


CIFAR10 = Path(os.environ.get("ASYM_KERAS_SHARED", "../shared")) / (
    "data/features/cifar10_efficientnet_lite0.npz"
)
TASKS = {
    **{name: lambda n=name: datasets.load_uci(n) for name in ("airfoil", "concrete", "energy")},
    "plant": lambda: datasets.load_uci("plant"),
    "simulated": lambda: datasets.load_simulated(),
    "mnist": datasets.load_mnist,
    "cifar10": lambda: datasets.load_cifar10_features(CIFAR10),
}


@pytest.mark.drill
@pytest.mark.parametrize("task", TASKS)
def test_no_network_of_a_task_is_refused(task, tmp_path, shared_data, monkeypatch):
    """At random widths, times, gammas and numbers of nodes kept; half of them refitted.

    Each tenth goes through a file, as an export does.
    """
    if task == "cifar10" and not CIFAR10.is_file():
        pytest.skip(f"no {CIFAR10}")
    monkeypatch.setenv("ASYM_KERAS_DATA_DIR", str(shared_data))
    data: Dataset = TASKS[task]()
    worst = 0.0
    rng = np.random.default_rng(0)
    rows = slice(0, 200)
    x, y = data.x_train[rows], data.y_train[rows]
    kind = data.preprocessing.kind
    for number in range(int(os.environ.get("ASYM_KERAS_DRILL_NETWORKS", "100"))):
        width, gamma = int(rng.integers(20, 1000)), float(rng.choice([0.0, 0.2, 0.5, 1.0]))
        options = {
            "gamma": gamma,
            "alpha": float(rng.uniform(0.3, 0.9)),
            "seed": int(rng.integers(99)),
        }
        model = ak.shallow_network(x.shape[1], y.shape[1], width=width, **options)
        steps, rate = int(10 ** rng.uniform(0, 3.3)), float(10 ** rng.uniform(-2, -0.5))
        method = ak.training.GradientDescent(learning_rate=rate)
        ak.training.train(model, x, y, method=method, end_time=rate * steps, progress=False)
        refit = (x, y) if rng.random() < 0.5 else None
        small = ak.prune(model, int(rng.integers(1, width + 1)), refit=refit)
        packaged = with_raw_values(small, data.preprocessing, name="drill")
        card = pm.card(dim=x.shape[1], outputs=y.shape[1])
        card["task"] = "regression" if y.shape[1] == 1 else "classification"
        card["inputs"] |= {"kind": kind, **_range(data)}
        if number % 10 == 0:
            folder = tmp_path / str(number)
            check_saved_model(folder, packaged, pm.write(packaged, card, folder), card)
        worst = max(worst, *excess(packaged, card))
        assert worst < 0.8, (width, steps, rate, options)
    print(f"{task}: at most {worst:.2g} of what is allowed")


def _range(data):
    return {"low": data.preprocessing.low, "high": data.preprocessing.high}
