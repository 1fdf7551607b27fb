"""The blocks of code in README.md and in docs/, for the tests of both."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FENCE = re.compile(r"^( *)```(\w*)[^\n]*\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)
README, GETTING_STARTED = Path("README.md"), Path("docs/getting_started.md")


@dataclasses.dataclass(frozen=True)
class Block:
    """One block: `language` is empty where the page names none."""

    language: str
    text: str


def pages() -> list[Path]:
    """Every page that people read, relative to the root."""
    outside = [Path("README.md"), Path("CONTRIBUTING.md"), Path("benchmarks/README.md")]
    return outside + [path.relative_to(ROOT) for path in sorted((ROOT / "docs").rglob("*.md"))]


def read(page: Path) -> str:
    return (ROOT / page).read_text(encoding="utf-8")


def blocks(text: str, *languages: str) -> list[Block]:
    """The blocks of a page in these languages, in order."""
    found = [Block(match[2], match[3]) for match in FENCE.finditer(text)]
    return [block for block in found if block.language in languages]


def without_code(text: str) -> str:
    return re.sub(r"`[^`\n]*`", "", FENCE.sub("", text))
