"""Functional models that Hypothesis draws: right answers, or refusals with a name in them."""

from __future__ import annotations

import importlib
import re
import sys
from pathlib import Path

import numpy as np
import pytest
from crossed import some_slow
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # `benchmarks` is not installed
cells, drawn, operations, references = (
    importlib.import_module(f"benchmarks.wild.{name}")
    for name in ("cells", "drawn", "operations", "references")
)
copies = importlib.import_module("asym_keras.copies")

small = st.integers(0, 12)
RECIPES = st.builds(
    drawn.Recipe,
    inputs=st.lists(st.integers(0, 3), min_size=1, max_size=2).map(tuple),
    steps=st.lists(st.tuples(small, small, small), min_size=1, max_size=6).map(tuple),
    outputs=st.lists(st.integers(1, 3), min_size=1, max_size=2).map(tuple),
    nodes=st.booleans(),
    seed=st.integers(0, 99),
)
QUICK, LONG = 2, 150
# A refusal names a layer by name and class, an operation, or says which argument is at fault.
NAMED = re.compile(r"'[\w./]+'|\w+ \(\w+\)|\w+=|one output")


def drawing(examples: int, *, shrink: bool):
    """Runs a test on so many recipes, the same each time; a failure may be made smaller."""

    def decorate(test):
        checks = [HealthCheck.too_slow, HealthCheck.data_too_large]
        phases = (Phase.generate, Phase.shrink) if shrink else (Phase.generate,)
        options = {
            "phases": phases,
            "deadline": None,
            "derandomize": True,
            "suppress_health_check": checks,
        }
        return settings(max_examples=examples, database=None, **options)(given(RECIPES)(test))

    return decorate


def right_or_refused(entry, operation) -> str:
    """What came of an operation of the table on a drawn model."""
    try:
        operation(entry)
    except cells.Refused as error:
        said = str(error)
    except cells.Wrong as error:
        raise AssertionError(f"{entry.name}: {error}") from error
    else:
        return "right"
    assert NAMED.search(said), f"a refusal without a name: {said}"
    return "refused"


def check_ntg(recipe):
    """NTG, closed form aside, is one backward pass an example."""
    entry = drawn.entry(recipe)
    case = entry.fresh()
    matrix = cells.ask(operations.empirical_ntg, case.model, case.x, output=case.named)
    rows = references.jacobian(entry.fresh(), case.output[0], [case.output[1]])[:, 0]
    cells.close("NTG", matrix, rows @ rows.T, 1e-3)


def check_prune(recipe):
    entry = drawn.entry(recipe)
    if operations._widths(entry)[0]:
        for operation in (operations.keep_all, operations.masking):
            right_or_refused(entry, operation)


def check_copy(recipe):
    case = drawn.entry(recipe).fresh()
    copy = copies.copy_model(case.model)
    expected = references.outputs(case.model, case.x)
    for a, b in zip(references.outputs(copy, case.x), expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


def check_probe(recipe):
    right_or_refused(drawn.entry(recipe), operations.probes)


def check_descent(recipe):
    right_or_refused(drawn.entry(recipe), operations.descent)


CHECKS = {
    "ntg": check_ntg,
    "prune": check_prune,
    "copy": check_copy,
    "probe": check_probe,
    "descent": check_descent,
}


@pytest.mark.parametrize("name", some_slow(["prune", "copy", "probe"], ["ntg", "descent"]))
def test_drawn_model(name):
    drawing(QUICK, shrink=False)(CHECKS[name])()


@pytest.mark.drill
@pytest.mark.parametrize("name", CHECKS)
def test_many_drawn_models(name):
    drawing(LONG, shrink=True)(CHECKS[name])()
