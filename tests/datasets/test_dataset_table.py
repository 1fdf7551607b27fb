"""`load_table`: what a CSV file may look like, the split, and each file that is refused."""

from __future__ import annotations

import csv
import itertools
import logging

import numpy as np
import pytest

from asym_keras.datasets import load_table
from asym_keras.datasets.csv_table import Table, parse_csv, read_header
from asym_keras.datasets.table import split_table

RNG = np.random.default_rng(0)
NAMES = ["a", "b", "y"]
VALUES = RNG.normal(size=(27, 3)) * [1.0, 50.0, 0.01] + [0.0, 1000.0, 5.0]
ARRAYS = ("x_train", "y_train", "x_test", "y_test")


@pytest.fixture
def write(tmp_path):
    def write(text, *, encoding="utf-8", name="my.csv"):
        path = tmp_path / name
        path.write_bytes(text.encode(encoding))
        return path

    return write


def csv_text(values=VALUES, names=NAMES, *, delimiter=",", newline="\n"):
    rows = [names, *([repr(float(v)) for v in row] for row in values)]
    return "".join(delimiter.join(row) + newline for row in rows)


def with_cell(text, line=4, column=1):
    """The table with `text` in one cell; the header is line 1."""
    rows = [row.split(",") for row in csv_text().splitlines()]
    rows[line - 1][column] = text
    return "\n".join(",".join(row) for row in rows)


def with_column(values, name="b"):
    table = VALUES.copy()
    table[:, NAMES.index(name)] = values
    return csv_text(table)


def slow_split(values, seed):
    """Parts of a `(rows, columns)` list as lists of rows, standardised one number at a time."""
    n = len(values)
    rows = [values[i] for i in np.random.RandomState(seed).permutation(n)]
    train, middle, test = rows[: 2 * n // 5], rows[2 * n // 5 : 4 * n // 5], rows[4 * n // 5 :]
    half = len(middle) // 2
    for k in range(len(values[0])):
        mean = sum(row[k] for row in train) / len(train)
        variance = sum((row[k] - mean) ** 2 for row in train) / len(train)
        for row in rows:
            row[k] = (row[k] - mean) / variance**0.5
    return {"train": train, "test": test}, {"train": middle[:half], "test": middle[half:]}


@pytest.mark.parametrize("rows", [5, 6, 7, 8, 9, 27])
@pytest.mark.parametrize("seed", [10, 3])
def test_parts_are_the_permuted_rows_standardised_by_training(write, rows, seed):
    dataset = load_table(write(csv_text(VALUES[:rows])), target="y", seed=seed)
    task, transfer = slow_split([list(map(float, row)) for row in VALUES[:rows]], seed)
    for data, parts in ((dataset, task), (dataset.transfer, transfer)):
        for part, expected in parts.items():
            x, y = getattr(data, f"x_{part}"), getattr(data, f"y_{part}")
            assert (x.dtype, y.dtype) == ("float32", "float32")
            np.testing.assert_allclose(np.hstack([x, y]), expected, rtol=1e-5, atol=1e-6)
    sizes = [len(part) for parts in (task, transfer) for part in parts.values()]
    assert sum(sizes) == rows


def test_names_and_source(write):
    path = write(csv_text())
    dataset = load_table(path, target="y")
    assert (dataset.name, dataset.transfer.name) == ("my", "my-transfer")
    assert dataset.source == f"CSV file {path}, target y, seed 10"
    assert not dataset.is_classification
    assert load_table(str(path), target="y", name="other").name == "other"


def test_any_column_is_a_target_and_the_others_keep_their_order(write):
    dataset = load_table(write(csv_text()), target="a")
    swapped = load_table(write(csv_text(VALUES[:, [1, 2, 0]], ["b", "y", "a"])), target="a")
    assert dataset.fingerprint() == swapped.fingerprint()
    assert dataset.fingerprint() != load_table(write(csv_text()), target="b").fingerprint()


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_delimiter_line_ends_and_byte_order_mark_do_not_matter(write, delimiter, newline, encoding):
    expected = load_table(write(csv_text()), target="y").fingerprint()
    text = csv_text(delimiter=delimiter, newline=newline)
    path = write(text + newline + "  " + newline, encoding=encoding)
    assert read_header(path) == NAMES
    assert load_table(path, target="y").fingerprint() == expected


def test_names_may_hold_other_delimiters_quotes_and_blanks(write):
    expected = load_table(write(csv_text()), target="y").fingerprint()
    names = ["a, in C", " b [m/s] ", "y"]
    path = write(csv_text(names=names, delimiter=";"))
    assert read_header(path) == ["a, in C", "b [m/s]", "y"]
    assert load_table(path, target="y").fingerprint() == expected
    path = write("", name="quoted.csv")
    with open(path, "w", newline="", encoding="utf-8") as file:
        csv.writer(file, quoting=csv.QUOTE_ALL).writerows([names, *VALUES.tolist()])
    assert read_header(path) == ["a, in C", "b [m/s]", "y"]
    assert load_table(path, target="y").fingerprint() == expected


# Ten times 0.3: its mean and so its standard deviation are rounded, not exact.
@pytest.mark.parametrize("value", [3.0, 0.3, 1e8 + 0.1])
def test_constant_feature_is_left_out_and_told(write, caplog, value):
    path = write(with_column(value))
    with caplog.at_level(logging.WARNING, "asym_keras"):
        dataset = load_table(path, target="y")
    assert "left out, since constant in the training part: b" in caplog.text
    assert dataset.source.endswith("seed 10, without constant b")
    alone = load_table(write(csv_text(VALUES[:, [0, 2]], ["a", "y"])), target="y")
    assert dataset.fingerprint() == alone.fingerprint()


def test_feature_that_varies_outside_training_alone_is_left_out(write):
    flag = np.zeros(27)
    flag[np.random.RandomState(10).permutation(27)[-1]] = 1.0
    assert load_table(write(with_column(flag)), target="y").input_dim == 1


def test_columns_of_any_scale_are_standardised():
    scales = [1e-150, 1e150]
    features = Table(["tiny", "huge"], RNG.normal(size=(50, 2)) * scales)
    x = split_table(features, RNG.normal(size=50), name="n", source="s").x_train
    np.testing.assert_allclose(x.mean(axis=0), 0.0, atol=1e-6)
    np.testing.assert_allclose(x.std(axis=0), 1.0, rtol=1e-6)


BAD_FILES = [
    (with_cell("x", line=7), "column 'b': expected finite numbers, received 'x' in line 7; repair"),
    (with_cell("Ox, ford"), "expected 3 cells in each line as in the header, received 4 in line 4"),
    (with_cell("nan"), "column 'b': .* received 'nan' in line 4"),
    (with_cell("-inf", column=2), "column 'y': .* received '-inf' in line 4"),
    (with_cell("1e999"), "column 'b': .* received '1e999' in line 4"),
    (with_cell(" "), "column 'b': .* received an empty cell in line 4"),
    (with_cell("x") + "\n\n1,2", "received 'x' in line 4"),
    (csv_text() + "\n\n1,2\n", "received 2 in line 31"),
    (csv_text(delimiter=";").replace(".", ","), "'a': .* in line 2; write .* a decimal point"),
    ("", "header line with at least 2 column names, .* received 'an empty file'"),
    ("y\n1\n2\n", "header line with at least 2 column names, .* received 'y'"),
    ("a,b,y\n", "expected rows of numbers below the header, received none"),
    (csv_text(VALUES[:4]), "expected at least 5 rows, received 4"),
    (csv_text(names=["", "b", "y"]), "name for each column, received none for column 1 in line 1"),
    (csv_text(names=["b", "b", "y"]), "each column name once, received 'b' twice"),
    (csv_text(names=["1", "2.5", "3"]), r"header line with column names, received numbers \(1, 2"),
    (with_column(7.5, "y"), "a target that varies over the 10 training rows, received 7.5 in all"),
    (
        csv_text(np.column_stack([np.ones((27, 2)), VALUES[:, 2]])),
        r"a feature that varies over the 10 training rows, received constant ones \(a, b\)",
    ),
    (with_column(VALUES[:, 1] * 1e300), "b: expected numbers whose variance is a number"),
]


@pytest.mark.parametrize(("text", "message"), BAD_FILES, ids=[m[:40] for _, m in BAD_FILES])
def test_bad_file_is_told(write, text, message):
    with pytest.raises(ValueError, match=rf"my\.csv: .*{message}"):
        load_table(write(text), target="y")


def test_other_encodings_are_told(write):
    for encoding in ("utf-16", "latin-1"):
        path = write(csv_text(names=["Größe", "b", "y"]), encoding=encoding)
        with pytest.raises(ValueError, match=r"my\.csv: expected a CSV file in UTF-8, received"):
            load_table(path, target="y")


def test_unknown_target_lists_the_columns(write):
    with pytest.raises(ValueError, match="a target among the columns a, b, y, received 'Y'"):
        load_table(write(csv_text()), target="Y")


def test_bad_seed_is_told(write):
    for seed in (-1, 2**32):
        with pytest.raises(ValueError, match=f"seed: expected an integer from 0 .* {seed}"):
            load_table(write(csv_text()), target="y", seed=seed)


def test_missing_file_and_folder_are_told(tmp_path):
    for path in (tmp_path / "none.csv", tmp_path):
        with pytest.raises(FileNotFoundError, match=r"expected a CSV file, received .* no file"):
            load_table(path, target="y")


def rows_text(rows=10, delimiter=",", newline="\n"):
    """A header and rows of three whole numbers: row i is line i + 2."""
    lines = ["a,b,y", *(f"{i},{i % 7},{2 * i}" for i in range(rows))]
    return "".join(line.replace(",", delimiter) + newline for line in lines)


@pytest.mark.parametrize(
    ("rows", "delimiter", "newline"),
    [
        *itertools.product([10], [",", ";", "\t"], ["\n", "\r\n", "\r"]),
        *[(20_000, ",", "\n"), (20_000, ";", "\r\n")],  # more than csv takes for a cell
    ],
)
@pytest.mark.parametrize(
    ("cell", "line"),
    [("2,2", 4), ("a,b", 1), ("b,y", 1), ("y", 1), ("1,1", 3), ("9,2", 11), ("18", 11)],
)
def test_quote_that_never_ends_is_told_with_its_line(rows, delimiter, newline, cell, line):
    text, cell = (t.replace(",", delimiter) for t in (rows_text(rows), cell))
    place = text.index(cell, text.index("\n9" if line == 11 else "a"))
    text = f'{text[:place]}"{text[place:]}'.replace("\n", newline)
    for content in (text, text.removesuffix(newline), "\ufeff" + text):
        with pytest.raises(ValueError, match=rf"^t\.csv: .* a quote in line {line} without its"):
            parse_csv(content.encode(), "t.csv")


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ('a,b,y\n1,2,3\n4,5,"', 3),
        ('a,b,y\n1,2,3\n4,5,"6', 3),
        ('a,"b ""x"", ""z\n1,2\n', 1),
        ('"a\n(m)",b,"y\n1,2,3\n', 2),
        ('"a\r(m)",b,y\r\r1,2,"3\r4,5,6', 4),
        ('a,b,y\n\n\n1,"2\n3",4\n', 4),  # ends, but in another line
        ('a,b,y\n1,2,3\n4,"5\n",6\n', 3),
        (rows_text(20_000).replace("\n2,2", '\n2,"2').replace("\n15000,", '\n15000,"'), 4),
        ("a,b\n1,2\n" + ",".join(['"1', *["2"] * 90_000]) + "\n3,4\n", 3),
        ('\x0ca,b\n1,2\x0c\n\x0c\n3,"4\n', 4),  # a form feed ends no line
    ],
)
def test_quote_without_its_end(text, line):
    with pytest.raises(ValueError, match=rf"a quote in line {line} without its end"):
        parse_csv(text.encode(), "t.csv")


def test_quotes_that_end_are_read():
    table = parse_csv(b'"a ""x""\n(m)";"b"\r\n"1";" 2 "\r\n;\r\n\r\n+3e0 ;.5\r\n', "t.csv")
    assert table.names == ['a "x"\n(m)', "b"]
    assert table.values.tolist() == [[1.0, 2.0], [3.0, 0.5]]


@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
def test_lines_are_those_of_the_file(newline):
    text = '"a\n(m)",b\n\n1,2\n  \n3,x\n'.replace("\n", newline)
    with pytest.raises(ValueError, match="received 'x' in line 6"):
        parse_csv(text.encode(), "t.csv")


@pytest.mark.parametrize(
    "cell",
    ["2024_01", "1_0", "２０２４", "１.5", "٣", "1__0", "0x10", "1e400", "infinity", "NaN", "1 2"],
)
def test_what_float_takes_but_is_no_number_is_told(write, cell):
    with pytest.raises(ValueError, match=rf"finite numbers, received '{cell}' in line 4"):
        load_table(write(with_cell(cell)), target="y")


def test_months_are_names(write):
    path = write(csv_text(names=["2024_01", "2024_02", "2024_03"]))
    assert load_table(path, target="2024_03").preprocessing.names == ("2024_01", "2024_02")
    with pytest.raises(ValueError, match=r"column names, received numbers \(nan, 1e400"):
        read_header(write(csv_text(names=["nan", "1e400", "3"])))


def test_nul_is_told_with_its_line():
    with pytest.raises(ValueError, match=r"a NUL character in line 3; save it as CSV in UTF-8"):
        parse_csv(b"a,b\r\n1,2\r\n3,\0\r\n", "t.csv")


def test_home_folder_is_found(write, monkeypatch):
    path = write(csv_text())
    monkeypatch.setenv("HOME", str(path.parent))
    assert load_table("~/my.csv", target="y").source == load_table(path, target="y").source
    assert read_header("~/my.csv") == NAMES
    with pytest.raises(FileNotFoundError, match=rf"received {path.parent}/other\.csv, which is no"):
        load_table("~/other.csv", target="y")


def test_cells_without_an_end_and_without_a_quote_are_no_table():
    long = b"a,b\n1," + b"1" * 200_000 + b"\n3,2\n"
    with pytest.raises(ValueError, match=r"cells of at most 131072 characters, .* in line 2"):
        parse_csv(long, "t.csv")
