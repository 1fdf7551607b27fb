"""A dataset written to a file and read back, and one of arrays in memory."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from asym_keras.datasets import from_arrays, load_dataset, load_npz, load_table
from asym_keras.datasets.dataset import ARRAYS

X = np.random.default_rng(0).normal(size=(9, 3)).astype("float32")


def equal(one, other):
    for name in ARRAYS:
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
    rest = [f.name for f in dataclasses.fields(one) if f.name not in (*ARRAYS, "transfer")]
    assert {n: getattr(one, n) for n in rest} == {n: getattr(other, n) for n in rest}


def test_dataset_with_a_part_for_transfer_is_read_as_it_was(tmp_path):
    table = tmp_path / "table.csv"
    rows = "\n".join(f"{i},{i % 5},{i % 3}" for i in range(20))
    table.write_text(f"a,b,c\n{rows}\n")
    data = load_table(table, target="c")
    data.save(tmp_path / "data.npz")
    read = load_dataset(tmp_path / "data.npz")
    equal(read, data)
    equal(read.transfer, data.transfer)


def test_arrays_are_read_as_those_of_a_file(tmp_path):
    labels = np.arange(9) % 3
    np.savez(tmp_path / "mine.npz", x_train=X, y_train=labels, x_test=X[:4], y_test=labels[:4])
    file = load_npz(tmp_path / "mine.npz")
    memory = from_arrays(X, labels, X[:4], labels[:4], name="mine")
    equal(memory, dataclasses.replace(file, source="arrays in memory"))
    assert memory.is_classification


def test_arrays_that_do_not_fit_are_named():
    with pytest.raises(ValueError, match="y_train: expected 9 rows as in x_train, received 8"):
        from_arrays(X, np.ones(8), X, np.ones(9))


def test_other_files_are_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"received none: .*no\.npz"):
        load_dataset(tmp_path / "no.npz")
    np.savez(tmp_path / "arrays.npz", x_train=X)
    with pytest.raises(ValueError, match=r"arrays\.npz: expected what Dataset\.save wrote"):
        load_dataset(tmp_path / "arrays.npz")
