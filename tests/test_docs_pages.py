"""What a machine can tell of the pages: links, names in snippets, the length of the README."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from docs_pages import README, ROOT, blocks, pages, read, without_code

LINK = re.compile(r"\]\(([^)\s#]+)(?:#[^)\s]*)?\)")


def undefined_names(text: str, folder: Path) -> list[str]:
    """Names that the Python blocks of a page use, one after the other, and nobody defined."""
    file = folder / "page.py"
    file.write_text("\n".join(block.text for block in blocks(text, "python")), encoding="utf-8")
    command = [sys.executable, "-m", "ruff", "check", "--isolated", "--select=F821,E9"]
    done = subprocess.run(
        [*command, "--output-format=concise", str(file)], capture_output=True, text=True
    )
    assert done.returncode in (0, 1), done.stderr
    return [line for line in done.stdout.splitlines() if line.startswith(str(file))]


def dead_links(text: str, page: Path) -> list[str]:
    links = LINK.findall(without_code(text))
    local = [link for link in links if "://" not in link and not link.startswith("mailto:")]
    return [link for link in local if not (ROOT / page).parent.joinpath(link).exists()]


def test_readme_is_short():
    assert len(read(README).splitlines()) <= 120


@pytest.mark.parametrize("page", pages(), ids=str)
def test_links_lead_to_files(page):
    assert dead_links(read(page), page) == []


def test_dead_link_is_found():
    assert dead_links("[a](README.md) [b](docs/gone.md#x) `[c](no)`", README) == ["docs/gone.md"]


@pytest.mark.parametrize("page", [p for p in pages() if blocks(read(p), "python")], ids=str)
def test_names_in_snippets_are_defined(page, tmp_path):
    assert undefined_names(read(page), tmp_path) == []


def test_undefined_name_is_found(tmp_path):
    found = undefined_names("```python\nx = 1\n```\n\n```python\nprint(x, y)\n```\n", tmp_path)
    assert len(found) == 1
    assert "`y`" in found[0]


def test_no_page_installs_from_an_index_that_does_not_have_the_package():
    wrong = re.compile(r"pip install '?asym[-_]keras(?!-[\d.]+-py3)")
    allowed = "`pip install asym-keras` finds nothing"
    assert [p for p in pages() if wrong.search(read(p).replace(allowed, ""))] == []
