"""Writes the zoo's gallery: its tables into a page, and a figure, from the presets' cards.

    python -m trainers.zoo_gallery
    python -m trainers.zoo_gallery --presets-dir quick --page page.md --figure page.png
    python -m trainers.zoo_gallery --check

The tables stand between two marks of the page; what is around them stays. With --check nothing is
written, and the status is 1 if the page's tables are not those of the presets.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

from asym_keras.files import atomic_path
from trainers.common.cli import run_main
from trainers.common.config import Flags, knob, shared
from trainers.zoo.config import PRESETS

MODULE = "trainers.zoo_gallery"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(Flags):
    """Flags of this program."""

    page: str = knob("docs/zoo.md", "page with the two marks", metavar="FILE.md", file="a file")
    figure: str = knob("docs/figures/zoo.png", "where the figure goes", metavar="FILE.png")
    presets_dir: str | None = knob(None, "folder of the presets (default: the package's own)")
    check: bool = knob(False, "write nothing; compare the page with the presets")
    debug: bool = shared("debug")

    def __post_init__(self):
        super().__post_init__()
        if not Path(self.figure).absolute().parent.is_dir():
            raise ValueError(
                f"--figure: expected an existing folder, received {Path(self.figure).parent}."
            )
        if Path(self.figure).suffix != ".png":
            raise ValueError(
                f"--figure: expected a name that ends in .png, received {self.figure}."
            )


def main(argv=None) -> None:
    """Runs the command line."""
    run_main(Config, _body, argv, module=MODULE, description=__doc__)


def _body(config: Config, command: str) -> None:
    from trainers.zoo.nested import nested_table
    from trainers.zoo.page import read_entries, replaced, tables

    page = Path(config.page)
    old = page.read_text(encoding="utf-8")
    folder = Path(config.presets_dir or PRESETS)
    entries = read_entries(folder)
    nested = nested_table(folder)
    new = replaced(old, tables(entries) + f"\n\n{nested}" * bool(nested))
    if config.check:
        if new != old:
            raise ValueError(
                f"expected the tables of {page} to be those of the presets, received others. Write "
                f"them: python -m {MODULE}"
            )
        return
    from trainers.zoo.figure import draw

    draw(entries, Path(config.figure))
    with atomic_path(page) as temporary:
        temporary.write_text(new, encoding="utf-8")
    total = sum(entry.size for entry in entries)
    print(f"{page}, {config.figure}: {len(entries)} presets, {total / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
