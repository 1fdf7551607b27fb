"""Floors of the scripts, and no circle: who imports whom, in functions and for types, too."""

from __future__ import annotations

import ast
import graphlib
from pathlib import Path

import pytest
from source_files import imports, parse, python_files

# Rooms of the scripts: modules, or packages as a whole. Each imports from the rows above its own
# and from itself, never from a neighbour in its row. What has no row here is a fault.
ROWS = {
    "trainers": (
        ("common.network", "common.pictures"),
        (
            *("common.config", "common.process", "common.tables", "common.tasks", "common.lock"),
            *("common.environment", "common.memory", "common.peers", "common.published"),
        ),
        ("common.cli", "common.folder", "common.jobs", "common.reload", "common.strategy"),
        ("common.curves",),
        ("common.experiment",),
        ("common.batch",),
        ("common.experiments", "simulated", "regression", "mnist", "cifar10"),
        ("nested",),
        ("compare", "figures", "sweep", "theory", "zoo", "beyond"),
        ("zoo_gallery",),
    ),
    "serving": (
        (
            *("addresses", "codes", "commands", "extra", "program", "readme", "server_log"),
            *("sessions", "tether", "texts", "versions"),
        ),
        ("card", "client", "config_file", "model_config", "preview"),
        ("demo", "exporting", "launch"),
        ("export", "package", "serve"),
    ),
}


def module_of(file: Path) -> str:
    return ".".join(file.with_suffix("").parts).removesuffix(".__init__")


def graph_of(trees: dict[Path, ast.Module]) -> dict[str, set[str]]:
    """The modules that each module imports among them, in functions and for types, too."""
    names = {module_of(file) for file in trees}

    def module(name: str) -> str:
        while name and name not in names:
            name = name.rpartition(".")[0]
        return name

    return {
        module_of(file): {module(name) for _, name in imports(file, tree)} - {"", module_of(file)}
        for file, tree in trees.items()
    }


def circle_in(graph: dict[str, set[str]]) -> list[str]:
    """Modules of which each imports the one before it, the last one the same as the first."""
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as error:
        return error.args[1]
    return []


def floor_faults(graph: dict[str, set[str]], package: str, rows) -> list[str]:
    floor = {f"{package}.{room}": place for place, row in enumerate(rows) for room in row}

    def room(name: str) -> str:
        return max((r for r in floor if f"{name}.".startswith(f"{r}.")), key=len, default=name)

    faults = [
        f"{name} has no place in ROWS of {Path(__file__).name}"
        for name in graph
        if room(name) not in floor and graph[name]
    ]
    return faults + [
        f"{name} imports {other}, which stands beside or below it"
        for name, others in graph.items()
        for other in others
        if room(name) != room(other) and floor.get(room(other), 0) >= floor.get(room(name), 0)
    ]


@pytest.mark.parametrize("package", ["asym_keras", "trainers", "serving", "benchmarks"])
def test_no_module_imports_itself_back(package):
    graph = graph_of({file: parse(file) for file in python_files(package)})
    assert len(graph) > 20
    circle = circle_in(graph)
    assert not circle, " <- ".join(circle)


@pytest.mark.parametrize("package", ROWS)
def test_rooms_import_from_the_floors_below_them(package):
    graph = graph_of({file: parse(file) for file in python_files(package)})
    faults = floor_faults(graph, package, ROWS[package])
    assert not faults, "\n".join(faults)


SOURCES = {
    "p/__init__.py": "",
    "p/low.py": "import os",
    "p/room/__init__.py": "from p.room.inner import x",
    "p/room/inner.py": "from p import low",
    "p/room/__main__.py": "from p.room import main",
    "p/beside.py": "from .low import name",
}


def graph_with(file: str, source: str) -> dict[str, set[str]]:
    changed = {**SOURCES, file: source}
    return graph_of({Path(name): ast.parse(text) for name, text in changed.items()})


@pytest.mark.parametrize(
    ("file", "source", "circles", "faults"),
    [
        ("p/low.py", "import os", 0, 0),
        ("p/low.py", "def f():\n    from p.room import inner", 1, 1),
        ("p/low.py", "if TYPE_CHECKING:\n    from p.room.inner import x", 1, 1),
        ("p/low.py", "import p.beside", 1, 1),
        ("p/low.py", "from .beside import name", 1, 1),
        ("p/room/inner.py", "from p.room import main", 1, 0),
        ("p/room/inner.py", "from p import beside", 0, 1),
        ("p/new.py", "from p import low", 0, 1),
    ],
)
def test_rules_see_a_fault(file, source, circles, faults):
    graph = graph_with(file, source)
    assert bool(circle_in(graph)) == circles
    # A module without a place is told, and so is what it imports.
    assert bool(floor_faults(graph, "p", (("low",), ("room", "beside")))) == faults
