"""The house rules that a machine can check: imports, sizes, docstrings, a lazy package."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest
from source_files import ROOT, imports, parse, python_files
from synthetic_runs import write_run

FOLDERS = ("asym_keras", "trainers", "serving", "benchmarks", "tests", ".ci")
MAX_LINES = 300

# Parts of the library. Each imports from the rows above its own and from itself, never from a
# neighbour in its row. What has no row here is a fault: a new module gets its place on purpose.
ROWS = (
    ("checks",),
    (
        "scaling",
        "initializers",
        "files",
        "arrays",
        "graphs",
        "tracing",
        "extras",
        "backend",
        "bars",
        "run_settings",
        "startup",
    ),
    ("layers", "fingerprint", "tables"),
    ("models", "inputs", "losses"),
    ("targets", "layer_copies", "compilation", "pairs", "remade"),
    ("same_outputs",),
    ("copies",),
    ("evaluator", "nesting"),
    ("importance",),
    ("ntg", "training", "pruning"),
    ("runs", "transfer", "theory", "presets", "callbacks", "staged"),
    ("plotting",),
)
ROW = {part: row for row, parts in enumerate(ROWS) for part in parts}
FACE = "__init__"  # the package itself: names every part, no part imports it
DATASETS = "datasets"  # for scripts: the library does not import it, nor it the library but these
FOR_DATASETS = ("files", "extras", "bars")
GRAPHS = Path("asym_keras/graphs.py")
# Names that this project gives to attributes, too: on anything but `self` they are Keras's.
OTHERS_TOO = {"_layers", "_losses", "_nodes", "_operations"}
PARTS = {*ROW, FACE, DATASETS}
SCRIPTS = ("trainers", "serving")
# An export measures what it ships on the data of the run, which only the run's trainer can load:
# `serving` may import this module of `trainers`.
RELOAD = "trainers.common.reload."


def part_of(name: str) -> str:
    """`ntg` for `asym_keras.ntg.shallow`; the face for a name that is no part of the library."""
    part = name.split(".")[1] if "." in name else FACE
    path = ROOT / "asym_keras" / part
    return part if part in PARTS or path.is_dir() or path.with_suffix(".py").is_file() else FACE


def library_fault(importer: str, imported: str) -> str | None:
    if imported == importer:
        return None
    if importer == DATASETS and imported in FOR_DATASETS:
        return None
    if DATASETS in (importer, imported):
        return f"{DATASETS} is for scripts, and stands alone"
    if imported == FACE:
        return "import the module that defines the name, not the package"
    for part in (importer, imported):
        if part not in PARTS:
            return f"{part} has no place in ROWS of tests/test_house.py"
    if importer != FACE and ROW[imported] >= ROW[importer]:
        return f"{imported} stands beside or below {importer}"
    return None


def import_faults(file: Path, tree: ast.Module) -> list[str]:
    faults = []
    package, part = file.with_suffix("").parts[:2]
    for line, name in imports(file, tree):
        top = name.partition(".")[0]
        fault = None
        if top == package == "asym_keras":
            fault = library_fault(part, part_of(name))
        elif (
            top in SCRIPTS
            and top != package
            and not (package == "serving" and name.startswith(RELOAD))
        ):
            fault = f"{package} knows nothing of {top}"
        if fault:
            faults.append(f"{file}:{line}: imports {name}: {fault}")
    return faults


def private_names(tree: ast.Module) -> set[str]:
    """Names with one leading underscore that a file gives to attributes, methods or globals."""
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            names.add(node.name)
        elif isinstance(node, ast.Attribute) and is_own(node):
            names.add(node.attr)
        elif isinstance(node, ast.Name):
            names.add(node.id)
    return {name for name in names if name.startswith("_")} | {"_exit"}  # of os


def is_own(attribute: ast.Attribute) -> bool:
    return isinstance(attribute.value, ast.Name) and attribute.value.id in ("self", "cls")


def privacy_faults(file: Path, tree: ast.Module, ours: set[str]) -> list[str]:
    """Uses of names that other packages keep to themselves, Keras above all."""
    faults = [
        f"{file}:{line}: imports {name}: only {GRAPHS} knows what Keras keeps to itself"
        for line, name in imports(file, tree)
        if name.startswith("keras.src")
    ]
    attributes = [n for n in ast.walk(tree) if isinstance(n, ast.Attribute)]
    anybodys = ours - OTHERS_TOO
    return faults + [
        f"{file}:{n.lineno}: uses .{n.attr}, a private name of another package"
        for n in attributes
        if n.attr.startswith("_") and not n.attr.startswith("__")
        if n.attr not in (ours if is_own(n) else anybodys)
    ]


def docstring_faults(file: Path, tree: ast.Module) -> list[str]:
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    public = [n for n in tree.body if isinstance(n, kinds) and not n.name.startswith("_")]
    bare = [node for node in public if not ast.get_docstring(node)]
    return [f"{file}:{node.lineno}: {node.name} has no docstring" for node in bare]


def test_imports_follow_the_design():
    files = python_files("asym_keras", *SCRIPTS)
    assert Path("asym_keras/__init__.py") in files
    faults = [fault for file in files for fault in import_faults(file, parse(file))]
    assert not faults, "\n".join(faults)


@pytest.mark.parametrize(
    ("file", "source"),
    [
        ("asym_keras/scaling.py", "import asym_keras.layers"),
        ("asym_keras/scaling.py", "def f():\n    from asym_keras.layers import AsymScaledDense"),
        ("asym_keras/layers.py", "from . import models"),
        ("asym_keras/layers.py", "from asym_keras import node_scalings"),
        ("asym_keras/layers.py", "import asym_keras"),
        ("asym_keras/ntg/shallow.py", "from ..training import history"),
        ("asym_keras/training/flow.py", "from asym_keras import pruning"),
        ("asym_keras/theory.py", "import asym_keras.transfer"),
        ("asym_keras/theory.py", "from asym_keras.datasets import load_mnist"),
        ("asym_keras/__init__.py", "from asym_keras import datasets"),
        ("asym_keras/datasets/mnist.py", "from asym_keras.scaling import node_scalings"),
        ("asym_keras/unplaced.py", "from asym_keras.scaling import node_scalings"),
        ("asym_keras/plotting.py", "from trainers import figures"),
        ("asym_keras/presets/__init__.py", "import serving.export"),
        ("trainers/mnist.py", "from serving import export"),
        ("serving/export.py", "import trainers"),
        ("serving/export.py", "from trainers import mnist"),
        ("trainers/zoo.py", "from serving.package import package"),
    ],
)
def test_import_rule_sees_a_fault(file, source):
    assert len(import_faults(Path(file), ast.parse(source))) == 1


@pytest.mark.parametrize(
    ("file", "source"),
    [
        ("asym_keras/layers.py", "from asym_keras.scaling import node_scalings"),
        ("asym_keras/ntg/shallow.py", "from .spectrum import eigenvalues\nfrom .. import models"),
        ("asym_keras/ntg/__init__.py", "from . import shallow\nfrom .shallow import shallow_ntg"),
        ("asym_keras/theory.py", "from asym_keras import ntg\nimport numpy, keras.ops"),
        ("asym_keras/__init__.py", "from asym_keras.presets import from_preset"),
        ("asym_keras/datasets/mnist.py", "from asym_keras.datasets.dataset import Dataset"),
        ("asym_keras/datasets/uci.py", "from asym_keras.files import atomic_path"),
        ("trainers/mnist.py", "import asym_keras\nfrom asym_keras import datasets, plotting"),
        ("serving/export.py", "import asym_keras\nfrom serving import config"),
        ("serving/package.py", "from trainers.common.reload import reload_data"),
    ],
)
def test_import_rule_lets_the_design_pass(file, source):
    assert not import_faults(Path(file), ast.parse(source))


def test_only_graphs_knows_private_names_of_keras():
    files = python_files("asym_keras", *SCRIPTS, "benchmarks")
    trees = {file: parse(file) for file in files}
    ours = set().union(*(private_names(tree) for tree in trees.values()))
    faults = [
        fault
        for file, tree in trees.items()
        if file != GRAPHS
        for fault in privacy_faults(file, tree, ours)
    ]
    assert not faults, "\n".join(faults)
    assert privacy_faults(GRAPHS, trees[GRAPHS], ours)  # or there is no need of it


@pytest.mark.parametrize(
    "source",
    [
        "from keras.src import backend",
        "layers = model._flatten_layers()",
        "class A:\n    def f(self):\n        return self.model._functional",
        "import keras.src.models",
    ],
)
def test_privacy_rule_sees_a_fault(source):
    assert len(privacy_faults(Path("asym_keras/x.py"), ast.parse(source), {"_own"})) == 1
    assert not privacy_faults(Path("asym_keras/x.py"), ast.parse("other._own"), {"_own"})


def test_public_names_have_docstrings():
    files = python_files("asym_keras", "serving")
    faults = [fault for file in files for fault in docstring_faults(file, parse(file))]
    assert not faults, "\n".join(faults)


def test_docstring_rule_sees_a_fault():
    source = "def bare(): ...\nclass Bare: ...\ndef told():\n    'Told.'\ndef _private(): ..."
    faults = docstring_faults(Path("asym_keras/x.py"), ast.parse(source))
    assert [fault.split()[1] for fault in faults] == ["bare", "Bare"]


def test_files_are_short():
    lines = {file: len((ROOT / file).read_bytes().splitlines()) for file in python_files(*FOLDERS)}
    faults = [
        f"{file}: {n} lines, at most {MAX_LINES}" for file, n in lines.items() if n > MAX_LINES
    ]
    assert not faults, "\n".join(faults)


# Runs in a process of its own. The hook sees each file opened for writing, wherever it lies.
WATCH = """
import os, sys

def hook(event, args):
    if event in ("os.mkdir", "os.rename") or (event == "open" and args[2] & WRITES):
        print("writes", args[0])

WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT
HEAVY = {"tensorflow", "keras", "matplotlib", "tensorflow_datasets"}
sys.addaudithook(hook)
exec(sys.argv[1])
for name in sorted(HEAVY & set(sys.modules)):
    print("loads", name)
"""


def effects(statement: str, folder: Path) -> list[str]:
    """What a fresh process that runs `statement` in `folder` writes, prints and loads."""
    command = [sys.executable, "-B", "-c", WATCH, statement]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return (done.stdout + done.stderr).splitlines()


def test_import_of_the_package_is_lazy_and_leaves_no_trace(tmp_path):
    assert effects("import asym_keras", tmp_path) == []


def test_reading_a_run_needs_no_tensorflow(tmp_path):
    folder = write_run(tmp_path / "run", transfer=True)
    read = f"import asym_keras as ak; assert len(ak.load_run({str(folder)!r}).pruning) == 21"
    assert effects(read, tmp_path) == []


def test_watch_sees_a_fault(tmp_path):
    (tmp_path / "matplotlib.py").touch()
    seen = effects("import matplotlib; open('trace', 'a').close(); os.mkdir('folder')", tmp_path)
    assert seen == ["writes trace", "writes folder", "loads matplotlib"]
