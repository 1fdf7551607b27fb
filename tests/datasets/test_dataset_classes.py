"""`load_table` with a target that holds classes, as text or as numbers."""

from __future__ import annotations

import logging

import numpy as np
import pytest

from asym_keras.datasets import load_table


@pytest.fixture
def write(tmp_path):
    def write(text, *, name="my.csv"):
        path = tmp_path / name
        path.write_text(text, encoding="utf-8")
        return path

    return write


def class_text(cells):
    return "a,y,b\n" + "".join(f"{i},{cell},{i * i % 11}\n" for i, cell in enumerate(cells))


@pytest.mark.parametrize(
    ("cells", "classes", "names"),
    [
        (["b", " a", "c "] * 7, False, ("a", "b", "c")),
        (["10", "9", "2"] * 7, True, ("2", "9", "10")),
        (["x1", "2"] * 10, True, ("2", "x1")),
    ],
    ids=["text", "numbers", "both"],
)
def test_classes_become_one_hot_in_the_split_of_a_regression(cells, classes, names, write):
    path = write(class_text(cells))
    data = load_table(path, target="y", classes=classes)
    assert data.preprocessing.classes == names
    assert (data.preprocessing.target_shift, data.preprocessing.target_scale) == (0.0, 1.0)
    order = np.random.RandomState(10).permutation(len(cells))
    codes = np.array([names.index(cell.strip()) for cell in cells])
    first = 2 * len(cells) // 5
    np.testing.assert_array_equal(data.labels_train, codes[order[:first]])
    np.testing.assert_array_equal(data.y_train.argmax(axis=1), data.labels_train)
    np.testing.assert_array_equal(data.transfer.labels_train, codes[order[first:][:4]])
    numbers = load_table(write(class_text(range(len(cells))), name="numbers.csv"), target="y")
    np.testing.assert_array_equal(data.x_train, numbers.x_train)


@pytest.mark.parametrize(
    ("cells", "classes", "message"),
    [
        (["a", "b", "", "b"] * 5, True, "expected a class in each line, .* empty cell in line 4"),
        (["a", "b", "", "b"] * 5, False, "expected a class in each line, .* empty cell in line 4"),
        (["a", "1", "2", "3"] * 5, False, "column 'y': expected finite numbers, received 'a'"),
        (["a"] * 20, False, "expected 2 or more classes .* received 1 in 20 rows"),
        ([f"id{i}" for i in range(20)], False, "received 20 in 20 rows"),
    ],
)
def test_what_are_no_classes_is_refused(cells, classes, message, write):
    with pytest.raises(ValueError, match=message):
        load_table(write(class_text(cells)), target="y", classes=classes)


def test_class_without_a_training_row_is_told(write, caplog):
    cells = ["a", "b"] * 10
    last = np.random.RandomState(10).permutation(20)[-1]
    cells[last] = cells[last - 1] = "rare"
    with caplog.at_level(logging.WARNING):
        data = load_table(write(class_text(cells)), target="y")
    trained = {*np.unique(data.labels_train)}
    assert ("classes without a row" in caplog.text) == (2 not in trained)
