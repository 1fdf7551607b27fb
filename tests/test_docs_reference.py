"""The reference has every public name, and no other."""

from __future__ import annotations

import ast
import importlib
import re
from pathlib import Path
from types import ModuleType

import asym_keras

ROOT = Path(__file__).resolve().parents[1]
ENTRY = re.compile(r"^::: (\S+)$", re.MULTILINE)


def reference_entries() -> list[str]:
    pages = sorted((ROOT / "docs" / "reference").glob("*.md"))
    return [name for page in pages for name in ENTRY.findall(page.read_text(encoding="utf-8"))]


def public_names(module: ModuleType) -> list[str]:
    """`__all__`; without it what the module defines, and what it imports as `x as x`."""
    if hasattr(module, "__all__"):
        return list(module.__all__)
    tree = ast.parse(Path(module.__file__).read_text(encoding="utf-8"))
    kinds = (ast.FunctionDef, ast.ClassDef)
    defined = [node.name for node in tree.body if isinstance(node, kinds)]
    imports = [node for node in tree.body if isinstance(node, ast.ImportFrom)]
    aliases = [alias for node in imports for alias in node.names]
    again = [alias.name for alias in aliases if alias.name == alias.asname]
    return [name for name in defined + again if not name.startswith("_")]


def public_objects() -> dict[str, object]:
    """Every public name but the parts of the package themselves, which are modules."""
    parts = [asym_keras] + [
        value
        for name in asym_keras.__all__
        if isinstance(value := resolve(f"asym_keras.{name}"), ModuleType)
    ]
    parts += [importlib.import_module(f"serving.{name}") for name in ("client", "export")]
    names = [f"{part.__name__}.{name}" for part in parts for name in public_names(part)]
    found = {name: resolve(name) for name in names if not name.endswith("__version__")}
    return {name: value for name, value in found.items() if not isinstance(value, ModuleType)}


def resolve(name: str) -> object:
    parent, _, last = name.rpartition(".")
    module = importlib.import_module(parent)
    return getattr(module, last)


def missing(entries: list[str], public: dict[str, object]) -> list[str]:
    """Public names whose object no entry shows; one that is public twice needs one entry."""
    shown = {id(resolve(name)) for name in entries}
    return sorted(name for name, value in public.items() if id(value) not in shown)


def test_every_public_name_is_in_the_reference():
    public = public_objects()
    assert len(public) > 80
    assert not missing(reference_entries(), public), (
        "add `::: NAME` to a page of docs/reference for each of these"
    )


def test_the_reference_has_public_names_once_and_no_others():
    entries = reference_entries()
    assert not set(entries) - set(public_objects())
    assert len(entries) == len({id(resolve(name)) for name in entries})


def test_a_name_that_is_left_out_is_found():
    entries = [name for name in reference_entries() if name != "asym_keras.prune"]
    assert missing(entries, public_objects()) == ["asym_keras.prune", "asym_keras.pruning.prune"]
