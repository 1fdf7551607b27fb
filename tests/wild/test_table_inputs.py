"""Models of the table with preprocessing and inputs of all kinds: right, or refused by name."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # `benchmarks` is not installed
operations, table = (
    importlib.import_module(f"benchmarks.wild.{name}") for name in ("operations", "table")
)
NAMES = table.of_kinds(("inputs",))


@pytest.mark.parametrize("name", NAMES[::20])  # with all operations in turn
def test_quick_cells(name):
    assert operations.wrong_cells(table.TABLE[name], table.quick_operations(name)) == []


@pytest.mark.drill
@pytest.mark.parametrize("name", NAMES)
def test_all_cells(name):
    assert operations.wrong_cells(table.TABLE[name], operations.OPERATIONS) == []
