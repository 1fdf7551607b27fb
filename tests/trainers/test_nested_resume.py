"""What a nested run goes on from: its own backup, whole, and no other."""

from __future__ import annotations

import dataclasses

import keras
import numpy as np
import pytest
from trainer_runs import refuses_an_earlier_version

from trainers import nested


def test_a_run_of_other_rows_and_readouts_does_not_go_on(tmp_path):
    """An earlier version left the last rows out, and began with random readouts."""
    from trainers.nested import training

    plain = nested.Config(task="mnist", resume=True)
    assert plain.methods() == {"first readouts": "zeros for classes"}
    fewer = nested.Config(task="energy", examples=100)
    for config in (fewer, dataclasses.replace(plain, held_out=0.1)):
        assert config.methods() == {"first readouts": "zeros for classes", "left-out rows": "drawn"}
    folder = training.NestedFolder(tmp_path / "r")
    refuses_an_earlier_version(folder, plain, r"other first readouts \(zeros for classes here\)")


def test_a_kill_while_a_backup_is_written_leaves_the_epoch_before(tmp_path, monkeypatch):
    """Weights, Adam's moments and the epoch are one file, and the old one stays until then."""
    from trainers.nested import networks, training

    costs = networks.Costs()
    costs.seconds = [0.25]

    def network(start):
        layer = keras.layers.Dense(1, kernel_initializer=keras.initializers.Constant(start))
        model = keras.Sequential([keras.Input((2,)), layer])
        model.compile("adam", "mse")
        return model, training.Backup(tmp_path / "checkpoint", model, costs)

    model, backup = network(1.0)
    assert backup.restore() == 0
    model.optimizer.apply([np.ones((2, 1)), np.ones(1)], model.trainable_variables)
    backup.on_epoch_end(0)
    kept = [v.numpy() for v in (*model.variables, *model.optimizer.variables)]
    model.layers[0].kernel.assign([[5.0], [5.0]])

    def killed(file, **arrays):
        file.write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(np, "savez", killed)
    with pytest.raises(KeyboardInterrupt):
        backup.on_epoch_end(1)
    costs.seconds = []
    model, backup = network(2.0)
    assert backup.restore() == 1
    again = [v.numpy() for v in (*model.variables, *model.optimizer.variables)]
    assert len(again) == len(kept) > 6
    for theirs, ours in zip(kept, again, strict=True):
        np.testing.assert_array_equal(theirs, ours)
    assert model.optimizer.iterations.numpy() == 1
    assert costs.seconds == [0.25]


def test_a_finished_run_of_other_data_is_refused(tmp_path):
    from asym_keras.datasets import from_arrays
    from trainers.nested import training

    x, y = np.eye(8, dtype="float32"), np.arange(8) % 2
    data = from_arrays(x, y, x, y, name="own")
    others = from_arrays(x, 1 - y, x, 1 - y, name="own")
    config = nested.Config(task="mnist", widths="2,4", epochs=1, resume=True, quiet=True)
    facts = {"command": "", "device": "cpu"}
    metrics = training.run(config, data, tmp_path / "r", facts)
    assert metrics["epoch_seconds"] > 0
    assert training.run(config, data, tmp_path / "r", facts) == metrics
    with pytest.raises(ValueError, match="--resume: expected the data of the run"):
        training.run(config, others, tmp_path / "r", facts)
