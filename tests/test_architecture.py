"""docs/architecture.md says where everything stands: its tree is that of the folders."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "architecture.md"


def test_the_tree_is_that_of_the_folders():
    done = subprocess.run([sys.executable, ".ci/write_tree.py", "--check"], cwd=ROOT, check=False)
    assert not done.returncode, "the tree has changed: python .ci/write_tree.py"


@pytest.mark.parametrize("package", ["asym_keras", "trainers", "serving", "benchmarks"])
def test_each_package_says_what_it_is_for(package):
    tree = PAGE.read_text(encoding="utf-8").partition("```text")[2]
    for folder in [p.parent for p in (ROOT / package).rglob("__init__.py")]:
        assert re.search(rf"^ *{folder.name}/ +\S.*\.$", tree, re.MULTILINE), folder


def test_what_the_page_names_is_there():
    text = PAGE.read_text(encoding="utf-8").partition("## The tree")[0]
    names = set(re.findall(r"`((?:asym_keras|trainers|serving|tests)/[\w/.]+)`", text))
    assert len(names) > 10
    assert not [name for name in names if not (ROOT / name).exists()]
