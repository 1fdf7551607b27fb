"""A Griffe extension for mkdocs.yml: `Example:` in a docstring is a section of code."""

from __future__ import annotations

import re

import griffe

HEADING = re.compile(r"^( *)Example:$", re.MULTILINE)


class ExampleSections(griffe.Extension):
    """Griffe itself knows `Examples:` alone, and takes the other for a remark."""

    def on_object(self, *, obj: griffe.Object, **kwargs) -> None:
        """Renames the heading."""
        if obj.docstring:
            obj.docstring.value = HEADING.sub(r"\1Examples:", obj.docstring.value)
