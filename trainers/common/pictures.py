"""Pictures beside those of `asym_keras.plotting`."""

from __future__ import annotations

from pathlib import Path

from asym_keras.files import atomic_path


def blank(width: float, height: float):
    """An empty figure of so many inches."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def save(figure, path: Path, *, dpi: int = 120) -> None:
    """Writes a figure to a PNG file, whole or not at all."""
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=dpi)
