"""The public names: the examples in their docstrings run, and their arguments have types."""

from __future__ import annotations

import doctest
import importlib
import inspect
import pkgutil

import numpy as np
import pytest
from synthetic_runs import write_run

import asym_keras

MODULES = sorted(
    module.name for module in pkgutil.walk_packages(asym_keras.__path__, "asym_keras.")
)
FUNCTIONS = [name for name in asym_keras.__all__ if callable(getattr(asym_keras, name))]


def public_functions() -> dict[str, object]:
    """What a user calls, by its name: of the package, its parts, and the classes in these."""
    found = {f"asym_keras.{name}": getattr(asym_keras, name) for name in FUNCTIONS}
    for part in (getattr(asym_keras, name) for name in asym_keras._SUBMODULES):
        names = getattr(part, "__all__", vars(part))
        found |= {f"{part.__name__}.{name}": getattr(part, name) for name in names}
    ours = {n: f for n, f in found.items() if getattr(f, "__module__", "").startswith("asym_keras")}
    for name, thing in list(ours.items()):
        if inspect.isclass(thing):
            ours |= {f"{name}.{key}": value for key, value in vars(thing).items()}
    return {
        name: function
        for name, function in ours.items()
        if inspect.isfunction(function)
        and (name.endswith(".__init__") or not name.rpartition(".")[2].startswith("_"))
    }


PUBLIC = public_functions()


def examples_of(module: str) -> list[doctest.DocTest]:
    names = {"asym_keras": asym_keras, "np": np}
    found = doctest.DocTestFinder().find(importlib.import_module(module), globs=names)
    return [one for one in found if one.examples]


EXAMPLES = [example for module in MODULES for example in examples_of(module)]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The working folder of a user who has a run and a table."""
    write_run(tmp_path / "runs" / "simulated-paper-g0-a0.4-m2000-flow-s0")
    numbers = np.random.default_rng(0).normal(size=(1599, 3))
    header = "acidity,alcohol,quality"
    np.savetxt(tmp_path / "wine.csv", numbers, delimiter=",", header=header, comments="")
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.name)
def test_example_shows_what_it_says(example, folder):
    said = []
    doctest.DocTestRunner(verbose=False).run(example, out=said.append)
    assert not said, "".join(said)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_what_the_package_names_has_an_example(name):
    assert ">>>" in (getattr(asym_keras, name).__doc__ or "")


@pytest.mark.parametrize("name", PUBLIC)
def test_public_arguments_and_results_have_types(name):
    signature = inspect.signature(PUBLIC[name])
    given = [p for key, p in signature.parameters.items() if key not in ("self", "cls")]
    assert not [p.name for p in given if p.annotation is p.empty]
    assert name.endswith(".__init__") or signature.return_annotation is not signature.empty


def test_types_are_asked_of_parts_and_methods():
    some = {"asym_keras.prune", "asym_keras.training.train", "asym_keras.runs.Run.load_model"}
    assert some <= PUBLIC.keys()


def test_a_false_example_is_seen(folder):
    example = doctest.DocTestParser().get_doctest(">>> 1 + 1\n3\n", {}, "false", None, None)
    with pytest.raises(AssertionError, match=r"Expected:\s+3\s+Got:\s+2"):
        test_example_shows_what_it_says(example, None)
