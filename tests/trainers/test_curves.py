"""Curves of networks too wide for their refits: what fits is refitted, and the rest is said."""

from __future__ import annotations

import logging

import numpy as np
import pytest
from trainer_runs import SMALL, small_data

from asym_keras.pruning import refit_bytes, refit_memory
from asym_keras.training import History
from trainers import mnist


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
    said = f"networks of more than {most} nodes are not refitted" in caplog.text
    assert said == (most < 20)
