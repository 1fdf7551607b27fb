"""The table sees faults: what is wrong, unexpected or unnamed never counts as right or refused."""

from __future__ import annotations

import importlib
import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))  # `benchmarks` is not installed
cells, entry, operations, report, table = (
    importlib.import_module(f"benchmarks.wild.{name}")
    for name in ("cells", "entry", "operations", "report", "table")
)
PLAIN = table.TABLE["MLP"]
REFUSING = table.TABLE["constraints"]


def outcome(monkeypatch, function, row=PLAIN, operation="probes"):
    """What the table makes of a library whose `RiskProbe` or `train` is `function`."""
    monkeypatch.setattr(operations, "RiskProbe", lambda *args, **kwargs: function)
    monkeypatch.setattr(operations, "train", function)
    return operations.run(row, operation)


def refuses(message: str, kind=ValueError):
    def function(*args, **kwargs):
        raise kind(message)

    return function


def test_a_wrong_number_is_seen(monkeypatch):
    cell = outcome(monkeypatch, lambda model: {"t_risk": 1.0})
    assert cell.outcome == "wrong"
    assert "risk: off by" in cell.message


def test_a_nan_is_seen(monkeypatch):
    assert outcome(monkeypatch, lambda model: {"t_risk": float("nan")}).outcome == "wrong"


@pytest.mark.parametrize("kind", [ValueError, TypeError, KeyError])
def test_what_nobody_expects_is_wrong(monkeypatch, kind):
    cell = outcome(monkeypatch, refuses("no", kind))
    assert cell.outcome == "wrong"
    assert "no" in cell.message


@pytest.mark.parametrize(
    ("said", "outcome_"), [("constrained/kernel", "refused"), ("something", "wrong")]
)
def test_a_refusal_has_to_name_what_stands_in_the_way(monkeypatch, said, outcome_):
    assert outcome(monkeypatch, refuses(said), REFUSING, "flow").outcome == outcome_


def test_a_refusal_of_another_class_is_wrong(monkeypatch):
    fails = refuses("constrained/kernel", TypeError)
    assert outcome(monkeypatch, fails, REFUSING, "flow").outcome == "wrong"


def test_an_answer_where_a_refusal_is_expected_is_wrong(monkeypatch):
    monkeypatch.setitem(operations.OPERATIONS, "flow", lambda entry: None)
    assert operations.run(REFUSING, "flow").outcome == "wrong"


@pytest.mark.slow
def test_entries_are_the_same_each_time():
    for name in ("Dropout and GaussianNoise", "adapted Normalization", "int8"):
        one, two = (table.TABLE[name].fresh().model for _ in range(2))
        for a, b in zip(one.weights, two.weights, strict=True):
            assert (a.numpy() == b.numpy()).all(), a.path


def test_table_is_large_and_turns_meet_every_operation():
    assert len(table.TABLE) >= 100
    assert set(table.TURNS) == set(operations.OPERATIONS) - {"closed form"}
    entry_files = {name: e.kind for name, e in table.TABLE.items()}
    covered = [table.quick_operations(name)[0] for name in entry_files]
    assert min(covered.count(operation) for operation in set(table.TURNS)) >= 5


def test_every_kind_has_a_test_file():
    files = Path(__file__).parent.glob("test_table_*.py")
    kinds = {k for file in files for k in re.findall(r'"(\w+)"', named(file))}
    assert kinds == {e.kind for e in table.TABLE.values()}


def named(file: Path) -> str:
    """The line of a test file that names its kinds."""
    lines = file.read_text(encoding="utf-8").splitlines()
    return next(line for line in lines if "of_kinds" in line)


def test_page_counts_and_numbers_its_reasons():
    rows = {
        "MLP": {"flow": cells.Cell("right"), "masking": cells.Cell("refused", "AsymScaledDense")},
        "constraints": {"flow": cells.Cell("refused", "x"), "masking": cells.Cell("wrong", "x")},
    }
    text = report.page(rows, ["flow", "masking"])
    assert "| MLP | right | refused (1) |" in text
    assert "| constraints | refused (2) | **wrong** |" in text
    assert "2 models, 4 cells: 1 right, 2 refused, 1 wrong." in text
    assert f"2. {entry.CONSTRAINT}" in text


def test_page_in_the_docs_is_of_this_table_and_has_no_wrong_cell():
    text = (ROOT / "docs" / "any_model.md").read_text(encoding="utf-8")
    rows = [line.split(" | ")[0].removeprefix("| ") for line in text.splitlines()]
    assert [name for name in table.TABLE if name not in rows] == []
    count = len(table.TABLE) * len(operations.OPERATIONS)
    assert f"{len(table.TABLE)} models, {count} cells" in text
    assert " 0 wrong." in text


@pytest.mark.parametrize(
    ("argv", "words"),
    [(["--operations", "foo"], "--operations: expected some of"), (["--only", "zzz"], "none with")],
)
def test_unknown_names_are_refused(argv, words, capsys):
    from benchmarks.wild import __main__

    with pytest.raises(SystemExit):
        __main__.main(argv)
    assert words in capsys.readouterr().err
