"""Curves of networks too wide for their refits: what fits is refitted, and the rest is said."""

from __future__ import annotations

import json
import logging

import numpy as np
import pytest
from synthetic_runs import write_run
from trainer_runs import SMALL, parse, small_data

from asym_keras.pruning import refit_bytes, refit_memory
from asym_keras.training import History
from trainers import mnist
from trainers.common.curves import PRUNING, missing_curves
from trainers.common.folder import RunFolder


@pytest.mark.parametrize("accuracies", [True, False])
def test_refits_of_classes_by_ridge_regression_are_made_anew(tmp_path, accuracies):
    """An earlier version left them; of numbers, they are the same now as then."""
    folder = RunFolder(write_run(tmp_path / "run", refit=True, accuracies=accuracies))
    asked = parse("--refit")
    assert missing_curves(asked, folder) == []
    content = folder.read("config.json")
    del content["methods"]
    folder.write("config.json", content)
    assert missing_curves(asked, folder) == [PRUNING] * accuracies
    assert missing_curves(parse(), folder) == []


@pytest.mark.slow
@pytest.mark.parametrize("most", [8, 20])
def test_wider_networks_than_fit_are_not_refitted(tmp_path, monkeypatch, caplog, most):
    monkeypatch.setattr("asym_keras.plotting.learning_curves", lambda folder, **_: [])
    monkeypatch.setattr(refit_memory, "REFIT_BYTES", refit_bytes(14, 9, widest=most, outputs=3))
    folder, data = tmp_path / "run", small_data(tmp_path / "data.npz")
    with caplog.at_level(logging.INFO, logger="trainers"):
        mnist.main([*SMALL, "--refit", "--data", data, "--out-dir", str(folder)])
    curve = History.from_csv(folder / "pruning.csv")
    for name in ("train_risk", "test_risk"):
        np.testing.assert_array_equal(
            np.isnan(curve.column(f"{name}_refit")), curve.column("kept") > most
        )
        assert np.isfinite(curve.column(name)).all()
    made = json.loads((folder / "config.json").read_text(encoding="utf-8"))["methods"]
    assert made == {"refits": "by cross-entropy"}
    said = f"networks of more than {most} nodes are not refitted" in caplog.text
    assert said == (most < 20)
