"""Writes the tree of packages into docs/architecture.md: what each is for, and its modules.

    python .ci/write_tree.py           # writes
    python .ci/write_tree.py --check   # status 1 if the page is not what would be written

A package's sentence is the first line of its docstring.
"""

from __future__ import annotations

import ast
import sys
import textwrap
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "architecture.md"
PACKAGES = ("asym_keras", "trainers", "serving", "benchmarks")
BEGIN, END = "<!-- tree: python .ci/write_tree.py -->\n```text\n", "```\n<!-- end of tree -->\n"
WIDTH, COLUMN = 120, 24


def branch(folder: Path, depth: int = 0) -> list[str]:
    """Lines of a package: its sentence, its modules, and its packages below it."""
    text = ast.get_docstring(ast.parse((folder / "__init__.py").read_text(encoding="utf-8"))) or ""
    name = f"{'  ' * depth}{folder.name}/"
    lines = [f"{name:<{COLUMN}}{text.splitlines()[0] if text else ''}".rstrip()]
    modules = sorted(p.name for p in folder.glob("*.py") if not p.name.startswith("__init__"))
    if modules:
        indent = "  " * (depth + 1)
        lines += textwrap.wrap(
            " ".join(modules), WIDTH, initial_indent=indent, subsequent_indent=indent
        )
    for package in sorted(p.parent for p in folder.glob("*/__init__.py")):
        lines += branch(package, depth + 1)
    return lines


def page() -> str:
    """The page as it has to be."""
    text = PAGE.read_text(encoding="utf-8")
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    tree = "\n".join(line for name in PACKAGES for line in [*branch(ROOT / name), ""]).strip()
    return f"{before}{BEGIN}{tree}\n{END}{after}"


def main(arguments: list[str]) -> int:
    """Writes or checks the page; returns the status."""
    if arguments == ["--check"]:
        return int(page() != PAGE.read_text(encoding="utf-8"))
    PAGE.write_text(page(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
