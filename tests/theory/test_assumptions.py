"""The assumption report on data that break one clause each, and against a slow reference."""

from __future__ import annotations

import numpy as np
import pytest

from asym_keras.theory import assumptions, check_assumptions


def sphere(n, d, seed=0):
    x = np.random.default_rng(seed).normal(size=(n, d))
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def test_good_data_hold():
    x = sphere(30, 5)
    report = check_assumptions(x, 2.5 * np.linspace(-1, 0.5, 30), activation="tanh")
    assert report.holds
    assert (report.examples, report.input_dim, report.target_bound) == (30, 5, 2.5)
    assert report.largest_norm == pytest.approx(1.0)
    assert "all hold" in str(report)
    assert "C = max |y| = 2.5" in str(report)


@pytest.mark.parametrize(
    ("change", "clause", "words"),
    [
        ({"x": 3.0 * sphere(6, 4)}, "2.1(a)", "divide every input by 3"),
        ({"x": sphere(6, 4) * [[1], [0], [1], [1], [0], [1]]}, "2.1(a)", "rows 1, 4"),
        ({"x": sphere(6, 4)[[0, 1, 2, 0, 4, 5]]}, "2.1(b)", "(0, 3) duplicate"),
        ({"x": np.vstack([sphere(5, 4), -0.5 * sphere(5, 4)[2:3]])}, "2.1(b)", "(2, 5) opposite"),
        ({"x": np.vstack([sphere(5, 4), 0.3 * sphere(5, 4)[1:2]])}, "2.1(b)", "(1, 5) parallel"),
        ({"activation": "gelu"}, "2.2", "1.1289"),
        ({"activation": "leaky_relu"}, "2.2", "kink"),
        ({"initial_stddev": 2.0**0.5}, "2.3", "1.41421"),
    ],
)
def test_report_names_the_one_clause_that_fails(change, clause, words):
    arguments = {"x": sphere(6, 4), "y": np.ones(6), **change}
    report = check_assumptions(arguments.pop("x"), arguments.pop("y"), **arguments)
    assert not report.holds
    failing = [line.split()[0] for line in str(report).splitlines() if "FAILS" in line]
    assert failing == [clause]
    assert words in str(report)


def lines_in_common(x, tolerance):
    """Every pair's angle, one at a time, by the stable formula of the half angle."""
    pairs = []
    for i in range(len(x)):
        for k in range(i + 1, len(x)):
            u, v = (x[j] / np.linalg.norm(x[j]) for j in (i, k))
            sign = 1.0 if u @ v > 0.0 else -1.0
            angle = 2 * np.arctan2(np.linalg.norm(u - sign * v), np.linalg.norm(u + sign * v))
            if angle <= tolerance:
                equal = np.array_equal(x[i], x[k])
                pairs.append(
                    (i, k, "duplicate" if equal else "parallel" if sign > 0 else "opposite")
                )
    return pairs


@pytest.mark.parametrize("tile", [3, 7, 1024])
@pytest.mark.parametrize("tolerance", [1e-6, 1e-3, 0.3])
def test_pairs_equal_the_slow_reference_whatever_the_tile(monkeypatch, tile, tolerance):
    monkeypatch.setattr(assumptions, "TILE", tile)
    generator = np.random.default_rng(3)
    x = generator.normal(size=(20, 3))
    x[5], x[17], x[9], x[19] = x[2], x[2], -x[2], 4.0 * x[11]
    x[13] = x[1] + 5e-4 * generator.normal(size=3)  # nearly parallel
    expected = lines_in_common(x, tolerance)
    assert len(expected) > 5
    report = check_assumptions(x, np.ones(20), parallel_tolerance=tolerance)
    assert report.parallel_pairs == len(expected)
    assert report.first_pairs == tuple(expected[:5])
    assert report.duplicate_pairs == sum(kind == "duplicate" for *_, kind in expected) == 3
    assert report.opposite_pairs == sum(kind == "opposite" for *_, kind in expected)


@pytest.mark.parametrize(("angle", "found"), [(0.9e-6, 1), (1.1e-6, 0)])
def test_tolerance_is_an_angle(angle, found):
    x = np.array([[1.0, 0.0], [np.cos(angle), np.sin(angle)]])
    assert check_assumptions(x, [0.0, 1.0]).parallel_pairs == found


@pytest.mark.parametrize("scale", [1e-200, 1e-3, 1e150])
def test_pairs_do_not_depend_on_the_scale(scale):
    x = sphere(8, 3)
    report = check_assumptions(scale * np.vstack([x, x[:1], 0.5 * x[1:2]]), np.ones(10))
    assert report.first_pairs == ((0, 8, "duplicate"), (1, 9, "parallel"))
    assert report.largest_norm == pytest.approx(scale, rel=1e-12)
    assert not report.zero_rows


def test_zero_rows_are_no_pairs_and_keep_the_numbers_of_the_others():
    x = np.zeros((6, 2))
    x[[1, 4]] = [[0.5, 0.5], [0.5, 0.5]]
    report = check_assumptions(x, np.zeros((6, 3)))
    assert report.zero_rows == (0, 2, 3, 5)
    assert report.first_pairs == ((1, 4, "duplicate"),)
    assert check_assumptions(np.zeros((3, 2)), np.zeros(3)).parallel_pairs == 0


def test_float32_unit_vectors_and_scaled_copies_keep_their_standing():
    x = sphere(50, 20).astype("float32")
    assert check_assumptions(x, np.ones(50)).holds
    copies = np.vstack([x, x[:4] / np.float32(3.0)])
    assert check_assumptions(copies, np.ones(54)).parallel_pairs == 4


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"x": np.ones(4)}, r"received shape \(4,\)"),
        ({"x": np.ones((0, 3))}, "none of the two 0"),
        ({"x": [[1.0, 2.0], [np.nan, 1.0]]}, "nan.* in row 1"),
        ({"y": [1.0, 2.0, 3.0]}, "one target per row"),
        ({"y": [1.0, np.inf]}, "inf in row 1"),
        ({"parallel_tolerance": 1e-8}, "resolve no smaller"),
        ({"parallel_tolerance": np.nan}, "angle"),
        ({"initial_stddev": 0.0}, "positive"),
    ],
)
def test_bad_arguments_are_refused(change, words):
    arguments = {"x": np.eye(2), "y": np.ones(2), **change}
    with pytest.raises(ValueError, match=words):
        check_assumptions(arguments.pop("x"), arguments.pop("y"), **arguments)
