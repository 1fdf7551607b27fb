"""Pictures beside those of `asym_keras.plotting`, and the flag that names their formats."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from asym_keras.run_settings import FORMATS


def formats_of(text: str) -> tuple[str, ...]:
    """The formats that `--format` names.

    Raises:
        ValueError: A format that is not in `FORMATS`, or one that is named twice.
    """
    names = tuple(name.strip().lower() for name in text.split(","))
    if not {*names} <= {*FORMATS} or len({*names}) < len(names):
        raise ValueError(
            f"--format: expected one or more of {', '.join(FORMATS)} separated by commas, such as "
            f"pdf,svg, received {text!r}."
        )
    return names


def blank(width: float, height: float):
    """An empty figure of `width` by `height` inches."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def save(figure, path: Path, *, dpi: int = 120, formats: Sequence[str] | None = None) -> list[Path]:
    """Writes a figure, whole or not at all, as `path` or in each of `formats` beside it.

    Returns:
        The files that it wrote.
    """
    from asym_keras.plotting.saving import save_figure

    return save_figure(figure, path, formats=formats, dpi=dpi)
