"""Figures as files: in any of several formats, whole or not at all, with text as text."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from asym_keras.files import atomic_path

# Text stays text, so that words can be searched for and edited; PDF and PostScript files hold
# their fonts, as journals demand.
_AS_TEXT: Any = {"pdf.fonttype": 42, "ps.fonttype": 42, "svg.fonttype": "none"}


def save_figure(
    figure: Any, path: Path, *, formats: Sequence[str] | None = None, dpi: int = 120
) -> list[Path]:
    """Writes a matplotlib figure; text stays text in PDF and SVG.

    Args:
        figure: what to write.
        path: the file; its suffix names the format.
        formats: several, such as `("pdf", "svg")`, a file each beside `path`. None: that of `path`.
        dpi: dots per inch of a PNG file.

    Returns:
        The files.
    """
    import matplotlib

    # fontTools logs a line for every glyph, wherever the program's own notices go.
    logging.getLogger("fontTools").setLevel(logging.WARNING)
    paths = [path] if formats is None else [path.with_suffix(f".{name}") for name in formats]
    for file in paths:
        with matplotlib.rc_context(_AS_TEXT), atomic_path(file) as temporary:
            figure.savefig(temporary, dpi=dpi)
    return paths
