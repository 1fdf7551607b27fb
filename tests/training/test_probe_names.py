"""Which columns a run has: the training risk unless it is switched off, each probe's once."""

from __future__ import annotations

import numpy as np
import pytest
from problems import tanh_problem
from training_runs import Weights, run

from asym_keras.training import GradientDescent, RiskProbe, WeightChange


def columns(probes, **options):
    history = run(tanh_problem(), GradientDescent(), end_time=2.0, probes=probes, **options)
    return [name for name in history[0] if name not in ("step", "time", "gradients")], history


def norm(model):
    return float(np.linalg.norm(model.trainable_variables[0]))


def test_training_risk_stays_beside_probes_and_equals_that_of_a_probe():
    names, history = columns([norm])
    assert names == ["train_risk", "norm", "wall_seconds"]
    _, x, y = tanh_problem()
    _, told = columns([RiskProbe("train", x, y)])
    assert [row["train_risk"] for row in history.rows] == [row["train_risk"] for row in told.rows]


def test_training_risk_is_switched_off():
    assert columns([norm], train_risk=False)[0] == ["norm", "wall_seconds"]
    assert columns(None, train_risk=False)[0] == ["wall_seconds"]


def test_probes_name_their_columns_themselves():
    _, x, y = tanh_problem()
    probes = [RiskProbe("test", x, y), RiskProbe("other", x, y), WeightChange(), Weights()]
    names, history = columns(probes)
    assert names == ["train_risk", "test_risk", "other_risk", "weight_change", "wall_seconds"]
    assert sorted(history.arrays) == ["node_weight_change", "weights"]


@pytest.mark.parametrize(
    ("probes", "message"),
    [
        ([lambda model: 1.0], "received a lambda, which has no name"),
        ([norm, norm], "received norm twice"),
        ([3], "functions of the model .* received 3"),
        ({"a": None}, "received None"),
        ({"a": lambda m: {"x": 1.0}, "b": lambda m: {"x": 2.0}}, "'x' from two, .* probe 'b'"),
    ],
)
def test_probes_without_a_name_of_their_own_are_refused(probes, message):
    with pytest.raises(ValueError, match=message):
        columns(probes)
