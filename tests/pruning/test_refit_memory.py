"""What refits hold, beside what they allocate; curves that refit only what fits."""

from __future__ import annotations

import tracemalloc

import keras
import numpy as np
import pytest

import asym_keras as ak
from asym_keras import AsymScaledDense
from asym_keras.pruning import (
    prune,
    pruning_curve,
    refit_bytes,
    refit_memory,
    refit_readouts,
    widest_refit,
)

GENERATOR = np.random.default_rng(0)


def problem(dtype="float32", width=40):
    x = GENERATOR.normal(size=(30, 3)).astype(dtype)
    y = np.stack([x[:, 0] ** 2, x[:, 1]], axis=1)
    return ak.shallow_network(3, 2, width=width, gamma=0.5, seed=0, dtype=dtype), x, y


def test_bytes_by_hand():
    # 10 features of 50 examples; a square of 10; tiles of 1,000 rows.
    assert refit_bytes(30, 20, widest=10) == 50 * 10 * 4 + 8 * (3 * 100 + 3 * 1000 * 10)
    # As many features as examples: a square of examples; tiles of 2,000 features.
    assert refit_bytes(30, widest=40, dtype="float64") == 30 * 40 * 8 + 8 * (
        4 * 900 + 2 * 2000 * 30
    )


@pytest.mark.parametrize("limit", [10**7, 10**8, 10**9])
def test_widest_refit_is_the_last_that_fits(limit):
    widest = widest_refit(2000, 500, width=10**6, limit=limit)
    assert refit_bytes(2000, 500, widest=widest) <= limit
    assert refit_bytes(2000, 500, widest=widest + 1) > limit
    assert widest_refit(2000, 500, width=5, limit=limit) == 5
    assert widest_refit(2000, 500, width=5, limit=0) == 0


@pytest.mark.parametrize("columns", [700, 1500], ids=["by features", "by examples"])
def test_refits_allocate_no_more_than_is_stated(columns):
    features = GENERATOR.normal(size=(800, columns)).astype("float32")
    tracemalloc.start()
    try:
        refit_readouts(features, features[:, :2].astype("float64"), [columns])
        allocated = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert 0.2 * refit_bytes(800, widest=columns) < allocated
    assert allocated + features.nbytes <= refit_bytes(800, widest=columns)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_curve_refits_up_to_a_width_and_is_nan_beyond(dtype):
    model, x, y = problem(dtype)
    labels = np.argmax(y, axis=1)
    options = {"labels_train": labels, "labels_test": labels, "refit": True}
    whole = pruning_curve(model, x, y, x, y, **options)
    part = pruning_curve(model, x, y, x, y, refit_widest=16, **options)
    assert [row["kept"] for row in part if np.isnan(row["test_risk_refit"])] == [
        row["kept"] for row in whole if row["kept"] > 16
    ]
    for row, other in zip(part, whole, strict=True):
        assert row.keys() == other.keys()
        for name, number in row.items():
            if "refit" in name and row["kept"] > 16:
                assert np.isnan(number)
                assert not np.isnan(other[name])
            else:
                assert number == pytest.approx(other[name], rel=1e-6, abs=1e-9)


def test_curve_that_refits_nothing():
    model, x, y = problem()
    rows = pruning_curve(model, x, y, x, y, refit=True, refit_widest=3, pruned=[0, 20])
    assert all(np.isnan(row["train_risk_refit"]) for row in rows)
    assert not any(np.isnan(row["train_risk"]) for row in rows)
    with pytest.raises(ValueError, match=r"expected refit_widest from 0 on, received -1"):
        pruning_curve(model, x, y, x, y, refit_widest=-1)


def test_a_refit_that_is_too_large_is_refused_before_any_work(monkeypatch):
    model, x, y = problem()
    limit = refit_bytes(30, 30, widest=12)
    monkeypatch.setattr(refit_memory, "REFIT_BYTES", limit)
    monkeypatch.setattr(type(model), "__call__", lambda *a, **k: pytest.fail("it began"))
    with pytest.raises(
        ValueError, match=r"received 40 nodes \(40 features\) and 60 .* at most 12 nodes"
    ):
        pruning_curve(model, x, y, x, y, refit=True)
    with pytest.raises(ValueError, match=r"keep= of prune"):
        prune(model, 40, refit=(x, y))


def test_what_is_not_too_large_is_done(monkeypatch):
    model, x, y = problem()
    monkeypatch.setattr(refit_memory, "REFIT_BYTES", refit_bytes(30, 30, widest=12))
    rows = pruning_curve(model, x, y, x, y, refit=True, pruned=[28, 40])
    assert not any(np.isnan(row["test_risk_refit"]) for row in rows)
    assert pruning_curve(model, x, y, x, y)[0]["kept"] == 40


def test_nodes_with_several_features_are_counted_as_nodes(monkeypatch):
    nodes = AsymScaledDense(20, gamma=0.5, activation="tanh", seed=0)
    stack = [keras.Input((4, 3)), nodes, keras.layers.Flatten(), keras.layers.Dense(1)]
    model = keras.Sequential(stack)
    x = np.random.default_rng(0).normal(size=(30, 4, 3)).astype("float32")
    monkeypatch.setattr(refit_memory, "REFIT_BYTES", refit_bytes(30, widest=24))
    with pytest.raises(ValueError, match=r"10 nodes \(40 features\) and 30 .* at most 6 nodes"):
        prune(model, 10, refit=(x, x[:, 0, :1]))
